//! Streams: one call from the first poll to the end, with the number of their items.

use crate::case::Case;

/// The cases of this file.
pub const CASES: &[Case] = &[
    completed::CASE,
    by_hand::CASE,
    boxed::CASE,
    errors::CASE,
    dropped::CASE,
    never_polled::CASE,
    combinators::CASE,
    within_streams::CASE,
    per_item::CASE,
    blocks::CASE,
    moved::CASE,
    methods::CASE,
    #[cfg(panic = "unwind")]
    panics::CASE,
    #[cfg(panic = "unwind")]
    panics_and_errors::CASE,
];

/// `async-stream`, to its end, inside of the call that consumes it.
pub mod completed {
    use futures::{Stream, StreamExt};

    use crate::case::ok;
    use crate::futures::once_pending;

    #[exoscope::instrument]
    fn numbers(count: u32) -> impl Stream<Item = u32> {
        async_stream::stream! {
            for number in 0..count {
                yield step(number).await;
            }
        }
    }

    #[exoscope::instrument]
    async fn step(number: u32) -> u32 {
        once_pending().await;
        number
    }

    #[exoscope::instrument]
    async fn consumes(count: u32) -> u32 {
        let mut numbers = Box::pin(numbers(count));
        let mut sum = 0;
        while let Some(number) = numbers.next().await {
            sum += uses(number);
        }
        sum
    }

    #[exoscope::instrument]
    fn uses(number: u32) -> u32 {
        number
    }

    fn run() {
        assert_eq!(pollster::block_on(consumes(2)), 1);
        assert_eq!(pollster::block_on(consumes(0)), 0);
    }

    // What the consumer does between two items is no part of the stream.
    case!(run => [
        ok("consumes").with(&[
            ok("numbers").items(2).with(&[ok("step"), ok("step")]),
            ok("uses"),
            ok("uses"),
        ]),
        ok("consumes").with(&[ok("numbers").items(0)]),
    ]);
}

/// A `Stream` of one's own, and one made of a function.
pub mod by_hand {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use futures::executor::block_on;
    use futures::{Stream, StreamExt, stream};

    use crate::case::ok;

    struct Countdown(u32);

    impl Stream for Countdown {
        type Item = u32;
        #[exoscope::instrument]
        fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<u32>> {
            if self.0 == 2 {
                self.0 = 1;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            let next = self.0.checked_sub(1);
            self.0 = next.unwrap_or(0);
            Poll::Ready(next)
        }
    }

    #[exoscope::instrument]
    fn countdown() -> impl Stream<Item = u32> + Unpin {
        Countdown(2)
    }

    #[exoscope::instrument]
    fn polled() -> impl Stream<Item = u32> {
        let mut count = 0;
        stream::poll_fn(move |_| {
            count += 1;
            Poll::Ready((count < 3).then_some(count))
        })
    }

    fn run() {
        assert_eq!(block_on(Countdown(1).count()), 1);
        assert_eq!(block_on(countdown().count()), 1);
        assert_eq!(block_on(polled().collect::<Vec<_>>()), [1, 2]);
    }

    const POLL: crate::case::Row = ok("Countdown::poll_next");

    case!(run => [
        POLL,
        POLL,
        ok("countdown").items(1).with(&[POLL, POLL, POLL]),
        ok("polled").items(2),
    ]);
}

/// Streams in boxes.
pub mod boxed {
    use std::pin::Pin;
    use std::rc::Rc;

    use futures::executor::block_on;
    use futures::stream::{BoxStream, LocalBoxStream};
    use futures::{Stream, StreamExt, stream};

    use crate::case::ok;

    #[exoscope::instrument]
    fn pinned() -> Pin<Box<dyn Stream<Item = u32> + Send>> {
        Box::pin(stream::iter([1, 2, 3]))
    }

    #[exoscope::instrument]
    fn aliased(values: &[u32]) -> BoxStream<'_, u32> {
        stream::iter(values.iter().copied()).boxed()
    }

    #[exoscope::instrument]
    fn local() -> LocalBoxStream<'static, Rc<u32>> {
        stream::iter([Rc::new(1)]).boxed_local()
    }

    fn run() {
        assert_eq!(block_on(pinned().count()), 3);
        assert_eq!(block_on(local().count()), 1);
        assert_eq!(block_on(aliased(&[1, 2]).count()), 2);
    }

    case!(run => [ok("pinned").items(3), ok("local").items(1), ok("aliased").items(2)]);
}

/// An error is the stream's where it is the last item.
pub mod errors {
    use futures::executor::block_on;
    use futures::{Stream, StreamExt, TryStreamExt, stream};

    use crate::case::{cancelled, err, ok};

    #[exoscope::instrument]
    fn tries(fails_at: u32) -> impl Stream<Item = Result<u32, String>> {
        async_stream::try_stream! {
            for number in 0..3 {
                yield checked(number, fails_at)?;
            }
        }
    }

    #[exoscope::instrument]
    fn checked(number: u32, fails_at: u32) -> Result<u32, String> {
        if number == fails_at {
            Err(format!("number {number}"))
        } else {
            Ok(number)
        }
    }

    #[exoscope::instrument]
    fn goes_on() -> impl Stream<Item = Result<u32, String>> {
        stream::iter([Ok(1), Err("between".to_owned()), Ok(3)])
    }

    #[exoscope::instrument]
    async fn sums(fails_at: u32) -> Result<u32, String> {
        tries(fails_at)
            .try_fold(0, async |sum, number| Ok(sum + number))
            .await
    }

    fn run() {
        assert_eq!(block_on(tries(9).count()), 3);
        assert_eq!(block_on(tries(1).count()), 2);
        assert_eq!(block_on(goes_on().count()), 3);
        assert!(block_on(sums(2)).is_err());
    }

    const KIND: &str = "alloc::string::String";
    const CHECKED: crate::case::Row = ok("checked");

    // Who stops at the first error drops a stream that may have had more.
    case!(run => [
        ok("tries").items(3).with(&[CHECKED, CHECKED, CHECKED]),
        err("tries", KIND, "number 1").items(2).with(&[CHECKED, err("checked", KIND, "number 1")]),
        ok("goes_on").items(3),
        err("sums", KIND, "number 2").with(&[
            cancelled("tries").items(3).gave(KIND, "number 2").with(&[
                CHECKED,
                CHECKED,
                err("checked", KIND, "number 2"),
            ]),
        ]),
    ]);
}

/// Dropped half consumed, while pending, and by an adapter.
pub mod dropped {
    use futures::executor::block_on;
    use futures::{Stream, StreamExt, stream};

    use crate::case::{cancelled, ok};
    use crate::futures::poll_once;

    struct Guard;

    #[exoscope::instrument]
    impl Drop for Guard {
        fn drop(&mut self) {}
    }

    #[exoscope::instrument]
    fn numbers() -> impl Stream<Item = u32> {
        async_stream::stream! {
            let _guard = Guard;
            for number in 0..9 {
                yield number;
            }
        }
    }

    #[exoscope::instrument]
    fn stalls() -> impl Stream<Item = u32> {
        stream::once(async { 1 }).chain(stream::pending())
    }

    #[exoscope::instrument]
    async fn first() -> Option<u32> {
        let mut numbers = Box::pin(numbers());
        numbers.next().await;
        numbers.next().await
    }

    fn run() {
        assert_eq!(block_on(first()), Some(1));
        assert_eq!(block_on(numbers().take(3).count()), 3);
        let mut stalled = Box::pin(stalls());
        assert_eq!(block_on(stalled.next()), Some(1));
        assert!(poll_once(std::pin::pin!(stalled.next())).is_pending());
        drop(stalled);
    }

    case!(run => [
        ok("first").with(&[cancelled("numbers").items(2).with(&[ok("Guard::drop")])]),
        cancelled("numbers").items(3).with(&[ok("Guard::drop")]),
        cancelled("stalls").items(1),
    ]);
}

/// Never polled: no row.
pub mod never_polled {
    use futures::executor::block_on;
    use futures::{Stream, StreamExt, stream};

    use crate::case::ok;

    #[exoscope::instrument]
    fn numbers() -> impl Stream<Item = u32> {
        stream::iter([1, 2])
    }

    fn run() {
        drop(numbers());
        assert_eq!(block_on(numbers().take(0).count()), 0);
        let mut both = std::pin::pin!(stream::iter([7]).chain(numbers()));
        assert_eq!(block_on(both.next()), Some(7));
        assert_eq!(numbers().size_hint(), (2, Some(2)));
        assert_eq!(block_on(numbers().count()), 2);
    }

    case!(run => [ok("numbers").items(2)]);
}

/// Under and out of combinators.
pub mod combinators {
    use futures::executor::block_on;
    use futures::{FutureExt, Stream, StreamExt, stream};

    use crate::case::ok;
    use crate::futures::once_pending;

    #[exoscope::instrument]
    fn source(count: u32) -> impl Stream<Item = u32> + Send {
        stream::iter(0..count)
    }

    #[exoscope::instrument]
    fn even(count: u32) -> impl Stream<Item = u32> {
        source(count).filter(|number| std::future::ready(number % 2 == 0))
    }

    #[exoscope::instrument]
    fn unfolded() -> impl Stream<Item = u32> {
        stream::unfold(0, async |number| {
            once_pending().await;
            (number < 2).then_some((number, number + 1))
        })
    }

    #[exoscope::instrument]
    async fn job(number: u32) -> u32 {
        once_pending().await;
        number
    }

    #[exoscope::instrument]
    async fn side_by_side() -> u32 {
        source(3)
            .map(job)
            .buffer_unordered(2)
            .fold(0, async |sum, number| sum + number)
            .await
    }

    fn run() {
        assert_eq!(block_on(even(4).collect::<Vec<_>>()), [0, 2]);
        assert_eq!(block_on(unfolded().collect::<Vec<_>>()), [0, 1]);
        assert_eq!(block_on(side_by_side()), 3);
        assert_eq!(block_on(source(1).chain(source(2)).count()), 3);
        assert_eq!(block_on(source(2).zip(source(2)).count()), 2);
        let merged = stream::select(source(1), job(1).into_stream());
        assert_eq!(block_on(merged.count()), 2);
    }

    const SOURCE: crate::case::Row = ok("source");

    case!(run => [
        ok("even").items(2).with(&[SOURCE.items(4)]),
        ok("unfolded").items(2),
        ok("side_by_side").with(&[SOURCE.items(3), ok("job"), ok("job"), ok("job")]),
        SOURCE.items(1),
        SOURCE.items(2),
        SOURCE.items(2),
        SOURCE.items(2),
        SOURCE.items(1),
        ok("job"),
    ]);
}

/// Streams that consume streams.
pub mod within_streams {
    use futures::executor::block_on;
    use futures::{Stream, StreamExt};

    use crate::case::ok;

    #[exoscope::instrument]
    fn lines(pages: u32) -> impl Stream<Item = u32> {
        async_stream::stream! {
            for page in 0..pages {
                let mut inner = Box::pin(page_of(page));
                while let Some(line) = inner.next().await {
                    yield line;
                }
            }
        }
    }

    #[exoscope::instrument]
    fn page_of(page: u32) -> impl Stream<Item = u32> {
        async_stream::stream! {
            for line in 0..=page {
                yield fetch(line).await;
            }
        }
    }

    #[exoscope::instrument]
    async fn fetch(line: u32) -> u32 {
        line
    }

    fn run() {
        assert_eq!(block_on(lines(2).count()), 3);
    }

    case!(run => [
        ok("lines").items(3).with(&[
            ok("page_of").items(1).with(&[ok("fetch")]),
            ok("page_of").items(2).with(&[ok("fetch"), ok("fetch")]),
        ]),
    ]);
}

/// One call an item, for who asks for it: from when it is wanted until it is there.
pub mod per_item {
    use futures::executor::block_on;
    use futures::{Stream, StreamExt, stream};

    use crate::case::{cancelled, err, ok};
    use crate::futures::{once_pending, poll_once};

    #[exoscope::instrument(items)]
    fn numbers() -> impl Stream<Item = Result<u32, String>> {
        stream::iter(0..2).then(number)
    }

    #[exoscope::instrument]
    async fn number(number: u32) -> Result<u32, String> {
        once_pending().await;
        number.checked_sub(1).ok_or_else(|| "too small".to_owned())
    }

    #[exoscope::instrument(items)]
    fn endless() -> impl Stream<Item = u32> {
        stream::repeat(7)
    }

    #[exoscope::instrument(items)]
    fn stalls() -> impl Stream<Item = u32> {
        stream::once(async { 1 }).chain(stream::pending())
    }

    fn run() {
        assert_eq!(
            block_on(
                numbers()
                    .map(|number| exoscope::call!("use", number))
                    .count()
            ),
            2
        );
        assert_eq!(block_on(endless().take(2).count()), 2);
        let mut stalled = Box::pin(stalls());
        assert_eq!(block_on(stalled.next()), Some(1));
        assert!(poll_once(std::pin::pin!(stalled.next())).is_pending());
        drop(stalled);
        drop(stalls());
    }

    const KIND: &str = "alloc::string::String";

    // The last one comes to nothing.
    case!(run => [
        ok("numbers").items(2).with(&[
            err("numbers::item", KIND, "too small").with(&[err("number", KIND, "too small")]),
            ok("numbers::item").with(&[ok("number")]),
            cancelled("numbers::item"),
        ]),
        err("use", KIND, "too small"),
        ok("use"),
        cancelled("endless").items(2).with(&[ok("endless::item"), ok("endless::item")]),
        cancelled("stalls").items(1).with(&[ok("stalls::item"), cancelled("stalls::item")]),
    ]);
}

/// `stream!` around whatever is a stream.
pub mod blocks {
    use futures::executor::block_on;
    use futures::{StreamExt, stream};

    use crate::case::{err, ok};

    fn run() {
        let numbers = exoscope::stream!("numbers", stream::iter([1, 2]));
        assert_eq!(block_on(numbers.count()), 2);
        let tries = exoscope::stream!("tries", stream::iter([Ok(1), Err("the last")]));
        assert_eq!(block_on(tries.count()), 2);
        let nested = exoscope::stream!("outer", exoscope::stream!("inner", stream::iter([1])));
        assert_eq!(block_on(nested.count()), 1);
    }

    case!(run => [
        ok("numbers").items(2),
        err("tries", "&str", "the last").items(2),
        ok("outer").items(1).with(&[ok("inner").items(1)]),
    ]);
}

/// Moved between items, to another place and to another thread.
pub mod moved {
    use std::thread;

    use futures::executor::block_on;
    use futures::{Stream, StreamExt, stream};

    use crate::case::ok;

    #[exoscope::instrument]
    fn numbers() -> impl Stream<Item = u32> + Send + Unpin {
        stream::iter([1, 2, 3]).map(step)
    }

    #[exoscope::instrument]
    fn step(number: u32) -> u32 {
        number
    }

    fn run() {
        let mut numbers = numbers();
        assert_eq!(block_on(numbers.next()), Some(1));
        let mut moved = Box::new(numbers);
        assert_eq!(block_on(moved.next()), Some(2));
        let rest = thread::spawn(move || block_on(moved.count())).join();
        assert_eq!(rest.ok(), Some(1));
    }

    case!(run => [
        ok("numbers").items(3).elsewhere().with(&[
            ok("step").elsewhere(),
            ok("step").elsewhere(),
            ok("step"),
        ]),
    ].needs_entries());
}

/// Methods that return streams, also of traits.
pub mod methods {
    use futures::executor::block_on;
    use futures::{Stream, StreamExt, stream};

    use crate::case::ok;

    struct Table(Vec<u32>);

    #[exoscope::instrument]
    impl Table {
        fn rows(&self) -> impl Stream<Item = &u32> {
            stream::iter(&self.0)
        }
        fn drain(&mut self) -> impl Stream<Item = u32> + '_ {
            stream::iter(self.0.drain(..))
        }
    }

    trait Scan {
        fn scan(&self) -> impl Stream<Item = u32>;
    }

    #[exoscope::instrument]
    impl Scan for Table {
        fn scan(&self) -> impl Stream<Item = u32> {
            self.rows().map(|row| row + 1)
        }
    }

    fn run() {
        let mut table = Table(vec![1, 2]);
        assert_eq!(block_on(table.rows().count()), 2);
        assert_eq!(block_on(table.scan().collect::<Vec<_>>()), [2, 3]);
        assert_eq!(block_on(table.drain().count()), 2);
    }

    case!(run => [
        ok("Table::rows").items(2),
        ok("Table::scan").items(2).with(&[ok("Table::rows").items(2)]),
        ok("Table::drain").items(2),
    ]);
}

/// Panics end a stream with the items that it gave until then.
#[cfg(panic = "unwind")]
pub mod panics {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use futures::executor::block_on;
    use futures::{Stream, StreamExt, stream};

    use crate::case::{ok, panic};

    #[exoscope::instrument]
    fn numbers() -> impl Stream<Item = u32> {
        async_stream::stream! {
            yield 1;
            yield 2;
            falls();
        }
    }

    #[exoscope::instrument]
    fn falls() {
        panic!("in a stream");
    }

    #[exoscope::instrument(items)]
    fn each() -> impl Stream<Item = u32> {
        stream::iter(0..3).inspect(|number| {
            if *number == 1 {
                falls();
            }
        })
    }

    fn run() {
        let caught = catch_unwind(AssertUnwindSafe(|| block_on(numbers().count())));
        assert!(caught.is_err());
        let caught = catch_unwind(AssertUnwindSafe(|| block_on(each().count())));
        assert!(caught.is_err());
    }

    const FALLS: crate::case::Row = panic("falls").said("in a stream");

    case!(run => [
        panic("numbers").items(2).with(&[FALLS]),
        panic("each").items(1).with(&[ok("each::item"), panic("each::item").with(&[FALLS])]),
    ]);
}

/// A stream that catches a panic and ends with an error has that error, and where it is dropped the one
/// that it gave; what it caught is not shown.
#[cfg(panic = "unwind")]
pub mod panics_and_errors {
    use std::panic::catch_unwind;
    use std::task::Poll;

    use futures::executor::block_on;
    use futures::{Stream, StreamExt, stream};

    use crate::case::{cancelled, err, ok};

    #[exoscope::instrument]
    fn fails_and_stumbles() -> impl Stream<Item = Result<u32, String>> {
        let ends = stream::poll_fn(|_| {
            stumbles();
            Poll::Ready(None)
        });
        let fails = |number| Err(format!("number {number}"));
        stream::iter([1, 2]).map(fails).chain(ends)
    }

    /// In the call around it.
    fn stumbles() {
        assert!(catch_unwind(|| panic!("stumbled")).is_err());
    }

    #[exoscope::instrument]
    fn stumbles_and_goes_on() -> impl Stream<Item = u32> {
        stream::iter([1, 2]).inspect(|_| stumbles())
    }

    fn run() {
        assert_eq!(block_on(fails_and_stumbles().count()), 2);
        assert_eq!(block_on(fails_and_stumbles().take(1).count()), 1);
        assert_eq!(block_on(stumbles_and_goes_on().count()), 2);
        assert_eq!(block_on(stumbles_and_goes_on().take(1).count()), 1);
    }

    const KIND: &str = "alloc::string::String";

    case!(run => [
        err("fails_and_stumbles", KIND, "number 2").items(2),
        cancelled("fails_and_stumbles").items(1).gave(KIND, "number 1"),
        ok("stumbles_and_goes_on").items(2),
        cancelled("stumbles_and_goes_on").items(1),
    ]);
}
