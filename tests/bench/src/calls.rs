//! What one call costs: bare, detached, attached with nothing behind it, attached in full.

use std::path::Path;

use anyhow::{Result, bail};
use exoscope_abi::Phase;
use exoscope_agent::attach::call_stats::CallStats;
use exoscope_agent::attach::sampling::Sampling;
use exoscope_agent::attach::{Capture, MarkerByte};
use exoscope_agent::preflight::self_test::SelfTest;
use exoscope_agent::session::binaries::modules;
use exoscope_agent::session::engine::{Attachment, Plan};
use exoscope_agent::target::process::Target as Process;
use exoscope_agent::target::select::Selection;

use crate::figures::Report;
use crate::target::{Agent, Target, pin};
use crate::{Args, SETTLE};

/// CPU of the target; the agent and this program take another.
const TARGET_CPU: usize = 1;
/// Calls of one function in a pair, before those of the other: some 30 µs, so that what the machine does
/// for longer falls on both.
const PAIRED_CALLS: u64 = 10_000;
/// Calls that are timed while detached, and while attached.
const DETACHED_CALLS: u64 = 400_000;
const ATTACHED_CALLS: u64 = 20_000;

/// One way of attaching.
struct Mode {
    name: &'static str,
    floor: Capture,
    options: &'static [&'static str],
    byte: Option<MarkerByte>,
    /// How many times its floor it may cost.
    bound: f64,
}

/// Rounds of one mode: ns added per call by the floor and in full.
#[derive(Default)]
struct Rounds {
    floor: Vec<f64>,
    full: Vec<f64>,
    ratio: Vec<f64>,
}

/// What the kernel can be asked about every call.
const STATS: [&str; 5] = ["none", "cpu", "faults", "memory", "switches"];

/// Measures everything about single calls.
pub fn measure(args: &Args, report: &mut Report) -> Result<()> {
    pin(0, 0);
    let mut target = Target::start(&args.targets.join("ticks"), &[])?;
    target.pin(TARGET_CPU);
    detached(&mut target, args.rounds, report)?;
    attached(&mut target, args, report)?;
    stats(&mut target, args, report)?;
    extras(&mut target, args, report)?;
    footprint(&mut target, &args.exoscope, report)
}

fn detached(target: &mut Target, rounds: usize, report: &mut Report) -> Result<()> {
    report.group("ns per call, detached");
    for (name, bare, marked) in [
        ("a function", "bare", "marked"),
        ("a function that returns a Result", "bare_err", "marked_err"),
        (
            "a call in a call (two markers' worth)",
            "bare_outer",
            "marked_outer",
        ),
        (
            "a future that is ready at once",
            "bare_async",
            "marked_async",
        ),
        ("a poll of a future", "bare_polls", "marked_polls"),
        ("a poll of a stream", "bare_items", "marked_items"),
        ("a function with fields", "bare_fields", "marked_fields"),
        ("an inlined function", "bare_inlined", "marked_inlined"),
    ] {
        let (mut without, mut with, mut added) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            let pair = target.numbers(&format!("pair {bare} {marked} {PAIRED_CALLS}"))?;
            let [bare, marked, difference] = pair[..] else {
                bail!("the target answered a pair with {pair:?}");
            };
            without.push(bare);
            with.push(marked);
            added.push(difference);
        }
        report.add_median(&format!("{name}, bare"), &without, "ns", None);
        report.add_median(&format!("{name}, compiled in"), &with, "ns", None);
        let bound = if name.contains("two") { 4.0 } else { 2.0 };
        report.add_median(&format!("{name}, added"), &added, "ns", Some(bound));
    }
    Ok(())
}

fn attached(target: &mut Target, args: &Args, report: &mut Report) -> Result<()> {
    let fast = SelfTest::of(&args.exoscope, false)?.fast();
    let modes = [
        Mode {
            name: "full, fast",
            floor: Capture::EmptyFull,
            options: &["--markers", "fast", "--call-stats", "none"],
            byte: fast,
            bound: 1.35,
        },
        Mode {
            name: "full with all stats, fast",
            floor: Capture::EmptyFull,
            options: &["--markers", "fast"],
            byte: fast,
            bound: 1.6,
        },
        Mode {
            name: "exits, fast",
            floor: Capture::EmptyExits,
            options: &["--markers", "fast", "--capture", "exits"],
            byte: fast,
            bound: 1.4,
        },
        Mode {
            name: "full, safe",
            floor: Capture::EmptyFull,
            options: &["--markers", "safe", "--call-stats", "none"],
            byte: Some(MarkerByte::Safe),
            bound: 1.35,
        },
        Mode {
            name: "exits, safe",
            floor: Capture::EmptyExits,
            options: &["--markers", "safe", "--capture", "exits"],
            byte: Some(MarkerByte::Safe),
            bound: 1.4,
        },
    ];
    let folder = tempfile::tempdir()?;
    report.group("ns added per call, attached");
    for mode in modes {
        let Some(byte) = mode.byte else { continue };
        let mut rounds = Rounds::default();
        for round in 0..args.rounds {
            let bare = target.shortest("bare", DETACHED_CALLS)?;
            let floor = with_empty_programs(target, mode.floor, byte)? - bare;
            let output = folder.path().join(format!("{}-{round}.db", mode.name));
            let full = in_full(target, &args.exoscope, &output, mode.options, "marked")? - bare;
            rounds.floor.push(floor);
            rounds.full.push(full);
            rounds.ratio.push(full / floor);
        }
        let name = mode.name;
        report.add_median(
            &format!("{name}: floor (empty programs)"),
            &rounds.floor,
            "ns",
            None,
        );
        report.add_median(&format!("{name}: into SQLite"), &rounds.full, "ns", None);
        report.add_median(
            &format!("{name}: times the floor"),
            &rounds.ratio,
            "times",
            Some(mode.bound),
        );
    }
    Ok(())
}

/// Nanoseconds of a marked call with programs attached that do nothing.
fn with_empty_programs(target: &mut Target, capture: Capture, byte: MarkerByte) -> Result<f64> {
    let _attachment = attach_empty_programs(target.pid(), capture, byte)?;
    std::thread::sleep(SETTLE);
    target.shortest("marked", ATTACHED_CALLS)
}

/// Attaches programs to a process that do nothing.
pub fn attach_empty_programs(pid: u32, capture: Capture, byte: MarkerByte) -> Result<Attachment> {
    let process = Process::open(pid)?;
    let modules = modules(&process)?;
    let selection = Selection::default();
    let plan = Plan {
        target: &process,
        selection: &selection,
        capture,
        fields: false,
        polls: false,
        byte,
        ring_bytes: 0,
        sampling: Sampling::default(),
        spool_bytes: 0,
        call_stats: CallStats::NONE,
    };
    let mut attachment = Attachment::load(&plan, &modules)?;
    for module in &modules {
        attachment.attach(&plan, module)?;
    }
    attachment.set_phase(Phase::Capturing)?;
    Ok(attachment)
}

/// What each stat adds to a call, next to none of them in the same round.
fn stats(target: &mut Target, args: &Args, report: &mut Report) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut added = [const { Vec::new() }; STATS.len()];
    for round in 0..args.rounds {
        let mut without = 0.0;
        for (stat, added) in STATS.iter().zip(&mut added) {
            let output = folder.path().join(format!("{stat}-{round}.db"));
            let options = ["--call-stats", stat];
            let ns = in_full(target, &args.exoscope, &output, &options, "marked")?;
            if *stat == STATS[0] {
                without = ns;
            }
            added.push(ns - without);
        }
    }
    report.group("ns that a stat adds to each call");
    for (stat, added) in STATS.iter().zip(&added).skip(1) {
        report.add_median(stat, added, "ns", None);
    }
    Ok(())
}

/// What is captured beside a call.
fn extras(target: &mut Target, args: &Args, report: &mut Report) -> Result<()> {
    let no_fields: &[&str] = &["--no-fields"];
    let folder = tempfile::tempdir()?;
    report.group("ns added, attached, into SQLite");
    for (name, function, options) in [
        ("a call with three fields", "fields", &[][..]),
        (
            "a call with three fields, which nobody wants",
            "fields",
            no_fields,
        ),
        ("a poll of a future, not timed", "polls", &[]),
        ("a poll of a stream, not timed", "items", &[]),
    ] {
        let mut added = Vec::new();
        for round in 0..args.rounds {
            let bare = target.shortest(&format!("bare_{function}"), DETACHED_CALLS)?;
            let output = folder.path().join(format!("{name}-{round}.db"));
            let marked = format!("marked_{function}");
            added.push(in_full(target, &args.exoscope, &output, options, &marked)? - bare);
        }
        report.add_median(name, &added, "ns", None);
    }
    Ok(())
}

/// Nanoseconds of a call (or poll) of `function` with a session that stores it.
fn in_full(
    target: &mut Target,
    exoscope: &Path,
    output: &Path,
    options: &[&str],
    function: &str,
) -> Result<f64> {
    let agent = Agent::attach(exoscope, target.pid(), output, options)?;
    pin(agent.pid(), 0);
    std::thread::sleep(SETTLE);
    let ns = target.shortest(function, ATTACHED_CALLS)?;
    agent.stop()?;
    Ok(ns)
}

/// What attaching adds to the target itself.
fn footprint(target: &mut Target, exoscope: &Path, report: &mut Report) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let state = |target: &mut Target| -> Result<[f64; 3]> {
        Ok([
            target.ask("rss")?,
            target.ask("threads")?,
            target.ask("allocs")?,
        ])
    };
    target.ask(&format!("call marked {ATTACHED_CALLS}"))?;
    let before = state(target)?;
    let agent = Agent::attach(
        exoscope,
        target.pid(),
        &folder.path().join("footprint.db"),
        &[],
    )?;
    target.ask("call marked 1000000")?;
    target.ask("call marked_err 100000")?;
    let during = state(target)?;
    agent.stop()?;
    report.group("added to the target while attached, after 1,100,000 calls");
    report.add(
        "resident memory",
        (during[0] - before[0]) / 1024.0,
        "KiB",
        None,
    );
    report.add("threads", during[1] - before[1], "", Some(0.0));
    report.add("allocations", during[2] - before[2], "", Some(0.0));
    Ok(())
}
