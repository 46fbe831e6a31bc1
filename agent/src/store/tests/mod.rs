//! The store against real files. What is here also feeds the tests of queries and reports.

mod damage;
mod derived;
mod file;
mod forged;
mod recovery;
mod rows;
mod stats;

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;

use super::{ProcessInfo, SessionEnd, SessionInfo, Store};
use crate::event::{
    Batch, Call, ErrorDetail, Figures, Function, FunctionCounts, OpenCall, Outcome, SessionLosses,
};

/// Start of the sessions of these tests on `CLOCK_MONOTONIC`.
pub(crate) const BEGIN_NS: u64 = 5_000_000_000;

/// A session that began at [`BEGIN_NS`].
pub(crate) fn info() -> SessionInfo {
    SessionInfo {
        started_unix_ns: 1_700_000_000_000_000_000,
        started_ns: BEGIN_NS,
        ..SessionInfo::now("-q".into(), 0)
    }
}

/// The end of a session of nine seconds, whose target exited with 3.
pub(crate) fn end() -> SessionEnd {
    SessionEnd {
        ended_unix_ns: 1_700_000_009_000_000_000,
        reason: "the target exited with status 3".into(),
        exit_status: Some(3),
    }
}

/// A function with this path.
pub(crate) fn function(path: &str) -> Function {
    Function {
        path: path.into(),
        file: "src/main.rs".into(),
        line: 7,
    }
}

/// A store with the functions `app::a`, `app::b` and `app::c`.
pub(crate) fn store(path: &Path) -> Store {
    store_of(path, info())
}

/// The same, of a session of which this is known.
pub(crate) fn store_of(path: &Path, info: SessionInfo) -> Store {
    let mut store = Store::open(path, info).unwrap();
    let process = ProcessInfo {
        pid: 42,
        command: "app -x".into(),
        executable: "/bin/app".into(),
        build_id: None,
    };
    store.add_process(&process).unwrap();
    store
        .add_functions(&["app::a", "app::b", "app::c"].map(function))
        .unwrap();
    store
}

/// A folder, and the path of a file in it that is not there yet.
pub(crate) fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.db");
    (folder, path)
}

/// A call of 100 and some nanoseconds, that began `id` microseconds after the session.
pub(crate) fn call(id: u64, parent: Option<u64>, function: u32, outcome: Outcome) -> Call {
    let start_ns = BEGIN_NS + id * 1000;
    Call {
        id,
        parent,
        function,
        tid: 77,
        start_ns,
        duration_ns: 100 + id,
        self_ns: 90,
        outcome,
        items: None,
        figures: Figures::default(),
    }
}

/// A batch of calls and nothing else.
pub(crate) fn calls(calls: Vec<Call>) -> Batch {
    Batch {
        calls,
        ..Batch::default()
    }
}

/// What a query gives, one line a row, values separated by `|`.
pub(crate) fn rows(path: &Path, sql: &str) -> Vec<String> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    rows_of(&connection, sql)
}

/// As [`rows`], on a connection that is there.
pub(crate) fn rows_of(connection: &Connection, sql: &str) -> Vec<String> {
    use rusqlite::types::Value;
    let mut statement = connection.prepare(sql).unwrap();
    let columns = statement.column_count();
    let row = |row: &rusqlite::Row<'_>| {
        let values = (0..columns).map(|column| match row.get(column).unwrap() {
            Value::Null => "-".to_owned(),
            Value::Integer(number) => number.to_string(),
            Value::Real(number) => number.to_string(),
            Value::Text(text) => text,
            Value::Blob(bytes) => format!("{bytes:02x?}"),
        });
        Ok(values.collect::<Vec<_>>().join("|"))
    };
    statement
        .query_map([], row)
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

/// An open call whose number is to be set.
pub(crate) fn open_call() -> OpenCall {
    OpenCall {
        id: 0,
        parent: None,
        function: 0,
        tid: 5,
        start_ns: BEGIN_NS,
        child_ns: 0,
        children: 0,
    }
}
