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
    /// Only the cases whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// What random moments begin with.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How often the agent is killed.
    #[arg(long, default_value_t = 500)]
    count: u32,
    /// Seconds that faults last.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

/// Installs what is needed, builds for release, and runs every case. Needs root.
pub fn faults(args: &Args) -> Result<()> {
    let exoscope = build::build()?;
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
        .env("EXOSCOPE", exoscope);
    if args.json {
        faults.arg("--json");
    }
    run(&mut faults)
}
