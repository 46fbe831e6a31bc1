//! `exoscope in-flight`: calls begun and not ended.

use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;

use super::human::{duration, printable};
use super::table::{Layout, Table};
use super::{terminal_width, write_json};
use crate::event::{Function, OpenCall};
use crate::query::open_readonly;
use crate::query::rows::InFlightRow;

/// Options of `exoscope in-flight FILE`.
#[derive(Clone, Debug, clap::Args)]
pub struct InFlightArgs {
    /// A file, finished or being written.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Print JSON: one object, times in nanoseconds.
    #[arg(long)]
    pub json: bool,
}

/// The JSON.
#[derive(Debug, Serialize)]
struct InFlight {
    in_flight: Vec<InFlightRow>,
}

/// Prints the calls that were in flight at the last look of a file's session, the oldest first.
///
/// # Errors
/// Where the file can't be read or `out` can't be written.
pub fn in_flight(args: &InFlightArgs, out: &mut dyn Write) -> Result<()> {
    print(open_readonly(&args.file)?.in_flight()?, args.json, out)
}

/// Prints calls in flight that come from a process: function, call, and age in nanoseconds.
///
/// # Errors
/// Where `out` can't be written.
pub fn print_in_flight(
    calls: &[(Function, OpenCall, u64)],
    json: bool,
    out: &mut dyn Write,
) -> Result<()> {
    let integer = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let row = |(function, call, age_ns): &(Function, OpenCall, u64)| InFlightRow {
        call_id: integer(call.id),
        function: function.path.clone(),
        tid: i64::from(call.tid),
        start_ns: integer(call.start_ns),
        age_ns: integer(*age_ns),
    };
    let mut rows: Vec<InFlightRow> = calls.iter().map(row).collect();
    rows.sort_by_key(|call| (call.start_ns, call.call_id));
    print(rows, json, out)
}

fn print(in_flight: Vec<InFlightRow>, json: bool, out: &mut dyn Write) -> Result<()> {
    let mut out = BufWriter::new(out);
    if json {
        write_json(&InFlight { in_flight }, &mut out)?;
    } else {
        write_text(&in_flight, &mut out)?;
    }
    Ok(out.flush()?)
}

fn write_text(calls: &[InFlightRow], out: &mut dyn Write) -> Result<()> {
    let columns = [
        ("age", Layout::Number),
        ("call", Layout::Number),
        ("thread", Layout::Number),
        ("function", Layout::Text),
    ];
    let mut table = Table::new(&columns, terminal_width());
    for call in calls {
        let function = printable(&call.function);
        let cells = vec![
            duration(call.age_ns),
            call.call_id.to_string(),
            call.tid.to_string(),
            function,
        ];
        table.push(cells, out)?;
    }
    table.print(out)?;
    if calls.is_empty() {
        writeln!(out, "no call is in flight")?;
    }
    Ok(())
}
