//! A steady rate for a long time: what is lost, what the agent uses, how large the file becomes.

use anyhow::{Context as _, Result};
use rusqlite::Connection;

use crate::Args;
use crate::figures::Report;
use crate::target::{Agent, Target, cpu_seconds, peak_memory_mb};

/// Calls a second, from one thread.
const RATE: u64 = 500_000;

/// Measures a sustained run into plain rows.
pub fn measure(args: &Args, report: &mut Report) -> Result<()> {
    let (rate, seconds) = (RATE.to_string(), args.seconds.to_string());
    let options = ["--wait-stdin", "--rate", &rate, "--seconds", &seconds];
    let mut target = Target::start(&args.targets.join("variants"), &options)?;
    target.line()?;
    let folder = tempfile::tempdir()?;
    let output = folder.path().join("sustained.db");
    let agent = Agent::attach(&args.exoscope, target.pid(), &output, &[])?;
    let before = cpu_seconds(agent.pid())?;
    target.send("")?;
    let achieved: serde_json::Value = serde_json::from_str(&target.line()?)?;
    let cpu = cpu_seconds(agent.pid())? - before;
    let memory = peak_memory_mb(agent.pid())?;
    agent.stop()?;
    let made = achieved["calls"]
        .as_f64()
        .context("the target tells no calls")?;
    let took = achieved["seconds"]
        .as_f64()
        .context("the target tells no seconds")?;
    let file = Connection::open(&output)?;
    let stored: f64 = file.query_row("SELECT count(*) FROM calls", [], |row| row.get(0))?;
    let missing: f64 =
        file.query_row("SELECT sum(calls_missing) FROM completeness", [], |row| {
            row.get(0)
        })?;
    report.group(&format!(
        "{RATE} calls a second from one thread for {} s",
        args.seconds
    ));
    report.add("calls made", made, "", None);
    report.add(
        "calls a second that the target achieved",
        made / took,
        "",
        None,
    );
    report.add("calls made and not stored", made - stored, "", Some(0.0));
    report.add(
        "calls that the kernel counted and that are missing",
        missing,
        "",
        Some(0.0),
    );
    report.add("CPU of the agent, of one", 100.0 * cpu / took, "%", None);
    report.add("CPU of the agent per call", cpu / made * 1e9, "ns", None);
    report.add("memory of the agent at most", memory, "MB", Some(150.0));
    report.add(
        "file per call",
        output.metadata()?.len() as f64 / stored,
        "bytes",
        None,
    );
    Ok(())
}
