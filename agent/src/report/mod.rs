//! What people and programs read: tables as text, and JSON with the names of the views.
//!
//! One file a report. Each asks [`query`](crate::query) and prints; styles are written as escape
//! sequences, which whoever owns the stream takes out where they are not wanted.

mod calls;
mod counts;
mod diagnosis;
mod errors;
pub mod human;
mod in_flight;
mod process;
mod summary;
mod table;
#[cfg(test)]
mod tests;
mod tree;

use std::io::{self, IsTerminal as _, Write};

use anyhow::Result;
use serde::Serialize;

pub use calls::{CallsArgs, calls};
pub use diagnosis::diagnose;
pub use errors::{ErrorsArgs, errors};
pub use in_flight::{InFlightArgs, in_flight, print_in_flight};
pub use summary::{ReportArgs, cut_stacks, report};
pub use tree::{TreeArgs, tree};

/// Columns of the terminal at standard output; `None` where it is none, and lines may be long.
fn terminal_width() -> Option<usize> {
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(&stdout).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// Writes one JSON value and a line end.
///
/// # Errors
/// Where it can't be written; an [`io::Error`], so that a closed pipe can be told apart.
fn write_json(value: &impl Serialize, out: &mut dyn Write) -> Result<()> {
    serde_json::to_writer_pretty(&mut *out, value).map_err(io::Error::from)?;
    writeln!(out)?;
    Ok(())
}
