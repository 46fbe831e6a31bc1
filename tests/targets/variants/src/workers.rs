//! Threads that work at the same time, each a different number of times.
//!
//! | function | calls a part | outcome |
//! |---|---|---|
//! | `job` | rounds + i + 1 on thread i | err for every third job of a thread |
//! | `step` | 2 a job | ok |

use std::hint::black_box;
use std::thread;

use truth::{Outcome, Truth, path};

/// The job was one of those that fail.
#[derive(Debug)]
struct Failed;

#[exoscope::instrument]
#[inline(never)]
fn step(n: u64) -> u64 {
    black_box(n).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[exoscope::instrument]
fn job(n: u64) -> Result<u64, Failed> {
    let value = step(step(n));
    if n % 3 == 2 { Err(Failed) } else { Ok(value) }
}

/// Does `jobs` jobs on this thread.
fn work(jobs: u64) -> Truth {
    let mut truth = Truth::default();
    for n in 0..jobs {
        truth.result(&[path!("job")], &job(n));
        truth.add(path!("step"), Outcome::Ok, 2);
    }
    truth
}

/// Runs `threads` threads to their end.
pub fn part(rounds: u64, threads: u64, truth: &mut Truth) {
    let running: Vec<_> = (0..threads)
        .map(|thread| thread::spawn(move || work(rounds + thread + 1)))
        .collect();
    for thread in running {
        truth.merge(&thread.join().expect("workers never panic"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makes_the_calls_of_the_table() {
        let mut truth = Truth::default();
        part(4, 2, &mut truth);
        // 5 jobs on one thread and 6 on the other: 1 and 2 of them fail.
        assert_eq!(truth.count("variants::workers::job", Outcome::Ok), 8);
        assert_eq!(truth.count("variants::workers::job", Outcome::Err), 3);
        assert_eq!(truth.count("variants::workers::step", Outcome::Ok), 22);
    }
}
