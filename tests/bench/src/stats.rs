//! What sampling the target costs the agent, for a target of 100 threads.

use std::time::Duration;

use anyhow::{Result, ensure};
use rusqlite::Connection;

use crate::Args;
use crate::figures::Report;
use crate::target::{Agent, Target, cpu_seconds};

/// Threads of the target besides its first.
const THREADS: u32 = 99;
/// How long the agent is watched.
const WATCHED: Duration = Duration::from_secs(10);
/// What all of it may use of one CPU, in per cent.
const BOUND: f64 = 1.0;

/// Measures sampling at the default interval, next to none.
pub fn measure(args: &Args, report: &mut Report) -> Result<()> {
    report.group(&format!("stats every 100 ms, of {} threads", THREADS + 1));
    for (what, command) in [
        ("asleep", "threads"),
        ("woken 100 times a second", "restless"),
    ] {
        let without = agent_percent(args, command, "0")?;
        let with = agent_percent(args, command, "100")?;
        let name = |stats: &str| format!("CPU of the agent, of one, {stats}; threads {what}");
        report.add(&name("without stats"), without, "%", None);
        report.add(&name("with stats"), with, "%", Some(BOUND));
    }
    Ok(())
}

/// CPU of the agent, in per cent of one.
fn agent_percent(args: &Args, command: &str, interval: &str) -> Result<f64> {
    let mut target = Target::start(&args.targets.join("resources"), &[])?;
    target.line()?;
    target.send(&format!("{command} {THREADS}"))?;
    ensure!(
        target.line()?.starts_with("used "),
        "the target refused `{command}`"
    );
    let folder = tempfile::tempdir()?;
    let output = folder.path().join("stats.db");
    let options = ["--stats-interval", interval];
    let agent = Agent::attach(&args.exoscope, target.pid(), &output, &options)?;
    std::thread::sleep(Duration::from_secs(1));
    let before = cpu_seconds(agent.pid())?;
    std::thread::sleep(WATCHED);
    let used = cpu_seconds(agent.pid())? - before;
    agent.stop()?;
    if interval != "0" {
        let file = Connection::open(&output)?;
        let sql = "SELECT max(threads) FROM process_stats";
        let threads: u32 = file.query_row(sql, [], |row| row.get(0))?;
        ensure!(threads == THREADS + 1, "{threads} threads were seen");
    }
    Ok(100.0 * used / WATCHED.as_secs_f64())
}
