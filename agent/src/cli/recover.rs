//! `exoscope recover`: what a session that was cut short has left.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use super::printed;
use crate::store::recover;

/// Options of `exoscope recover`.
#[derive(Debug, Parser)]
pub struct Args {
    /// The file. `run` and `attach` do the same to a file that they add a session to.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Go on without what was in a spool whose folder is not there any more.
    #[arg(long)]
    without_spool: bool,
}

/// Finishes a file and says what was done.
///
/// # Errors
/// One sentence, where the file is not ours, is being written, or can't be.
pub fn recover(args: &Args) -> Result<ExitCode> {
    let recovered = match args.without_spool {
        true => recover::recover_without_spool(&args.file),
        false => recover::recover(&args.file),
    }?;
    printed(|out| {
        if recovered.is_empty() {
            writeln!(
                out,
                "nothing to recover: every session of the file has an end"
            )?;
        }
        for sentence in &recovered {
            writeln!(out, "{sentence}")?;
        }
        Ok(())
    })
}
