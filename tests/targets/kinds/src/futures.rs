//! Futures: one call from the first poll to the end.

use crate::case::Case;

/// The cases of this file.
pub const CASES: &[Case] = &[
    awaited::CASE,
    arguments::CASE,
    implied::CASE,
    boxed::CASE,
    recursive::CASE,
    methods::CASE,
    in_traits::CASE,
    async_trait::CASE,
    blocks::CASE,
    closures::CASE,
    results::CASE,
    deep::CASE,
    by_hand::CASE,
    never_polled::CASE,
    cancelled_pending::CASE,
    cancelled_elsewhere::CASE,
    moved::CASE,
    moved_often::CASE,
    of_two_parents::CASE,
    leaked::CASE,
    never_completes::CASE,
    not_send::CASE,
    #[cfg(panic = "unwind")]
    panics::CASE,
    #[cfg(panic = "unwind")]
    after_the_end::CASE,
    #[cfg(panic = "unwind")]
    panics_when_dropped::CASE,
];

/// Pending once; its task is woken at once.
pub async fn once_pending() {
    let mut pending = true;
    std::future::poll_fn(|context| {
        if std::mem::take(&mut pending) {
            context.waker().wake_by_ref();
            return std::task::Poll::Pending;
        }
        std::task::Poll::Ready(())
    })
    .await;
}

/// Polls once, without a waker.
pub fn poll_once<F: Future + ?Sized>(future: std::pin::Pin<&mut F>) -> std::task::Poll<F::Output> {
    future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
}

/// Functions that await each other, ready at once and later.
pub mod awaited {
    use super::once_pending;
    use crate::case::ok;

    #[exoscope::instrument]
    async fn ready() -> u32 {
        1
    }

    #[exoscope::instrument]
    async fn later(times: u32) -> u32 {
        for _ in 0..times {
            once_pending().await;
        }
        times
    }

    #[exoscope::instrument]
    fn sync(a: u32) -> u32 {
        a + 1
    }

    #[exoscope::instrument]
    async fn outer() -> u32 {
        let mut sum = ready().await;
        sum += later(3).await;
        sum = sync(sum);
        sum + later(0).await
    }

    fn run() {
        assert_eq!(pollster::block_on(outer()), 5);
        assert_eq!(pollster::block_on(ready()), 1);
    }

    case!(run => [
        ok("outer").with(&[ok("ready"), ok("later"), ok("sync"), ok("later")]),
        ok("ready"),
    ]);
}

/// Every form of argument, generic ones too.
pub mod arguments {
    use std::fmt::Display;

    use super::once_pending;
    use crate::case::ok;

    #[exoscope::instrument]
    async fn patterns((a, mut b): (u32, u32), [c, ..]: [u32; 2], _: u32, ref d: u32) -> u32 {
        once_pending().await;
        b += 1;
        a + b + c + *d
    }

    #[exoscope::instrument]
    async fn borrowed<'a>(long: &'a str, _short: &str) -> &'a str {
        once_pending().await;
        long
    }

    #[exoscope::instrument]
    async fn generic<T: Clone, const N: usize>(value: &T, more: impl Into<usize>) -> Vec<T>
    where
        T: PartialEq,
    {
        vec![value.clone(); N + more.into()]
    }

    #[exoscope::instrument]
    async fn called(f: impl AsyncFn(u32) -> u32, g: &dyn Fn(u32) -> u32) -> u32 {
        f(g(1)).await
    }

    #[exoscope::instrument]
    async fn mutable(mut text: String, more: &mut String) -> String {
        text.push_str(more);
        more.clear();
        once_pending().await;
        text
    }

    #[exoscope::instrument]
    async fn implied(value: impl Display + Send) -> impl Display {
        format!("{value}!")
    }

    fn run() {
        pollster::block_on(async {
            assert_eq!(patterns((1, 1), [1, 1], 1, 1).await, 5);
            assert_eq!(borrowed("a", &String::from("b")).await, "a");
            assert_eq!(generic::<_, 1>(&'a', 1_u8).await, ['a', 'a']);
            assert_eq!(called(async |a| a + 1, &|a| a + 1).await, 3);
            assert_eq!(mutable("a".to_owned(), &mut "b".to_owned()).await, "ab");
            assert_eq!(implied(1).await.to_string(), "1!");
        });
    }

    case!(run => [
        ok("patterns"),
        ok("borrowed"),
        ok("generic"),
        ok("called"),
        ok("mutable"),
        ok("implied"),
    ]);
}

/// `-> impl Future`: the future is the call, not the function that makes it.
pub mod implied {
    use super::once_pending;
    use crate::case::{err, ok};

    #[exoscope::instrument]
    fn before() {}

    #[exoscope::instrument]
    fn makes(value: u32) -> impl Future<Output = u32> + Send {
        before();
        async move {
            once_pending().await;
            value
        }
    }

    #[exoscope::instrument]
    fn borrows<'a>(text: &'a str) -> impl Future<Output = Result<u8, &'a str>> + use<'a> {
        async move { text.parse().map_err(|_| text) }
    }

    #[exoscope::instrument]
    fn ready() -> impl Future<Output = ()> {
        std::future::ready(())
    }

    // The signature does not say what it comes to: the body does.
    #[exoscope::instrument]
    fn unsaid(fail: bool) -> impl Future {
        async move {
            once_pending().await;
            if fail { Err("unsaid") } else { Ok(1) }
        }
    }

    fn run() {
        let made = makes(7);
        pollster::block_on(async {
            assert_eq!(made.await, 7);
            assert_eq!(borrows("x").await, Err("x"));
            ready().await;
            unsaid(false).await;
            unsaid(true).await;
        });
    }

    // What runs before the future is made is no part of the call.
    case!(run => [
        ok("before"),
        ok("makes"),
        err("borrows", "&str", "x"),
        ok("ready"),
        ok("unsaid"),
        err("unsaid", "&str", "unsaid"),
    ]);
}

/// `-> Pin<Box<dyn Future>>` and its aliases.
pub mod boxed {
    use std::pin::Pin;

    use futures::FutureExt;
    use futures::future::{BoxFuture, LocalBoxFuture};

    use super::once_pending;
    use crate::case::{err, ok};

    #[exoscope::instrument]
    fn by_hand(value: u32) -> Pin<Box<dyn Future<Output = u32> + Send>> {
        Box::pin(async move {
            once_pending().await;
            value
        })
    }

    #[exoscope::instrument]
    fn aliased(fail: bool) -> BoxFuture<'static, Result<(), String>> {
        async move {
            if fail {
                Err("failed".to_owned())
            } else {
                Ok(())
            }
        }
        .boxed()
    }

    #[exoscope::instrument]
    fn local(text: &str) -> LocalBoxFuture<'_, usize> {
        let length = text.len();
        async move { length }.boxed_local()
    }

    #[exoscope::instrument]
    fn early(value: u32) -> BoxFuture<'static, u32> {
        if value == 0 {
            return Box::pin(std::future::ready(0));
        }
        Box::pin(async move { value })
    }

    fn run() {
        pollster::block_on(async {
            assert_eq!(by_hand(1).await, 1);
            assert!(aliased(false).await.is_ok());
            assert!(aliased(true).await.is_err());
            assert_eq!(local("ab").await, 2);
            assert_eq!(early(0).await + early(1).await, 1);
        });
    }

    case!(run => [
        ok("by_hand"),
        ok("aliased"),
        err("aliased", "alloc::string::String", "failed"),
        ok("local"),
        ok("early"),
        ok("early"),
    ]);
}

/// Recursion through boxes.
pub mod recursive {
    use super::once_pending;
    use crate::case::ok;

    #[exoscope::instrument]
    async fn down(depth: u32) -> u32 {
        once_pending().await;
        if depth == 0 {
            0
        } else {
            Box::pin(down(depth - 1)).await + 1
        }
    }

    fn run() {
        assert_eq!(pollster::block_on(down(49)), 49);
    }

    case!(run => [ok("down").chain(50)]);
}

/// Async methods with every receiver.
pub mod methods {
    use std::pin::Pin;
    use std::sync::Arc;

    use super::once_pending;
    use crate::case::{err, ok};

    struct Store(Vec<u32>);

    #[exoscope::instrument]
    impl Store {
        async fn new() -> Self {
            Self(vec![1])
        }
        async fn first(&self) -> Option<&u32> {
            once_pending().await;
            self.0.first()
        }
        async fn push(&mut self, value: u32) -> &mut Self {
            self.0.push(value);
            once_pending().await;
            self
        }
        async fn shared(self: Arc<Self>) -> usize {
            self.0.len()
        }
        async fn pinned(self: Pin<&mut Self>) -> usize {
            self.0.len()
        }
        async fn into_inner(self) -> Result<Vec<u32>, String> {
            Err(format!("{} left", self.0.len()))
        }
        #[exoscope::skip]
        async fn bare(&self) -> u32 {
            0
        }
    }

    impl Store {
        #[exoscope::instrument]
        async fn alone<'a>(&'a self, _other: &str) -> &'a [u32] {
            &self.0
        }
    }

    fn run() {
        pollster::block_on(async {
            let mut store = Store::new().await;
            assert_eq!(store.first().await, Some(&1));
            store.push(2).await.push(3).await;
            assert_eq!(store.alone("").await.len() as u32 + store.bare().await, 3);
            assert_eq!(Pin::new(&mut store).pinned().await, 3);
            assert!(store.into_inner().await.is_err());
            assert_eq!(Arc::new(Store(vec![])).shared().await, 0);
        });
    }

    case!(run => [
        ok("Store::new"),
        ok("Store::first"),
        ok("Store::push"),
        ok("Store::push"),
        ok("Store::alone"),
        ok("Store::pinned"),
        err("Store::into_inner", "alloc::string::String", "3 left"),
        ok("Store::shared"),
    ]);
}

/// `async fn` in traits, their defaults, and `impl Future` in traits.
pub mod in_traits {
    use super::once_pending;
    use crate::case::ok;

    #[exoscope::instrument]
    trait Fetch {
        async fn fetch(&self, key: &str) -> usize;
        async fn twice(&self, key: &str) -> usize {
            2 * self.fetch(key).await
        }
        fn sent(&self) -> impl Future<Output = usize> + Send {
            async { 1 }
        }
    }

    struct Store;

    #[exoscope::instrument]
    impl Fetch for Store {
        async fn fetch(&self, key: &str) -> usize {
            once_pending().await;
            key.len()
        }
    }

    struct Other;

    impl Fetch for Other {
        #[exoscope::instrument]
        async fn fetch(&self, key: &str) -> usize {
            key.len() + 1
        }
        #[exoscope::instrument]
        async fn sent(&self) -> usize {
            2
        }
    }

    #[exoscope::instrument]
    async fn generic(fetch: &impl Fetch) -> usize {
        fetch.twice("ab").await + fetch.sent().await
    }

    fn run() {
        assert_eq!(pollster::block_on(generic(&Store)), 5);
        assert_eq!(pollster::block_on(generic(&Other)), 8);
    }

    case!(run => [
        ok("generic").with(&[
            ok("Fetch::twice").with(&[ok("Store::fetch")]),
            ok("Fetch::sent"),
        ]),
        ok("generic").with(&[
            ok("Fetch::twice").with(&[ok("Other::fetch")]),
            ok("Other::sent"),
        ]),
    ]);
}

/// `async_trait`, before and after the attribute, on blocks and methods.
pub mod async_trait {
    use super::once_pending;
    use crate::case::{err, ok};

    #[exoscope::instrument]
    #[async_trait::async_trait]
    trait Service: Sync {
        async fn call(&self, fail: bool) -> Result<u32, String>;
        async fn or_zero(&self, fail: bool) -> u32 {
            self.call(fail).await.unwrap_or(0)
        }
    }

    struct Inner;

    struct Outer(Box<dyn Service + Send>);

    #[exoscope::instrument]
    #[async_trait::async_trait]
    impl Service for Inner {
        async fn call(&self, fail: bool) -> Result<u32, String> {
            once_pending().await;
            if fail {
                return Err("asked to".to_owned());
            }
            Ok(1)
        }
    }

    #[async_trait::async_trait]
    impl Service for Outer {
        #[exoscope::instrument]
        async fn call(&self, fail: bool) -> Result<u32, String> {
            Ok(self.0.call(fail).await? + 1)
        }
    }

    #[async_trait::async_trait(?Send)]
    trait Local {
        async fn local(&self) -> std::rc::Rc<u32>;
    }

    #[async_trait::async_trait(?Send)]
    #[exoscope::instrument]
    impl Local for Inner {
        async fn local(&self) -> std::rc::Rc<u32> {
            once_pending().await;
            std::rc::Rc::new(1)
        }
    }

    fn run() {
        let service = Outer(Box::new(Inner));
        pollster::block_on(async {
            assert_eq!(service.call(false).await, Ok(2));
            assert_eq!(service.or_zero(true).await, 0);
            assert_eq!(*Inner.local().await, 1);
        });
    }

    const KIND: &str = "alloc::string::String";

    case!(run => [
        ok("Outer::call").with(&[ok("Inner::call")]),
        ok("Service::or_zero").with(&[
            err("Outer::call", KIND, "asked to").with(&[err("Inner::call", KIND, "asked to")]),
        ]),
        ok("Inner::local"),
    ]);
}

/// Blocks, and whatever else is a future, through `future!`.
pub mod blocks {
    use super::once_pending;
    use crate::case::{err, ok};

    #[exoscope::instrument]
    async fn inner() -> u32 {
        once_pending().await;
        1
    }

    struct Delayed;

    impl IntoFuture for Delayed {
        type Output = u32;
        type IntoFuture = std::future::Ready<u32>;
        fn into_future(self) -> Self::IntoFuture {
            std::future::ready(3)
        }
    }

    fn run() {
        pollster::block_on(async {
            let text = String::from("x");
            let block = exoscope::future!("block", async { inner().await + 1 });
            assert_eq!(block.await, 2);
            let moving = exoscope::future!("moving", async move {
                let number: u8 = text.parse().map_err(|_| text)?;
                Ok::<_, String>(number)
            });
            assert_eq!(moving.await, Err("x".to_owned()));
            assert_eq!(exoscope::future!("a function's", inner()).await, 1);
            assert_eq!(exoscope::future!("into future", Delayed).await, 3);
            let nested = exoscope::future!("outer", async {
                exoscope::future!("inner", async { 1 }).await + exoscope::call!("sync", 1)
            });
            assert_eq!(nested.await, 2);
        });
    }

    case!(run => [
        ok("block").with(&[ok("inner")]),
        err("moving", "alloc::string::String", "x"),
        ok("a function's").with(&[ok("inner")]),
        ok("into future"),
        ok("outer").with(&[ok("inner"), ok("sync")]),
    ]);
}

/// Async closures, and closures that return futures.
pub mod closures {
    use super::once_pending;
    use crate::case::ok;

    async fn apply<F: AsyncFnMut(u32) -> u32>(mut f: F) -> u32 {
        f(1).await + f(2).await
    }

    fn run() {
        pollster::block_on(async {
            let adds = async |a: u32| exoscope::future!("adds", async { a + 1 }).await;
            assert_eq!(adds(1).await, 2);
            let mut sum = 0;
            let total = apply(async |a| {
                exoscope::future!("sums", async {
                    once_pending().await;
                    sum += a;
                    sum
                })
                .await
            });
            assert_eq!(total.await, 4);
            let makes = |a: u32| exoscope::future!("made", async move { a });
            assert_eq!(makes(1).await + makes(2).await, 3);
        });
    }

    case!(run => [ok("adds"), ok("sums"), ok("sums"), ok("made"), ok("made")]);
}

/// What futures come to.
pub mod results {
    use super::once_pending;
    use crate::case::{err, ok};

    type Answer<T> = anyhow::Result<T>;

    #[exoscope::instrument]
    async fn unit() {
        once_pending().await;
    }

    #[exoscope::instrument]
    async fn option(some: bool) -> Option<u32> {
        let value = some.then_some(1)?;
        Some(value + 1)
    }

    #[exoscope::instrument]
    async fn origin(fail: bool) -> Result<u32, std::fmt::Error> {
        once_pending().await;
        if fail {
            return Err(std::fmt::Error);
        }
        Ok(1)
    }

    #[exoscope::instrument]
    async fn converted(fail: bool) -> Answer<u32> {
        Ok(origin(fail).await? + 1)
    }

    #[exoscope::instrument]
    async fn large() -> [u8; 4096] {
        once_pending().await;
        [1; 4096]
    }

    #[exoscope::instrument]
    async fn labelled(limit: u32) -> u32 {
        let mut count = 0;
        'outer: loop {
            loop {
                once_pending().await;
                count += 1;
                if count > limit {
                    break 'outer;
                }
                if count == 1 {
                    continue 'outer;
                }
            }
        }
        count
    }

    #[exoscope::instrument]
    async fn coerced() -> Box<dyn std::fmt::Debug + Send> {
        Box::new(1)
    }

    fn run() {
        pollster::block_on(async {
            unit().await;
            assert_eq!((option(true).await, option(false).await), (Some(2), None));
            assert_eq!(converted(false).await.ok(), Some(2));
            assert!(converted(true).await.is_err());
            assert_eq!(large().await[4095], 1);
            assert_eq!(labelled(2).await, 3);
            assert_eq!(format!("{:?}", coerced().await), "1");
        });
    }

    const SAID: &str = "an error occurred when formatting an argument";

    case!(run => [
        ok("unit"),
        ok("option"),
        ok("option"),
        ok("converted").with(&[ok("origin")]),
        err("converted", "anyhow::Error", SAID).with(&[err("origin", "core::fmt::Error", SAID)]),
        ok("large"),
        ok("labelled"),
        ok("coerced"),
    ]);
}

/// 16 futures within each other.
pub mod deep {
    use super::once_pending;
    use crate::case::ok;

    macro_rules! nest {
        ($name:ident) => {
            #[exoscope::instrument]
            async fn $name() -> u32 {
                once_pending().await;
                1
            }
        };
        ($name:ident $next:ident $($rest:ident)*) => {
            nest!($next $($rest)*);
            #[exoscope::instrument]
            async fn $name() -> u32 {
                $next().await + 1
            }
        };
    }

    macro_rules! rows {
        ($name:ident) => {
            ok(stringify!($name))
        };
        ($name:ident $($rest:ident)+) => {
            ok(stringify!($name)).with(&[rows!($($rest)+)])
        };
    }

    macro_rules! with_names {
        ($macro:ident) => {
            $macro! {
                a0 a1 a2 a3 a4 a5 a6 a7 b0 b1 b2 b3 b4 b5 b6 b7
            }
        };
    }

    with_names!(nest);

    fn run() {
        assert_eq!(pollster::block_on(a0()), 16);
    }

    case!(run => [with_names!(rows)]);
}

/// Polled by hand, from different calls: the parent is the call of the first poll.
pub mod by_hand {
    use std::pin::{Pin, pin};
    use std::task::Poll;

    use super::{once_pending, poll_once};
    use crate::case::ok;

    #[exoscope::instrument]
    async fn waits() -> u32 {
        once_pending().await;
        inner().await
    }

    #[exoscope::instrument]
    async fn inner() -> u32 {
        once_pending().await;
        1
    }

    #[exoscope::instrument]
    fn first<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        poll_once(future)
    }

    #[exoscope::instrument]
    fn other<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        poll_once(future)
    }

    fn run() {
        let mut future = pin!(waits());
        assert!(first(future.as_mut()).is_pending());
        assert!(other(future.as_mut()).is_pending());
        assert_eq!(poll_once(future.as_mut()), Poll::Ready(1));
    }

    case!(run => [
        ok("first").with(&[ok("waits").outlives().with(&[ok("inner")])]),
        ok("other"),
    ].needs_entries());
}

/// Dropped before the first poll: no row.
pub mod never_polled {
    use crate::case::ok;

    #[exoscope::instrument]
    async fn never(_text: String) -> u32 {
        1
    }

    #[exoscope::instrument]
    async fn never_inside() -> u32 {
        drop(never(String::new()));
        let boxed: Box<dyn Future<Output = u32>> = Box::new(never(String::new()));
        drop(boxed);
        let _unused = exoscope::future!("never", async { 1 });
        2
    }

    fn run() {
        drop(never("text".to_owned()));
        assert_eq!(pollster::block_on(never_inside()), 2);
        std::mem::forget(never(String::new()));
    }

    case!(run => [ok("never_inside")]);
}

/// Dropped while pending, with what they hold.
pub mod cancelled_pending {
    use super::poll_once;
    use crate::case::{cancelled, ok};

    struct Guard;

    #[exoscope::instrument]
    impl Drop for Guard {
        fn drop(&mut self) {}
    }

    #[exoscope::instrument]
    async fn waits(_guard: Guard) {
        std::future::pending().await
    }

    #[exoscope::instrument]
    async fn outer() {
        let _guard = Guard;
        before().await;
        waits(Guard).await;
    }

    #[exoscope::instrument]
    async fn before() {}

    fn run() {
        let mut future = Box::pin(outer());
        assert!(poll_once(future.as_mut()).is_pending());
        assert!(poll_once(future.as_mut()).is_pending());
        drop(future);
    }

    case!(run => [
        cancelled("outer").with(&[
            ok("before"),
            cancelled("waits").with(&[ok("Guard::drop")]),
            ok("Guard::drop"),
        ]),
    ]);
}

/// Dropped by another thread than polled it.
pub mod cancelled_elsewhere {
    use std::thread;

    use super::poll_once;
    use crate::case::cancelled;

    #[exoscope::instrument]
    async fn inner() {
        std::future::pending().await
    }

    #[exoscope::instrument]
    async fn outer() {
        inner().await;
    }

    fn run() {
        let mut future = Box::pin(outer());
        assert!(poll_once(future.as_mut()).is_pending());
        thread::spawn(move || drop(future))
            .join()
            .expect("dropping does not panic");
    }

    case!(run => [
        cancelled("outer").elsewhere().with(&[cancelled("inner")]),
    ].needs_entries());
}

/// Begun on one thread, ended on another.
pub mod moved {
    use std::thread;

    use super::{once_pending, poll_once};
    use crate::case::ok;

    #[exoscope::instrument]
    async fn begins() -> u32 {
        once_pending().await;
        ends().await + 1
    }

    #[exoscope::instrument]
    async fn ends() -> u32 {
        once_pending().await;
        1
    }

    fn run() {
        let mut future = Box::pin(begins());
        assert!(poll_once(future.as_mut()).is_pending());
        let ended = thread::spawn(|| pollster::block_on(future)).join();
        assert_eq!(ended.ok(), Some(2));
    }

    case!(run => [ok("begins").elsewhere().with(&[ok("ends")])].needs_entries());
}

/// Each poll on another thread, inside of calls of these threads.
pub mod moved_often {
    use std::pin::Pin;
    use std::task::Poll;
    use std::thread;

    use super::{once_pending, poll_once};
    use crate::case::ok;

    type Boxed = Pin<Box<dyn Future<Output = u32> + Send>>;

    #[exoscope::instrument]
    async fn outer() -> u32 {
        once_pending().await;
        inner().await + sync()
    }

    #[exoscope::instrument]
    async fn inner() -> u32 {
        once_pending().await;
        sync();
        once_pending().await;
        1
    }

    #[exoscope::instrument]
    fn sync() -> u32 {
        1
    }

    /// A thread's own call: the parent of what it polls first only.
    #[exoscope::instrument]
    fn turn(future: &mut Boxed) -> Poll<u32> {
        poll_once(future.as_mut())
    }

    fn run() {
        let mut future: Boxed = Box::pin(outer());
        let mut turns = 0;
        let value = loop {
            turns += 1;
            let thread = thread::spawn(move || (turn(&mut future), future));
            match thread.join().expect("it does not panic") {
                (Poll::Ready(value), _) => break value,
                (Poll::Pending, pending) => future = pending,
            }
        };
        assert_eq!((turns, value), (4, 2));
    }

    const TURN: crate::case::Row = ok("turn").on_thread();

    case!(run => [
        TURN.with(&[
            ok("outer").elsewhere().outlives().with(&[
                ok("inner").with(&[ok("sync").elsewhere()]),
                ok("sync"),
            ]),
        ]),
        TURN,
        TURN,
        TURN,
    ].needs_entries());
}

/// Awaited by one call after another has begun it.
pub mod of_two_parents {
    use std::pin::Pin;

    use super::once_pending;
    use crate::case::ok;

    #[exoscope::instrument]
    async fn shared() -> u32 {
        once_pending().await;
        once_pending().await;
        1
    }

    #[exoscope::instrument]
    async fn begins(mut future: Pin<&mut impl Future<Output = u32>>) {
        std::future::poll_fn(|context| {
            assert!(future.as_mut().poll(context).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
    }

    #[exoscope::instrument]
    async fn ends(future: Pin<&mut impl Future<Output = u32>>) -> u32 {
        future.await
    }

    fn run() {
        let mut future = Box::pin(shared());
        pollster::block_on(async {
            begins(future.as_mut()).await;
            assert_eq!(ends(future.as_mut()).await, 1);
        });
    }

    case!(run => [ok("begins").with(&[ok("shared").outlives()]), ok("ends")].needs_entries());
}

/// Never dropped and never complete: open until the process ends.
pub mod leaked {
    use super::poll_once;
    use crate::case::{died, ok};

    #[exoscope::instrument]
    async fn waits() {
        before().await;
        std::future::pending().await
    }

    #[exoscope::instrument]
    async fn before() {}

    fn run() {
        let mut future = Box::pin(waits());
        assert!(poll_once(future.as_mut()).is_pending());
        std::mem::forget(future);
    }

    case!(run => [died("waits").outlives().with(&[ok("before")])].needs_entries());
}

/// Never complete while anybody waits for it; then it is dropped.
pub mod never_completes {
    use truth::gate;

    use super::poll_once;
    use crate::case::{cancelled, ok};

    #[exoscope::instrument]
    async fn waits() {
        before().await;
        inner().await;
    }

    #[exoscope::instrument]
    async fn before() {}

    #[exoscope::instrument]
    async fn inner() {
        std::future::pending().await
    }

    fn run() {
        let mut future = Box::pin(waits());
        assert!(poll_once(future.as_mut()).is_pending());
        gate::pause("holding");
        drop(future);
    }

    case!(run => [cancelled("waits").with(&[ok("before"), cancelled("inner")])].alone());
}

/// Futures stay `Send` where they were, need no `Send` where they did not, and stay as small.
pub mod not_send {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::once_pending;
    use crate::case::ok;

    #[exoscope::instrument]
    async fn local(count: Rc<Cell<u32>>) -> u32 {
        count.set(count.get() + 1);
        once_pending().await;
        count.get()
    }

    #[exoscope::instrument]
    async fn sent(bytes: [u8; 1000]) -> u8 {
        once_pending().await;
        bytes[999]
    }

    async fn bare(bytes: [u8; 1000]) -> u8 {
        once_pending().await;
        bytes[999]
    }

    fn is_send<T: Send>(value: T) -> T {
        value
    }

    fn run() {
        assert_eq!(pollster::block_on(local(Rc::new(Cell::new(0)))), 1);
        let (marked, bare) = (is_send(sent([7; 1000])), bare([7; 1000]));
        let (size, bare) = (size_of_val(&marked), size_of_val(&bare));
        assert!(size <= bare + 48, "{size} bytes, the bare one {bare}");
        assert_eq!(pollster::block_on(marked), 7);
    }

    case!(run => [ok("local"), ok("sent")]);
}

/// Panics, before and after a suspension, through several futures.
#[cfg(panic = "unwind")]
pub mod panics {
    use futures::FutureExt;
    use std::panic::AssertUnwindSafe;

    use super::once_pending;
    use crate::case::{ok, panic};

    #[exoscope::instrument]
    async fn falls(suspend: bool) -> u32 {
        if suspend {
            once_pending().await;
        }
        panic!("in a future");
    }

    #[exoscope::instrument]
    async fn passes(suspend: bool) -> u32 {
        before().await;
        falls(suspend).await + 1
    }

    #[exoscope::instrument]
    async fn before() {}

    #[exoscope::instrument]
    async fn catches() -> bool {
        AssertUnwindSafe(passes(true)).catch_unwind().await.is_err()
    }

    #[exoscope::instrument]
    async fn never() -> ! {
        once_pending().await;
        panic!("never")
    }

    fn run() {
        pollster::block_on(async {
            let caught = AssertUnwindSafe(passes(false)).catch_unwind().await;
            assert!(caught.is_err());
            assert!(catches().await);
            let caught = AssertUnwindSafe(async { never().await })
                .catch_unwind()
                .await;
            assert!(caught.is_err());
        });
    }

    const PASSES: crate::case::Row =
        panic("passes").with(&[ok("before"), panic("falls").said("in a future")]);

    case!(run => [PASSES, ok("catches").with(&[PASSES]), panic("never").said("never")]);
}

/// Polled again after the end, or after a panic: that is no call any more.
#[cfg(panic = "unwind")]
pub mod after_the_end {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::task::Poll;

    use super::poll_once;
    use crate::case::{ok, panic};

    #[exoscope::instrument]
    async fn ends() -> u32 {
        1
    }

    #[exoscope::instrument]
    async fn falls() {
        panic!("in a future");
    }

    fn run() {
        let mut future = Box::pin(ends());
        assert_eq!(poll_once(future.as_mut()), Poll::Ready(1));
        assert!(catch_unwind(AssertUnwindSafe(|| poll_once(future.as_mut()))).is_err());
        let mut future = Box::pin(falls());
        for _ in 0..2 {
            assert!(catch_unwind(AssertUnwindSafe(|| poll_once(future.as_mut()))).is_err());
        }
    }

    case!(run => [ok("ends"), panic("falls").said("in a future")]);
}

/// What is dropped with a pending future panics.
#[cfg(panic = "unwind")]
pub mod panics_when_dropped {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::poll_once;
    use crate::case::panic;

    struct Falls;

    #[exoscope::instrument]
    impl Drop for Falls {
        fn drop(&mut self) {
            panic!("in drop");
        }
    }

    #[exoscope::instrument]
    async fn waits() {
        let _falls = Falls;
        std::future::pending().await
    }

    fn run() {
        let mut future = Box::pin(waits());
        assert!(poll_once(future.as_mut()).is_pending());
        assert!(catch_unwind(AssertUnwindSafe(|| drop(future))).is_err());
    }

    // The drop that ends the call unwinds.
    case!(run => [panic("waits").with(&[panic("Falls::drop").said("in drop")])]);
}
