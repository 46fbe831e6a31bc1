//! Degradation in named steps: how much is recorded where even the spool does not hold what the
//! target makes. It is pure: [`super::governor`] does what is decided here.
//!
//! A step is taken as soon as there is too little room on the way to the file, and taken back, one at a
//! time, when there has been enough for a while. Where the next step follows soon, that while doubles:
//! else a target that is always too fast would have a little lost at every turn.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::event::FunctionCounts;

/// How long all must be well before a step is taken back: at first, and at most.
const HOLD: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(64));
/// A step that is taken sooner than this after one was taken back makes the hold longer.
const SOON: Duration = Duration::from_secs(10);

/// How much is recorded. Everything is counted in every step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// All calls are recorded.
    AllRecorded,
    /// The functions that make half of the calls are only counted, but for calls that fail.
    BusiestCounted,
    /// Likewise those that make nine tenths.
    MostCounted,
    /// All functions are only counted, whatever their calls end with.
    AllCounted,
}

impl Step {
    /// The last one.
    pub const LAST: Self = Self::AllCounted;

    /// Its number, from 0.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AllRecorded => "all recorded",
            Self::BusiestCounted => "busiest counted",
            Self::MostCounted => "most counted",
            Self::AllCounted => "all counted",
        }
    }

    /// Of the calls, how many per cent its functions are to make that are only counted.
    pub const fn per_cent(self) -> u64 {
        match self {
            Self::AllRecorded => 0,
            Self::BusiestCounted => 50,
            Self::MostCounted => 90,
            Self::AllCounted => 100,
        }
    }

    const fn next(self) -> Self {
        match self {
            Self::AllRecorded => Self::BusiestCounted,
            Self::BusiestCounted => Self::MostCounted,
            Self::MostCounted | Self::AllCounted => Self::AllCounted,
        }
    }

    const fn previous(self) -> Self {
        match self {
            Self::AllRecorded | Self::BusiestCounted => Self::AllRecorded,
            Self::MostCounted => Self::BusiestCounted,
            Self::AllCounted => Self::MostCounted,
        }
    }
}

/// What is left of the room on the way to the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Bytes in the spool.
    pub spooled: u64,
    /// Bytes that it may hold.
    pub limit: u64,
    /// Nothing more is taken: memory is full, and the spool can't be written or there is none.
    pub none: bool,
}

impl Room {
    /// How full the spool is, in per cent.
    pub const fn per_cent(self) -> u64 {
        match self.limit {
            0 => 0,
            limit => self.spooled.saturating_mul(100) / limit,
        }
    }
}

/// What speaks for another step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// The way to the file.
    pub room: Room,
    /// The rings have lost records for a while.
    pub rings_lose: bool,
    /// The agent waits for memory, and has calls in the spool.
    pub memory_is_scarce: bool,
}

impl Pressure {
    /// The least step that is needed, now that `step` is taken.
    const fn needs(self, step: Step) -> Step {
        let by_room = match self.room.per_cent() {
            _ if self.room.none => Step::AllCounted,
            94.. => Step::AllCounted,
            75.. => Step::MostCounted,
            50.. => Step::BusiestCounted,
            _ => Step::AllRecorded,
        };
        let by_losses = if self.rings_lose || self.memory_is_scarce {
            step.next()
        } else {
            Step::AllRecorded
        };
        if by_room.number() > by_losses.number() {
            by_room
        } else {
            by_losses
        }
    }

    const fn is_gone(self) -> bool {
        !self.room.none && self.room.per_cent() < 25 && !self.rings_lose && !self.memory_is_scarce
    }

    /// What it is, in words.
    pub fn said(self) -> String {
        if self.room.none {
            "memory was full and the spool took nothing".to_owned()
        } else if self.room.per_cent() >= 50 {
            format!("the spool was {} % full", self.room.per_cent())
        } else if self.memory_is_scarce {
            "memory was scarce".to_owned()
        } else {
            "calls ended faster than the agent read".to_owned()
        }
    }
}

/// Decides which step is to be taken.
#[derive(Debug)]
pub struct Steps {
    step: Step,
    /// When it was taken, or there was last too little room.
    pressed: Instant,
    /// When a step was last taken back.
    restored: Option<Instant>,
    hold: Duration,
}

impl Steps {
    /// All is recorded.
    pub const fn new(now: Instant) -> Self {
        Self {
            step: Step::AllRecorded,
            pressed: now,
            restored: None,
            hold: HOLD.0,
        }
    }

    /// The step that is taken.
    pub const fn step(&self) -> Step {
        self.step
    }

    /// Takes another step where one is due; says whether one was.
    pub fn decide(&mut self, pressure: Pressure, now: Instant) -> bool {
        let needed = pressure.needs(self.step);
        if needed > self.step {
            let soon = |at| now.saturating_duration_since(at) < SOON;
            self.hold = match self.restored.take() {
                Some(at) if soon(at) => (self.hold * 2).min(HOLD.1),
                Some(_) => HOLD.0,
                None => self.hold,
            };
            self.step = needed;
            self.pressed = now;
            return true;
        }
        if !pressure.is_gone() {
            self.pressed = now;
        }
        let calm = now.saturating_duration_since(self.pressed);
        if self.step == Step::AllRecorded || calm < self.hold {
            return false;
        }
        self.step = self.step.previous();
        self.pressed = now;
        self.restored = Some(now);
        true
    }
}

/// The functions that made at least so many per cent of the calls between two looks, the busiest
/// first. Where there were no calls, those since the beginning count.
pub fn busiest(before: &[FunctionCounts], now: &[FunctionCounts], per_cent: u64) -> Vec<u32> {
    let since = |before: &[FunctionCounts]| -> Vec<(u64, u32)> {
        let before = before.iter().map(|counts| (counts.function, counts.calls));
        let before: HashMap<u32, u64> = before.collect();
        let mut calls: Vec<_> = now
            .iter()
            .map(|counts| {
                let earlier = before.get(&counts.function).copied().unwrap_or_default();
                (counts.calls.saturating_sub(earlier), counts.function)
            })
            .filter(|(calls, _)| *calls > 0)
            .collect();
        calls.sort_unstable_by_key(|&(calls, function)| (std::cmp::Reverse(calls), function));
        calls
    };
    let mut calls = since(before);
    if calls.is_empty() {
        calls = since(&[]);
    }
    let all: u64 = calls.iter().map(|(calls, _)| calls).sum();
    let mut chosen = 0;
    let is_needed = |&(calls, _): &(u64, u32)| {
        let needed = u128::from(chosen) * 100 < u128::from(all) * u128::from(per_cent);
        chosen += calls;
        needed
    };
    let needed = calls.into_iter().take_while(is_needed);
    needed.map(|(_, function)| function).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn spooled(spooled: u64) -> Pressure {
        let room = Room {
            spooled,
            limit: 100,
            none: false,
        };
        Pressure {
            room,
            ..Pressure::default()
        }
    }

    #[test]
    fn steps_are_taken_at_once_and_taken_back_one_by_one() {
        let mut now = Instant::now();
        let mut steps = Steps::new(now);
        let mut at = |seconds, pressure| {
            now += SECOND * seconds;
            steps.decide(pressure, now);
            steps.step()
        };
        assert_eq!(at(9, spooled(49)), Step::AllRecorded);
        assert_eq!(at(0, spooled(50)), Step::BusiestCounted);
        assert_eq!(at(0, spooled(80)), Step::MostCounted);
        assert_eq!(at(0, spooled(94)), Step::AllCounted);
        assert_eq!(
            at(9, spooled(25)),
            Step::AllCounted,
            "room is not enough yet"
        );
        assert_eq!(at(0, spooled(24)), Step::AllCounted, "nor for long");
        assert_eq!(at(1, spooled(24)), Step::MostCounted);
        assert_eq!(at(0, spooled(0)), Step::MostCounted);
        assert_eq!(at(1, spooled(0)), Step::BusiestCounted);
        assert_eq!(at(1, spooled(0)), Step::AllRecorded);
        let none = Room {
            none: true,
            ..Room::default()
        };
        let none = Pressure {
            room: none,
            ..Pressure::default()
        };
        assert_eq!(at(0, none), Step::AllCounted);
    }

    #[test]
    fn what_comes_back_soon_stays_longer_each_time() {
        let lose = Pressure {
            rings_lose: true,
            ..Pressure::default()
        };
        let mut now = Instant::now();
        let mut steps = Steps::new(now);
        let mut held = || {
            assert!(steps.decide(lose, now));
            let begin = now;
            while !steps.decide(Pressure::default(), now) {
                now += SECOND;
            }
            (now - begin).as_secs()
        };
        let holds: Vec<u64> = (0..8).map(|_| held()).collect();
        assert_eq!(holds, [1, 2, 4, 8, 16, 32, 64, 64]);
        now += SOON;
        assert!(steps.decide(lose, now));
        assert!(!steps.decide(Pressure::default(), now));
        assert!(steps.decide(Pressure::default(), now + SECOND));
    }

    #[test]
    fn losses_take_one_step_after_the_other() {
        for lose in [(true, false), (false, true)] {
            let now = Instant::now();
            let mut steps = Steps::new(now);
            let lose = Pressure {
                rings_lose: lose.0,
                memory_is_scarce: lose.1,
                ..Pressure::default()
            };
            let taken: Vec<bool> = (0..4).map(|_| steps.decide(lose, now)).collect();
            assert_eq!(taken, [true, true, true, false]);
            assert_eq!(steps.step(), Step::LAST);
        }
    }

    #[test]
    fn the_busiest_are_those_of_late() {
        let calls = |calls: [u64; 3]| -> Vec<FunctionCounts> {
            let counts = calls.iter().enumerate();
            counts
                .map(|(function, calls)| FunctionCounts::of_calls(function as u32, *calls))
                .collect()
        };
        let (before, now) = (calls([1000, 10, 10]), calls([1000, 70, 50]));
        assert!(busiest(&before, &now, 0).is_empty());
        assert_eq!(busiest(&before, &now, 50), [1]);
        assert_eq!(busiest(&before, &now, 60), [1]);
        assert_eq!(busiest(&before, &now, 61), [1, 2]);
        assert_eq!(busiest(&before, &now, 100), [1, 2]);
        assert_eq!(busiest(&[], &now, 50), [0]);
        assert_eq!(busiest(&now, &now, 50), [0]);
        assert!(busiest(&[], &[], 50).is_empty());
    }
}
