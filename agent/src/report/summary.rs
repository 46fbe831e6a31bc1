//! `exoscope report`: is the data complete, and what did each function do.

use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;

use super::counts::{Counts, UNKNOWN};
use super::human::{count, counted, duration, faults, maybe_duration, printable, share};
use super::table::{Layout, Table};
use super::{process, terminal_width, write_json};
use crate::query::rows::{
    CompletenessRow, DiedRow, FunctionRow, PollsRow, ProcessStatsRow, SamplingRow, SessionRow,
    TotalsRow, UnmatchedRow,
};
use crate::query::{Database, open_readonly};

/// Functions whose reasons are listed; the rest is counted.
const REASONS: usize = 10;

/// Options of `exoscope report`.
#[derive(Clone, Debug, clap::Args)]
pub struct ReportArgs {
    /// A file, finished or being written.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Print JSON: one object, times in nanoseconds.
    #[arg(long)]
    pub json: bool,
}

/// All that the report says; its JSON.
#[derive(Debug, Serialize)]
struct Summary {
    #[serde(flatten)]
    counts: Counts,
    /// Calls that have begun and not ended.
    calls_in_flight: usize,
    /// Calls in which the target died.
    calls_died: i64,
    /// Those of them that were open longest.
    target_died: Vec<DiedRow>,
    sessions: Vec<SessionRow>,
    process_stats: Vec<ProcessStatsRow>,
    completeness: Vec<CompletenessRow>,
    unmatched_exits: Vec<UnmatchedRow>,
    sampling: SamplingRow,
    functions: Vec<FunctionRow>,
    /// What the kernel counted of functions of which calls were only counted.
    totals: Vec<TotalsRow>,
    polls: Vec<PollsRow>,
}

/// Prints the report.
///
/// # Errors
/// Where the file can't be read or `out` can't be written.
pub fn report(args: &ReportArgs, out: &mut dyn Write) -> Result<()> {
    let summary = Summary::of(&open_readonly(&args.file)?)?;
    let mut out = BufWriter::new(out);
    if args.json {
        write_json(&summary, &mut out)?;
    } else {
        summary.print(terminal_width(), &mut out)?;
    }
    Ok(out.flush()?)
}

impl Summary {
    fn of(database: &Database) -> Result<Self> {
        let completeness = database.completeness()?;
        let (target_died, calls_died) = database.died(process::LISTED)?;
        Ok(Self {
            counts: Counts::of(&completeness),
            calls_in_flight: database.in_flight()?.len(),
            calls_died,
            target_died,
            sessions: database.sessions()?,
            process_stats: database.process_stats()?,
            unmatched_exits: database.unmatched_exits()?,
            sampling: database.sampling()?,
            functions: database.functions()?,
            totals: database.totals()?,
            polls: database.polls()?,
            completeness,
        })
    }

    fn print(&self, terminal_width: Option<usize>, out: &mut dyn Write) -> Result<()> {
        for session in &self.sessions {
            writeln!(out, "{}", session_line(session))?;
            let of_session = |stats: &&ProcessStatsRow| stats.session_id == session.session_id;
            if let Some(stats) = self.process_stats.iter().find(of_session) {
                process::print_stats(stats, out)?;
            }
        }
        writeln!(out, "{}", self.completeness_line())?;
        self.print_reasons(out)?;
        process::print_died(&self.target_died, self.calls_died, terminal_width, out)?;
        if let Some(line) = samples_line(&self.sampling) {
            writeln!(out, "{line}")?;
        }
        self.print_functions(terminal_width, out)?;
        self.print_totals(terminal_width, out)?;
        self.print_polls(terminal_width, out)
    }

    /// Some session is still being written.
    fn is_live(&self) -> bool {
        self.sessions
            .iter()
            .any(|session| session.end_reason.is_none())
    }

    fn completeness_line(&self) -> String {
        let counts = &self.counts;
        if counts.calls_missing > 0 {
            let only_counted = match counts.calls_only_counted {
                0 => String::new(),
                calls => format!("; {} in the totals below all the same", is_or_are(calls)),
            };
            return format!("incomplete: {}{only_counted}", counts.missing());
        }
        if counts.are_unknown() {
            return format!("completeness unknown: {UNKNOWN}");
        }
        if counts.calls_counted == 0 {
            return "no call was captured: no instrumented function that was chosen began one"
                .to_owned();
        }
        if self.is_live() {
            let stored = is_or_are(counts.calls_stored);
            let open = is_or_are(self.calls_in_flight as i64);
            return format!(
                "complete so far: of the calls counted in the kernel {stored} in this file and \
                 {open} still open"
            );
        }
        let counted_calls = counted(counts.calls_counted, "call", "calls");
        format!("complete: every one of {counted_calls} counted in the kernel is in this file")
    }

    fn print_reasons(&self, out: &mut dyn Write) -> Result<()> {
        let told: Vec<_> = self
            .completeness
            .iter()
            .filter_map(|row| Some((row, row.reason.as_deref()?)))
            .collect();
        for (row, reason) in told.iter().take(REASONS) {
            match &row.function {
                Some(function) => writeln!(out, "  {}: {reason}", printable(function))?,
                None => writeln!(out, "  {reason}")?,
            }
        }
        if told.len() > REASONS {
            let more = (told.len() - REASONS) as i64;
            let functions = counted(more, "function", "functions");
            writeln!(
                out,
                "  and {functions} more: see the view `completeness`, or --json"
            )?;
        }
        Ok(())
    }

    fn print_functions(&self, terminal_width: Option<usize>, out: &mut dyn Write) -> Result<()> {
        let columns: Vec<&Column> = COLUMNS
            .iter()
            .filter(|column| column.always || self.functions.iter().any(|row| (column.used)(row)))
            .collect();
        let titles: Vec<_> = columns
            .iter()
            .map(|column| (column.title, column.layout))
            .collect();
        let mut table = Table::new(&titles, terminal_width);
        let called = self.functions.iter().filter(|function| function.calls > 0);
        for (index, function) in called.clone().enumerate() {
            if index == 0 {
                writeln!(out)?;
            }
            table.push(
                columns
                    .iter()
                    .map(|column| (column.cell)(function))
                    .collect(),
                out,
            )?;
        }
        table.print(out)?;
        let silent = (self.functions.len() - called.count()) as i64;
        if silent > 0 {
            let functions = counted(silent, "function", "functions");
            writeln!(out, "\n{functions} without a call")?;
        }
        Ok(())
    }

    /// All calls of functions of which some have no row.
    fn print_totals(&self, terminal_width: Option<usize>, out: &mut dyn Write) -> Result<()> {
        if self.totals.is_empty() {
            return Ok(());
        }
        writeln!(out)?;
        let titles = [
            "all calls",
            "only counted",
            "err",
            "panic",
            "cancelled",
            "p50 up to",
            "p90 up to",
            "p99 up to",
        ];
        let function = [("counted function", Layout::Text)];
        let titles = titles.map(|title| (title, Layout::Number));
        let mut table = Table::new(&[&function[..], &titles[..]].concat(), terminal_width);
        for row in &self.totals {
            let counts = [
                row.calls,
                row.only_counted,
                row.err,
                row.panic,
                row.cancelled,
            ];
            let percentiles = [row.p50_ns, row.p90_ns, row.p99_ns];
            let mut cells = vec![printable(&row.function)];
            cells.extend(counts.map(count));
            cells.extend(percentiles.map(maybe_duration));
            table.push(cells, out)?;
        }
        Ok(table.print(out)?)
    }

    /// How the time of polled calls was split.
    fn print_polls(&self, terminal_width: Option<usize>, out: &mut dyn Write) -> Result<()> {
        if self.polls.is_empty() {
            return Ok(());
        }
        writeln!(out)?;
        let titles = ["polls", "polled", "ready", "suspended"].map(|title| (title, Layout::Number));
        let function = [("polled function", Layout::Text), ("calls", Layout::Number)];
        let mut table = Table::new(&[&function[..], &titles[..]].concat(), terminal_width);
        for row in &self.polls {
            let cells = vec![
                printable(&row.function),
                count(row.calls),
                count(row.polls),
                duration(row.polled_ns),
                duration(row.ready_ns),
                duration(row.suspended_ns),
            ];
            table.push(cells, out)?;
        }
        Ok(table.print(out)?)
    }
}

/// A column of the table of functions.
struct Column {
    title: &'static str,
    layout: Layout,
    /// Also shown where no function has anything in it.
    always: bool,
    used: fn(&FunctionRow) -> bool,
    cell: fn(&FunctionRow) -> String,
}

impl Column {
    const fn always(title: &'static str, cell: fn(&FunctionRow) -> String) -> Self {
        Self {
            title,
            layout: Layout::Number,
            always: true,
            used: |_| true,
            cell,
        }
    }

    const fn if_used(
        title: &'static str,
        used: fn(&FunctionRow) -> bool,
        cell: fn(&FunctionRow) -> String,
    ) -> Self {
        Self {
            title,
            layout: Layout::Number,
            always: false,
            used,
            cell,
        }
    }
}

/// The columns, in order.
const COLUMNS: &[Column] = &[
    Column {
        layout: Layout::Text,
        ..Column::always("function", |row| printable(&row.function))
    },
    Column::always("calls", |row| count(row.calls)),
    Column::always("ok", |row| count(row.ok)),
    Column::always("err", |row| count(row.err)),
    Column::if_used("panic", |row| row.panic > 0, |row| count(row.panic)),
    Column::if_used(
        "cancelled",
        |row| row.cancelled > 0,
        |row| count(row.cancelled),
    ),
    Column::if_used(
        "unfinished",
        |row| row.unfinished > 0,
        |row| count(row.unfinished),
    ),
    Column::if_used(
        "died",
        |row| row.target_died > 0,
        |row| count(row.target_died),
    ),
    Column::always("p50", |row| maybe_duration(row.p50_ns)),
    Column::always("p90", |row| maybe_duration(row.p90_ns)),
    Column::always("p99", |row| maybe_duration(row.p99_ns)),
    Column::always("max", |row| maybe_duration(row.max_ns)),
    Column::always("total", |row| duration(row.total_ns)),
    Column::always("self", |row| duration(row.self_ns)),
    Column::if_used(
        "CPU",
        |row| row.cpu_ns.is_some(),
        |row| maybe_duration(row.cpu_ns),
    ),
    Column::if_used(
        "run queue",
        |row| row.runqueue_ns.is_some(),
        |row| maybe_duration(row.runqueue_ns),
    ),
    Column::if_used(
        "blocked",
        |row| row.blocked_ns.is_some(),
        |row| maybe_duration(row.blocked_ns),
    ),
    Column::if_used(
        "faults",
        |row| row.minor_faults.is_some(),
        |row| faults(row.minor_faults, row.major_faults),
    ),
];

/// What ran, for how long, how many calls it made, and how it ended.
fn session_line(session: &SessionRow) -> String {
    let command = session
        .command
        .as_deref()
        .map_or_else(|| "unknown target".to_owned(), printable);
    let pid = session
        .pid
        .map_or_else(String::new, |pid| format!(" (pid {pid})"));
    let calls = counted(session.calls, "call", "calls");
    let lasted = session
        .ended_unix_ns
        .map(|ended| ended.saturating_sub(session.started_unix_ns));
    let rate = lasted.filter(|ns| *ns > 0).map_or_else(String::new, |ns| {
        let rate = session.calls as f64 * 1e9 / ns as f64;
        format!(" in {}, {}/s", duration(ns), count(rate.round() as i64))
    });
    let end = session
        .end_reason
        .as_deref()
        .map_or("still being written".into(), printable);
    format!(
        "session {}: {command}{pid}: {calls}{rate}; {end}",
        session.session_id
    )
}

/// What was sampled; `None` where nothing was to be.
fn samples_line(sampling: &SamplingRow) -> Option<String> {
    let hertz = sampling.hertz?;
    let line = format!(
        "{} at {} Hz: {} of CPU time, {} of it in captured calls",
        counted(sampling.samples, "sample", "samples"),
        count(hertz),
        duration(sampling.cpu_ns),
        share(sampling.with_call, sampling.samples),
    );
    Some(match cut_stacks(sampling) {
        Some(cut) => format!("{line}; {cut}"),
        None => line,
    })
}

/// What to say of stacks that look cut; `None` where few of them do.
pub fn cut_stacks(sampling: &SamplingRow) -> Option<String> {
    const FEW_PERCENT: i64 = 10;
    (sampling.cut.saturating_mul(100) > sampling.samples.saturating_mul(FEW_PERCENT)).then(|| {
        format!(
            "{} of the stacks look cut: build the target with RUSTFLAGS='-C force-frame-pointers=yes'",
            share(sampling.cut, sampling.samples)
        )
    })
}

/// `1 is`, `2 are`.
fn is_or_are(number: i64) -> String {
    counted(number, "is", "are")
}
