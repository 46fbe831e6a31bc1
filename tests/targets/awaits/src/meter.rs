//! Measures polls from outside of the call that is polled.

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

/// Counts and times the polls of one call, as whoever polls it sees them.
pub struct Meter {
    begun: Instant,
    /// End of the latest poll.
    rested: Instant,
    polls: u32,
    polled: Duration,
    ready: Duration,
    wakes: Option<Arc<Wakes>>,
}

/// The waker that the call gets: tells when it was first used, and wakes the task.
struct Wakes {
    first: Mutex<Option<Instant>>,
    task: Waker,
}

impl Wakes {
    fn take(&self) -> Option<Instant> {
        self.first.lock().expect("no holder panics").take()
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut first = self.first.lock().expect("no holder panics");
        first.get_or_insert_with(Instant::now);
        drop(first);
        self.task.wake_by_ref();
    }
}

impl Meter {
    /// Of a call whose first poll comes next.
    pub fn new() -> Self {
        let now = Instant::now();
        Self {
            begun: now,
            rested: now,
            polls: 0,
            polled: Duration::ZERO,
            ready: Duration::ZERO,
            wakes: None,
        }
    }

    /// Polls once; `waker` is the task's, always the same one.
    pub fn poll<T>(
        &mut self,
        waker: &Waker,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let begun = Instant::now();
        self.add_ready(begun);
        if self.polls == 0 {
            self.begun = begun;
        }
        let wakes = self.wakes.get_or_insert_with(|| {
            Arc::new(Wakes {
                first: Mutex::new(None),
                task: waker.clone(),
            })
        });
        let waker = Waker::from(Arc::clone(wakes));
        let polled = poll(&mut Context::from_waker(&waker));
        self.rested = Instant::now();
        self.polls += 1;
        self.polled += self.rested - begun;
        polled
    }

    /// The call has ended, in its latest poll or because it was dropped; prints what was measured:
    /// `{"polled":"a::b","polls":3,"polled_ns":1,"ready_ns":2,"lasted_ns":4}`.
    pub fn print(mut self, function: &str, dropped: bool) {
        let mut ended = self.rested;
        if dropped {
            ended = Instant::now();
            self.add_ready(ended);
        }
        println!(
            r#"{{"polled":"{function}","polls":{},"polled_ns":{},"ready_ns":{},"lasted_ns":{}}}"#,
            self.polls,
            self.polled.as_nanos(),
            self.ready.as_nanos(),
            (ended - self.begun).as_nanos()
        );
    }

    /// The time since the latest poll, as far as the call had been woken in it.
    fn add_ready(&mut self, until: Instant) {
        if let Some(woken) = self.wakes.as_ref().and_then(|wakes| wakes.take()) {
            self.ready += until - woken.max(self.rested);
        }
    }
}
