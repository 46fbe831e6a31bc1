//! The tables of a damaged file, copied into a new one as far as they can be read.
//!
//! A table that can be read from beginning to end is copied by one statement. Of another one, rows are
//! copied from both of its ends up to the damage, in whatever order they stand; what is between, by ranges
//! of their numbers: a range that can't be read is halved until what is left out are single rows.

use std::collections::VecDeque;
use std::path::Path;

use anyhow::Result;
use rusqlite::config::DbConfig;
use rusqlite::types::ToSqlOutput;
use rusqlite::{Connection, ErrorCode, Row, Rows, Statement};

use super::schema::{self, definitions};

/// Queries that may fail, besides one for each row that is copied, until ranges are not halved any more:
/// for each page of the file, and at most.
const FAILURES_BY_PAGE: usize = 64;
const FAILURES: usize = 10_000;
/// As many at most with those for rows.
const MOST_FAILURES: usize = 1_000_000;
/// Rows that are there already, one behind the other, until no more are read from an end of a table: pages
/// that lead to each other would go on for ever.
const KNOWN: usize = 10_000;

/// Copies every table, as far as it can be read.
///
/// # Errors
/// Where the new file can't be written.
pub fn copy_tables(from: &Path, new: &mut Connection) -> Result<()> {
    // A connection of its own: what fails in a transaction that writes fails it.
    let old = Connection::open(from)?;
    // It stays as it is.
    old.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    old.pragma_update(None, "cell_size_check", true)?;
    // Locked once: ranges that can't be read are thousands of queries. What fails here fails below, too.
    let _ = old.execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema;");
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
        if key(new, table)?.is_empty() || !copy_whole(new, table) {
            rest.push(table);
        }
    }
    new.execute_batch("DETACH damaged")?;
    Ok(rest)
}

/// The columns of a table's key. A table with one can't have one row twice: pages that lead to each other
/// would fill any other for ever.
fn key(new: &Connection, table: &str) -> Result<Vec<String>> {
    let sql = "SELECT name FROM pragma_table_info(?1) WHERE pk > 0 ORDER BY pk";
    let mut select = new.prepare(sql)?;
    let columns = select.query_map([table], |row| row.get(0))?;
    Ok(columns.collect::<rusqlite::Result<_>>()?)
}

/// Copies all rows of a table by a transaction of its own; says whether they could be read.
fn copy_whole(new: &Connection, table: &str) -> bool {
    // Without a condition SQLite would copy rows as they are, and not look at the types of values.
    let copied = new.execute_batch(&format!(
        "BEGIN; INSERT INTO main.{table} SELECT * FROM damaged.{table} NOT INDEXED WHERE true; COMMIT;"
    ));
    if copied.is_err() && !new.is_autocommit() {
        let _ = new.execute_batch("ROLLBACK");
    }
    copied.is_ok()
}

/// Copies the rows of a table that can't be copied as a whole.
fn copy_table(old: &Connection, new: &Connection, table: &str) -> Result<()> {
    let columns = new
        .prepare(&format!("SELECT * FROM {table}"))?
        .column_count();
    let places = vec!["?"; columns].join(", ");
    let mut insert = new.prepare(&format!("INSERT OR IGNORE INTO {table} VALUES ({places})"))?;
    let key = key(new, table)?;
    if !key.is_empty() && copy_from_ends(old, table, &key, &mut insert)? {
        return Ok(());
    }
    if new.prepare(&format!("SELECT rowid FROM {table}")).is_err() {
        return Ok(());
    }
    let end: Option<i64> = old
        .query_row(&format!("SELECT max(rowid) FROM {table}"), [], |row| {
            row.get(0)
        })
        .ok();
    // Either may be damage.
    let last = guess_last(new)?.max(end.unwrap_or(0));
    copy_ranges(old, table, last, &mut insert)
}

/// Copies the rows of a table with a key from its beginning and, unless that leads to the end, from there;
/// says whether that was all.
fn copy_from_ends(
    old: &Connection,
    table: &str,
    key: &[String],
    insert: &mut Statement<'_>,
) -> Result<bool> {
    let backwards = key.join(" DESC, ");
    for order in [String::new(), format!("ORDER BY {backwards} DESC")] {
        let select = format!("SELECT * FROM {table} NOT INDEXED {order}");
        if let Ok(mut select) = old.prepare(&select)
            && copy_up_to_damage(select.query([]), insert)?
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Copies rows in whatever order they come; says whether there was no damage.
fn copy_up_to_damage(rows: rusqlite::Result<Rows<'_>>, insert: &mut Statement<'_>) -> Result<bool> {
    let Ok(mut rows) = rows else {
        return Ok(false);
    };
    let mut known = 0;
    while known < KNOWN {
        match rows.next() {
            Ok(Some(row)) => match copy_row(row, 0, insert)? {
                Some(0) => known += 1,
                Some(_) => known = 0,
                None => return Ok(false),
            },
            Ok(None) => return Ok(true),
            Err(_) => break,
        }
    }
    Ok(false)
}

/// Copies rows by their numbers, up to `last`.
fn copy_ranges(old: &Connection, table: &str, last: i64, insert: &mut Statement<'_>) -> Result<()> {
    let select =
        format!("SELECT rowid, * FROM {table} WHERE rowid BETWEEN ?1 AND ?2 ORDER BY rowid");
    let Ok(mut select) = old.prepare(&select) else {
        return Ok(());
    };
    let pages = old.pragma_query_value(None, "page_count", |row| row.get::<_, u32>(0));
    let may_fail = FAILURES_BY_PAGE.saturating_mul(pages.unwrap_or(0) as usize);
    let may_fail = may_fail.min(FAILURES);
    // The longest first: where the end is damaged, each number up to a guess of the last one leads there.
    let mut ranges = VecDeque::from([(0, last)]);
    let (mut failures, mut rows) = (0, 0_usize);
    while let Some((low, high)) = ranges.pop_front() {
        let copied = copy_rows(select.query([low, high]), insert)?;
        rows = rows.saturating_add(copied.rows);
        // What was read before the damage is not read again.
        let low = copied.last.map_or(Some(low), |last| last.checked_add(1));
        let Some(low) = low.filter(|low| !copied.whole && *low < high) else {
            continue;
        };
        failures += 1;
        if failures < rows.saturating_add(may_fail).min(MOST_FAILURES) {
            let middle = low + (high.abs_diff(low) / 2).cast_signed();
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
fn copy_rows(rows: rusqlite::Result<Rows<'_>>, insert: &mut Statement<'_>) -> Result<Copied> {
    let mut copied = Copied::default();
    let Ok(mut rows) = rows else {
        return Ok(copied);
    };
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
        if number <= copied.last || copy_row(row, 1, insert)?.is_none() {
            return Ok(copied);
        }
        copied.rows += 1;
        copied.last = number;
    }
}

/// Copies the values of a row from a column on. Gives back how many rows are new, or `None` where it can't
/// be read.
fn copy_row(row: &Row<'_>, first: usize, insert: &mut Statement<'_>) -> Result<Option<usize>> {
    for column in 0..insert.parameter_count() {
        let Ok(value) = row.get_ref(first + column) else {
            return Ok(None);
        };
        insert.raw_bind_parameter(column + 1, ToSqlOutput::Borrowed(value))?;
    }
    match insert.raw_execute() {
        // A value of another type than its column has is damage, too.
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
            Ok(Some(0))
        }
        inserted => Ok(Some(inserted?)),
    }
}

/// A number that no call is likely to exceed, whatever the largest one that is read. Damage makes sums
/// larger than any number.
fn guess_last(connection: &Connection) -> Result<i64> {
    let sql = "SELECT CAST(min(9e18, max(1000000,
                 coalesce((SELECT max(call_base) FROM session), 0)
                 + 2 * (SELECT total(calls) FROM kernel_count) + 1000000)) AS INTEGER)";
    Ok(connection.query_row(sql, [], |row| row.get(0))?)
}
