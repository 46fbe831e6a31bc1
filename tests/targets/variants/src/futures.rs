//! Async functions, on an executor of our own.
//!
//! | function | calls a round | outcome |
//! |---|---|---|
//! | `waits` | 1, pending as often as the round's number modulo 4 | ok |
//! | `outer` → `inner` | 1 each | both err in rounds 1, 4, 7, … (one error) |
//! | `Service::method` | 1 | ok |
//! | `holder` → `abandoned` | 1 each in rounds 0, 7, 14, … | both cancelled |
//! | `unpolled` | 0: created and dropped in every round | |

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::{future, hint::black_box};

use truth::{Outcome, Truth, path};

/// Unparks the thread that blocks on a future.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future to its end on this thread.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// Is pending `times` times, and wakes at once.
pub async fn pending(mut times: u64) {
    future::poll_fn(|context| {
        if times == 0 {
            return Poll::Ready(());
        }
        times -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[exoscope::instrument]
async fn waits(times: u64) -> u64 {
    pending(times).await;
    times
}

/// The round was one of those that fail.
#[derive(Debug)]
struct Refused;

#[exoscope::instrument]
async fn inner(n: u64) -> Result<u64, Refused> {
    pending(1).await;
    if n % 3 == 1 { Err(Refused) } else { Ok(n) }
}

#[exoscope::instrument]
async fn outer(n: u64) -> Result<u64, Refused> {
    let value = inner(n).await?;
    pending(1).await;
    Ok(value + 1)
}

/// Has an async method.
struct Service(u64);

impl Service {
    #[exoscope::instrument]
    async fn method(&self, n: &u64) -> u64 {
        pending(1).await;
        self.0 + n
    }
}

#[exoscope::instrument]
async fn abandoned() {
    future::pending().await
}

#[exoscope::instrument]
async fn holder() {
    abandoned().await;
}

#[exoscope::instrument]
async fn unpolled(n: u64) -> u64 {
    n
}

/// Makes the calls of round `n`.
pub fn round(n: u64, truth: &mut Truth) {
    black_box(block_on(waits(n % 4)));
    truth.ok(path!("waits"));

    truth.result(&[path!("outer"), path!("inner")], &block_on(outer(n)));

    black_box(block_on(Service(n).method(&n)));
    truth.ok(path!("Service::method"));

    if n.is_multiple_of(7) {
        abandon(truth);
    }

    drop(unpolled(n));
}

/// Polls `holder` once, so that it waits for `abandoned`, and drops it.
fn abandon(truth: &mut Truth) {
    let mut future = Box::pin(holder());
    assert!(
        future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_pending()
    );
    drop(future);
    truth.add(path!("holder"), Outcome::Cancelled, 1);
    truth.add(path!("abandoned"), Outcome::Cancelled, 1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makes_the_calls_of_the_table() {
        let mut truth = Truth::default();
        (0..9).for_each(|n| round(n, &mut truth));
        assert_eq!(truth.count("variants::futures::waits", Outcome::Ok), 9);
        assert_eq!(
            truth.count("variants::futures::Service::method", Outcome::Ok),
            9
        );
        for frame in ["variants::futures::outer", "variants::futures::inner"] {
            assert_eq!(truth.count(frame, Outcome::Err), 3, "{frame}");
            assert_eq!(truth.count(frame, Outcome::Ok), 6, "{frame}");
        }
        for frame in ["variants::futures::holder", "variants::futures::abandoned"] {
            assert_eq!(truth.count(frame, Outcome::Cancelled), 2, "{frame}");
        }
        assert_eq!(truth.total(), 4 * 9 + 4);
    }
}
