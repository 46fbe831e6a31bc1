//! Files that somebody sent: damaged, or with values that nobody measured.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use exoscope_agent::store::recover::recover;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, params_from_iter};

use super::damage::Places;
use super::reading::read_all;
use crate::{scratch, seeds};

/// The file of a session that has ended, and its pages.
fn whole() -> &'static (Vec<u8>, Places) {
    static FILE: OnceLock<(Vec<u8>, Places)> = OnceLock::new();
    FILE.get_or_init(|| {
        let file = seeds::whole_file();
        let places = Places::of_file(&file);
        (file, places)
    })
}

/// A file in which bytes were overwritten. It is read, and stays as it is.
pub fn database(bytes: &[u8]) {
    let folder = scratch();
    let path = folder.path().join("damaged.db");
    let (file, places) = whole();
    let damaged = places.change(file, bytes);
    fs::write(&path, &damaged).expect("there is room");
    read_all(&path, bytes);
    let after = fs::read(&path).expect("it is still there");
    assert!(after == damaged, "who reads a file has written to it");
}

/// A file with values that nobody measured.
pub fn rows(bytes: &[u8]) {
    let folder = scratch();
    let path = folder.path().join("forged.db");
    fs::write(&path, &whole().0).expect("there is room");
    forge(&path, bytes).expect("the file is sound");
    read_all(&path, bytes);
    let said = recover(&path).expect("a sound file needs nothing");
    assert!(said.is_empty(), "a sound file was recovered: {said:?}");
}

/// Changes values as their columns allow: each change is the number of a column among all of the
/// tables, that of a row, what kind of value it is, and the value.
fn forge(path: &Path, mut changes: &[u8]) -> rusqlite::Result<()> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "synchronous", false)?;
    let columns = columns(&connection)?;
    connection.execute_batch("BEGIN")?;
    while let [column, row, kind, rest @ ..] = changes {
        let (table, column) = &columns[usize::from(*column) % columns.len()];
        let (value, rest) = value(*kind, rest);
        changes = rest;
        let sql = format!("SELECT rowid FROM {table} LIMIT 1 OFFSET ?1");
        // A table without such numbers has one row here.
        let number = connection.prepare(&sql).ok();
        let number = number.map(|mut select| select.query_row([row], |row| row.get::<_, i64>(0)));
        let number = number
            .map(|number| number.optional())
            .transpose()?
            .flatten();
        let chosen = if number.is_some() {
            "WHERE rowid = ?2"
        } else {
            "WHERE ?2 IS NULL"
        };
        let sql = format!("UPDATE OR IGNORE {table} SET {column} = ?1 {chosen}");
        let number = number.map_or(Value::Null, Value::Integer);
        // Some values are of no type that the column has.
        let _ = connection.execute(&sql, params_from_iter([value, number]));
    }
    connection.execute_batch("COMMIT")?;
    Ok(())
}

/// Every column, with its table.
fn columns(connection: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    let mut select = connection.prepare(
        "SELECT t.name, c.name FROM sqlite_schema t JOIN pragma_table_info(t.name) c
         WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite%' ORDER BY 1, c.cid",
    )?;
    let columns = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    columns.collect()
}

/// The value that bytes begin with, and what follows it.
fn value(kind: u8, bytes: &[u8]) -> (Value, &[u8]) {
    match (kind % 4, bytes) {
        (0, _) => (Value::Null, bytes),
        (1, [byte, rest @ ..]) => (Value::Integer(i64::from(byte.cast_signed())), rest),
        (2, bytes) if bytes.len() >= 8 => {
            let (number, rest) = bytes.split_first_chunk().expect("it is as long");
            (Value::Integer(i64::from_le_bytes(*number)), rest)
        }
        (_, [len, rest @ ..]) => {
            let (text, rest) = rest.split_at(usize::from(*len).min(rest.len()));
            (
                Value::Text(String::from_utf8_lossy(text).into_owned()),
                rest,
            )
        }
        (_, []) => (Value::Null, bytes),
    }
}
