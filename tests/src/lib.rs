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
    let begin = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begin.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
