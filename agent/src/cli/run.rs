//! `exoscope run`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use super::attach::CaptureArgs;
use crate::session;

/// Options of `exoscope run`.
#[derive(Debug, Parser)]
pub struct Args {
    #[command(flatten)]
    capture: CaptureArgs,
    /// The program and its arguments.
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    command: Vec<String>,
}

/// Starts a program, captures until its end, and exits with its status.
///
/// # Errors
/// One sentence about what failed; the program does not run on then.
pub fn run(args: &Args) -> Result<ExitCode> {
    let options = args.capture.options()?;
    let summary = session::run(&args.command, &options)?;
    args.capture.summarize(&summary)?;
    let status = summary.exit_status.unwrap_or(0);
    Ok(ExitCode::from(
        u8::try_from(status).unwrap_or(super::FAILED),
    ))
}
