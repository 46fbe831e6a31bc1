//! `cargo xtask faults`: what becomes of calls, target and file when something goes wrong.

use anyhow::Result;

use crate::build;
use crate::command::{cargo, run};

/// Options of `cargo xtask faults`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print the table to standard output as JSON.
    #[arg(long)]
    json: bool,
    /// Only the cases whose name contains this, such as `store: ` or `SIGKILL`.
    #[arg(long, default_value = "")]
    only: String,
    /// Print the names of the cases, and do nothing.
    #[arg(long)]
    list: bool,
    /// What random moments begin with.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How often the agent is killed; storms, and what else is repeated, follow it.
    #[arg(long, default_value_t = 500)]
    count: u32,
    /// Seconds that faults last.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

/// Installs what is needed, builds for release, and runs every case. Needs root.
pub fn faults(args: &Args) -> Result<()> {
    // For names alone nothing is built that they don't need.
    let exoscope = match args.list {
        true => None,
        false => Some(build::build()?),
    };
    let mut faults = cargo();
    faults
        .args([
            "run",
            "--quiet",
            "--package",
            "exoscope-tests",
            "--bin",
            "faults",
            "--",
        ])
        .args(["--only", &args.only])
        .args(["--seed", &args.seed.to_string()])
        .args(["--count", &args.count.to_string()])
        .args(["--seconds", &args.seconds.to_string()])
        .args(args.json.then_some("--json"))
        .args(args.list.then_some("--list"));
    if let Some(exoscope) = exoscope {
        faults.env("EXOSCOPE", exoscope);
    }
    run(&mut faults)
}
