//! `cargo xtask bench`: what markers, attaching and the agent cost, each next to its floor.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::command::{build_executable, cargo, run};
use crate::needs::Purpose;
use crate::{build, setup, workspace};

/// Options of `cargo xtask bench`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print the figures to standard output as JSON.
    #[arg(long)]
    json: bool,
    /// Passed on to the benchmark program.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// The programs that are measured.
const TARGETS: [&str; 3] = ["ticks", "many", "variants"];

/// Installs what is needed, builds for release, and measures. Nothing else should run meanwhile.
pub fn bench(args: &Args) -> Result<()> {
    setup::prepare(Purpose::Build)?;
    let exoscope = build::build()?;
    let mut bench = cargo();
    bench.args(["run", "--quiet", "--release", "--package=exoscope-bench", "--"]);
    bench.arg("--exoscope").arg(exoscope);
    bench.arg("--targets").arg(build_targets()?);
    if args.json {
        bench.arg("--json");
    }
    run(bench.args(&args.rest))
}

/// Builds the programs that are measured, and gives back their folder.
fn build_targets() -> Result<PathBuf> {
    let mut folder = PathBuf::new();
    for target in TARGETS {
        let mut build = cargo();
        build
            .args(["build", "--release", "--features=profile", "--package", target])
            .current_dir(workspace::targets());
        let executable = build_executable(&mut build, target)?;
        folder = executable.parent().context("an executable lies in a folder")?.to_owned();
    }
    Ok(folder)
}
