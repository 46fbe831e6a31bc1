//! `exoscope calls`: single calls.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use anyhow::Result;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use exoscope_abi::Outcome;

use super::human::{
    change, count, counted, duration, faults, maybe_duration, printable, time_of_day,
};
use super::table::{Layout, Table};
use super::terminal_width;
use crate::query::filter::CallFilter;
use crate::query::rows::CallRow;
use crate::query::{Database, open_readonly};

/// Options of `exoscope calls`.
#[derive(Clone, Debug, clap::Args)]
pub struct CallsArgs {
    /// A file, finished or being written.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Only functions whose full path matches; `*` stands for any text. May be given several times.
    #[arg(long, value_name = "GLOB")]
    pub function: Vec<String>,
    /// Only calls that ended so.
    #[arg(long, value_name = "OUTCOME", value_parser = outcome_parser())]
    pub outcome: Option<Outcome>,
    /// Only so many calls, the slowest first.
    #[arg(long, value_name = "N")]
    pub slowest: Option<u32>,
    /// Print JSON: one object, one call a line, times in nanoseconds.
    #[arg(long)]
    pub json: bool,
}

fn outcome_parser() -> impl clap::builder::TypedValueParser<Value = Outcome> {
    PossibleValuesParser::new(Outcome::ALL.map(Outcome::as_str)).try_map(|word| {
        let outcome = Outcome::ALL
            .into_iter()
            .find(|outcome| outcome.as_str() == word);
        outcome.ok_or_else(|| format!("no outcome is called '{word}'"))
    })
}

/// Prints calls.
///
/// # Errors
/// Where the file can't be read, a pattern matches no function, or `out` can't be written.
pub fn calls(args: &CallsArgs, out: &mut dyn Write) -> Result<()> {
    let database = open_readonly(&args.file)?;
    let filter = CallFilter {
        functions: args.function.clone(),
        outcome: args.outcome,
        slowest: args.slowest,
    };
    let mut out = BufWriter::new(out);
    if args.json {
        write_json(&database, &filter, &mut out)?;
    } else {
        write_text(&database, &filter, &mut out)?;
    }
    Ok(out.flush()?)
}

/// One object whose `calls` are written as they are read, one a line.
fn write_json(database: &Database, filter: &CallFilter, out: &mut dyn Write) -> Result<()> {
    let mut separator = "";
    write!(out, "{{\"calls\":[")?;
    database.calls(filter, |call| {
        writeln!(out, "{separator}")?;
        separator = ",";
        serde_json::to_writer(&mut *out, &call).map_err(io::Error::from)?;
        Ok(())
    })?;
    writeln!(out, "\n]}}")?;
    Ok(())
}

fn write_text(database: &Database, filter: &CallFilter, out: &mut dyn Write) -> Result<()> {
    let columns = [
        ("call", Layout::Number),
        ("parent", Layout::Number),
        ("start (UTC)", Layout::Word),
        ("duration", Layout::Number),
        ("self", Layout::Number),
        ("outcome", Layout::Word),
        ("thread", Layout::Number),
        ("function", Layout::Text),
        ("error", Layout::Text),
        ("kernel", Layout::Text),
        ("polls", Layout::Text),
        ("fields", Layout::Text),
    ];
    let mut table = Table::new(&columns, terminal_width());
    let mut found = false;
    database.calls(filter, |call| {
        found = true;
        Ok(table.push(cells(&call), out)?)
    })?;
    table.print(out)?;
    if !found {
        writeln!(out, "no such call in this file")?;
    }
    Ok(())
}

fn cells(call: &CallRow) -> Vec<String> {
    vec![
        call.call_id.to_string(),
        call.parent_id
            .map_or_else(|| "-".to_owned(), |parent| parent.to_string()),
        time_of_day(call.start_unix_ns),
        duration(call.duration_ns),
        duration(call.self_ns),
        call.outcome.clone(),
        call.tid.to_string(),
        printable(&call.function),
        call.error.as_deref().map_or_else(String::new, printable),
        figures(call),
        polls(call),
        fields(call),
    ]
}

/// What the kernel counted, as a person reads it: what is known of it.
fn figures(call: &CallRow) -> String {
    let known = |text: String, what: &str| (text != "-").then(|| format!("{text} {what}"));
    let faults = faults(call.minor_faults, call.major_faults);
    let switches = || Some(call.voluntary_switches? + call.involuntary_switches?);
    let parts = [
        known(maybe_duration(call.cpu_ns), "CPU"),
        known(maybe_duration(call.runqueue_ns), "run queue"),
        known(maybe_duration(call.blocked_ns), "blocked"),
        known(faults, "faults"),
        switches().map(|switches| counted(switches, "switch", "switches")),
        known(change(call.rss_delta_bytes), "memory"),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// How often it was polled, and how its time was split, as a person reads it.
fn polls(call: &CallRow) -> String {
    let split = || {
        Some(format!(
            "{}: {} polled, {} ready, {} suspended",
            count(call.polls?),
            duration(call.polled_ns?),
            duration(call.ready_ns?),
            duration(call.suspended_ns?)
        ))
    };
    split().unwrap_or_default()
}

/// Fields and the number of items, as a person reads them.
fn fields(call: &CallRow) -> String {
    let cut = match call.fields_truncated {
        Some(true) => " (cut)",
        _ => "",
    };
    let fields = call.fields.as_deref().map(|json| printable(json) + cut);
    let items = call.items.map(|items| format!("{items} items"));
    items
        .into_iter()
        .chain(fields)
        .collect::<Vec<_>>()
        .join(" ")
}
