//! A future that moves to another thread while it is pending.
//!
//! | function | calls a part | outcome |
//! |---|---|---|
//! | `starts` → `ends` | 1 each | ok: `starts` begins on the first thread, `ends` on another |

use std::hint::black_box;
use std::task::{Context, Waker};
use std::thread;

use truth::{Truth, path};

use crate::futures::{block_on, pending};

#[exoscope::instrument]
async fn ends(n: u64) -> u64 {
    pending(1).await;
    n
}

#[exoscope::instrument]
async fn starts(n: u64) -> u64 {
    pending(1).await;
    ends(n).await + 1
}

/// Makes the calls of one part.
pub fn part(truth: &mut Truth) {
    let mut future = Box::pin(starts(black_box(1)));
    let polled = future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending(), "it is to end on another thread");
    let thread = thread::spawn(move || block_on(future));
    assert_eq!(thread.join().expect("the thread does not panic"), 2);
    truth.ok(path!("starts"));
    truth.ok(path!("ends"));
}

#[cfg(test)]
mod tests {
    use truth::Outcome;

    use super::*;

    #[test]
    fn makes_the_calls_of_the_table() {
        let mut truth = Truth::default();
        part(&mut truth);
        assert_eq!(truth.count("variants::roaming::starts", Outcome::Ok), 1);
        assert_eq!(truth.count("variants::roaming::ends", Outcome::Ok), 1);
        assert_eq!(truth.total(), 2);
    }
}
