//! What a file must still hold when it was damaged and has been recovered.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use exoscope_agent::store::schema;
use rusqlite::types::Value;
use rusqlite::{Connection, Row, params};

use super::damage::PAGE;
use crate::scratch;

/// Tables whose rows have to be there afterwards, as they were, where the pages that lead to them are
/// not damaged.
const KEPT: [&str; 12] = [
    "call",
    "failed",
    "died",
    "unended",
    "call_fields",
    "call_items",
    "call_polls",
    "text",
    "function",
    "frame",
    "stack",
    "process_stat",
];
/// Tables that say how many calls there were, and whose.
const COUNTING: [&str; 2] = ["function_stat", "session"];
/// Damaged pages from which on some rows between them may be lost that nothing is wrong with.
const MANY: usize = 3;

type Values = Vec<Value>;
type Rows = BTreeMap<i64, Values>;

/// What a file holds that is sound.
pub struct Content {
    bytes: Vec<u8>,
    /// By table, and by number.
    rows: BTreeMap<&'static str, Rows>,
    counting: Vec<Vec<Values>>,
}

impl Content {
    /// All of it; its log is brought into it.
    ///
    /// # Errors
    /// Where SQLite can't read it.
    pub fn of(path: &Path) -> rusqlite::Result<Self> {
        let connection = Connection::open(path)?;
        let mut rows = BTreeMap::new();
        for table in KEPT {
            let mut select = connection.prepare(&format!("SELECT rowid, * FROM {table}"))?;
            let found = select.query_map([], |row| Ok((row.get(0)?, values(row, 1)?)))?;
            rows.insert(table, found.collect::<rusqlite::Result<_>>()?);
        }
        let counting = counting(&connection)?;
        drop(connection);
        let bytes = fs::read(path).expect("it is there");
        Ok(Self {
            bytes,
            rows,
            counting,
        })
    }

    /// Fails unless the file at `recovered` holds what of this could be found in the one at `damaged`.
    pub fn assert_kept(&self, damaged: &Path, recovered: &Path) {
        let recovered = Connection::open(recovered).expect("it is there");
        let folder = scratch();
        let copy = folder.path().join("copy.db");
        copy_with_log(damaged, &copy);
        let connection = Connection::open(&copy).expect("it is there");
        if counting(&connection).is_ok_and(|counting| counting == self.counting) {
            self.assert_counted(&recovered);
        }
        drop(connection);
        if self.empty_damaged_pages(&copy) >= MANY {
            return;
        }
        let readable = Connection::open(&copy).expect("it is there");
        for (table, rows) in &self.rows {
            let kept = find(&recovered, table, rows);
            let found = find(&readable, table, rows);
            let gone: Vec<_> = found.difference(&kept).collect();
            assert!(gone.is_empty(), "rows of {table} are gone: {gone:?}");
        }
    }

    /// Fills pages with zeros that are not as they were, the first one left out. Gives back how many.
    fn empty_damaged_pages(&self, path: &Path) -> usize {
        let mut bytes = fs::read(path).expect("it was written");
        let mut damaged = 0;
        let right = self.bytes.chunks(PAGE);
        for (page, right) in bytes.chunks_mut(PAGE).zip(right).skip(1) {
            if page != right {
                page.fill(0);
                damaged += 1;
            }
        }
        fs::write(path, &bytes).expect("there is room");
        damaged + (self.bytes.len() / PAGE).abs_diff(bytes.len() / PAGE)
    }

    /// Fails unless all calls are there or counted as lost.
    fn assert_counted(&self, recovered: &Connection) {
        let number = |sql: &str| -> i64 {
            let number = recovered.query_row(sql, [], |row| row.get(0));
            number.expect("a recovered file can be read")
        };
        let calls = number("SELECT count(*) FROM call");
        let lost = number("SELECT coalesce(sum(calls), 0) FROM lost_call");
        let right = &self.rows["call"];
        let all = right.len() as i64;
        assert!(calls + lost >= all, "{calls} and {lost} lost are not {all}");
        let mut select = recovered.prepare("SELECT call_id FROM call");
        let select = select.as_mut().expect("the table is there");
        let ids = select.query_map([], |row| row.get::<_, i64>(0));
        let mut ids = ids.expect("it can be read");
        // Damage may have made calls that were none.
        if ids.all(|id| id.is_ok_and(|id| right.contains_key(&id))) {
            assert_eq!(calls + lost, all, "{lost} calls are lost");
        }
    }
}

/// Copies a file and what is in its log.
fn copy_with_log(from: &Path, to: &Path) {
    fs::copy(from, to).expect("there is room");
    let _ = fs::copy(log_of(from), log_of(to));
    let connection = Connection::open(to).expect("it is there");
    // A log that is brought into its file when the last one closes it.
    let _ = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
}

/// The numbers of those rows that are in a table.
fn find(connection: &Connection, table: &str, rows: &Rows) -> BTreeSet<i64> {
    let sql = format!("SELECT * FROM {table} WHERE rowid = ?1");
    let Ok(mut select) = connection.prepare(&sql) else {
        return BTreeSet::new();
    };
    let mut is_there = |number: i64, right: &Values| {
        let found = select.query_row(params![number], |row| values(row, 0));
        found.is_ok_and(|found| found == *right)
    };
    let there = rows.iter().filter(|(number, row)| is_there(**number, row));
    there.map(|(number, _)| *number).collect()
}

/// The path of a file's log.
pub fn log_of(file: &Path) -> PathBuf {
    let mut path = file.as_os_str().to_owned();
    path.push("-wal");
    path.into()
}

fn counting(connection: &Connection) -> rusqlite::Result<Vec<Vec<Values>>> {
    COUNTING
        .map(|table| rows(connection, table))
        .into_iter()
        .collect()
}

fn rows(connection: &Connection, table: &str) -> rusqlite::Result<Vec<Values>> {
    let mut select = connection.prepare(&format!("SELECT * FROM {table}"))?;
    let rows = select.query_map([], |row| values(row, 0))?;
    rows.collect()
}

/// The values of a row from a column on.
fn values(row: &Row<'_>, first: usize) -> rusqlite::Result<Values> {
    let columns = first..row.as_ref().column_count();
    columns.map(|column| row.get(column)).collect()
}

/// All rows of all tables of a file that is sound.
pub fn all_rows(path: &Path) -> Vec<Vec<Values>> {
    let connection = Connection::open(path).expect("it is there");
    let tables = schema::tables().expect("there is memory");
    let rows = tables.map(|table| rows(&connection, table));
    rows.map(|rows| rows.expect("it can be read")).collect()
}
