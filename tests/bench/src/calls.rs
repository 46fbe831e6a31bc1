//! What markers cost while nobody looks, and what is captured beside a call.

use std::path::Path;

use anyhow::{Result, bail};

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

/// Measures calls of one thread, beside what [`attached`](crate::attached) tells.
pub fn measure(args: &Args, report: &mut Report) -> Result<()> {
    pin(0, 0);
    let mut target = Target::start(&args.targets.join("ticks"), &[])?;
    target.pin(TARGET_CPU);
    detached(&mut target, args.rounds, report)?;
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
