//! An instrumented shared library, loaded at run time by `host`.
//!
//! | function | calls by `plugin_work(n)` | outcome |
//! |---|---|---|
//! | `batch` | 1 | ok |
//! | `step` | n | err for every seventh: n / 7, rounded down |

use std::hint::black_box;

/// The step was one of those that fail.
#[derive(Debug)]
pub struct Failed;

#[exoscope::instrument]
#[inline(never)]
fn step(n: u64) -> Result<u64, Failed> {
    if black_box(n) % 7 == 6 {
        Err(Failed)
    } else {
        Ok(n)
    }
}

#[exoscope::instrument]
#[inline(never)]
fn batch(n: u64) -> u64 {
    (0..n).map(step).filter(Result::is_err).count() as u64
}

/// Makes the calls of the table for `n` steps; returns how many of the steps failed.
#[unsafe(no_mangle)]
pub extern "C" fn plugin_work(n: u64) -> u64 {
    batch(n)
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_seventh_step_fails() {
        assert_eq!(super::plugin_work(6), 0);
        assert_eq!(super::plugin_work(101), 14);
    }
}
