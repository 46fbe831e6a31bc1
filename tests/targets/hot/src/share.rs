//! Two functions that share the CPU, the one with about twice as much as the other.
//!
//! | function | CPU time of a thread | calls |
//! |---|---|---|
//! | `large` | two thirds of `--cpu-ms` | as many as `small` |
//! | `small` | the rest | |

use std::thread;

use crate::clock::{spin, uneven};

#[exoscope::instrument]
#[inline(never)]
fn large(ns: u64) -> u64 {
    spin(ns) + 1
}

#[exoscope::instrument]
#[inline(never)]
fn small(ns: u64) -> u64 {
    spin(ns) + 1
}

/// Nanoseconds of CPU time in `large` and in `small`.
fn work(cpu_ns: u64) -> (u64, u64) {
    let (mut in_large, mut in_small) = (0, 0);
    let mut lengths = uneven(500_000, 1_000_000);
    while in_large + in_small < cpu_ns {
        in_large += large(2 * lengths.next().unwrap_or_default());
        in_small += small(lengths.next().unwrap_or_default());
    }
    (in_large, in_small)
}

/// Works on `threads` threads and prints a JSON line: `{"large_ns":6,"small_ns":3}`.
pub fn run(threads: u64, cpu_ns: u64) {
    let running: Vec<_> = (0..threads)
        .map(|_| thread::spawn(move || work(cpu_ns)))
        .collect();
    let (mut in_large, mut in_small) = (0, 0);
    for thread in running {
        let used = thread.join().expect("nothing here panics");
        in_large += used.0;
        in_small += used.1;
    }
    println!(r#"{{"large_ns":{in_large},"small_ns":{in_small}}}"#);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_larger_share_is_two_thirds() {
        let (in_large, in_small) = work(60_000_000);
        let share = in_large as f64 / (in_large + in_small) as f64;
        assert!((0.55..0.78).contains(&share), "{share}");
    }
}
