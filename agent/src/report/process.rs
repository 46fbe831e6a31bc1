//! What `exoscope report` says of the target beside its calls.

use std::io::{self, Write};

use bytesize::ByteSize;

use super::human::{count, counted, duration, printable};
use super::table::{Layout, Table};
use crate::query::rows::{DiedRow, ProcessStatsRow};

/// Calls in which the target died that are listed; the rest is counted.
pub const LISTED: usize = 10;

/// Prints the calls in which the target died: `died` are the first [`LISTED`] of `all`.
///
/// # Errors
/// Where `out` can't be written.
pub fn print_died(
    died: &[DiedRow],
    all: i64,
    terminal_width: Option<usize>,
    out: &mut dyn Write,
) -> io::Result<()> {
    if died.is_empty() {
        return Ok(());
    }
    let calls = counted(all, "call was", "calls were");
    writeln!(out, "\n{calls} open when the target died:\n")?;
    let columns = [
        ("open for", Layout::Number),
        ("call", Layout::Number),
        ("thread", Layout::Number),
        ("name", Layout::Word),
        ("function", Layout::Text),
    ];
    let mut table = Table::new(&columns, terminal_width);
    for call in died {
        let cells = vec![
            duration(call.duration_ns),
            call.call_id.to_string(),
            call.tid.to_string(),
            call.thread
                .as_deref()
                .map_or_else(|| "-".to_owned(), printable),
            printable(&call.function),
        ];
        table.push(cells, out)?;
    }
    table.print(out)?;
    let more = all.saturating_sub(died.len() as i64);
    if more > 0 {
        writeln!(
            out,
            "and {} more: see `exoscope calls --outcome target_died`",
            count(more)
        )?;
    }
    Ok(())
}

/// Prints what the samples of a session say of its process.
///
/// # Errors
/// Where `out` can't be written.
pub fn print_stats(stats: &ProcessStatsRow, out: &mut dyn Write) -> io::Result<()> {
    let lines = [used(stats), happened(stats)];
    for line in lines.into_iter().filter(|line| !line.is_empty()) {
        writeln!(out, "  {line}")?;
    }
    Ok(())
}

/// `memory at most 212.0 MiB of 256.0 MiB allowed; CPU 3.20 s (2.10 s user, 1.10 s system)`
fn used(stats: &ProcessStatsRow) -> String {
    let mut parts = Vec::new();
    if let Some(peak) = stats.peak_rss_bytes {
        let limit = stats.cgroup_memory_limit_bytes;
        let limit = limit.map_or_else(String::new, |limit| format!(" of {} allowed", bytes(limit)));
        let swap = stats.swap_bytes.filter(|&swap| swap > 0);
        let swap = swap.map_or_else(String::new, |swap| format!(", {} swapped out", bytes(swap)));
        parts.push(format!("memory at most {}{limit}{swap}", bytes(peak)));
    }
    if let (Some(user), Some(system)) = (stats.cpu_user_ns, stats.cpu_system_ns) {
        let waited = stats.runqueue_ns.filter(|&waited| waited > 0);
        let waited = waited.map_or_else(String::new, |waited| {
            format!(", {} waiting for a CPU", duration(waited))
        });
        parts.push(format!(
            "CPU {} ({} user, {} system){waited}",
            duration(user.saturating_add(system)),
            duration(user),
            duration(system)
        ));
    }
    parts.join("; ")
}

/// `12,345 page faults, 3 of them from storage; at most 12 threads, 40 file descriptors; …`
fn happened(stats: &ProcessStatsRow) -> String {
    let mut parts = Vec::new();
    if let (Some(minor), Some(major)) = (stats.minor_faults, stats.major_faults) {
        let faults = counted(minor.saturating_add(major), "page fault", "page faults");
        let read = match major {
            0 => String::new(),
            _ => format!(", {} of them from storage", count(major)),
        };
        parts.push(format!("{faults}{read}"));
    }
    let threads = stats
        .threads
        .map(|threads| counted(threads, "thread", "threads"));
    let files = stats.file_descriptors;
    let files = files.map(|files| counted(files, "file descriptor", "file descriptors"));
    let most: Vec<String> = threads.into_iter().chain(files).collect();
    if !most.is_empty() {
        parts.push(format!("at most {}", most.join(", ")));
    }
    let moved = [(stats.read_bytes, "read"), (stats.written_bytes, "written")];
    let moved: Vec<String> = moved
        .into_iter()
        .filter_map(|(moved, word)| {
            let moved = moved.filter(|&moved| moved > 0)?;
            Some(format!("{} {word}", bytes(moved)))
        })
        .collect();
    if !moved.is_empty() {
        parts.push(moved.join(", "));
    }
    parts.join("; ")
}

fn bytes(bytes: i64) -> ByteSize {
    ByteSize(u64::try_from(bytes).unwrap_or(0))
}
