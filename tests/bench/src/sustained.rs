//! Loads of all kinds for a while: what is lost, what the agent uses, how large the file becomes.

use std::time::Instant;

use anyhow::{Context as _, Result};
use rusqlite::Connection;

use crate::Args;
use crate::figures::Report;
use crate::target::{Agent, Target, cpu_seconds, peak_memory_mb};

/// Seconds within which a file is complete after the last call.
const COMPLETE_BOUND: f64 = 10.0;

/// A load, and what the agent may use for it.
#[derive(Clone, Copy)]
struct Load<'a> {
    name: &'a str,
    options: &'a [&'a str],
    /// Megabytes.
    memory: f64,
    /// Per cent of one CPU.
    cpu: Option<f64>,
}

/// What a target says that it did.
struct Done {
    calls: f64,
    seconds: f64,
}

/// Measures runs into plain rows at a steady rate, and as fast as one thread can make calls.
pub fn measure(args: &Args, report: &mut Report) -> Result<()> {
    let load = Load {
        name: "500,000 calls a second from one thread",
        options: &[],
        memory: 150.0,
        cpu: None,
    };
    at_rate(args, report, load, 500_000, args.seconds)?;
    for (name, markers) in [
        ("as fast as one thread can, fast markers", "fast"),
        ("as fast as one thread can, safe markers", "safe"),
    ] {
        let options: &[&str] = &["--markers", markers];
        let load = Load {
            name,
            options,
            memory: 256.0,
            cpu: None,
        };
        flat_out(args, report, load)?;
    }
    Ok(())
}

/// Measures a moderate rate for a long time: twenty times as long as the other runs.
pub fn long(args: &Args, report: &mut Report) -> Result<()> {
    let load = Load {
        name: "100,000 calls a second from one thread",
        options: &[],
        memory: 100.0,
        cpu: Some(20.0),
    };
    at_rate(args, report, load, 100_000, 20 * args.seconds)
}

/// Measures a thousand threads that call at once, ten thousand functions, and a million calls in flight.
pub fn many(args: &Args, report: &mut Report) -> Result<()> {
    let load = |name, options| Load {
        name,
        options,
        memory: 256.0,
        cpu: None,
    };
    let target = Target::start(&args.targets.join("ticks"), &[])?;
    let threads = load("1,000 threads at once, 2,000 calls each", &[]);
    capture(args, report, threads, target, |target| {
        let begin = Instant::now();
        target.ask("crowd marked 2000 1000")?;
        Ok(Done {
            calls: 2_000_000.0,
            seconds: begin.elapsed().as_secs_f64(),
        })
    })?;

    let options = ["--rounds", "100", "--wait-stdin"];
    let target = ready(Target::start(&args.targets.join("many"), &options)?)?;
    let functions = Load {
        memory: 512.0,
        ..load("10,000 functions, 100 calls each", &[])
    };
    capture(args, report, functions, target, |target| {
        let begin = Instant::now();
        target.send("")?;
        let mut calls = 0.0;
        for _ in 0..3 {
            calls += told(&target.line()?, "calls")?;
        }
        Ok(Done {
            calls,
            seconds: begin.elapsed().as_secs_f64(),
        })
    })?;

    let options = ["flight", "--count", "1000000"];
    let target = ready(Target::start(&args.targets.join("storms"), &options)?)?;
    let flight = Load {
        memory: 1024.0,
        ..load("1,000,000 calls in flight", &["--open-calls", "1000000"])
    };
    capture(args, report, flight, target, |target| {
        let begin = Instant::now();
        target.send("")?;
        target.line()?;
        target.send("")?;
        let mut calls = 0.0;
        loop {
            let line = target.line()?;
            if line.starts_with("done") {
                break;
            }
            calls += told(&line, "ok").unwrap_or_default();
        }
        Ok(Done {
            calls,
            seconds: begin.elapsed().as_secs_f64(),
        })
    })
}

/// Waits until a target is ready.
fn ready(mut target: Target) -> Result<Target> {
    target.line()?;
    Ok(target)
}

/// A number that a target tells.
fn told(line: &str, what: &str) -> Result<f64> {
    let told: serde_json::Value = serde_json::from_str(line)?;
    let number = told[what].as_f64();
    number.with_context(|| format!("the target tells no {what}: {line}"))
}

fn at_rate(args: &Args, report: &mut Report, load: Load, rate: u64, seconds: u64) -> Result<()> {
    let (rate, seconds) = (rate.to_string(), seconds.to_string());
    let options = ["--wait-stdin", "--rate", &rate, "--seconds", &seconds];
    let target = ready(Target::start(&args.targets.join("variants"), &options)?)?;
    capture(args, report, load, target, |target| {
        target.send("")?;
        let line = target.line()?;
        Ok(Done {
            calls: told(&line, "calls")?,
            seconds: told(&line, "seconds")?,
        })
    })
}

/// Calls without a pause, for twice as long as at a steady rate.
fn flat_out(args: &Args, report: &mut Report, load: Load) -> Result<()> {
    const AT_ONCE: u64 = 1_000_000;
    let target = Target::start(&args.targets.join("ticks"), &[])?;
    capture(args, report, load, target, |target| {
        let (begin, mut calls) = (Instant::now(), 0.0);
        while begin.elapsed().as_secs() < 2 * args.seconds {
            calls += target.ask(&format!("call marked {AT_ONCE}"))?;
        }
        Ok(Done {
            calls,
            seconds: begin.elapsed().as_secs_f64(),
        })
    })
}

/// Captures what a target does, and reports what became of it.
fn capture(
    args: &Args,
    report: &mut Report,
    load: Load,
    mut target: Target,
    work: impl FnOnce(&mut Target) -> Result<Done>,
) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let output = folder.path().join("sustained.db");
    let agent = Agent::attach(&args.exoscope, target.pid(), &output, load.options)?;
    let before = cpu_seconds(agent.pid())?;
    let done = work(&mut target)?;
    let ended = Instant::now();
    let cpu = cpu_seconds(agent.pid())? - before;
    let memory = peak_memory_mb(agent.pid())?;
    agent.stop()?;
    let complete_after = ended.elapsed().as_secs_f64();

    let file = Connection::open(&output)?;
    let number = |sql: &str| file.query_row(sql, [], |row| row.get::<_, f64>(0));
    let stored = number("SELECT count(*) FROM calls")?;
    let missing = number("SELECT coalesce(sum(calls_missing), 0) FROM completeness")?;
    let per_call = output.metadata()?.len() as f64 / stored;
    let Done { calls, seconds } = done;
    report.group(&format!("{}, {seconds:.0} s", load.name));
    for (name, value, unit, bound) in [
        ("calls made", calls, "", None),
        ("calls a second", calls / seconds, "", None),
        ("calls made and not stored", calls - stored, "", Some(0.0)),
        (
            "calls that the kernel counted and that are missing",
            missing,
            "",
            Some(0.0),
        ),
        (
            "CPU of the agent, of one",
            100.0 * cpu / seconds,
            "%",
            load.cpu,
        ),
        ("CPU of the agent per call", cpu / calls * 1e9, "ns", None),
        (
            "memory of the agent at most",
            memory,
            "MB",
            Some(load.memory),
        ),
        (
            "the file is complete after",
            complete_after,
            "s",
            Some(COMPLETE_BOUND),
        ),
        ("file per call", per_call, "bytes", None),
    ] {
        report.add(name, value, unit, bound);
    }
    Ok(())
}
