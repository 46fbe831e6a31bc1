//! What a call costs with a session that stores it, next to programs that do nothing.

use anyhow::Result;
use exoscope_agent::attach::{Capture, MarkerByte};
use exoscope_agent::preflight::self_test::SelfTest;

use crate::Args;
use crate::figures::Report;
use crate::target::{Agent, pin};
use crate::twins::{Turns, Twins, attach_empty_programs};

/// CPU of a target with one thread; the agent and this program take the first.
const TARGET_CPU: usize = 1;

/// One way of attaching.
#[derive(Clone, Copy)]
struct Mode {
    name: &'static str,
    floor: Capture,
    options: &'static [&'static str],
    byte: Option<MarkerByte>,
    /// How many times its floor it may cost.
    bound: f64,
}

/// What the kernel can be asked about every call.
const STATS: [&str; 4] = ["cpu", "faults", "memory", "switches"];

/// The ways of attaching that are possible here.
fn modes(args: &Args) -> Result<Vec<Mode>> {
    let fast = SelfTest::of(&args.exoscope, false)?.fast();
    let safe = Some(MarkerByte::Safe);
    let (full, exits) = (Capture::EmptyFull, Capture::EmptyExits);
    let mode = |name, floor, options, byte, bound| Mode {
        name,
        floor,
        options,
        byte,
        bound,
    };
    let modes = [
        mode(
            "full, fast",
            full,
            &["--markers", "fast", "--call-stats", "none"],
            fast,
            1.25,
        ),
        mode(
            "full with all stats, fast",
            full,
            &["--markers", "fast"],
            fast,
            1.6,
        ),
        mode(
            "exits, fast",
            exits,
            &["--markers", "fast", "--capture", "exits"],
            fast,
            1.3,
        ),
        mode(
            "full, safe",
            full,
            &["--markers", "safe", "--call-stats", "none"],
            safe,
            1.25,
        ),
        mode(
            "exits, safe",
            exits,
            &["--markers", "safe", "--capture", "exits"],
            safe,
            1.3,
        ),
    ];
    Ok(modes
        .into_iter()
        .filter(|mode| mode.byte.is_some())
        .collect())
}

/// Calls of one thread, which has a CPU for itself.
pub fn one_thread(args: &Args, report: &mut Report) -> Result<()> {
    pin(0, 0);
    report.group("ns per call, attached, one thread");
    for mode in modes(args)? {
        let turns = in_turn(args, mode, Some(TARGET_CPU), Turns::add)?;
        add(report, mode, &turns);
    }
    stats(args, report)
}

/// Calls of as many threads as there are CPUs, of which the agent takes its share: in CPU time of the
/// threads that make them.
pub fn threads(args: &Args, report: &mut Report) -> Result<()> {
    let cpus = std::thread::available_parallelism()?.get();
    report.group(&format!(
        "ns of CPU time per call, attached, {cpus} threads at once"
    ));
    for mode in modes(args)? {
        let add_round = |turns: &mut Turns, twins: &mut Twins| turns.add_crowd(twins, cpus);
        let turns = in_turn(args, mode, None, add_round)?;
        add(report, mode, &turns);
    }
    Ok(())
}

fn in_turn(
    args: &Args,
    mode: Mode,
    cpu: Option<usize>,
    add_round: impl Fn(&mut Turns, &mut Twins) -> Result<()>,
) -> Result<Turns> {
    let folder = tempfile::tempdir()?;
    let mut turns = Turns::default();
    let Some(byte) = mode.byte else {
        return Ok(turns);
    };
    for round in 0..args.rounds {
        let output = folder.path().join(format!("{round}.db"));
        // Anew in each round: how fast one is depends on where in memory it lies.
        let mut twins = Twins::start(&args.targets, cpu)?;
        let empty = attach_empty_programs(twins.one.pid(), mode.floor, byte)?;
        let agent = Agent::attach(&args.exoscope, twins.other.pid(), &output, mode.options)?;
        add_round(&mut turns, &mut twins)?;
        agent.stop()?;
        drop(empty);
    }
    Ok(turns)
}

fn add(report: &mut Report, mode: Mode, turns: &Turns) {
    let name = mode.name;
    let floor = format!("{name}: floor (empty programs)");
    report.add_median(&floor, &turns.one, "ns", None);
    report.add_median(&format!("{name}: into SQLite"), &turns.other, "ns", None);
    let times = format!("{name}: times the floor");
    report.add_median(&times, &turns.ratio, "times", Some(mode.bound));
}

/// What each stat adds to a call, next to none of them.
fn stats(args: &Args, report: &mut Report) -> Result<()> {
    let folder = tempfile::tempdir()?;
    report.group("ns that a stat adds to each call");
    for stat in STATS {
        let mut turns = Turns::default();
        for round in 0..args.rounds {
            let mut twins = Twins::start(&args.targets, Some(TARGET_CPU))?;
            let attach = |pid, stats: &str| {
                let output = folder.path().join(format!("{stat}-{stats}-{round}.db"));
                Agent::attach(&args.exoscope, pid, &output, &["--call-stats", stats])
            };
            let without = attach(twins.one.pid(), "none")?;
            let with = attach(twins.other.pid(), stat)?;
            turns.add(&mut twins)?;
            with.stop()?;
            without.stop()?;
        }
        report.add_median(stat, &turns.difference, "ns", None);
    }
    Ok(())
}
