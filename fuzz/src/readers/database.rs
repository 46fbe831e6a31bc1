//! Files that somebody sent: read, and recovered.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use exoscope_agent::flamegraph::{Heading, draw};
use exoscope_agent::query::flames::FlamesBy;
use exoscope_agent::query::open_readonly;
use exoscope_agent::query::tree::Figure;
use exoscope_agent::report::{
    CallsArgs, ErrorsArgs, InFlightArgs, ReportArgs, TreeArgs, calls, diagnose, errors, in_flight,
    report, tree,
};
use exoscope_agent::spool::Place;
use exoscope_agent::store::recover::recover;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, params_from_iter};
use tempfile::TempDir;

use crate::{scratch, seeds};

/// Bytes of a page of the file.
const PAGE: usize = 1 << 13;

/// The file of a session that has ended.
fn whole() -> &'static [u8] {
    static FILE: OnceLock<Vec<u8>> = OnceLock::new();
    FILE.get_or_init(seeds::whole_file)
}

/// A file whose session was cut short.
pub(super) struct Cut {
    _folder: TempDir,
    pub path: PathBuf,
    /// Where its spool is.
    pub spool: Place,
}

impl Cut {
    pub fn new() -> Self {
        static FILE: OnceLock<(Vec<u8>, u64)> = OnceLock::new();
        let (bytes, key) = FILE.get_or_init(seeds::cut_file);
        let folder = scratch();
        let path = folder.path().join("cut.db");
        fs::write(&path, bytes).expect("there is room");
        let spool = Place::new(&path, None, *key);
        Self {
            _folder: folder,
            path,
            spool,
        }
    }
}

/// A file in which bytes were overwritten.
pub fn database(bytes: &[u8]) {
    let folder = scratch();
    let path = folder.path().join("damaged.db");
    fs::write(&path, patched(whole(), bytes)).expect("there is room");
    read_all(&path, bytes);
}

/// A file whose session was cut short and in which bytes were overwritten.
pub fn recovery(bytes: &[u8]) {
    let cut = Cut::new();
    let file = fs::read(&cut.path).expect("it was written");
    fs::write(&cut.path, patched(&file, bytes)).expect("there is room");
    if recover(&cut.path).is_ok() {
        assert_sound(&cut.path);
        assert_readable(&cut.path);
        read_all(&cut.path, bytes);
    }
}

/// A file with values that nobody measured.
pub fn rows(bytes: &[u8]) {
    let folder = scratch();
    let path = folder.path().join("forged.db");
    fs::write(&path, whole()).expect("there is room");
    forge(&path, bytes).expect("the file is sound");
    read_all(&path, bytes);
    let _ = recover(&path);
}

/// Overwrites bytes: each change is the number of a page, an offset in it of two bytes (from its end
/// where it is negative), a length below 32, and bytes. Page 255 cuts the file off.
fn patched(file: &[u8], mut changes: &[u8]) -> Vec<u8> {
    let mut file = file.to_vec();
    while let [page, low, high, len, rest @ ..] = changes {
        let offset = i16::from_le_bytes([*low, *high]);
        let within = usize::from(offset.unsigned_abs()).min(PAGE);
        let within = if offset < 0 { PAGE - within } else { within };
        let at = usize::from(*page) * PAGE + within;
        let (bytes, rest) = rest.split_at(usize::from(len % 32).min(rest.len()));
        changes = rest;
        if *page == 255 {
            file.truncate(within * usize::from(*len));
        }
        for (place, byte) in file.iter_mut().skip(at).zip(bytes) {
            *place = *byte;
        }
    }
    file
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

/// Fails unless SQLite finds the file sound.
pub(super) fn assert_sound(path: &Path) {
    let connection = Connection::open(path).expect("it is there");
    let said: String = connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .expect("it can be checked");
    assert_eq!(said, "ok");
}

/// Fails unless the report can be made: text that damage has made no UTF-8 is sound to SQLite.
pub(super) fn assert_readable(path: &Path) {
    let args = ReportArgs {
        file: path.to_owned(),
        json: false,
    };
    report(&args, &mut io::sink()).expect("a recovered file can be read");
}

/// Reads a file in every way that there is; `bytes` say whether as JSON.
fn read_all(path: &Path, bytes: &[u8]) {
    if open_readonly(path).is_err() {
        return;
    }
    reports(path, bytes.len() % 2 == 1);
    let Ok(database) = open_readonly(path) else {
        return;
    };
    let figures = [Figure::Wall, Figure::Cpu, Figure::Blocked].map(FlamesBy::Calls);
    for by in figures
        .into_iter()
        .chain([FlamesBy::Samples, FlamesBy::OffCpu])
    {
        let Ok(flames) = database.flames(by) else {
            continue;
        };
        let title = format!("{by:?}");
        let _ = draw(
            &flames,
            Heading {
                title,
                subtitle: None,
            },
        );
    }
    let _ = database.process_stats();
}

/// Prints every report; that one can't be made is no fault.
fn reports(file: &Path, json: bool) {
    let out = &mut io::sink();
    let file = || file.to_owned();
    let _ = report(&ReportArgs { file: file(), json }, out);
    let _ = errors(&ErrorsArgs { file: file(), json }, out);
    let _ = in_flight(&InFlightArgs { file: file(), json }, out);
    let _ = diagnose(&file(), json, out);
    let slowest = CallsArgs {
        file: file(),
        function: Vec::new(),
        outcome: None,
        slowest: Some(10),
        json,
    };
    let _ = calls(&slowest, out);
    let all = TreeArgs {
        file: file(),
        depth: None,
        min_percent: 0.0,
        json,
    };
    let _ = tree(&all, out);
}
