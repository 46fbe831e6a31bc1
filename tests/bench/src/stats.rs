//! What sampling and stats cost: the agent, for a target of 100 threads; BPF programs; and the target,
//! beyond its markers.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use aya::programs::loaded_programs;
use aya::sys::{Stats, enable_stats};
use rusqlite::Connection;

use crate::figures::Report;
use crate::target::{Agent, Target, pin, thread_cpu_seconds};
use crate::{Args, SETTLE};

/// Threads of the target besides its first.
const THREADS: u32 = 99;
/// How long the agent is watched in a round.
const WATCHED: Duration = Duration::from_secs(2);
/// What all of it may use of one CPU, in per cent.
const BOUND: f64 = 1.0;

/// What a session takes beside the calls, at the intervals that are usual.
const NOTHING: &[&str] = &["--stats-interval", "0"];
const STATS: &[&str] = &["--stats-interval", "100"];
const STATS_AND_SAMPLES: &[&str] = &["--stats-interval", "100", "--sample", "99"];

/// CPU of the target whose slowdown is measured; the agent takes another.
const TARGET_CPU: usize = 1;
/// Calls that are timed, so many that some samples fall on them.
/// They have no marker: how long one takes depends on what the agent does with it on the other half of a
/// core, and that is measured elsewhere.
const CALLS: u64 = 20_000_000;
/// How many times as slow the target may become.
const SLOWDOWN_BOUND: f64 = 1.01;

/// Measures the agent.
pub fn measure(args: &Args, report: &mut Report) -> Result<()> {
    report.group(&format!(
        "stats every 100 ms and samples at 99 Hz, of {} threads",
        THREADS + 1
    ));
    for (what, command, busy) in [
        ("asleep", "threads", false),
        ("waking 100 times a second", "restless", false),
        ("the same, and one computes", "restless", true),
    ] {
        agent(args, report, what, command, busy)?;
    }
    Ok(())
}

/// CPU of the agent, in per cent of one.
fn agent(args: &Args, report: &mut Report, what: &str, command: &str, busy: bool) -> Result<()> {
    let target = crowd(&args.targets, command, busy)?;
    for (with, options, bound) in [
        ("neither", NOTHING, None),
        ("stats", STATS, Some(BOUND)),
        ("stats and samples", STATS_AND_SAMPLES, Some(BOUND)),
    ] {
        let folder = tempfile::tempdir()?;
        let output = folder.path().join("stats.db");
        let agent = Agent::attach(&args.exoscope, target.pid(), &output, options)?;
        // What happens once, such as reading the symbols of the target, is over by then.
        std::thread::sleep(Duration::from_secs(1));
        let mut per_cent = Vec::new();
        for _ in 0..args.rounds {
            let before = thread_cpu_seconds(agent.pid())?;
            std::thread::sleep(WATCHED);
            let used = thread_cpu_seconds(agent.pid())? - before;
            per_cent.push(100.0 * used / WATCHED.as_secs_f64());
        }
        agent.stop()?;
        expect_rows(&output, options, busy)?;
        let name = format!("CPU of the agent, of one, {with}; {what}");
        report.add_median(&name, &per_cent, "%", bound);
    }
    Ok(())
}

/// Starts a target with many threads.
fn crowd(targets: &Path, command: &str, busy: bool) -> Result<Target> {
    let mut target = Target::start(&targets.join("resources"), &[])?;
    target.line()?;
    target.send(&format!("{command} {THREADS}"))?;
    ensure!(
        target.line()?.starts_with("used "),
        "the target refused `{command}`"
    );
    if busy {
        // Longer than anybody watches; it ends with its target.
        target.send("spin 1000000")?;
    }
    Ok(target)
}

/// Fails where what was to be measured did not happen.
fn expect_rows(output: &Path, options: &[&str], busy: bool) -> Result<()> {
    let file = Connection::open(output)?;
    let number = |sql: &str| file.query_row(sql, [], |row| row.get::<_, i64>(0));
    if options != NOTHING {
        let threads = number("SELECT max(threads) FROM process_stats")?;
        ensure!(
            threads == i64::from(THREADS) + 1,
            "{threads} threads were seen"
        );
    }
    if options == STATS_AND_SAMPLES && busy {
        let samples = number("SELECT count(*) FROM samples")?;
        ensure!(samples > 0, "there are no samples");
    }
    Ok(())
}

/// CPU that the programs take which are no markers', as the kernel counts it, in per cent of one CPU.
pub fn programs(args: &Args, report: &mut Report) -> Result<()> {
    let _counting = enable_stats(Stats::RunTime)?;
    let target = crowd(&args.targets, "restless", true)?;
    let folder = tempfile::tempdir()?;
    let output = folder.path().join("programs.db");
    let options = [STATS_AND_SAMPLES, &["--off-cpu"]].concat();
    let others = run_times()?;
    let agent = Agent::attach(&args.exoscope, target.pid(), &output, &options)?;
    std::thread::sleep(SETTLE);
    let before = run_times()?;
    let watched = WATCHED * u32::try_from(args.rounds)?;
    std::thread::sleep(watched);
    let after = run_times()?;
    agent.stop()?;
    let mut sums = BTreeMap::new();
    for ((id, name), (time, count)) in &after {
        let key = (*id, name.clone());
        let (before_time, before_count) = before.get(&key).copied().unwrap_or_default();
        if !others.contains_key(&key) && *count > before_count {
            let sum: &mut (Duration, u64) = sums.entry(name.clone()).or_default();
            *sum = (
                sum.0 + (*time - before_time),
                sum.1 + (count - before_count),
            );
        }
    }
    report.group(&format!(
        "BPF programs, of {} threads waking 100 times a second while one computes",
        THREADS + 1
    ));
    for (name, (time, count)) in sums {
        let per_cent = 100.0 * time.as_secs_f64() / watched.as_secs_f64();
        report.add(&format!("`{name}`, of one CPU"), per_cent, "%", None);
        let each = time.as_nanos() as f64 / count as f64;
        report.add(&format!("`{name}`, each of {count} runs"), each, "ns", None);
    }
    Ok(())
}

/// How long each program that is loaded has run, and how often, by number and name.
fn run_times() -> Result<BTreeMap<(u32, String), (Duration, u64)>> {
    // A program may be gone by the time that it is asked about.
    let loaded = loaded_programs().flatten();
    Ok(loaded
        .map(|program| {
            let name = program.name_as_str().unwrap_or_default().to_owned();
            let times = (program.run_time(), program.run_count());
            ((program.id(), name), times)
        })
        .collect())
}

/// How many times as slow the target computes with stats and samples as without, in paired runs; and how
/// many times as slow the same is as itself, which is what this machine can tell.
pub fn slowdown(args: &Args, report: &mut Report) -> Result<()> {
    let mut target = Target::start(&args.targets.join("ticks"), &[])?;
    target.pin(TARGET_CPU);
    let (mut itself, mut sampled) = (Vec::new(), Vec::new());
    for _ in 0..args.rounds {
        let without = calls_with(args, &mut target, NOTHING)?;
        let with = calls_with(args, &mut target, STATS_AND_SAMPLES)?;
        let again = calls_with(args, &mut target, NOTHING)?;
        itself.push(again / without);
        sampled.push(2.0 * with / (without + again));
    }
    report.group("the target, beyond its markers");
    report.add_median("a run without, times another one", &itself, "times", None);
    report.add_median(
        "a run with stats and samples, times one without",
        &sampled,
        "times",
        Some(SLOWDOWN_BOUND),
    );
    Ok(())
}

/// Nanoseconds of a call in a session.
fn calls_with(args: &Args, target: &mut Target, options: &[&str]) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let output = folder.path().join("slowdown.db");
    let agent = Agent::attach(&args.exoscope, target.pid(), &output, options)?;
    pin(agent.pid(), TARGET_CPU + 1);
    std::thread::sleep(SETTLE);
    let shortest = target.shortest("bare", CALLS)?;
    agent.stop()?;
    Ok(shortest)
}
