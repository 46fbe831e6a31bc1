//! `cargo xtask bench`: what markers, attaching and the agent cost, each next to its floor; and
//! `cargo xtask stress`: loads from everywhere at once, accounted for to the call.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::command::{build_executable, cargo, run};
use crate::{build, workspace};

/// The programs that are measured.
const TARGETS: [&str; 5] = ["ticks", "many", "variants", "resources", "storms"];
/// The program that `cargo xtask stress` drives.
const STRESS: [&str; 1] = ["stress"];

/// Options of `cargo xtask bench`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print the figures to standard output as JSON.
    #[arg(long)]
    json: bool,
    /// Passed on to the benchmark program: --rounds, --seconds, --millions, --only.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// Installs what is needed, builds for release, and measures. Nothing else should run meanwhile.
pub fn bench(args: &Args) -> Result<()> {
    measure(&TARGETS, args.json, &args.rest)
}

/// Options of `cargo xtask stress`.
#[derive(Debug, clap::Args)]
pub struct StressArgs {
    /// Print the figures to standard output as JSON.
    #[arg(long)]
    json: bool,
    /// What random numbers begin with.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only the loads whose name contains this: frequency, mixed, contention, failures, memory, streams.
    #[arg(long, default_value = "")]
    load: String,
    /// Times the floor that a load may take, the least of three measurements.
    #[arg(long, default_value_t = 3.0)]
    bound: f64,
}

/// Installs what is needed, builds for release, and runs every load. Needs root.
pub fn stress(args: &StressArgs) -> Result<()> {
    let (seed, bound) = (args.seed.to_string(), args.bound.to_string());
    let rest = ["--only", "stress", "--seed", &seed, "--bound", &bound];
    let rest = [&rest[..], &["--load", &args.load]].concat();
    measure(
        &STRESS,
        args.json,
        &rest.into_iter().map(str::to_owned).collect::<Vec<_>>(),
    )
}

fn measure(targets: &[&str], json: bool, rest: &[String]) -> Result<()> {
    let exoscope = build::build()?;
    let targets = build_targets(targets)?;
    let mut bench = cargo();
    bench
        .args(["run", "--quiet", "--release", "--package", "exoscope-bench"])
        .args(["--", "--exoscope"])
        .arg(exoscope)
        .arg("--targets")
        .arg(targets);
    if json {
        bench.arg("--json");
    }
    run(bench.args(rest))
}

/// Builds the programs with their markers, and gives back the folder that they lie in.
fn build_targets(targets: &[&str]) -> Result<PathBuf> {
    let mut build = cargo();
    build
        .args(["build", "--release", "--features", "profile"])
        .args(targets.iter().map(|target| format!("--package={target}")))
        .current_dir(workspace::targets());
    let program = build_executable(&mut build, targets[0])?;
    let folder = program.parent().map(Path::to_owned);
    folder.context("the program lies in no folder")
}
