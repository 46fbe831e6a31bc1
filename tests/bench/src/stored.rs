//! What a file costs: its bytes per call, and the time that reports of it take.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Result, ensure};
use exoscope_abi::figures::ALL;
use exoscope_agent::event::{Batch, Call, CallPolls, Figures, Function, FunctionCounts, Outcome};
use exoscope_agent::store::{SessionEnd, SessionInfo, Store};

use crate::Args;
use crate::figures::Report;
use crate::target::{Agent, Target};

/// Calls of which bytes are counted.
const COUNTED: u64 = 1_000_000;
/// Bytes of a call with its times and its outcome, and with all that the kernel counted, at most.
const BYTES_BOUND: f64 = 36.0;
const STATS_BYTES_BOUND: f64 = 52.0;

/// Functions of the file that reports are made of.
const FUNCTIONS: u64 = 1_000;
/// Calls of a family: one that makes the others.
const FAMILY: u64 = 10;
/// Calls of one transaction.
const BATCH: u64 = 100_000;
/// Seconds that a report of ten million calls may take, and of a hundred million.
const REPORT_BOUND: f64 = 1.0;
const LARGE_REPORT_BOUND: f64 = 5.0;

/// What is known of calls that are made up.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    /// Their times and outcomes.
    Times,
    /// What the kernel counted, too, and of each of them more than nothing.
    Figures,
    /// Their polls, too.
    Polls,
}

/// Measures the bytes of a call.
pub fn bytes(args: &Args, report: &mut Report) -> Result<()> {
    let folder = tempfile::tempdir()?;
    report.group(&format!("bytes of the file per call, of {COUNTED} calls"));
    let no_stats: &[&str] = &["--call-stats", "none"];
    for (name, function, options, bound) in [
        ("times and outcome", "marked", no_stats, Some(BYTES_BOUND)),
        (
            "… and messages, where half of them fail",
            "marked_err",
            no_stats,
            None,
        ),
        ("all call stats", "marked", &[], Some(STATS_BYTES_BOUND)),
    ] {
        let output = folder.path().join(format!("{name}.db"));
        capture(args, function, options, &output)?;
        report.add(name, bytes_per_call(&output)?, "bytes", bound);
    }
    let output = folder.path().join("figures.db");
    fill(&output, COUNTED, Known::Figures)?;
    let name = "all call stats, none of them 0";
    report.add(
        name,
        bytes_per_call(&output)?,
        "bytes",
        Some(STATS_BYTES_BOUND),
    );
    Ok(())
}

/// Measures the time of reports.
pub fn reports(args: &Args, report: &mut Report) -> Result<()> {
    let folder = tempfile::tempdir()?;
    report.group(&format!(
        "seconds, of {} million calls of {FUNCTIONS} functions",
        args.millions
    ));
    let (bound, kinds): (f64, &[(Known, &[&str])]) = if args.millions <= 10 {
        let tree_too = (Known::Times, &["report", "tree"][..]);
        (REPORT_BOUND, &[tree_too, (Known::Polls, &["report"])])
    } else {
        (LARGE_REPORT_BOUND, &[(Known::Times, &["report"])])
    };
    for &(known, commands) in kinds {
        let output = folder.path().join("report.db");
        fill(&output, u64::from(args.millions) * 1_000_000, known)?;
        for command in commands {
            let times = (0..args.rounds).map(|_| seconds(args, command, &output));
            let times: Vec<f64> = times.collect::<Result<_>>()?;
            let with = if known == Known::Polls {
                ", with stats and polls"
            } else {
                ""
            };
            let bound = (*command == "report").then_some(bound);
            report.add_median(&format!("exoscope {command}{with}"), &times, "s", bound);
        }
        std::fs::remove_file(&output)?;
    }
    Ok(())
}

/// Captures calls of a target.
fn capture(args: &Args, function: &str, options: &[&str], output: &Path) -> Result<()> {
    let mut target = Target::start(&args.targets.join("ticks"), &[])?;
    let agent = Agent::attach(&args.exoscope, target.pid(), output, options)?;
    target.ask(&format!("call {function} {COUNTED}"))?;
    let status = agent.stop()?;
    ensure!(status == 0, "the agent ended with status {status}");
    Ok(())
}

fn bytes_per_call(file: &Path) -> Result<f64> {
    Ok(file.metadata()?.len() as f64 / COUNTED as f64)
}

/// Seconds that a command takes about a file.
fn seconds(args: &Args, command: &str, file: &Path) -> Result<f64> {
    let start = Instant::now();
    let status = Command::new(&args.exoscope)
        .arg(command)
        .arg(file)
        .stdout(Stdio::null())
        .status()?;
    ensure!(status.success(), "`exoscope {command}` failed");
    Ok(start.elapsed().as_secs_f64())
}

/// Writes a file of calls that never were, as the agent's writer does.
fn fill(path: &Path, calls: u64, known: Known) -> Result<()> {
    let info = SessionInfo::now(String::new(), 0);
    let (began_ns, end) = (info.started_ns, info.started_unix_ns);
    let mut store = Store::open(path, info)?;
    let functions: Vec<Function> = (0..FUNCTIONS).map(function).collect();
    store.add_functions(&functions)?;
    for first in (0..calls).step_by(BATCH as usize) {
        let numbers = first + 1..=(first + BATCH).min(calls);
        let made: Vec<Call> = numbers.map(|id| call(id, began_ns, known)).collect();
        let polls = made.iter().filter(|_| known == Known::Polls).map(polls);
        store.write(&Batch {
            polls: polls.collect(),
            calls: made,
            ..Batch::default()
        })?;
    }
    store.write(&Batch {
        counts: Some(
            (0..FUNCTIONS)
                .map(|function| FunctionCounts::of_calls(function as u32, calls / FUNCTIONS))
                .collect(),
        ),
        ..Batch::default()
    })?;
    store.finish(&SessionEnd {
        ended_unix_ns: end + 60_000_000_000,
        reason: "interrupted".into(),
        exit_status: None,
    })
}

fn function(number: u64) -> Function {
    Function {
        path: format!("app::module{}::function{number}", number / 100),
        file: "src/main.rs".into(),
        line: number as u32 + 1,
    }
}

/// A call of a microsecond to a millisecond, one of ten or one of the ten's outer one.
fn call(id: u64, began_ns: u64, known: Known) -> Call {
    let random = scattered(id);
    let duration_ns = (1_000 << (random % 10)) + (random >> 32) % 1_000;
    let child = (id - 1) % FAMILY;
    Call {
        id,
        parent: (child > 0).then(|| id - child),
        function: ((id - 1) % FUNCTIONS) as u32,
        tid: 4_000 + (random >> 16) as u32 % 16,
        start_ns: began_ns + id * 1_500,
        duration_ns,
        self_ns: if child > 0 {
            duration_ns
        } else {
            duration_ns / 2
        },
        outcome: if random % 1_000 == 7 {
            Outcome::Err
        } else {
            Outcome::Ok
        },
        items: None,
        figures: match known {
            Known::Times => Figures::default(),
            Known::Figures | Known::Polls => figures(random, duration_ns),
        },
    }
}

/// As of a call that was interrupted, waited, and touched new memory.
fn figures(random: u64, duration_ns: u64) -> Figures {
    let runqueue_ns = duration_ns / (3 + random % 4);
    let blocked_ns = duration_ns / (3 + random % 8);
    Figures {
        known: ALL,
        cpu_ns: duration_ns - runqueue_ns - blocked_ns,
        runqueue_ns,
        blocked_ns,
        minor_faults: 1 + (random >> 8) as u32 % 64,
        major_faults: 0,
        voluntary_switches: 1 + (random >> 20) as u32 % 3,
        involuntary_switches: 0,
        rss_delta_bytes: 4096 * (1 + (random >> 24) as i64 % 64),
    }
}

fn polls(call: &Call) -> CallPolls {
    CallPolls {
        call: call.id,
        polls: 3,
        polled_ns: call.duration_ns,
        ready_ns: 0,
    }
}

/// Numbers that look random: the steps of `splitmix64`.
const fn scattered(number: u64) -> u64 {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ (mixed >> 27)
}
