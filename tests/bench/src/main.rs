//! What exoscope costs: every figure as the median of several rounds in one go, next to the floor
//! that was measured in the same round, and to the bound that it is to keep.
//!
//! Machines are noisy, so ratios are taken round by round, from neighbouring measurements, and the
//! median of the ratios is quoted. Nothing here decides whether tests pass; only the stress fails where a
//! load exceeds its bound each time that it is measured.

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
use std::process::ExitCode;
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
    /// Times the floor that a load of the stress may take.
    #[arg(long, default_value_t = stress::BOUND)]
    bound: f64,
    /// Only the loads of the stress whose name contains this.
    #[arg(long, default_value = "")]
    load: String,
    /// Only the groups whose name contains this: calls, attached, threads, attaching, sustained, many, stats,
    /// programs, slowdown, switches, bytes, reports; or long, which is not measured unless it is named, or
    /// stress, which is a table of its own.
    #[arg(long, default_value = "")]
    only: String,
    /// Millions of calls in the file that reports are made of.
    #[arg(long, default_value_t = 10)]
    millions: u32,
}

/// Measures one group of figures.
type Measure = fn(&Args, &mut Report) -> Result<()>;

/// The group that takes so long that it is measured only where it is named.
const ONLY_NAMED: &str = "long";
/// What [`stress`] is called. Unlike all others it fails where a bound is exceeded.
const STRESS: &str = "stress";

/// A moment for the machine to settle after attaching or detaching.
const SETTLE: Duration = Duration::from_millis(100);

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    if args.only == STRESS {
        // One sentence for each that did not is in the table.
        return Ok(if stress::run(&args)? {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        });
    }
    let mut report = Report::default();
    let groups: [(&str, Measure); 13] = [
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
    ];
    for (name, measure) in groups {
        if name.contains(&args.only) && !(args.only.is_empty() && name == ONLY_NAMED) {
            eprintln!("measuring: {name}");
            // On a thread of its own: one that keeps itself on a CPU would keep the next one there.
            let group = || measure(&args, &mut report);
            thread::scope(|scope| scope.spawn(group).join().expect("no group panics"))?;
        }
    }
    if args.json {
        report.print_json()?;
    } else {
        report.print_text()?;
    }
    Ok(ExitCode::SUCCESS)
}
