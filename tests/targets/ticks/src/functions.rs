//! The functions, in pairs: what is bare in one is marked in the other, and nothing else differs.

use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// Calls one function so many times.
pub type Run = fn(u64);

/// What every second call of a `…_err` function returns.
#[derive(Debug)]
pub struct Failed;

/// Every function by its name.
const TABLE: [(&str, Run); 10] = [
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
    fn every_second_call_fails() {
        assert!(marked_err(4).is_ok() && marked_err(5).is_err());
        assert!(bare_err(4).is_ok() && bare_err(5).is_err());
    }
}
