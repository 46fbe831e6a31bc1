//! What can be read of a damaged file, as a new file.
//!
//! Rows are copied by ranges of their numbers. A range that can't be read is halved until what is left
//! out are single rows. The sums are computed anew, and what is missing then is counted as lost.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use anyhow::Result;
use rusqlite::{Connection, ErrorCode, params};

use super::file::DAMAGED;
use super::opened::PAGE_BYTES;
use super::schema::definitions;
use super::{durations, log, opened, orphans};
use crate::event::unix_ns;

/// Queries that may fail, besides one for each row that is copied, until ranges are not halved any more.
const FAILURES: usize = 10_000;
/// As many at most.
const MOST_FAILURES: usize = 1_000_000;
/// Bytes of a SQLite file's header.
const HEADER: usize = 100;

/// Makes the file `to` of what can be read of the file `from`, which stays, but for a header that is
/// none, and a damaged log, of which it gets the pages. Gives back how many calls are lost.
///
/// # Errors
/// Where `to` can't be written.
pub fn salvage(from: &Path, to: &Path) -> Result<u64> {
    let mut new = opened::create(to)?;
    if !log::is_sound(from)? {
        log::merge(from)?;
    }
    repair_header(from, to)?;
    correct_length(from)?;
    // Connections of their own: what fails in a transaction that writes fails it.
    let old = Connection::open(from)?;
    old.pragma_update(None, "cell_size_check", true)?;
    let transaction = new.transaction()?;
    let right = definitions(&transaction)?;
    let found = definitions(&old).unwrap_or_default();
    for table in tables(&transaction)? {
        // What has only the name of ours may never end.
        if found.get(&table) == right.get(&table) {
            copy_table(&old, &transaction, &table)?;
        }
    }
    orphans::adopt(&transaction)?;
    let lost = correct_sums(&transaction)?;
    transaction.commit()?;
    Ok(lost)
}

fn tables(new: &Connection) -> Result<Vec<String>> {
    let mut select = new.prepare(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'",
    )?;
    let names = select.query_map([], |row| row.get(0))?;
    Ok(names.collect::<rusqlite::Result<_>>()?)
}

/// Lets SQLite read a file that ends before the last page that it should have.
fn correct_length(file: &Path) -> Result<()> {
    let file = File::options().read(true).write(true).open(file)?;
    let mut header = [0; HEADER];
    let pages = file.metadata()?.len() / u64::from(PAGE_BYTES);
    let there = pages > 0 && file.read_exact_at(&mut header, 0).is_ok();
    let told = u32::from_be_bytes([header[28], header[29], header[30], header[31]]);
    if there && u64::from(told) > pages {
        log::tell_pages(&file, u32::try_from(pages)?)?;
    }
    Ok(())
}

/// Gives a file that does not begin as one of ours the first page of a new one: it holds the header and
/// the root of the schema, and these are the same in all files of a version.
fn repair_header(from: &Path, new: &Path) -> Result<()> {
    let damaged = File::options().read(true).write(true).open(from)?;
    let new = File::open(new)?;
    let (mut header, mut right) = ([0; HEADER], [0; HEADER]);
    new.read_exact_at(&mut right, 0)?;
    let read = damaged.read_exact_at(&mut header, 0);
    // Magic, page size, format; application and version.
    if read.is_ok() && header[..24] == right[..24] && header[56..72] == right[56..72] {
        return Ok(());
    }
    let page = usize::from(u16::from_be_bytes([right[16], right[17]]));
    let mut first = vec![0; page];
    new.read_exact_at(&mut first, 0)?;
    let pages = damaged.metadata()?.len() / page as u64;
    first[28..32].copy_from_slice(&u32::try_from(pages)?.to_be_bytes());
    // The number of pages counts where these two are equal.
    let (change, valid_for) = (24..28, 92..96);
    first.copy_within(change, valid_for.start);
    damaged.write_all_at(&first, 0)?;
    Ok(())
}

fn copy_table(old: &Connection, new: &Connection, table: &str) -> Result<()> {
    let columns = new
        .prepare(&format!("SELECT * FROM {table}"))?
        .column_count();
    let places = vec!["?"; columns].join(", ");
    let mut insert = new.prepare(&format!("INSERT OR IGNORE INTO {table} VALUES ({places})"))?;
    if new.prepare(&format!("SELECT rowid FROM {table}")).is_err() {
        // The rows before the damage.
        let select = format!("SELECT row_number() OVER (), * FROM {table}");
        if let Ok(mut select) = old.prepare(&select) {
            copy_rows(select.query([]), &mut insert)?;
        }
        return Ok(());
    }
    let end = |end: &str| -> Option<i64> {
        let sql = format!("SELECT {end}(rowid) FROM {table}");
        old.query_row(&sql, [], |row| row.get(0)).ok()
    };
    let (first, last) = (end("min"), end("max"));
    let last = last.map_or_else(|| guess_last(new), Ok)?;
    let select =
        format!("SELECT rowid, * FROM {table} WHERE rowid BETWEEN ?1 AND ?2 ORDER BY rowid");
    let Ok(mut select) = old.prepare(&select) else {
        return Ok(());
    };
    let mut ranges = vec![(first.unwrap_or(1), last)];
    let (mut failures, mut rows) = (0, 0_usize);
    while let Some((low, high)) = ranges.pop() {
        let copied = copy_rows(select.query([low, high]), &mut insert)?;
        rows = rows.saturating_add(copied.rows);
        // What was read before the damage is not read again.
        let low = copied.last.map_or(Some(low), |last| last.checked_add(1));
        let Some(low) = low.filter(|low| !copied.whole && *low < high) else {
            continue;
        };
        failures += 1;
        if failures < rows.saturating_add(FAILURES).min(MOST_FAILURES) {
            let middle = low + (high.abs_diff(low) / 2).cast_signed();
            // The upper half first: that finds the end of the damage before its inside.
            ranges.extend([(low, middle), (middle + 1, high)]);
        }
    }
    Ok(())
}

/// What was copied of some rows.
#[derive(Default)]
struct Copied {
    rows: usize,
    /// The number of the last one.
    last: Option<i64>,
    /// There was no damage.
    whole: bool,
}

/// Copies rows, whose first value is their number.
fn copy_rows(
    rows: rusqlite::Result<rusqlite::Rows<'_>>,
    insert: &mut rusqlite::Statement<'_>,
) -> Result<Copied> {
    let mut copied = Copied::default();
    let Ok(mut rows) = rows else {
        return Ok(copied);
    };
    let columns = insert.parameter_count();
    loop {
        let row = match rows.next() {
            Ok(Some(row)) => row,
            Ok(None) => {
                copied.whole = true;
                return Ok(copied);
            }
            Err(_) => return Ok(copied),
        };
        let number = row.get(0).ok();
        // Pages that lead to each other would go on for ever.
        if number <= copied.last {
            return Ok(copied);
        }
        for column in 1..=columns {
            let Ok(value) = row.get_ref(column) else {
                return Ok(copied);
            };
            insert.raw_bind_parameter(column, rusqlite::types::ToSqlOutput::Borrowed(value))?;
        }
        match insert.raw_execute() {
            // A value of another type than its column has is damage, too.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {}
            inserted => drop(inserted?),
        }
        copied.rows += 1;
        copied.last = number;
    }
}

/// A number that no call is likely to exceed, where the last one can't be read.
fn guess_last(connection: &Connection) -> Result<i64> {
    let sql = "SELECT coalesce((SELECT max(call_base) FROM session), 0)
                 + 2 * coalesce((SELECT sum(calls) FROM kernel_count), 0) + 1000000";
    Ok(connection.query_row(sql, [], |row| row.get(0))?)
}

/// Computes sums from rows. What the old sums had more is lost, and recorded; gives back how much.
fn correct_sums(connection: &Connection) -> Result<u64> {
    durations::register(connection)?;
    connection.execute_batch(
        "CREATE TEMP TABLE old AS
           SELECT session_id, sum(calls) AS calls FROM function_stat GROUP BY 1;
         DELETE FROM function_stat;
         DELETE FROM poll_stat;
         DELETE FROM duration_bucket;
         INSERT INTO function_stat
           SELECT function_id, session_id, count(*), sum(outcome = 0), sum(outcome = 1),
             sum(outcome = 2), sum(outcome = 3), sum(outcome = 4), sum(outcome = 5),
             sum(duration_ns), sum(coalesce(self_ns, duration_ns)), min(duration_ns),
             max(duration_ns),
             count(blocked_ns),
             sum(iif(blocked_ns IS NULL, 0,
               coalesce(polled_ns, duration_ns) - runqueue_ns - blocked_ns)),
             coalesce(sum(runqueue_ns), 0), coalesce(sum(blocked_ns), 0),
             count(faults), coalesce(sum(faults & 4294967295), 0), coalesce(sum(faults >> 32), 0)
           FROM call LEFT JOIN call_polls USING (call_id)
           JOIN session ON call_id > call_base AND call_id <= call_last
           GROUP BY 1, 2;
         INSERT INTO poll_stat
           SELECT function_id, count(*), sum(polls), sum(polled_ns), sum(ready_ns),
             sum(duration_ns - polled_ns - ready_ns)
           FROM call_polls JOIN call USING (call_id) GROUP BY 1;
         INSERT INTO duration_bucket
           SELECT function_id, bucket_middle(duration_ns) AS middle_ns, count(*)
           FROM call GROUP BY 1, 2;",
    )?;
    let lost: i64 = connection.query_row(
        "SELECT coalesce(sum(max(0, calls - (SELECT coalesce(sum(calls), 0)
           FROM function_stat s WHERE s.session_id = old.session_id))), 0) FROM old",
        [],
        |row| row.get(0),
    )?;
    connection.execute(
        "INSERT INTO lost_call
         SELECT session_id, ?1, missing, ?2 FROM (
           SELECT session_id, calls - (SELECT coalesce(sum(calls), 0) FROM function_stat s
             WHERE s.session_id = old.session_id) AS missing FROM old)
         WHERE missing > 0",
        params![unix_ns(), DAMAGED],
    )?;
    connection.execute_batch("DROP TABLE old")?;
    Ok(lost.max(0).unsigned_abs())
}
