//! Polls of a call, while somebody looks at them: how its time is split.
//!
//! Polled is the time in polls; ready the time from the first wake-up after a poll began, though not
//! from before that poll ended, to the next poll; suspended is the rest.

/// What is known of the polls of an ended call. What neither time has of its duration, it was suspended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct CallPolls {
    /// Polls.
    pub polls: u64,
    /// Nanoseconds in polls.
    pub polled_ns: u64,
    /// Nanoseconds in which it had been woken and was not polled.
    pub ready_ns: u64,
}
const _: () = assert!(size_of::<CallPolls>() == 24);

impl CallPolls {
    /// Of a call of which no poll is known. A call that is polled has one at least.
    pub const NONE: Self = Self {
        polls: 0,
        polled_ns: 0,
        ready_ns: 0,
    };
}

/// The polls of an open call so far: one for each slot of the table of open calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct OpenPolls {
    /// Number of the call; where that of the slot is another one, nothing is known of its polls.
    pub id: u64,
    /// Data pointer of the waker that the latest poll got.
    pub waker: u64,
    /// `CLOCK_MONOTONIC` nanoseconds at which the latest poll began.
    pub begun_ns: u64,
    /// `CLOCK_MONOTONIC` nanoseconds at which it ended; 0 while it goes on.
    pub ended_ns: u64,
    /// Polls.
    pub polls: u64,
    /// Nanoseconds in the polls that have ended.
    pub polled_ns: u64,
    /// Nanoseconds ready before the latest poll.
    pub ready_ns: u64,
}
const _: () = assert!(size_of::<OpenPolls>() == 56);

impl OpenPolls {
    /// The call's first poll begins with the call.
    #[inline(always)]
    pub const fn first(id: u64, waker: u64, start_ns: u64) -> Self {
        Self {
            id,
            waker,
            begun_ns: start_ns,
            ended_ns: 0,
            polls: 1,
            polled_ns: 0,
            ready_ns: 0,
        }
    }

    /// A later poll begins; `woken_ns` is the first wake-up since the one before it began, or 0.
    #[inline(always)]
    pub fn begin(&mut self, waker: u64, at_ns: u64, woken_ns: u64) {
        self.end(at_ns);
        self.ready_ns += self.ready_until(at_ns, woken_ns);
        self.waker = waker;
        self.begun_ns = at_ns;
        self.ended_ns = 0;
        self.polls += 1;
    }

    /// The latest poll ends, unless it has.
    #[inline(always)]
    pub fn end(&mut self, at_ns: u64) {
        if self.ended_ns == 0 {
            self.ended_ns = at_ns;
            self.polled_ns += at_ns.saturating_sub(self.begun_ns);
        }
    }

    /// The call ends; `woken_ns` is the first wake-up since its latest poll began, or 0.
    #[inline(always)]
    pub fn finish(&mut self, at_ns: u64, woken_ns: u64) -> CallPolls {
        self.end(at_ns);
        CallPolls {
            polls: self.polls,
            polled_ns: self.polled_ns,
            ready_ns: self.ready_ns + self.ready_until(at_ns, woken_ns),
        }
    }

    #[inline(always)]
    fn ready_until(&self, at_ns: u64, woken_ns: u64) -> u64 {
        if woken_ns == 0 {
            return 0;
        }
        let since_ns = if woken_ns > self.ended_ns {
            woken_ns
        } else {
            self.ended_ns
        };
        at_ns.saturating_sub(since_ns)
    }
}

/// Wake-ups that are remembered of one waker.
pub const WAKES: usize = 8;

/// The latest wake-ups by a waker of which each is the first since some poll that got it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Wakes {
    /// `CLOCK_MONOTONIC` nanoseconds at which the latest poll that got it began. [`Wakes::ANY`]
    /// while one begins: no wake-up is to be taken for a second one meanwhile.
    pub polled_ns: u64,
    /// Wake-ups so far; the next one goes to this place, modulo their number.
    pub count: u64,
    /// `CLOCK_MONOTONIC` nanoseconds.
    pub at_ns: [u64; WAKES],
}
const _: () = assert!(size_of::<Wakes>() == 80);

impl Wakes {
    /// A time later than all.
    pub const ANY: u64 = u64::MAX;

    /// Of a waker that a first poll gets.
    pub const NONE: Self = Self {
        polled_ns: Self::ANY,
        count: 0,
        at_ns: [0; WAKES],
    };

    /// The waker wakes its task. A second time since the latest poll tells no call anything.
    #[inline(always)]
    pub fn wake(&mut self, at_ns: u64) {
        let latest = self.at_ns[(self.count as usize).wrapping_sub(1) % WAKES];
        if latest < self.polled_ns || self.count == 0 {
            self.at_ns[self.count as usize % WAKES] = at_ns;
            self.count += 1;
        }
    }

    /// The first wake-up since `begun_ns` that is remembered, or 0.
    #[inline(always)]
    pub fn first_since(&self, begun_ns: u64) -> u64 {
        let mut first = 0;
        let mut index = 0;
        while index < WAKES {
            let at_ns = self.at_ns[index];
            if at_ns >= begun_ns && (first == 0 || at_ns < first) {
                first = at_ns;
            }
            index += 1;
        }
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_is_from_the_wake_up_to_the_next_poll() {
        let mut polls = OpenPolls::first(1, 7, 100);
        polls.end(110);
        polls.begin(7, 150, 130);
        polls.end(160);
        polls.begin(7, 200, 0);
        let known = polls.finish(230, 0);
        assert_eq!((known.polls, known.polled_ns, known.ready_ns), (3, 50, 20));
    }

    #[test]
    fn a_wake_up_during_a_poll_counts_from_its_end() {
        let mut polls = OpenPolls::first(1, 7, 100);
        polls.end(120);
        polls.begin(7, 150, 105);
        assert_eq!((polls.polled_ns, polls.ready_ns), (20, 30));
    }

    #[test]
    fn a_call_that_is_dropped_was_ready_or_suspended() {
        let mut polls = OpenPolls::first(1, 7, 100);
        polls.end(110);
        assert_eq!(polls.finish(150, 0).ready_ns, 0);
        assert_eq!(polls.finish(150, 120).ready_ns, 30);
    }

    #[test]
    fn only_the_first_wake_up_since_a_poll_is_remembered() {
        let mut wakes = Wakes::NONE;
        assert_eq!(wakes.first_since(0), 0);
        wakes.polled_ns = 10;
        for at_ns in [15, 16, 17] {
            wakes.wake(at_ns);
        }
        wakes.polled_ns = 20;
        wakes.wake(25);
        assert_eq!(
            [10, 16, 20, 26].map(|since| wakes.first_since(since)),
            [15, 25, 25, 0]
        );
    }

    #[test]
    fn the_oldest_wake_ups_are_forgotten() {
        let mut wakes = Wakes::NONE;
        for poll in 1..=20 {
            wakes.polled_ns = poll * 10;
            wakes.wake(poll * 10 + 5);
        }
        assert_eq!(wakes.first_since(10), 135);
        assert_eq!(wakes.first_since(200), 205);
    }
}
