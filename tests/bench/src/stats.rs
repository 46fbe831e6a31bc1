//! What sampling and stats cost: the agent, for a target of 100 threads; BPF programs; and the target,
//! beyond its markers.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use aya::programs::loaded_programs;
use aya::sys::{Stats, enable_stats};
use rusqlite::Connection;

use crate::figures::{Report, median};
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

/// CPU of the targets whose slowdown is measured; the agent takes another.
const TARGET_CPU: usize = 1;
/// Calls that are timed at once, some 20 ms: two samples fall on them.
/// They have no marker: how long one takes depends on what the agent does with it on the other half of a
/// core, and that is measured elsewhere.
const CALLS: u64 = 10_000_000;
/// Pairs of such times, one after the other, of which each round takes the median, twice.
const PAIRS: usize = 25;
/// By how much the target may become slower, in per cent.
const SLOWDOWN_BOUND: f64 = 1.0;

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

/// By how much a target that is captured with stats and samples computes slower than another process beside it that
/// is not; and the same where neither is captured, which is what this machine can tell. The interrupt that takes
/// samples comes whoever runs, so it falls on both: 99 times a second, for a microsecond or two.
pub fn slowdown(args: &Args, report: &mut Report) -> Result<()> {
    let ticks = args.targets.join("ticks");
    let mut targets = [Target::start(&ticks, &[])?, Target::start(&ticks, &[])?];
    for target in &targets {
        target.pin(TARGET_CPU);
    }
    pin(0, TARGET_CPU + 1);
    let (mut neither, mut sampled) = (Vec::new(), Vec::new());
    for _ in 0..args.rounds {
        neither.push(per_cent_slower(args, &mut targets, None)?);
        sampled.push(per_cent_slower(
            args,
            &mut targets,
            Some(STATS_AND_SAMPLES),
        )?);
    }
    report.group(&format!(
        "the target, beyond its markers, slower than another process: {} pairs a round",
        2 * PAIRS
    ));
    report.add_median("neither of them captured", &neither, "%", None);
    report.add_median(
        "one of them captured, with stats and samples",
        &sampled,
        "%",
        Some(SLOWDOWN_BOUND),
    );
    Ok(())
}

/// By how much the one is slower that has a session with these options, where there are any. Either of them is the one
/// for a while: what tells them apart otherwise, such as where their memory lies, cancels out.
fn per_cent_slower(
    args: &Args,
    targets: &mut [Target; 2],
    options: Option<&[&str]>,
) -> Result<f64> {
    let mut product = 1.0;
    for _ in 0..2 {
        let folder = tempfile::tempdir()?;
        let output = folder.path().join("slowdown.db");
        let attach = |options| Agent::attach(&args.exoscope, targets[0].pid(), &output, options);
        let agent = options.map(attach).transpose()?;
        if let Some(agent) = &agent {
            pin(agent.pid(), TARGET_CPU + 1);
        }
        std::thread::sleep(SETTLE);
        product *= ratio(targets)?;
        if let Some(agent) = agent {
            agent.stop()?;
            let samples = "SELECT count(*) FROM samples";
            let samples: i64 =
                Connection::open(&output)?.query_row(samples, [], |row| row.get(0))?;
            ensure!(samples > 0, "there are no samples");
        }
        targets.reverse();
    }
    Ok(100.0 * (product.sqrt() - 1.0))
}

/// The median of pairs of times, of the one target and of the other one. The machine's pace changes from second to
/// second, so a pair takes no longer than it must, and its times come in either order.
fn ratio([one, other]: &mut [Target; 2]) -> Result<f64> {
    let mut ratios = Vec::new();
    for pair in 0..PAIRS {
        ratios.push(if pair % 2 == 0 {
            let first = seconds(one)?;
            first / seconds(other)?
        } else {
            let first = seconds(other)?;
            seconds(one)? / first
        });
    }
    Ok(median(ratios))
}

/// Seconds that calls take.
fn seconds(target: &mut Target) -> Result<f64> {
    let begin = Instant::now();
    target.ask(&format!("call bare {CALLS}"))?;
    Ok(begin.elapsed().as_secs_f64())
}
