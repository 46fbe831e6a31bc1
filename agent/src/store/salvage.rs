//! What can be read of a damaged file, as a new file.
//!
//! A table that can be read from beginning to end is copied by one statement. Of another one, rows are
//! copied by ranges of their numbers: a range that can't be read is halved until what is left out are
//! single rows. The sums are computed anew, and what is missing then is counted as lost.
//!
//! The target goes on meanwhile, so it is done in haste: the new file is nobody's before it is complete,
//! and is brought to disk once, at the end. A crash before that leaves the damaged file as it was.

use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use anyhow::Result;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, params};

use super::file::DAMAGED;
use super::opened::PAGE_BYTES;
use super::schema::{self, definitions};
use super::{log, opened, orphans, sums, texts};
use crate::event::unix_ns;

/// Queries that may fail, besides one for each row that is copied, until ranges are not halved any more.
const FAILURES: usize = 10_000;
/// As many at most.
const MOST_FAILURES: usize = 1_000_000;
/// Bytes of a SQLite file's header.
const HEADER: usize = 100;

/// What of a file could not be saved.
#[derive(Debug)]
pub struct Lost {
    /// Calls that are in the new file no more.
    calls: u64,
    /// Texts that have `�` where bytes were none.
    texts: u64,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "what could be read was copied, {} calls are lost",
            self.calls
        )?;
        match self.texts {
            0 => Ok(()),
            1 => write!(f, ", and 1 text was damaged"),
            texts => write!(f, ", and {texts} texts were damaged"),
        }
    }
}

/// Makes the file `to` of what can be read of the file `from`, which stays, but for a header that is
/// none, and a damaged log, of which it gets the pages.
///
/// # Errors
/// Where `to` can't be written.
pub fn salvage(from: &Path, to: &Path) -> Result<Lost> {
    // SQLite gives a meaning of its own to some names.
    let from = &std::path::absolute(from)?;
    let mut new = opened::create(to)?;
    if !log::is_sound(from)? {
        log::merge(from)?;
    }
    repair_header(from, to)?;
    correct_length(from)?;
    copy_tables(from, &mut new)?;
    let transaction = new.transaction()?;
    let texts = texts::repair(&transaction)?;
    orphans::give_sessions(&transaction)?;
    let calls = correct_sums(&transaction)?;
    orphans::give_functions(&transaction)?;
    transaction.commit()?;
    opened::finish(new, to)?;
    Ok(Lost { calls, texts })
}

/// Copies every table, as far as it can be read.
fn copy_tables(from: &Path, new: &mut Connection) -> Result<()> {
    // A connection of its own: what fails in a transaction that writes fails it.
    let old = Connection::open(from)?;
    // It stays as it is.
    old.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    old.pragma_update(None, "cell_size_check", true)?;
    let right = definitions(new)?;
    let found = definitions(&old).unwrap_or_default();
    // What has only the name of ours may never end.
    let ours = schema::tables()?.filter(|table| found.get(*table) == right.get(*table));
    let rest = copy_whole_tables(from, new, ours)?;
    let transaction = new.transaction()?;
    for table in rest {
        copy_table(&old, &transaction, table)?;
    }
    transaction.commit()?;
    Ok(())
}

/// Copies the tables that can be read from beginning to end, each as a whole or not at all. Gives back
/// the others.
fn copy_whole_tables<'a>(
    from: &Path,
    new: &Connection,
    tables: impl Iterator<Item = &'a str>,
) -> Result<Vec<&'a str>> {
    new.pragma_update(None, "cell_size_check", true)?;
    let attached = from
        .to_str()
        .map(|from| new.execute("ATTACH ?1 AS damaged", [from]));
    if !matches!(attached, Some(Ok(_))) {
        return Ok(tables.collect());
    }
    let mut rest = Vec::new();
    for table in tables {
        if !has_key(new, table)? || !copy_whole(new, table) {
            rest.push(table);
        }
    }
    new.execute_batch("DETACH damaged")?;
    Ok(rest)
}

/// Whether a table can't have one row twice. Pages that lead to each other would fill any other for ever.
fn has_key(new: &Connection, table: &str) -> Result<bool> {
    let sql = "SELECT count(*) FROM pragma_table_info(?1) WHERE pk > 0";
    Ok(new.query_row(sql, [table], |row| row.get::<_, i64>(0))? > 0)
}

/// Copies all rows of a table by a transaction of its own; says whether they could be read.
fn copy_whole(new: &Connection, table: &str) -> bool {
    // Without a condition SQLite would copy rows as they are, and not look at the types of values.
    let copied = new.execute_batch(&format!(
        "BEGIN; INSERT INTO main.{table} SELECT * FROM damaged.{table} WHERE true; COMMIT;"
    ));
    if copied.is_err() && !new.is_autocommit() {
        let _ = new.execute_batch("ROLLBACK");
    }
    copied.is_ok()
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
    connection.execute_batch(
        "CREATE TEMP TABLE old AS
           SELECT session_id, sum(calls) AS calls FROM function_stat GROUP BY 1",
    )?;
    sums::compute(connection)?;
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
