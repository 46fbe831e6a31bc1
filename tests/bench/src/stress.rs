//! The six loads that the predecessor was tried with, in their size and 10 and 100 times as large:
//! how fast, next to the floor of the same run, and whether every call is a row.
//!
//! A load that takes more times the floor than it may is measured again: a machine that was busy with
//! other things meanwhile is not slow each time, and a regression is.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Result, bail, ensure};
use exoscope_agent::attach::{Capture, MarkerByte};
use exoscope_agent::preflight::self_test::SelfTest;
use exoscope_agent::report::human::count;
use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use crate::Args;
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

/// Times the floor that a load may take by default. Where the agent has no CPU of its own it takes its share
/// of the target's, so this is more than a single thread's bound.
pub const BOUND: f64 = 3.0;
/// How often a load is measured that takes longer, before it fails.
const TIMES: usize = 3;

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
    /// Calls that are rows.
    calls: BTreeMap<String, Calls>,
    /// Calls that the kernel counted, whether they are rows or not.
    counted: BTreeMap<String, Calls>,
    items: i64,
    errors: i64,
    lost: i64,
}

/// A load in one size, and what became of it.
#[derive(Debug, Serialize)]
struct Row {
    load: &'static str,
    predecessor: &'static str,
    /// How many times as large as the predecessor's.
    scale: u64,
    #[serde(flatten)]
    measured: Option<Measured>,
    /// Times the floor of each measurement: the least one is that of `measured`.
    ratios: Vec<f64>,
    failure: Option<String>,
}

/// One measurement, of a target each without an agent, with empty programs, and captured.
#[derive(Debug, Serialize)]
struct Measured {
    calls: i64,
    /// Calls that are rows.
    rows: i64,
    /// Calls that are none, and were counted.
    lost: i64,
    /// Errors that are rows.
    errors: i64,
    detached_per_second: f64,
    floor_per_second: f64,
    captured_per_second: f64,
    captured_ms: f64,
}

/// Runs every load in every size, and prints a table of them. Says whether each was accounted for to the
/// call, and within its bound.
///
/// # Errors
/// Where nothing can be measured at all.
pub fn run(args: &Args) -> Result<bool> {
    let byte = SelfTest::of(&args.exoscope, false)?.fast();
    let byte = byte.unwrap_or(MarkerByte::Safe);
    let loads = LOADS
        .iter()
        .filter(|(load, _)| load.contains(args.load.as_str()));
    let mut rows = Vec::new();
    for (load, predecessor) in loads {
        for scale in SCALES {
            eprintln!("measuring: {load}, {scale} times the size");
            rows.push(Row::of(args, (load, predecessor), scale, byte));
        }
    }
    if rows.is_empty() {
        let names = LOADS.map(|(load, _)| load).join(", ");
        bail!("no load's name contains '{}': they are {names}", args.load);
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
    } else {
        print!("{}", table(&rows, args.bound));
    }
    Ok(rows.iter().all(|row| row.failure.is_none()))
}

impl Row {
    fn of(
        args: &Args,
        (load, predecessor): (&'static str, &'static str),
        scale: u64,
        byte: MarkerByte,
    ) -> Self {
        let mut row = Self {
            load,
            predecessor,
            scale,
            measured: None,
            ratios: Vec::new(),
            failure: None,
        };
        while row.failure.is_none() && is_unsettled(&row.ratios, args.bound) {
            match measure(args, load, scale, byte) {
                Ok((measured, ratio)) => {
                    if least(&row.ratios).is_none_or(|least| ratio < least) {
                        row.measured = Some(measured);
                    }
                    row.ratios.push(ratio);
                }
                Err(error) => row.failure = Some(format!("seed {}: {error:#}", args.seed)),
            }
        }
        row.failure = row.failure.or_else(|| exceeded(&row.ratios, args.bound));
        row
    }
}

/// Whether it is to be measured, or measured again.
fn is_unsettled(ratios: &[f64], bound: f64) -> bool {
    ratios.len() < TIMES && ratios.iter().all(|ratio| *ratio > bound)
}

fn least(ratios: &[f64]) -> Option<f64> {
    ratios.iter().copied().reduce(f64::min)
}

/// Why a load is too slow.
fn exceeded(ratios: &[f64], bound: f64) -> Option<String> {
    let least = least(ratios)?;
    (least > bound).then(|| {
        let times = ratios.len();
        format!("it took at least {least:.2} times the floor in {times} measurements, and may take {bound:.2}")
    })
}

fn measure(args: &Args, load: &str, scale: u64, byte: MarkerByte) -> Result<(Measured, f64)> {
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
    let measured = Measured {
        calls: captured.did.calls,
        rows: stored.rows(),
        lost: stored.lost,
        errors: stored.errors,
        detached_per_second: rate(&detached),
        floor_per_second: rate(&floor),
        captured_per_second: rate(&captured),
        captured_ms: captured.did.seconds * 1e3,
    };
    Ok((measured, captured.did.seconds / floor.did.seconds))
}

/// The rows as a table.
fn table(rows: &[Row], bound: f64) -> String {
    let mut text = format!(
        "{:16} {:>11} {:>11} {:>9} {:>8} {:>11} {:>11} {:>9}\n",
        "", "calls", "rows", "lost", "errors", "floor/s", "captured/s", "× floor"
    );
    let mut last = "";
    for row in rows {
        if row.load != last {
            let _ = writeln!(text, "{}  (predecessor: {})", row.load, row.predecessor);
            last = row.load;
        }
        let _ = writeln!(text, "{}", row.line());
        if let Some(failure) = &row.failure {
            let _ = writeln!(text, "    FAILED: {failure}");
        }
    }
    let failed = rows.iter().filter(|row| row.failure.is_some()).count();
    let _ = writeln!(
        text,
        "\n{} rows, {failed} failed. Every call is a row or was counted as lost; floor: the same calls with \
         programs\nthat do nothing. At most {bound:.2} times that, measured up to {TIMES} times before it fails.",
        rows.len()
    );
    text
}

impl Row {
    fn line(&self) -> String {
        let size = format!("  {} times", self.scale);
        let Some(measured) = &self.measured else {
            return size;
        };
        let per_second = |rate: f64| count(rate as i64);
        format!(
            "{size:16} {:>11} {:>11} {:>9} {:>8} {:>11} {:>11} {:>9.2}",
            count(measured.calls),
            count(measured.rows),
            count(measured.lost),
            count(measured.errors),
            per_second(measured.floor_per_second),
            per_second(measured.captured_per_second),
            least(&self.ratios).unwrap_or(f64::NAN),
        )
    }
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

/// Calls by outcome that are rows.
const ROWS: &str =
    "SELECT function, sum(outcome = 'ok'), sum(outcome = 'err'), sum(outcome = 'panic'),
                           sum(outcome = 'cancelled')
                    FROM calls GROUP BY function";
/// Calls by outcome that the kernel counted.
const COUNTED: &str = "SELECT function, calls - err - panic - cancelled, err, panic, cancelled
                       FROM totals WHERE calls > 0";

fn read(file: &Path) -> Result<Stored> {
    let file = Connection::open(file)?;
    let number = |sql: &str| file.query_row(sql, [], |row| row.get::<_, i64>(0));
    let calls = |sql: &str| -> Result<BTreeMap<String, Calls>> {
        let mut statement = file.prepare(sql)?;
        let rows = statement.query_map([], |row| {
            let calls = Calls {
                ok: row.get(1)?,
                err: row.get(2)?,
                panic: row.get(3)?,
                cancelled: row.get(4)?,
            };
            Ok((row.get(0)?, calls))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    };
    Ok(Stored {
        calls: calls(ROWS)?,
        counted: calls(COUNTED)?,
        items: number("SELECT coalesce(sum(items), 0) FROM calls")?,
        errors: number("SELECT coalesce(sum(count), 0) FROM errors")?,
        lost: number("SELECT coalesce(sum(calls_missing), 0) FROM completeness")?,
    })
}

impl Stored {
    fn rows(&self) -> i64 {
        self.calls.values().map(Calls::total).sum()
    }
}

/// Fails where the file does not account for what the target did. What the kernel counted is exact whether
/// calls were lost or not.
fn check(run: &Run, stored: &Stored, status: i32) -> Result<()> {
    let rows = stored.rows();
    ensure!(
        rows + stored.lost == run.did.calls,
        "{} calls were made, {rows} are rows and {} counted as lost",
        run.did.calls,
        stored.lost
    );
    ensure!(
        stored.counted == run.calls,
        "the target made {:?}, and the kernel counted {:?}",
        run.calls,
        stored.counted
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_exceeds_its_bound_is_measured_again_and_fails_if_it_does_each_time() {
        assert!(is_unsettled(&[], 3.0));
        assert!(!is_unsettled(&[2.9], 3.0));
        assert!(is_unsettled(&[3.1, 3.2], 3.0));
        assert!(!is_unsettled(&[3.1, 2.9], 3.0));
        assert!(!is_unsettled(&[3.1, 3.2, 3.3], 3.0));
        assert_eq!(exceeded(&[], 3.0), None);
        assert_eq!(exceeded(&[3.1, 2.9], 3.0), None);
        let said = exceeded(&[3.3, 3.1, 3.2], 3.0).unwrap();
        assert_eq!(
            said,
            "it took at least 3.10 times the floor in 3 measurements, and may take 3.00"
        );
    }

    #[test]
    fn the_table_fits_a_terminal_and_names_what_failed() {
        let measured = Measured {
            calls: 2_000_000,
            rows: 1_419_273,
            lost: 580_727,
            errors: 400_000,
            detached_per_second: 316_229_732.0,
            floor_per_second: 1_538_920.0,
            captured_per_second: 859_791.0,
            captured_ms: 2326.0,
        };
        let ratios = vec![3.5, 3.6, 3.4];
        let row = Row {
            load: LOADS[0].0,
            predecessor: LOADS[0].1,
            scale: 100,
            measured: Some(measured),
            failure: exceeded(&ratios, BOUND),
            ratios,
        };
        let table = table(&[row], BOUND);
        assert!(
            table.lines().all(|line| line.chars().count() <= 110),
            "{table}"
        );
        assert!(table.contains("FAILED: it took at least 3.40 times the floor"));
        assert!(table.contains("1 rows, 1 failed"));
    }
}
