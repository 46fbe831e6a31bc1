//! One small function, called at a steady rate.
//!
//! | function | calls | outcome |
//! |---|---|---|
//! | `small` | rate × seconds, exactly | ok |
//!
//! Every millisecond the calls that are due are made in one burst. Where the machine can't keep up,
//! the calls are made all the same and the run takes longer: the achieved rate says so.

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use truth::{Outcome, Truth, path};

/// Time between two bursts.
const TICK: Duration = Duration::from_millis(1);

#[exoscope::instrument]
#[inline(never)]
fn small(n: u64) -> u64 {
    black_box(n) + 1
}

/// Calls due after `elapsed`, of `total` calls at `rate` calls a second.
fn due(elapsed: Duration, rate: u64, total: u64) -> u64 {
    let calls = elapsed.as_nanos() * u128::from(rate) / 1_000_000_000;
    u64::try_from(calls).map_or(total, |calls| calls.min(total))
}

/// Makes `rate` calls a second for `seconds` and prints the achieved rate as a JSON line.
pub fn run(rate: u64, seconds: u64, truth: &mut Truth) {
    let total = rate * seconds;
    let begin = Instant::now();
    let mut made = 0;
    while made < total {
        let burst = due(begin.elapsed(), rate, total) - made;
        for n in 0..burst {
            black_box(small(n));
        }
        made += burst;
        thread::sleep(TICK);
    }
    let elapsed = begin.elapsed().as_secs_f64();
    truth.add(path!("small"), Outcome::Ok, made);
    println!(
        r#"{{"calls":{made},"seconds":{elapsed:.3},"rate":{:.0}}}"#,
        made as f64 / elapsed
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_fall_due_with_time_and_never_exceed_the_total() {
        assert_eq!(due(Duration::ZERO, 1000, 10), 0);
        assert_eq!(due(Duration::from_micros(4999), 1000, 10), 4);
        assert_eq!(due(Duration::from_secs(3600), u64::MAX, 10), 10);
    }

    #[test]
    fn makes_exactly_rate_times_seconds_calls() {
        let mut truth = Truth::default();
        run(313, 1, &mut truth);
        assert_eq!(truth.count("variants::rate::small", Outcome::Ok), 313);
    }
}
