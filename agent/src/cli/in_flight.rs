//! `exoscope in-flight`: of a file, or of a process that is looked at for a moment.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;

use super::printed;
use crate::report;
use crate::session;
use crate::target::process::Target;

/// Options of `exoscope in-flight`.
#[derive(Debug, Parser)]
#[command(group = clap::ArgGroup::new("where").required(true))]
pub struct Args {
    /// A file, finished or being written.
    #[arg(group = "where", value_name = "FILE")]
    file: Option<PathBuf>,
    /// A process: calls that begin while it is looked at and are open at the end of --duration.
    #[arg(short, long, group = "where")]
    pid: Option<u32>,
    /// How long a process is looked at.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Args {
    /// Whether it is about a process.
    pub const fn looks_into_a_process(&self) -> bool {
        self.pid.is_some()
    }
}

/// Lists calls in flight.
///
/// # Errors
/// Where the file or the process can't be read.
pub fn in_flight(args: &Args) -> Result<ExitCode> {
    match (&args.file, args.pid) {
        (Some(file), _) => {
            let args = report::InFlightArgs {
                file: file.clone(),
                json: args.json,
            };
            printed(|out| report::in_flight(&args, out))
        }
        (None, pid) => {
            let target = Target::open(pid.unwrap_or_default())?;
            let calls = session::in_flight(&target, args.duration)?;
            printed(|out| report::print_in_flight(&calls, args.json, out))
        }
    }
}
