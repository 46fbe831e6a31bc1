//! `cargo xtask bench`: what markers, attaching and the agent cost, each next to its floor.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::command::{build_executable, cargo, run};
use crate::{build, workspace};

/// The programs that are measured.
const TARGETS: [&str; 4] = ["ticks", "many", "variants", "resources"];

/// Options of `cargo xtask bench`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print the figures to standard output as JSON.
    #[arg(long)]
    json: bool,
    /// Passed on to the benchmark program: --rounds, --seconds, --only.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// Installs what is needed, builds for release, and measures. Nothing else should run meanwhile.
pub fn bench(args: &Args) -> Result<()> {
    let exoscope = build::build()?;
    let targets = build_targets()?;
    let mut bench = cargo();
    bench
        .args(["run", "--quiet", "--release", "--package", "exoscope-bench"])
        .args(["--", "--exoscope"])
        .arg(exoscope)
        .arg("--targets")
        .arg(targets);
    if args.json {
        bench.arg("--json");
    }
    run(bench.args(&args.rest))
}

/// Builds the programs with their markers, and gives back the folder that they lie in.
fn build_targets() -> Result<PathBuf> {
    let mut build = cargo();
    build
        .args(["build", "--release", "--features", "profile"])
        .args(TARGETS.map(|target| format!("--package={target}")))
        .current_dir(workspace::targets());
    let ticks = build_executable(&mut build, TARGETS[0])?;
    let folder = ticks.parent().map(Path::to_owned);
    folder.context("the program lies in no folder")
}
