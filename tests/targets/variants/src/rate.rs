//! One small function, called at a steady rate; or, with `--mixed`, a busy one among others that are
//! seldom called, until a line comes on standard input.
//!
//! | function | calls | outcome |
//! |---|---|---|
//! | `small` | rate × seconds, exactly; with `--until-told` as many as were due when a line came | ok |
//!
//! What these calls returned is added up and printed: a line that is the same for every run of as many
//! calls.
//!
//! With `--mixed`, where there were B bursts:
//!
//! | function | calls | outcome |
//! |---|---|---|
//! | `whole` | 1, in which all others are made | ok |
//! | `busy` | rate / 1000 × B | err where its number is a multiple of [`FAILS`], else ok |
//! | `seldom` | [`SELDOM`] × B | ok |
//! | `small` | 1 in each call of `seldom` | ok |
//!
//! Every millisecond the calls that are due are made in one burst. Where the machine can't keep up,
//! the calls are made all the same and the run takes longer: the achieved rate says so. With `--mixed`
//! no burst makes up for others, so that each is as long as it was.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use truth::{Outcome, Truth, gate, path};

/// Time between two bursts.
const TICK: Duration = Duration::from_millis(1);

#[exoscope::instrument]
#[inline(never)]
fn small(n: u64) -> u64 {
    black_box(n) + 1
}

/// Calls of `seldom` in a burst.
const SELDOM: u64 = 10;
/// Of so many calls of `busy` one fails.
const FAILS: u64 = 100;

/// A call whose number is a multiple of [`FAILS`].
#[derive(Debug)]
struct Multiple(u64);

impl std::fmt::Display for Multiple {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} is a multiple of {FAILS}", self.0)
    }
}

#[exoscope::instrument]
#[inline(never)]
fn busy(n: u64) -> Result<u64, Multiple> {
    if n.is_multiple_of(FAILS) {
        return Err(Multiple(n));
    }
    Ok(black_box(n) + 1)
}

#[exoscope::instrument]
#[inline(never)]
fn seldom(n: u64) -> u64 {
    small(n) + 1
}

/// Becomes true when a line comes on standard input.
fn told() -> Arc<AtomicBool> {
    let told = Arc::new(AtomicBool::new(false));
    let tell = Arc::clone(&told);
    thread::spawn(move || {
        gate::wait();
        tell.store(true, Ordering::Release);
    });
    told
}

/// Calls `busy` up to so many times a second, and the others, until a line comes.
#[exoscope::instrument]
#[inline(never)]
pub fn whole(rate: u64, truth: &mut Truth) {
    let told = told();
    let burst = rate / 1000;
    let (mut made, mut failed, mut bursts) = (0, 0, 0);
    while !told.load(Ordering::Acquire) {
        failed += (made..made + burst).filter(|n| busy(*n).is_err()).count() as u64;
        made += burst;
        for n in 0..SELDOM {
            black_box(seldom(n));
        }
        bursts += 1;
        thread::sleep(TICK);
    }
    truth.add(path!("busy"), Outcome::Ok, made - failed);
    truth.add(path!("busy"), Outcome::Err, failed);
    truth.add(path!("seldom"), Outcome::Ok, SELDOM * bursts);
    truth.add(path!("small"), Outcome::Ok, SELDOM * bursts);
    truth.add(path!("whole"), Outcome::Ok, 1);
}

/// Calls due after `elapsed`, of `total` calls at `rate` calls a second.
fn due(elapsed: Duration, rate: u64, total: u64) -> u64 {
    let calls = elapsed.as_nanos() * u128::from(rate) / 1_000_000_000;
    u64::try_from(calls).map_or(total, |calls| calls.min(total))
}

/// Makes `rate` calls a second for `seconds`.
pub fn run(rate: u64, seconds: u64, truth: &mut Truth) {
    let total = rate * seconds;
    steadily(rate, total, |made| made == total, truth);
}

/// Makes `rate` calls a second until a line comes.
pub fn until_told(rate: u64, truth: &mut Truth) {
    let told = told();
    steadily(rate, u64::MAX, |_| told.load(Ordering::Acquire), truth);
}

/// Makes `rate` calls a second, `total` at most, until the number of those made is enough. Prints the
/// achieved rate, and what they returned, as JSON lines.
fn steadily(rate: u64, total: u64, is_enough: impl Fn(u64) -> bool, truth: &mut Truth) {
    let begin = Instant::now();
    let (mut made, mut returned) = (0, 0_u64);
    while !is_enough(made) {
        let due = due(begin.elapsed(), rate, total);
        for n in made..due {
            returned = returned.wrapping_add(small(n));
        }
        made = due;
        thread::sleep(TICK);
    }
    let elapsed = begin.elapsed().as_secs_f64();
    truth.add(path!("small"), Outcome::Ok, made);
    println!(
        r#"{{"calls":{made},"seconds":{elapsed:.3},"rate":{:.0}}}"#,
        made as f64 / elapsed
    );
    println!(r#"{{"returned":{returned}}}"#);
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
