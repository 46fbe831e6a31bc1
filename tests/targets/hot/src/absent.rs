//! Functions that leave the CPU.
//!
//! | function | calls | leaves the CPU for |
//! |---|---|---|
//! | `sleeps` | 20 | 30 ms each |
//! | `naps` | 4,000 | 0.2 ms each, and what the timer adds |

use std::thread;
use std::time::{Duration, Instant};

#[exoscope::instrument]
#[inline(never)]
fn sleeps() {
    thread::sleep(Duration::from_millis(30));
}

#[exoscope::instrument]
#[inline(never)]
fn naps() {
    thread::sleep(Duration::from_micros(200));
}

/// Nanoseconds that `calls` calls took.
fn timed(calls: u64, function: fn()) -> u128 {
    let begin = Instant::now();
    for _ in 0..calls {
        function();
    }
    begin.elapsed().as_nanos()
}

/// Makes the calls and prints a JSON line: `{"sleeps_ns":6,"naps_ns":3}`.
pub fn run() {
    let (in_sleeps, in_naps) = (timed(20, sleeps), timed(4_000, naps));
    println!(r#"{{"sleeps_ns":{in_sleeps},"naps_ns":{in_naps}}}"#);
}
