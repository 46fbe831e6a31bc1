//! The kernel's counts: each snapshot replaces the last one, where it has changed.

use std::collections::HashMap;

use anyhow::Result;
use exoscope_abi::totals::HISTOGRAM_BUCKETS;
use rusqlite::{Connection, params};

use super::{Session, integer};
use crate::event::FunctionCounts;

/// Writes the counts whose sum differs from that in `before`. Gives back the new sums, both by
/// `function_id`.
///
/// # Errors
/// Where SQLite can't write, or a function is not the session's.
pub fn replace(
    connection: &Connection,
    session: &Session,
    before: &HashMap<i64, u64>,
    counts: &[FunctionCounts],
) -> Result<Vec<(i64, u64)>> {
    let mut replace = connection.prepare_cached(
        "INSERT OR REPLACE INTO kernel_count
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
    )?;
    let mut changed = Vec::new();
    for (function, counts) in by_function(session, counts)? {
        let sum = sum(&counts);
        if before.get(&function) == Some(&sum) {
            continue;
        }
        replace.execute(params![
            function,
            session.id,
            integer(counts.calls),
            integer(counts.err),
            integer(counts.panic),
            integer(counts.cancelled),
            integer(counts.lost_ring),
            integer(counts.lost_table),
            integer(counts.unmatched),
            integer(counts.replaced),
            integer(counts.lost_detail),
            integer(counts.lost_fields),
            integer(counts.only_counted),
            histogram_bytes(&counts.histogram),
        ])?;
        changed.push((function, sum));
    }
    Ok(changed)
}

/// Counts by `function_id`: several indices may stand for one function of the file.
fn by_function(
    session: &Session,
    counts: &[FunctionCounts],
) -> Result<HashMap<i64, FunctionCounts>> {
    let mut by_function: HashMap<i64, FunctionCounts> = HashMap::new();
    for counts in counts {
        by_function
            .entry(session.function(counts.function)?)
            .and_modify(|sum| add(sum, counts))
            .or_insert_with(|| counts.clone());
    }
    Ok(by_function)
}

fn add(to: &mut FunctionCounts, counts: &FunctionCounts) {
    to.calls += counts.calls;
    to.err += counts.err;
    to.panic += counts.panic;
    to.cancelled += counts.cancelled;
    to.lost_ring += counts.lost_ring;
    to.lost_table += counts.lost_table;
    to.unmatched += counts.unmatched;
    to.replaced += counts.replaced;
    to.lost_detail += counts.lost_detail;
    to.lost_fields += counts.lost_fields;
    to.only_counted += counts.only_counted;
    for (to, calls) in to.histogram.iter_mut().zip(counts.histogram) {
        *to += calls;
    }
}

fn sum(counts: &FunctionCounts) -> u64 {
    let losses = counts.lost_ring + counts.lost_table + counts.lost_detail + counts.lost_fields;
    let ends = counts.err + counts.panic + counts.cancelled + counts.unmatched + counts.replaced;
    counts.calls + losses + ends + counts.only_counted + counts.histogram.iter().sum::<u64>()
}

fn histogram_bytes(histogram: &[u64; HISTOGRAM_BUCKETS]) -> Vec<u8> {
    let used = histogram
        .iter()
        .rposition(|calls| *calls > 0)
        .map_or(0, |last| last + 1);
    histogram[..used]
        .iter()
        .flat_map(|calls| calls.to_le_bytes())
        .collect()
}
