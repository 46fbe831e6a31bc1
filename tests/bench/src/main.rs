//! What exoscope costs: every figure as the median of several rounds in one go, next to the floor
//! that was measured in the same round, and to the bound that it is to keep.
//!
//! Machines are noisy, so ratios are taken round by round, from neighbouring measurements, and the
//! median of the ratios is quoted. Nothing here decides whether tests pass.

mod attaching;
mod calls;
mod figures;
mod stats;
mod stress;
mod sustained;
mod target;

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use figures::Report;

/// What exoscope costs on this machine.
#[derive(Debug, Parser)]
pub struct Args {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// The command `exoscope`, built for release.
    #[arg(long, value_name = "FILE")]
    exoscope: PathBuf,
    /// Folder with the targets `ticks`, `many`, `variants`, `resources` and `stress`, built for release with `profile`.
    #[arg(long, value_name = "DIR")]
    targets: PathBuf,
    /// Rounds of each measurement.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Seconds of the sustained run.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// What the random numbers of the stress begin with.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only the groups whose name contains this: calls, attaching, sustained, stats; or stress, which
    /// is not measured unless it is named.
    #[arg(long, default_value = "")]
    only: String,
}

/// Measures one group of figures.
type Measure = fn(&Args, &mut Report) -> Result<()>;

fn main() -> Result<()> {
    let args = Args::parse();
    let mut report = Report::default();
    let groups: [(&str, Measure); 5] = [
        ("calls", calls::measure),
        ("attaching", attaching::measure),
        ("sustained", sustained::measure),
        ("stats", stats::measure),
        ("stress", stress::measure),
    ];
    for (name, measure) in groups {
        if name.contains(&args.only) && (name != "stress" || !args.only.is_empty()) {
            eprintln!("measuring: {name}");
            measure(&args, &mut report)?;
        }
    }
    if args.json {
        report.print_json()
    } else {
        report.print_text()
    }
}
