//! What exoscope costs: every figure as the median of several rounds in one go, next to the floor
//! that was measured in the same round, and to the bound that it is to keep.
//!
//! Machines are noisy, so ratios are taken round by round, from neighbouring measurements, and the
//! median of the ratios is quoted. Nothing here decides whether tests pass.

mod attached;
mod attaching;
mod calls;
mod figures;
mod stats;
mod stored;
mod stress;
mod sustained;
mod switches;
mod target;
mod twins;

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

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
    /// Folder with the targets `ticks`, `many`, `variants`, `resources`, `storms` and `stress`, built for release with `profile`.
    #[arg(long, value_name = "DIR")]
    targets: PathBuf,
    /// Rounds of each measurement.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Seconds of the sustained run at a steady rate; those without a pause take twice as long, and the long one
    /// twenty times.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// What the random numbers of the stress begin with.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only the groups whose name contains this: calls, attached, threads, attaching, sustained, many, stats,
    /// programs, slowdown, switches, bytes, reports; or long and stress, which are not measured unless they
    /// are named.
    #[arg(long, default_value = "")]
    only: String,
    /// Millions of calls in the file that reports are made of.
    #[arg(long, default_value_t = 10)]
    millions: u32,
}

/// Measures one group of figures.
type Measure = fn(&Args, &mut Report) -> Result<()>;

/// Groups that take so long that they are measured only where they are named.
const ONLY_NAMED: [&str; 2] = ["long", "stress"];

/// A moment for the machine to settle after attaching or detaching.
const SETTLE: Duration = Duration::from_millis(100);

fn main() -> Result<()> {
    let args = Args::parse();
    let mut report = Report::default();
    let groups: [(&str, Measure); 14] = [
        ("calls", calls::measure),
        ("attached", attached::one_thread),
        ("threads", attached::threads),
        ("attaching", attaching::measure),
        ("sustained", sustained::measure),
        ("many", sustained::many),
        ("stats", stats::measure),
        ("programs", stats::programs),
        ("slowdown", stats::slowdown),
        ("switches", switches::measure),
        ("bytes", stored::bytes),
        ("reports", stored::reports),
        ("long", sustained::long),
        ("stress", stress::measure),
    ];
    for (name, measure) in groups {
        if name.contains(&args.only) && !(args.only.is_empty() && ONLY_NAMED.contains(&name)) {
            eprintln!("measuring: {name}");
            // On a thread of its own: one that keeps itself on a CPU would keep the next one there.
            let group = || measure(&args, &mut report);
            thread::scope(|scope| scope.spawn(group).join().expect("no group panics"))?;
        }
    }
    if args.json {
        report.print_json()
    } else {
        report.print_text()
    }
}
