//! The functions, in pairs: what is bare in one is marked in the other, and nothing else differs.

use std::hint::black_box;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use futures_core::Stream;

/// Calls one function so many times; `…_polls` and `…_items` are polled so many times.
pub type Run = fn(u64);

/// What every second call of a `…_err` function returns.
#[derive(Debug)]
pub struct Failed;

/// Every function by its name.
const TABLE: [(&str, Run); 16] = [
    ("bare", |calls| repeat(calls, bare)),
    ("marked", |calls| repeat(calls, marked)),
    ("bare_err", |calls| repeat(calls, bare_err)),
    ("marked_err", |calls| repeat(calls, marked_err)),
    ("bare_outer", |calls| repeat(calls, bare_outer)),
    ("marked_outer", |calls| repeat(calls, marked_outer)),
    ("bare_async", |calls| {
        repeat(calls, |n| ready(bare_async(n)))
    }),
    ("marked_async", |calls| {
        repeat(calls, |n| ready(marked_async(n)))
    }),
    ("bare_polls", |polls| poll(bare_polls(polls))),
    ("marked_polls", |polls| poll(marked_polls(polls))),
    ("bare_items", |items| drain(bare_items(items))),
    ("marked_items", |items| drain(marked_items(items))),
    ("bare_fields", |calls| repeat(calls, bare_fields)),
    ("marked_fields", |calls| repeat(calls, marked_fields)),
    ("bare_inlined", |calls| repeat(calls, bare_inlined)),
    ("marked_inlined", |calls| repeat(calls, marked_inlined)),
];

/// The function named `name`.
pub fn find(name: &str) -> Option<Run> {
    TABLE
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, run)| *run)
}

/// Calls `function` so many times.
#[inline(always)]
fn repeat<R>(calls: u64, function: impl Fn(u64) -> R) {
    for n in 0..calls {
        black_box(function(black_box(n)));
    }
}

/// Polls a future that is ready at once. It lies in memory, as it does in every executor: left to
/// the compiler, a bare one would vanish.
#[inline(always)]
fn ready<F: Future>(future: F) -> F::Output {
    match black_box(pin!(future)).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("nothing here waits"),
    }
}

/// Polls a future until it is ready. It lies in memory, too.
#[inline(always)]
fn poll<F: Future>(future: F) -> F::Output {
    let future = pin!(future);
    let mut future = black_box(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = black_box(future.as_mut().poll(&mut context)) {
            return output;
        }
    }
}

/// Polls a stream until it has ended. It lies in memory, too.
#[inline(always)]
fn drain<S: Stream>(stream: S) {
    let stream = pin!(stream);
    let mut stream = black_box(stream);
    let mut context = Context::from_waker(Waker::noop());
    while let Poll::Ready(Some(item)) = stream.as_mut().poll_next(&mut context) {
        black_box(item);
    }
}

/// What is left of a future that is pending so many times, or of a stream of so many items.
struct Left(u64);

impl Left {
    /// Takes one, if there is one.
    #[inline(never)]
    fn take(&mut self) -> Option<u64> {
        self.0 = self.0.checked_sub(1)?;
        Some(self.0)
    }
}

impl Future for Left {
    type Output = ();

    #[inline]
    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        match self.take() {
            Some(_) => Poll::Pending,
            None => Poll::Ready(()),
        }
    }
}

impl Stream for Left {
    type Item = u64;

    #[inline]
    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<u64>> {
        Poll::Ready(self.take())
    }
}

#[inline(never)]
fn bare(n: u64) -> u64 {
    n ^ (n >> 7)
}

#[exoscope::instrument]
#[inline(never)]
fn marked(n: u64) -> u64 {
    n ^ (n >> 7)
}

#[inline(never)]
fn bare_err(n: u64) -> Result<u64, Failed> {
    if n % 2 == 1 { Err(Failed) } else { Ok(n) }
}

#[exoscope::instrument]
#[inline(never)]
fn marked_err(n: u64) -> Result<u64, Failed> {
    if n % 2 == 1 { Err(Failed) } else { Ok(n) }
}

#[inline(never)]
fn bare_outer(n: u64) -> u64 {
    bare(n) + 1
}

#[exoscope::instrument]
#[inline(never)]
fn marked_outer(n: u64) -> u64 {
    marked(n) + 1
}

async fn bare_async(n: u64) -> u64 {
    black_box(n)
}

#[exoscope::instrument]
async fn marked_async(n: u64) -> u64 {
    black_box(n)
}

async fn bare_polls(polls: u64) {
    Left(polls).await
}

#[exoscope::instrument]
async fn marked_polls(polls: u64) {
    Left(polls).await
}

fn bare_items(items: u64) -> impl Stream<Item = u64> {
    Left(items)
}

#[exoscope::instrument]
fn marked_items(items: u64) -> impl Stream<Item = u64> {
    Left(items)
}

#[inline(never)]
fn bare_fields(n: u64) -> u64 {
    n ^ (n >> 7)
}

#[exoscope::instrument(fields(n, half = n / 2, name = "tick"))]
#[inline(never)]
fn marked_fields(n: u64) -> u64 {
    n ^ (n >> 7)
}

#[inline(always)]
fn bare_inlined(n: u64) -> u64 {
    n ^ (n >> 7)
}

#[exoscope::instrument]
#[inline(always)]
fn marked_inlined(n: u64) -> u64 {
    n ^ (n >> 7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bare_function_has_its_marked_partner_beside_it() {
        for [(bare, _), (marked, _)] in TABLE.as_chunks().0 {
            let bare = bare.strip_prefix("bare").unwrap();
            assert_eq!(marked.strip_prefix("marked"), Some(bare));
        }
        assert!(find("bare_async").is_some());
        assert!(find("unknown").is_none());
    }

    #[test]
    fn futures_and_streams_last_as_long_as_they_are_told() {
        let mut context = Context::from_waker(Waker::noop());
        let mut future = pin!(marked_polls(2));
        let pending = std::iter::from_fn(|| {
            future
                .as_mut()
                .poll(&mut context)
                .is_pending()
                .then_some(())
        });
        assert_eq!(pending.count(), 2);
        let mut stream = pin!(marked_items(3));
        let items = std::iter::from_fn(|| match stream.as_mut().poll_next(&mut context) {
            Poll::Ready(item) => item,
            Poll::Pending => unreachable!("nothing here waits"),
        });
        assert_eq!(items.collect::<Vec<_>>(), [2, 1, 0]);
    }

    #[test]
    fn every_second_call_fails() {
        assert!(marked_err(4).is_ok() && marked_err(5).is_err());
        assert!(bare_err(4).is_ok() && bare_err(5).is_err());
    }
}
