//! The store against real files.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;

use super::*;
use crate::event::{
    AgentEvent, Batch, Call, ErrorDetail, FunctionCounts, Level, OpenCall, Outcome, UnmatchedExit,
};

/// Start of the sessions of these tests on `CLOCK_MONOTONIC`.
const BEGIN_NS: u64 = 5_000_000_000;

fn info() -> SessionInfo {
    SessionInfo {
        started_unix_ns: 1_700_000_000_000_000_000,
        started_ns: BEGIN_NS,
        ..SessionInfo::now("-q".into())
    }
}

fn end() -> SessionEnd {
    SessionEnd {
        ended_unix_ns: 1_700_000_009_000_000_000,
        reason: "target exited".into(),
        exit_status: Some(3),
    }
}

fn function(path: &str) -> Function {
    Function {
        path: path.into(),
        file: "src/main.rs".into(),
        line: 7,
    }
}

/// A store with the functions `app::a`, `app::b` and `app::c`.
fn store(path: &Path) -> Store {
    let mut store = Store::open(path, info()).unwrap();
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

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.db");
    (folder, path)
}

fn call(id: u64, parent: Option<u64>, function: u32, outcome: Outcome) -> Call {
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
    }
}

fn calls(calls: Vec<Call>) -> Batch {
    Batch {
        calls,
        ..Batch::default()
    }
}

/// A counted function of which nothing else is known.
fn counts(function: u32, calls: u64) -> FunctionCounts {
    FunctionCounts {
        function,
        calls,
        err: 0,
        panic: 0,
        cancelled: 0,
        lost_ring: 0,
        lost_table: 0,
        unmatched: 0,
        replaced: 0,
        lost_detail: 0,
        histogram: [0; exoscope_abi::totals::HISTOGRAM_BUCKETS],
    }
}

/// What a query gives, one line a row, values separated by `|`.
fn rows(path: &Path, sql: &str) -> Vec<String> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    rows_of(&connection, sql)
}

fn rows_of(connection: &Connection, sql: &str) -> Vec<String> {
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

#[test]
fn views_have_the_columns_of_the_interface_first() {
    let views = [
        (
            "sessions",
            "session_id, started_unix_ns, ended_unix_ns, end_reason, host, kernel, agent_version, options",
        ),
        (
            "processes",
            "session_id, pid, command, executable, build_id, exit_status",
        ),
        (
            "functions",
            "function, file, line, calls, ok, err, panic, cancelled, unfinished, target_died, total_ns, self_ns, min_ns, p50_ns, p90_ns, p99_ns, max_ns, cpu_ns",
        ),
        (
            "calls",
            "call_id, parent_id, session_id, pid, tid, function, file, line, start_ns, start_unix_ns, duration_ns, outcome, error, fields, cpu_ns, runqueue_ns, blocked_ns, minor_faults, major_faults, rss_delta_bytes",
        ),
        (
            "errors",
            "origin_call_id, function, kind, message, count, frames",
        ),
        ("in_flight", "call_id, function, tid, start_ns, age_ns"),
        (
            "completeness",
            "function, calls_counted, calls_stored, calls_missing, reason",
        ),
        (
            "process_stats",
            "session_id, pid, at_ns, rss_bytes, anon_bytes, swap_bytes, cpu_user_ns, cpu_system_ns, minor_faults, major_faults, voluntary_switches, involuntary_switches, threads, source",
        ),
        (
            "thread_stats",
            "session_id, pid, tid, name, at_ns, cpu_ns, runqueue_ns, blocked_ns",
        ),
        ("samples", "session_id, pid, tid, at_ns, call_id, stack"),
        ("agent_events", "at_unix_ns, level, kind, message"),
        (
            "unmatched_exits",
            "session_id, function, tid, at_ns, outcome",
        ),
    ];
    let (_folder, path) = folder();
    store(&path).finish(&end()).unwrap();
    let connection = Connection::open(&path).unwrap();
    for (view, columns) in views {
        let statement = connection
            .prepare(&format!("SELECT * FROM {view}"))
            .unwrap();
        let found = statement.column_names().collect::<Vec<_>>().join(", ");
        assert!(found.starts_with(columns), "{view} has {found}");
        assert!(
            found.len() == columns.len() || found[columns.len()..].starts_with(", "),
            "{view}"
        );
    }
    let strict = "SELECT name FROM pragma_table_list WHERE type = 'table' AND NOT strict AND name NOT LIKE 'sqlite_%'";
    assert_eq!(rows(&path, strict), Vec::<String>::new());
}

#[test]
fn a_call_is_a_row_with_all_it_said() {
    let (_folder, path) = folder();
    let mut store = store(&path);
    let mut batch = calls(vec![
        call(2, Some(1), 1, Outcome::Err),
        Call {
            duration_ns: 5000,
            self_ns: 5000,
            ..call(1, None, 0, Outcome::Ok)
        },
    ]);
    let detail = |call, kind: &str, message: &str| ErrorDetail {
        call,
        kind: kind.into(),
        message: message.into(),
        truncated: true,
    };
    batch.errors = vec![detail(2, "io::Error", "no such file")];
    store.write(&batch).unwrap();
    store.finish(&end()).unwrap();
    let columns = "call_id, parent_id, session_id, pid, tid, function, file, line, start_ns, \
                   start_unix_ns, duration_ns, outcome, error, self_ns, error_kind, error_truncated";
    assert_eq!(
        rows(
            &path,
            &format!("SELECT {columns} FROM calls ORDER BY call_id")
        ),
        [
            "1|-|1|42|77|app::a|src/main.rs|7|5000001000|1700000000000001000|5000|ok|-|5000|-|-",
            "2|1|1|42|77|app::b|src/main.rs|7|5000002000|1700000000000002000|102|err|no such file|90|io::Error|1",
        ]
    );
    assert_eq!(
        rows(&path, "SELECT * FROM processes"),
        ["1|42|app -x|/bin/app|-|3"]
    );
}

#[test]
fn every_outcome_has_its_word_and_its_sum() {
    let (_folder, path) = folder();
    let mut store = store(&path);
    let all = Outcome::ALL
        .iter()
        .zip(1..)
        .map(|(outcome, id)| call(id, None, 0, *outcome));
    store.write(&calls(all.collect())).unwrap();
    store.finish(&end()).unwrap();
    assert_eq!(
        rows(&path, "SELECT outcome FROM calls"),
        [
            "ok",
            "err",
            "panic",
            "cancelled",
            "unfinished",
            "target_died"
        ]
    );
    assert_eq!(
        rows(
            &path,
            "SELECT calls, ok, err, panic, cancelled, unfinished, target_died, total_ns, self_ns, min_ns, max_ns FROM functions WHERE calls > 0"
        ),
        ["6|1|1|1|1|1|1|621|540|101|106"]
    );
    assert_eq!(
        rows(
            &path,
            "SELECT function, calls, total_ns, p50_ns FROM functions WHERE calls = 0"
        ),
        ["app::b|0|0|-", "app::c|0|0|-"]
    );
}

#[test]
fn numbers_of_two_sessions_keep_apart() {
    let (_folder, path) = folder();
    for _ in 0..2 {
        let mut store = store(&path);
        store
            .write(&calls(vec![
                call(1, None, 0, Outcome::Ok),
                call(2, Some(1), 1, Outcome::Ok),
            ]))
            .unwrap();
        store.finish(&end()).unwrap();
    }
    assert_eq!(
        rows(
            &path,
            "SELECT call_id, parent_id, session_id, function FROM calls ORDER BY call_id"
        ),
        [
            "1|-|1|app::a",
            "2|1|1|app::b",
            "1000001|-|2|app::a",
            "1000002|1000001|2|app::b"
        ]
    );
    assert_eq!(
        rows(&path, "SELECT function, calls FROM functions"),
        ["app::a|2", "app::b|2", "app::c|0"]
    );
    assert_eq!(rows(&path, "PRAGMA user_version"), [VERSION.to_string()]);
}

use schema::VERSION;

#[test]
fn a_batch_is_written_whole_or_not_at_all() {
    let (_folder, path) = folder();
    let mut store = store(&path);
    let mut batch = calls(
        (1..=200)
            .map(|id| call(id, None, 0, Outcome::Err))
            .collect(),
    );
    batch.errors = vec![ErrorDetail {
        call: 1,
        kind: "E".into(),
        message: "m".into(),
        truncated: false,
    }];
    batch.unmatched = vec![UnmatchedExit {
        function: 9,
        tid: 1,
        at_ns: BEGIN_NS,
        outcome: Outcome::Ok,
    }];
    let error = format!("{:#}", store.write(&batch).unwrap_err());
    assert!(
        error.contains("an event names function 9, but the session has 3"),
        "{error}"
    );
    for table in [
        "call",
        "failed",
        "error_detail",
        "text",
        "function_stat",
        "duration_bucket",
    ] {
        assert_eq!(
            rows(&path, &format!("SELECT count(*) FROM {table}")),
            ["0"],
            "{table}"
        );
    }
    batch.unmatched[0].function = 2;
    store.write(&batch).unwrap();
    store.finish(&end()).unwrap();
    assert_eq!(
        rows(
            &path,
            "SELECT calls, err, p50_ns FROM functions WHERE calls > 0"
        ),
        ["200|200|200"]
    );
    assert_eq!(
        rows(&path, "SELECT error FROM calls WHERE error IS NOT NULL"),
        ["m"]
    );
    assert_eq!(
        rows(&path, "SELECT function, outcome FROM unmatched_exits"),
        ["app::c|ok"]
    );
}

#[test]
fn a_full_disk_loses_nothing_that_is_handed_in_again() {
    let (_folder, path) = folder();
    let mut store = store(&path);
    store
        .write(&calls(vec![call(1, None, 0, Outcome::Ok)]))
        .unwrap();
    let batch = calls(
        (2..50_000)
            .map(|id| call(id, None, 0, Outcome::Ok))
            .collect(),
    );
    store
        .connection
        .pragma_update(None, "max_page_count", 40)
        .unwrap();
    let error = format!("{:#}", store.write(&batch).unwrap_err());
    assert!(error.contains("full"), "{error}");
    assert_eq!(rows(&path, "SELECT count(*) FROM calls"), ["1"]);
    store
        .connection
        .pragma_update(None, "max_page_count", 1 << 20)
        .unwrap();
    store.write(&batch).unwrap();
    store.finish(&end()).unwrap();
    assert_eq!(
        rows(
            &path,
            "SELECT count(*), sum(duration_ns) = (SELECT sum(total_ns) FROM functions) FROM calls"
        ),
        ["49999|1"]
    );
    assert_eq!(rows(&path, "PRAGMA integrity_check"), ["ok"]);
}

#[test]
fn one_error_through_ten_frames_is_one_line() {
    let (_folder, path) = folder();
    let mut store = store(&path);
    // Call 10 began the error, call 1 is the outermost; ends come innermost first.
    let mut batch = calls(
        (1..=10)
            .map(|id| Call {
                duration_ns: 20_000 - 2_000 * id,
                ..call(
                    id,
                    (id > 1).then(|| id - 1),
                    u32::from(id == 10),
                    Outcome::Err,
                )
            })
            .collect(),
    );
    batch.errors = (1..=10)
        .map(|call| ErrorDetail {
            call,
            kind: "E".into(),
            message: format!("at {call}"),
            truncated: false,
        })
        .collect();
    store.write(&batch).unwrap();
    store.finish(&end()).unwrap();
    assert_eq!(
        rows(&path, "SELECT * FROM errors"),
        ["10|app::b|E|at 10|1|10"]
    );
    assert_eq!(
        rows(&path, "SELECT count(*) FROM calls WHERE outcome = 'err'"),
        ["10"]
    );
}

#[test]
fn each_failed_attempt_of_a_retry_is_an_error_of_its_own() {
    let (_folder, path) = folder();
    let mut store = store(&path);
    let long = |id, parent, function, outcome| Call {
        duration_ns: 100_000,
        ..call(id, parent, function, outcome)
    };
    let mut batch = calls(vec![
        call(2, Some(1), 1, Outcome::Err),
        call(3, Some(1), 1, Outcome::Err),
        call(4, Some(1), 2, Outcome::Panic),
        long(1, None, 0, Outcome::Err),
        // An error that its caller handled.
        call(12, Some(11), 1, Outcome::Err),
        long(11, None, 0, Outcome::Ok),
    ]);
    let text = |call, message: &str| ErrorDetail {
        call,
        kind: if message.is_empty() {
            String::new()
        } else {
            "E".into()
        },
        message: message.into(),
        truncated: false,
    };
    batch.errors = vec![
        text(2, "busy"),
        text(3, "busy"),
        text(1, "gave up"),
        text(4, ""),
    ];
    store.write(&batch).unwrap();
    store.finish(&end()).unwrap();
    assert_eq!(
        rows(&path, "SELECT * FROM errors ORDER BY origin_call_id"),
        [
            "2|app::b|E|busy|2|1",
            "4|app::c|-|-|1|2",
            "12|app::b|-|-|1|1"
        ]
    );
}

#[test]
fn calls_are_in_flight_until_they_or_the_session_end() {
    let (_folder, path) = folder();
    let mut store = store(&path);
    let open = |id| OpenCall {
        id,
        parent: None,
        function: 0,
        tid: 5,
        start_ns: BEGIN_NS,
        child_ns: 0,
    };
    let look = |open: &[u64], calls| Batch {
        open: Some(
            open.iter()
                .map(|id| OpenCall {
                    id: *id,
                    ..self::open_call()
                })
                .collect(),
        ),
        calls,
        ..Batch::default()
    };
    let in_flight = "SELECT call_id FROM in_flight";
    store
        .write(&Batch {
            open: Some(vec![open(3), open(1), open(2)]),
            ..Batch::default()
        })
        .unwrap();
    assert_eq!(rows(&path, in_flight), ["1", "2", "3"]);
    store
        .write(&calls(vec![call(2, None, 0, Outcome::Ok)]))
        .unwrap();
    assert_eq!(rows(&path, in_flight), ["1", "3"]);
    store
        .write(&look(&[1, 4], vec![call(3, None, 0, Outcome::Ok)]))
        .unwrap();
    assert_eq!(rows(&path, in_flight), ["1", "4"]);
    let now = session::monotonic_ns();
    store
        .write(&Batch {
            open: Some(vec![
                OpenCall {
                    start_ns: now - 70_000_000,
                    ..open(1)
                },
                OpenCall {
                    start_ns: now - 70_000_000,
                    ..open(9)
                },
            ]),
            ..Batch::default()
        })
        .unwrap();
    let aged = rows(
        &path,
        "SELECT call_id, age_ns BETWEEN 70000000 AND 9000000000 FROM in_flight WHERE call_id = 9",
    );
    assert_eq!(aged, ["9|1"]);
    store
        .write(&look(&[], vec![call(1, None, 0, Outcome::Unfinished)]))
        .unwrap();
    assert_eq!(rows(&path, in_flight), Vec::<String>::new());
    store.write(&look(&[8], vec![])).unwrap();
    store.finish(&end()).unwrap();
    assert_eq!(rows(&path, in_flight), Vec::<String>::new());
}

fn open_call() -> OpenCall {
    OpenCall {
        id: 0,
        parent: None,
        function: 0,
        tid: 5,
        start_ns: BEGIN_NS,
        child_ns: 0,
    }
}

#[test]
fn completeness_compares_with_the_kernel_and_says_why() {
    let (_folder, path) = folder();
    let mut store = store(&path);
    let mut batch = calls(vec![
        call(1, None, 0, Outcome::Ok),
        call(2, None, 1, Outcome::Ok),
    ]);
    let lossy = FunctionCounts {
        lost_ring: 1200,
        lost_table: 3,
        unmatched: 1,
        replaced: 2,
        lost_detail: 1,
        ..counts(1, 1204)
    };
    batch.counts = Some(vec![counts(0, 2), lossy]);
    batch.open = Some(vec![OpenCall {
        id: 7,
        ..open_call()
    }]);
    store.write(&batch).unwrap();
    assert_eq!(
        rows(
            &path,
            "SELECT * FROM completeness WHERE function <> 'app::b'"
        ),
        ["app::a|2|1|0|-", "app::c|0|0|0|-"]
    );
    store
        .write(&calls(vec![call(7, None, 0, Outcome::Unfinished)]))
        .unwrap();
    store.finish(&end()).unwrap();
    let reason = "1,200 records lost: the ring was full (raise --ring-size); \
                  3 calls not followed: the table of open calls was full; \
                  1 end without a beginning: that call began before the session; \
                  2 ends never seen: stored as unfinished; 1 error message lost";
    assert_eq!(
        rows(&path, "SELECT * FROM completeness"),
        [
            "app::a|2|2|0|-",
            &format!("app::b|1204|1|1203|{reason}"),
            "app::c|0|0|0|-"
        ]
    );
}

#[test]
fn a_session_that_was_killed_is_closed_by_the_next_and_its_losses_stay_visible() {
    let (_folder, path) = folder();
    let mut killed = store(&path);
    let batch = Batch {
        counts: Some(vec![counts(0, 5)]),
        open: Some(vec![OpenCall {
            id: 3,
            ..open_call()
        }]),
        ..calls(vec![call(1, None, 0, Outcome::Ok)])
    };
    killed.write(&batch).unwrap();
    drop(killed);
    store(&path).finish(&end()).unwrap();
    assert_eq!(
        rows(&path, "SELECT end_reason FROM sessions"),
        ["interrupted", "target exited"]
    );
    assert_eq!(rows(&path, "SELECT count(*) FROM in_flight"), ["0"]);
    assert_eq!(
        rows(
            &path,
            "SELECT calls_missing, reason FROM completeness WHERE function = 'app::a'"
        ),
        ["4|4 calls never written: the session was cut short"]
    );
}

#[test]
fn percentiles_are_within_four_in_a_thousand() {
    let (_folder, path) = folder();
    let mut store = store(&path);
    let mut random = 0x1234_5678_9abc_def0_u64;
    let mut durations: Vec<u64> = (0..20_001)
        .map(|_| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % 900 * ((random >> 43) % 90_000) + 31
        })
        .collect();
    for (index, part) in durations.chunks(5000).enumerate() {
        let first = index as u64 * 5000 + 1;
        let part = part.iter().zip(first..);
        store
            .write(&calls(
                part.map(|(ns, id)| Call {
                    duration_ns: *ns,
                    ..call(id, None, 0, Outcome::Ok)
                })
                .collect(),
            ))
            .unwrap();
    }
    store
        .write(&calls(vec![Call {
            duration_ns: 1_000_003,
            ..call(30_000, None, 1, Outcome::Ok)
        }]))
        .unwrap();
    store.finish(&end()).unwrap();
    durations.sort_unstable();
    let found = rows(
        &path,
        "SELECT p50_ns, p90_ns, p99_ns, min_ns, max_ns FROM functions WHERE function = 'app::a'",
    );
    let found: Vec<u64> = found[0]
        .split('|')
        .map(|text| text.parse().unwrap())
        .collect();
    for (found, percent) in found.iter().zip([50, 90, 99]) {
        let exact = durations[(durations.len() * percent).div_ceil(100) - 1];
        assert!(
            found.abs_diff(exact) * 1000 <= exact * 4,
            "p{percent}: {found}, exactly {exact}"
        );
    }
    assert_eq!(found[3..], [durations[0], durations[20_000]]);
    let single = rows(
        &path,
        "SELECT p50_ns, p99_ns FROM functions WHERE function = 'app::b'",
    );
    assert_eq!(single, ["1000003|1000003"]);
}

#[test]
fn readers_see_commits_while_the_store_writes() {
    let (_folder, path) = folder();
    let mut store = store(&path);
    let reader = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    for id in 1..=50 {
        store
            .write(&calls(vec![call(id, None, 0, Outcome::Ok)]))
            .unwrap();
        assert_eq!(
            rows_of(
                &reader,
                "SELECT count(*), (SELECT calls FROM functions LIMIT 1) FROM calls"
            ),
            [format!("{id}|{id}")]
        );
    }
    reader.execute_batch("BEGIN").unwrap();
    assert_eq!(rows_of(&reader, "SELECT count(*) FROM calls"), ["50"]);
    store
        .write(&calls(vec![call(51, None, 0, Outcome::Ok)]))
        .unwrap();
    store.finish(&end()).unwrap();
    assert_eq!(rows_of(&reader, "SELECT count(*) FROM calls"), ["50"]);
    reader.execute_batch("COMMIT").unwrap();
    assert_eq!(rows_of(&reader, "SELECT count(*) FROM calls"), ["51"]);
}

#[test]
fn the_file_is_private_and_single_at_the_end() {
    let (folder, path) = folder();
    let mut store = store(&path);
    let names = |folder: &TempDir| {
        let mut names: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        names
    };
    store
        .write(&calls(vec![call(1, None, 0, Outcome::Ok)]))
        .unwrap();
    let files = names(&folder);
    assert_eq!(files, ["test.db", "test.db-shm", "test.db-wal"]);
    let owner = fs::metadata(&path).unwrap().uid();
    for name in files {
        let metadata = fs::metadata(folder.path().join(name)).unwrap();
        assert_eq!(
            (metadata.permissions().mode() & 0o777, metadata.uid()),
            (0o600, owner)
        );
    }
    assert!(store.size_bytes() >= 8192);
    store.finish(&end()).unwrap();
    assert_eq!(names(&folder), ["test.db"]);
    let header = fs::read(&path).unwrap();
    assert_eq!(&header[68..72], b"exos");
}

#[test]
fn what_is_no_exoscope_file_is_refused_and_untouched() {
    let (folder, path) = folder();
    let foreign = folder.path().join("foreign.db");
    Connection::open(&foreign)
        .unwrap()
        .execute_batch("CREATE TABLE t (a)")
        .unwrap();
    for content in [
        Vec::new(),
        b"not a database".to_vec(),
        vec![b'x'; 9000],
        fs::read(&foreign).unwrap(),
    ] {
        fs::write(&path, &content).unwrap();
        let error = format!("{:#}", Store::open(&path, info()).err().unwrap());
        assert!(error.ends_with("it is no exoscope file"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), content);
    }
    let error = format!("{:#}", Store::open(folder.path(), info()).err().unwrap());
    assert!(error.contains("can't write"), "{error}");
    let nowhere = folder.path().join("none/test.db");
    let error = format!("{:#}", Store::open(&nowhere, info()).err().unwrap());
    assert!(
        error.contains("choose another place with --output"),
        "{error}"
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn a_newer_version_and_a_second_writer_are_refused() {
    let (_folder, path) = folder();
    let mut first = store(&path);
    let error = format!("{:#}", Store::open(&path, info()).err().unwrap());
    assert!(
        error.contains("is being written by another session"),
        "{error}"
    );
    first.finish(&end()).unwrap();
    drop(first);
    Connection::open(&path)
        .unwrap()
        .pragma_update(None, "user_version", VERSION + 1)
        .unwrap();
    let before = fs::read(&path).unwrap();
    let error = format!("{:#}", Store::open(&path, info()).err().unwrap());
    assert!(
        error.contains("written by a newer exoscope (file version 2"),
        "{error}"
    );
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn an_abandoned_session_leaves_nothing() {
    let (folder, path) = folder();
    store(&path).abandon().unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    let mut kept = store(&path);
    kept.write(&calls(vec![call(1, None, 0, Outcome::Ok)]))
        .unwrap();
    kept.finish(&end()).unwrap();
    drop(kept);
    let mut second = store(&path);
    second.add_functions(&[function("app::new")]).unwrap();
    second.abandon().unwrap();
    assert_eq!(rows(&path, "SELECT session_id FROM sessions"), ["1"]);
    assert_eq!(
        rows(&path, "SELECT function FROM functions"),
        ["app::a", "app::b", "app::c"]
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_damaged_file_is_an_error_and_stays() {
    let (_folder, path) = folder();
    store(&path).finish(&end()).unwrap();
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..5000]).unwrap();
    let error = format!("{:#}", Store::open(&path, info()).err().unwrap());
    assert!(
        error.contains("choose another file with --output"),
        "{error}"
    );
    assert!(path.exists());
}

#[test]
fn agent_events_are_told_in_words() {
    let (_folder, path) = folder();
    let mut store = store(&path);
    let event = AgentEvent {
        at_unix_ns: 9,
        level: Level::Warning,
        kind: "lost",
        message: "x".into(),
    };
    store
        .write(&Batch {
            events: vec![event],
            ..Batch::default()
        })
        .unwrap();
    store.finish(&end()).unwrap();
    assert_eq!(
        rows(&path, "SELECT * FROM agent_events"),
        ["9|warning|lost|x|1"]
    );
}
