//! `cargo xtask bench`: what markers, attaching and the agent cost, each next to its floor.

use anyhow::Result;

use crate::build;
use crate::command::{cargo, run};
use crate::needs::Purpose;
use crate::setup;

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

/// Installs what is needed, builds for release, and measures. Nothing else should run meanwhile.
pub fn bench(args: &Args) -> Result<()> {
    setup::prepare(Purpose::Demo)?;
    build::build()?;
    let mut bench = cargo();
    bench.args(["run", "--quiet", "--release", "--package", "exoscope-tests"]);
    bench.args(["--bin", "bench", "--"]);
    if args.json {
        bench.arg("--json");
    }
    run(bench.args(&args.rest))
}
