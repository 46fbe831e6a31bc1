//! `exoscope errors`: errors by where they began.

use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;

use super::human::{count, printable};
use super::table::{Layout, Table};
use super::{terminal_width, write_json};
use crate::query::open_readonly;
use crate::query::rows::ErrorRow;

/// Options of `exoscope errors`.
#[derive(Clone, Debug, clap::Args)]
pub struct ErrorsArgs {
    /// A file, finished or being written.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Print JSON: one object.
    #[arg(long)]
    pub json: bool,
}

/// The JSON.
#[derive(Debug, Serialize)]
struct Errors {
    errors: Vec<ErrorRow>,
}

/// Prints the errors, the most frequent first.
///
/// # Errors
/// Where the file can't be read or `out` can't be written.
pub fn errors(args: &ErrorsArgs, out: &mut dyn Write) -> Result<()> {
    let errors = open_readonly(&args.file)?.errors()?;
    let mut out = BufWriter::new(out);
    if args.json {
        write_json(&Errors { errors }, &mut out)?;
    } else {
        write_text(&errors, &mut out)?;
    }
    Ok(out.flush()?)
}

fn write_text(errors: &[ErrorRow], out: &mut dyn Write) -> Result<()> {
    let columns = [
        ("count", Layout::Number),
        ("frames", Layout::Number),
        ("first call", Layout::Number),
        ("began in", Layout::Text),
        ("error", Layout::Text),
    ];
    let mut table = Table::new(&columns, terminal_width());
    for error in errors {
        let cells = vec![
            count(error.count),
            count(error.frames),
            error.origin_call_id.to_string(),
            printable(&error.function),
            said(error),
        ];
        table.push(cells, out)?;
    }
    table.print(out)?;
    if errors.is_empty() {
        writeln!(out, "no call in this file ended in an error or a panic")?;
    }
    Ok(())
}

/// Type and message, as far as they are known.
fn said(error: &ErrorRow) -> String {
    let known: Vec<String> = [&error.kind, &error.message]
        .into_iter()
        .flatten()
        .map(|text| printable(text))
        .collect();
    if known.is_empty() {
        "(message not known)".to_owned()
    } else {
        known.join(": ")
    }
}
