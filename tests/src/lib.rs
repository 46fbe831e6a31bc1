//! The harness behind the tests of exoscope: nothing is mocked.
//!
//! A test builds a target like a user builds it ([`build`]), starts it and the agent as processes
//! ([`process`], [`agent`]), and compares what the target says it did ([`calls`]) with the rows
//! that the agent wrote ([`database`]), exactly: by their numbers, or row by row ([`forest`]).
//! that the agent wrote ([`database`]), exactly: by their numbers, or row by row ([`forest`]).
//! [`trees`] is the property test's part. [`memory`] looks into a running target, to see that nothing
//! stayed attached. [`resources`] is a target that uses so much of this and that, and [`cgroup`] a
//! control group that does not let it.
//!
//! Everything that is waited for is waited for at most [`PATIENCE`]: a hang fails by name.

pub mod agent;
pub mod build;
pub mod calls;
pub mod cgroup;
pub mod database;
pub mod faults;
pub mod forest;
pub mod lines;
pub mod memory;
pub mod process;
pub mod resources;
pub mod trees;

use std::time::{Duration, Instant};

/// How long anything is waited for. What takes longer hangs.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Waits until `look` finds something, and gives it back.
///
/// # Panics
/// Where it found nothing for [`PATIENCE`]; `what` says what it was to be.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let mut wait = Wait::begin();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(wait.goes_on(), "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A wait of [`PATIENCE`] at most. While everything was stopped, such as for a debugger or together with its
/// virtual machine, nothing could happen, and that does not count.
struct Wait {
    waited: Duration,
    looked: Instant,
}

impl Wait {
    /// More than a wait lasts between two looks that nobody stopped.
    const STEP: Duration = Duration::from_secs(1);

    fn begin() -> Self {
        Self {
            waited: Duration::ZERO,
            looked: Instant::now(),
        }
    }

    /// Whether there is patience left. It is to be asked more often than once a [`Self::STEP`].
    fn goes_on(&mut self) -> bool {
        let now = Instant::now();
        self.waited += (now - self.looked).min(Self::STEP);
        self.looked = now;
        self.waited < PATIENCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_and_does_not_count_a_stop() {
        let mut wait = Wait::begin();
        wait.looked -= PATIENCE;
        assert!(wait.goes_on(), "a stop is no wait");
        wait.waited = PATIENCE - Duration::from_millis(1);
        std::thread::sleep(Duration::from_millis(2));
        assert!(!wait.goes_on());
    }
}
