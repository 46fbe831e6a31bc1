//! Does what [`super::steps`] decides: tells the programs of which functions calls are only counted,
//! and the file which steps were taken and what was counted in them.

use std::collections::{HashMap, HashSet};
use std::sync::mpsc::Sender;
use std::time::Instant;

use exoscope_abi::totals::Recorded;

use super::memory::Memory;
use super::shared::Totals;
use super::steps::{Pressure, Room, Step, Steps, busiest};
use crate::event::{AgentEvent, Batch, CountedCalls, FunctionCounts, Level, unix_ns};

/// Looks after the last step was taken back by which whatever was running then has been counted.
const SETTLED: u32 = 2;

/// Takes steps.
pub struct Governor {
    steps: Steps,
    /// The counts of the last two looks, the older ones first.
    looks: [Vec<FunctionCounts>; 2],
    /// Looks in a row at which the rings had lost more.
    losing: u32,
    /// Something was lost at each of the last two looks, and no step was taken for it.
    rings_lose: bool,
    memory: Memory,
    /// Memory was scarce at the last look, and no step was taken for it.
    memory_is_scarce: bool,
    /// Since when calls have been only counted.
    period: Option<Period>,
    /// Calls of each function that were only counted in periods that are over.
    told: HashMap<u32, u64>,
    /// What a person should know at once.
    notices: Sender<String>,
}

/// A time in which calls are only counted.
struct Period {
    from_unix_ns: i64,
    reason: String,
    until_unix_ns: Option<i64>,
    /// Looks since its end.
    looks: u32,
}

impl Governor {
    /// All is recorded. What a person should know goes to `notices`.
    pub fn new(notices: Sender<String>) -> Self {
        Self {
            steps: Steps::new(Instant::now()),
            looks: [Vec::new(), Vec::new()],
            losing: 0,
            rings_lose: false,
            memory: Memory::of_this_process(),
            memory_is_scarce: false,
            period: None,
            told: HashMap::new(),
            notices,
        }
    }

    /// Hears the counts of a look.
    pub fn look(&mut self, counts: &[FunctionCounts], batch: &mut Batch) {
        let lost = |counts: &[FunctionCounts]| -> u64 {
            counts.iter().map(|counts| counts.lost_ring).sum()
        };
        self.losing = if lost(counts) > lost(&self.looks[1]) {
            self.losing + 1
        } else {
            0
        };
        // A ring that was full once may have been so while the agent was stopped.
        self.rings_lose = self.losing >= 2;
        self.memory_is_scarce = self.memory.is_scarce();
        self.looks.swap(0, 1);
        self.looks[1] = counts.to_vec();
        if let Some(period) = &mut self.period
            && let Some(until) = period.until_unix_ns
        {
            period.looks += 1;
            if period.looks >= SETTLED {
                self.settle(counts, until, batch);
            }
        }
    }

    /// Takes a step where one is due.
    pub fn turn(&mut self, room: Room, totals: &Totals, batch: &mut Batch) {
        let pressure = Pressure {
            room,
            rings_lose: std::mem::take(&mut self.rings_lose),
            memory_is_scarce: std::mem::take(&mut self.memory_is_scarce) && room.spooled > 0,
        };
        let before = self.steps.step();
        if !self.steps.decide(pressure, Instant::now()) {
            return;
        }
        let step = self.steps.step();
        let counts = totals.snapshot();
        let chosen = busiest(&self.looks[0], &counts, step.per_cent());
        apply(step, &chosen, totals);
        let (level, kind, text) = if step > before {
            let text = format!("{}, so {}", pressure.said(), what(step, chosen.len()));
            (Level::Warning, "degraded", text)
        } else {
            let text = format!("there is room again: {}", what(step, chosen.len()));
            (Level::Info, "restored", text)
        };
        let text = format!(
            "step {} of {}, {}: {text}",
            step.number(),
            Step::LAST.number(),
            step.name()
        );
        let event = AgentEvent::now(level, kind, text);
        // A session that is ending does not listen.
        let _ = self.notices.send(event.notice());
        self.keep_period(step, event.at_unix_ns, pressure);
        batch.events.push(event);
    }

    /// The session ends now: tells what was only counted, as the last counts say.
    pub fn finish(&mut self, counts: &[FunctionCounts], batch: &mut Batch) {
        if let Some(period) = &self.period {
            let until = period.until_unix_ns.unwrap_or_else(unix_ns);
            self.settle(counts, until, batch);
        }
    }

    fn keep_period(&mut self, step: Step, now_unix_ns: i64, pressure: Pressure) {
        let period = self.period.get_or_insert_with(|| Period {
            from_unix_ns: now_unix_ns,
            reason: pressure.said(),
            until_unix_ns: None,
            looks: 0,
        });
        period.until_unix_ns = (step == Step::AllRecorded).then_some(now_unix_ns);
        period.looks = 0;
    }

    /// Ends the period: tells what was counted in it.
    fn settle(&mut self, counts: &[FunctionCounts], until_unix_ns: i64, batch: &mut Batch) {
        let Some(period) = self.period.take() else {
            return;
        };
        for counts in counts {
            let told = self.told.entry(counts.function).or_default();
            let calls = counts.only_counted.saturating_sub(*told);
            if calls > 0 {
                *told = counts.only_counted;
                batch.counted.push(CountedCalls {
                    function: counts.function,
                    from_unix_ns: period.from_unix_ns,
                    until_unix_ns,
                    calls,
                    reason: period.reason.clone(),
                });
            }
        }
    }
}

/// Tells the programs what is recorded of each function.
fn apply(step: Step, chosen: &[u32], totals: &Totals) {
    let chosen: HashSet<u32> = chosen.iter().copied().collect();
    for function in 0..totals.functions() {
        let recorded = match step {
            Step::AllCounted => Recorded::Nothing,
            _ if chosen.contains(&function) => Recorded::Failures,
            _ => Recorded::All,
        };
        totals.record(function, recorded);
    }
}

/// What happens in a step, where so many functions are chosen.
fn what(step: Step, chosen: usize) -> String {
    let functions = match chosen {
        1 => "the busiest function".to_owned(),
        chosen => format!("the {chosen} busiest functions"),
    };
    match step {
        Step::AllRecorded => "every call is recorded".to_owned(),
        Step::BusiestCounted | Step::MostCounted => {
            format!("calls of {functions} are counted and not recorded, unless they fail")
        }
        Step::AllCounted => "calls are counted and not recorded".to_owned(),
    }
}
