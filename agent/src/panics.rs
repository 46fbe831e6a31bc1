//! Threads that go on after a panic.
//!
//! Every thread of a session works in turns, and what it knows outlives a turn. So a turn that panics
//! is told, what it held is counted as lost, and the next turn is taken. A thread that panics time
//! after time is given up: the session goes on without it where it can, and else it ends, with all
//! that is there.
//!
//! In a debug build the environment can have a thread panic: see [`point`].

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::event::{AgentEvent, Level};

/// Panics after which a thread is given up.
pub const PANICS: u32 = 5;
/// Pause after the first panic; it doubles each time.
const PAUSE: Duration = Duration::from_millis(10);

/// How often a thread has panicked.
#[derive(Debug)]
pub struct Panics {
    thread: &'static str,
    count: u32,
}

impl Panics {
    /// None yet.
    pub const fn of(thread: &'static str) -> Self {
        Self { thread, count: 0 }
    }

    /// Takes a turn; `None` where it panicked. What a turn leaves half-done must not matter.
    pub fn catch<T>(&mut self, turn: impl FnOnce() -> T) -> Option<T> {
        let ended = catch_unwind(AssertUnwindSafe(turn)).ok();
        if ended.is_none() {
            std::thread::sleep(PAUSE * (1 << self.count.min(PANICS)));
            self.count += 1;
        }
        ended
    }

    /// The thread takes no more turns.
    pub const fn are_enough(&self) -> bool {
        self.count >= PANICS
    }

    /// The last panic, for the file.
    pub fn event(&self) -> AgentEvent {
        let Self { thread, count } = self;
        let then = if self.are_enough() {
            "it is given up"
        } else {
            "it goes on"
        };
        let text = format!("the {thread} panicked, for the {count}. time: {then}");
        AgentEvent::now(Level::Error, "panic", text)
    }
}

/// A place where a test may have a thread panic: `EXOSCOPE_PANIC=NAME:FIRST:TIMES` does so at the
/// passage number FIRST, and at as many passages after it as make TIMES. Only in a debug build.
#[cfg(debug_assertions)]
pub fn point(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    struct Plan {
        name: String,
        first: u64,
        times: u64,
        passed: AtomicU64,
    }

    fn plan() -> Option<Plan> {
        let plan = std::env::var("EXOSCOPE_PANIC").ok()?;
        let mut words = plan.split(':');
        Some(Plan {
            name: words.next()?.to_owned(),
            first: words.next()?.parse().ok()?,
            times: words.next()?.parse().ok()?,
            passed: AtomicU64::new(0),
        })
    }

    static PLAN: OnceLock<Option<Plan>> = OnceLock::new();
    let plan = PLAN.get_or_init(plan).as_ref();
    let Some(plan) = plan.filter(|plan| plan.name == name) else {
        return;
    };
    let passed = plan.passed.fetch_add(1, Ordering::Relaxed) + 1;
    let times = passed.checked_sub(plan.first);
    assert!(
        times.is_none_or(|times| times >= plan.times),
        "EXOSCOPE_PANIC wants the {name} to panic"
    );
}

/// A place where a test may have a thread panic, in a debug build.
#[cfg(not(debug_assertions))]
pub const fn point(_name: &str) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_given_up_after_some_panics() {
        let mut panics = Panics::of("writer");
        assert_eq!(panics.catch(|| 7), Some(7));
        for time in 1..=PANICS {
            assert!(!panics.are_enough());
            assert_eq!(
                panics.catch(|| -> u32 { panic!("at the {time}. turn") }),
                None
            );
        }
        assert!(panics.are_enough());
        let said = panics.event().message;
        assert_eq!(said, "the writer panicked, for the 5. time: it is given up");
    }
}
