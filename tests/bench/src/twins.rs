//! Two processes of one program, timed in turn: what the machine does for longer than a turn falls on both.

use std::path::Path;
use std::thread;

use anyhow::{Result, bail};
use exoscope_agent::attach::{Capture, MarkerByte};
use exoscope_agent::session::attachment::{Attachment, Plan};
use exoscope_agent::session::binaries::modules;
use exoscope_agent::target::process::Target as Process;
use exoscope_agent::target::select::Selection;
use tempfile::TempDir;

use crate::SETTLE;
use crate::figures::median;
use crate::target::Target;

/// Turns of a round.
const TURNS: usize = 9;
/// Calls of one thread that are timed in a turn, seven times: some 100 ms, so that the agent has long
/// begun to store them.
const CALLS: u64 = 10_000;
/// The same, where several threads make them at once.
const CROWD_CALLS: u64 = 7 * CALLS;

/// Two processes of `ticks`, of which one is attached to in one way and the other in another. Each has a
/// file of its own, so a marker of one is none of the other.
pub struct Twins {
    pub one: Target,
    pub other: Target,
    _files: TempDir,
}

/// Nanoseconds of a marked call of either, and what the other's is to the one's: medians of turns.
#[derive(Default)]
pub struct Turns {
    pub one: Vec<f64>,
    pub other: Vec<f64>,
    pub ratio: Vec<f64>,
    pub difference: Vec<f64>,
}

impl Twins {
    /// Starts them, on one CPU if one is given.
    pub fn start(targets: &Path, cpu: Option<usize>) -> Result<Self> {
        let files = tempfile::tempdir()?;
        let start = |name: &str| -> Result<Target> {
            let program = files.path().join(name);
            std::fs::copy(targets.join("ticks"), &program)?;
            let target = Target::start(&program, &[])?;
            if let Some(cpu) = cpu {
                target.pin(cpu);
            }
            Ok(target)
        };
        Ok(Self {
            one: start("one")?,
            other: start("other")?,
            _files: files,
        })
    }
}

impl Turns {
    /// Adds a round of calls that one thread makes, by the clock.
    pub fn add(&mut self, twins: &mut Twins) -> Result<()> {
        self.add_round(twins, |target| target.ask(&format!("time marked {CALLS}")))
    }

    /// Adds a round of calls that several threads make at once, in CPU time of these threads.
    pub fn add_crowd(&mut self, twins: &mut Twins, threads: usize) -> Result<()> {
        let command = format!("crowd marked {CROWD_CALLS} {threads}");
        self.add_round(twins, |target| target.ask(&command))
    }

    fn add_round(
        &mut self,
        twins: &mut Twins,
        time: impl Fn(&mut Target) -> Result<f64>,
    ) -> Result<()> {
        let mut turns = Vec::new();
        for _ in 0..TURNS {
            // What an agent has not stored yet of the other's calls would fall on the next turn.
            thread::sleep(SETTLE);
            turns.push([time(&mut twins.one)?, time(&mut twins.other)?]);
        }
        let over = |of: fn(&[f64; 2]) -> f64| median(turns.iter().map(of).collect());
        self.one.push(over(|[one, _]| *one));
        self.other.push(over(|[_, other]| *other));
        self.ratio.push(over(|[one, other]| other / one));
        self.difference.push(over(|[one, other]| other - one));
        Ok(())
    }
}

/// Attaches programs to a process that do nothing.
pub fn attach_empty_programs(pid: u32, capture: Capture, byte: MarkerByte) -> Result<Attachment> {
    let process = Process::open(pid)?;
    let modules = modules(&process)?;
    if modules.is_empty() {
        bail!("process {pid} has no markers");
    }
    let selection = Selection::default();
    let plan = Plan {
        capture,
        open_calls: 1,
        ..Plan::plain(&process, &selection, byte)
    };
    Attachment::begin(&plan, &modules)
}
