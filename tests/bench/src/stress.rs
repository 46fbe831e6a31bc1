//! The six loads that the predecessor was tried with, in their size and 10 and 100 times as large:
//! how fast, next to the floor of the same run, and whether every call is a row.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use exoscope_agent::attach::{Capture, MarkerByte};
use exoscope_agent::preflight::self_test::SelfTest;
use rusqlite::Connection;
use serde::Deserialize;

use crate::Args;
use crate::figures::Report;
use crate::target::{Agent, Target};
use crate::twins::attach_empty_programs;

/// The loads, and what the predecessor's own tests wrote down of them.
const LOADS: [(&str, &str); 6] = [
    ("frequency", "20 threads × 1,000 calls: 1,089 calls/s"),
    ("mixed", "10 tasks and 10 threads: 149 calls/s"),
    (
        "contention",
        "50 workers, varied data: no rate, 2,424 records in its queue",
    ),
    (
        "failures",
        "2,000 operations, a fifth fails: 419 of 419 errors",
    ),
    ("memory", "1 to 20 MB: 14 to 34 ms each"),
    ("streams", "20 streams: 390 ms in all"),
];

/// How many times as large.
const SCALES: [u64; 3] = [1, 10, 100];

/// Times the floor that a load may take. Where the agent has no CPU of its own it takes its share of
/// the target's, so this is more than a single thread's bound.
const BOUND: f64 = 3.0;

/// What a target says that it did.
#[derive(Debug, Deserialize)]
struct Did {
    seconds: f64,
    calls: i64,
    items: i64,
}

/// Calls of one function by outcome, in the target's words and in the file.
#[derive(Debug, Default, Deserialize, PartialEq, Eq)]
struct Calls {
    ok: i64,
    err: i64,
    panic: i64,
    cancelled: i64,
}

/// A function's line.
#[derive(Debug, Deserialize)]
struct Line {
    function: String,
    #[serde(flatten)]
    calls: Calls,
}

/// One run of a load.
struct Run {
    did: Did,
    calls: BTreeMap<String, Calls>,
}

/// What of it is in the file.
struct Stored {
    calls: BTreeMap<String, Calls>,
    items: i64,
    errors: i64,
    lost: i64,
}

/// Runs every load in every size. Fails where a call is neither a row nor counted as lost.
pub fn measure(args: &Args, report: &mut Report) -> Result<()> {
    let byte = SelfTest::of(&args.exoscope, false)?.fast();
    let byte = byte.unwrap_or(MarkerByte::Safe);
    for (load, predecessor) in LOADS {
        for scale in SCALES {
            measure_one(args, report, (load, predecessor), scale, byte)
                .with_context(|| format!("load {load}, scale {scale}, seed {}", args.seed))?;
        }
    }
    Ok(())
}

fn measure_one(
    args: &Args,
    report: &mut Report,
    (load, predecessor): (&str, &str),
    scale: u64,
    byte: MarkerByte,
) -> Result<()> {
    let options = [
        load,
        "--scale",
        &scale.to_string(),
        "--seed",
        &args.seed.to_string(),
    ];
    let start = || start(&args.targets.join("stress"), &options);

    let detached = finish(start()?)?;
    let floor = {
        let target = start()?;
        let attachment = attach_empty_programs(target.pid(), Capture::EmptyFull, byte)?;
        let run = finish(target)?;
        drop(attachment);
        run
    };
    let folder = tempfile::tempdir()?;
    let output = folder.path().join("stress.db");
    let target = start()?;
    let agent = Agent::attach(&args.exoscope, target.pid(), &output, &[])?;
    let captured = finish(target)?;
    let status = agent.ended()?;
    let stored = read(&output)?;
    check(&captured, &stored, status)?;

    let rate = |run: &Run| run.did.calls as f64 / run.did.seconds;
    report.group(&format!(
        "{load}, {scale} times the size (predecessor: {predecessor})"
    ));
    report.add(
        "calls made, each of them a row or counted as lost",
        captured.did.calls as f64,
        "",
        None,
    );
    report.add("lost", stored.lost as f64, "", None);
    report.add("errors", stored.errors as f64, "", None);
    report.add("calls a second, detached", rate(&detached), "", None);
    report.add(
        "calls a second, floor (empty programs)",
        rate(&floor),
        "",
        None,
    );
    report.add("calls a second, captured", rate(&captured), "", None);
    report.add("time", captured.did.seconds * 1e3, "ms", None);
    let ratio = captured.did.seconds / floor.did.seconds;
    report.add("times the floor", ratio, "times", Some(BOUND));
    Ok(())
}

/// Starts a target and waits until it is ready.
fn start(program: &Path, options: &[&str]) -> Result<Target> {
    let mut target = Target::start(program, options)?;
    let line = target.line()?;
    ensure!(line.starts_with("ready"), "the target said: {line}");
    Ok(target)
}

/// Lets a target work, to its end.
fn finish(mut target: Target) -> Result<Run> {
    target.send("")?;
    let did = serde_json::from_str(&target.line()?)?;
    let mut calls = BTreeMap::new();
    for line in target.rest()? {
        let Line {
            function,
            calls: of,
        } = serde_json::from_str(&line)?;
        calls.insert(function, of);
    }
    Ok(Run { did, calls })
}

fn read(file: &Path) -> Result<Stored> {
    let file = Connection::open(file)?;
    let number = |sql: &str| file.query_row(sql, [], |row| row.get::<_, i64>(0));
    let mut statement = file.prepare(
        "SELECT function, sum(outcome = 'ok'), sum(outcome = 'err'), sum(outcome = 'panic'),
                sum(outcome = 'cancelled')
         FROM calls GROUP BY function",
    )?;
    let rows = statement.query_map([], |row| {
        let calls = Calls {
            ok: row.get(1)?,
            err: row.get(2)?,
            panic: row.get(3)?,
            cancelled: row.get(4)?,
        };
        Ok((row.get(0)?, calls))
    })?;
    Ok(Stored {
        calls: rows.collect::<Result<_, _>>()?,
        items: number("SELECT coalesce(sum(items), 0) FROM calls")?,
        errors: number("SELECT coalesce(sum(count), 0) FROM errors")?,
        lost: number("SELECT coalesce(sum(calls_missing), 0) FROM completeness")?,
    })
}

/// Fails where the file does not account for what the target did.
fn check(run: &Run, stored: &Stored, status: i32) -> Result<()> {
    let rows: i64 = stored.calls.values().map(Calls::total).sum();
    ensure!(
        rows + stored.lost == run.did.calls,
        "{} calls were made, {rows} are rows and {} counted as lost",
        run.did.calls,
        stored.lost
    );
    if stored.lost > 0 {
        ensure!(
            status == 3,
            "calls were lost, and the agent ended with status {status}"
        );
        return Ok(());
    }
    ensure!(status == 0, "the agent ended with status {status}");
    if stored.calls != run.calls {
        bail!(
            "the target made {:?}, and the file holds {:?}",
            run.calls,
            stored.calls
        );
    }
    let failed: i64 = run.calls.values().map(|calls| calls.err).max().unwrap_or(0);
    ensure!(
        stored.errors == failed,
        "{failed} errors began, and the file holds {}",
        stored.errors
    );
    ensure!(
        stored.items == run.did.items,
        "streams gave {} items, and the file holds {}",
        run.did.items,
        stored.items
    );
    Ok(())
}

impl Calls {
    fn total(&self) -> i64 {
        self.ok + self.err + self.panic + self.cancelled
    }
}
