//! What a batch becomes: rows, words and sums.

use super::*;
use crate::event::{AgentEvent, CallPolls, Level, UnmatchedExit};
use crate::store::schema::VERSION;

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
        panic: false,
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
fn the_time_of_a_polled_call_is_split() {
    let (_folder, path) = folder();
    let mut store = store(&path);
    let mut batch = calls(vec![
        call(1, None, 0, Outcome::Ok),
        call(2, Some(1), 1, Outcome::Cancelled),
    ]);
    batch.polls = vec![CallPolls {
        call: 2,
        polls: 3,
        polled_ns: 40,
        ready_ns: 50,
    }];
    store.write(&batch).unwrap();
    store.finish(&end()).unwrap();
    let sql =
        "SELECT polls, polled_ns, ready_ns, suspended_ns, duration_ns FROM calls ORDER BY call_id";
    assert_eq!(rows(&path, sql), ["-|-|-|-|101", "3|40|50|12|102"]);
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
        panic: false,
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
        .opened
        .connection
        .pragma_update(None, "max_page_count", 40)
        .unwrap();
    let error = format!("{:#}", store.write(&batch).unwrap_err());
    assert!(error.contains("full"), "{error}");
    assert_eq!(rows(&path, "SELECT count(*) FROM calls"), ["1"]);
    store
        .opened
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
fn agent_events_are_told_in_words() {
    let (_folder, path) = folder();
    let mut store = store(&path);
    let event = AgentEvent {
        at_unix_ns: 9,
        level: Level::Warning,
        kind: "lost".into(),
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

#[test]
fn fields_of_a_call_add_up_whatever_batch_they_come_in() {
    let (_folder, path) = folder();
    let mut store = store(&path);
    let fields = |call, json: &str, truncated| crate::event::Fields {
        call,
        json: json.to_owned(),
        truncated,
    };
    let before = Batch {
        fields: vec![fields(1, r#"{"a":1}"#, false), fields(2, "{}", true)],
        ..Batch::default()
    };
    store.write(&before).unwrap();
    let mut batch = calls(vec![
        call(1, None, 0, Outcome::Ok),
        call(2, None, 0, Outcome::Ok),
        Call {
            items: Some(0),
            ..call(3, None, 1, Outcome::Ok)
        },
    ]);
    batch.fields = vec![
        fields(1, r#"{"return":"x"}"#, true),
        fields(2, r#"{"b":2}"#, false),
    ];
    store.write(&batch).unwrap();
    store.finish(&end()).unwrap();
    let sql = "SELECT call_id, fields, fields_truncated, items FROM calls ORDER BY 1";
    assert_eq!(
        rows(&path, sql),
        [
            r#"1|{"a":1,"return":"x"}|1|-"#,
            r#"2|{"b":2}|1|-"#,
            "3|-|-|0"
        ]
    );
}

#[test]
fn of_an_error_and_a_panic_the_outcome_says_which_is_shown() {
    let (_folder, path) = folder();
    let mut store = store(&path);
    let outcomes = Outcome::ALL.into_iter().zip(1..);
    let mut batch = calls(
        outcomes
            .map(|(outcome, id)| call(id, None, 0, outcome))
            .collect(),
    );
    // A panic that was caught, an error that a stream handed on, and one more panic, whatever came of it.
    let said = [(true, "caught"), (false, "an item"), (true, "the last")];
    batch.errors = (1..=6)
        .flat_map(|call| said.map(|said| (call, said)))
        .map(|(call, (panic, message))| ErrorDetail {
            call,
            panic,
            kind: if panic { "panic" } else { "E" }.into(),
            message: message.into(),
            truncated: false,
        })
        .collect();
    store.write(&batch).unwrap();
    store.finish(&end()).unwrap();
    assert_eq!(
        rows(
            &path,
            "SELECT outcome, error, error_kind FROM calls ORDER BY call_id"
        ),
        [
            "ok|-|-",
            "err|an item|E",
            "panic|the last|panic",
            "cancelled|an item|E",
            "unfinished|the last|panic",
            "target_died|the last|panic",
        ]
    );
    let errors = "SELECT kind, message FROM errors ORDER BY origin_call_id";
    assert_eq!(rows(&path, errors), ["E|an item", "panic|the last"]);
}

#[test]
fn a_panic_that_a_call_caught_is_not_its_error() {
    let (_folder, path) = folder();
    let mut store = store(&path);
    let outcomes = [
        Outcome::Ok,
        Outcome::Err,
        Outcome::Panic,
        Outcome::Cancelled,
    ];
    let outcomes = outcomes.into_iter().zip(1..);
    let mut batch = calls(
        outcomes
            .map(|(outcome, id)| call(id, None, 0, outcome))
            .collect(),
    );
    batch.errors = (1..=4)
        .map(|call| ErrorDetail {
            call,
            panic: true,
            kind: "panic".into(),
            message: "m".into(),
            truncated: false,
        })
        .collect();
    store.write(&batch).unwrap();
    store.finish(&end()).unwrap();
    let sql = "SELECT call_id, error, error_kind FROM calls ORDER BY 1";
    assert_eq!(rows(&path, sql), ["1|-|-", "2|-|-", "3|m|panic", "4|-|-"]);
}

#[test]
fn what_never_ended_and_has_no_row_is_nobodys_parent() {
    let (_folder, path) = folder();
    let mut store = store(&path);
    let parents = [Some(1), Some(2), None].into_iter().zip(3..);
    let mut batch = calls(
        parents
            .map(|(parent, id)| call(id, parent, 0, Outcome::Ok))
            .collect(),
    );
    batch.calls.push(call(2, None, 1, Outcome::Ok));
    store.write(&batch).unwrap();
    let sql = "SELECT call_id, parent_id FROM calls ORDER BY 1";
    assert_eq!(rows(&path, sql), ["2|-", "3|1", "4|2", "5|-"]);
    let unended = Batch {
        unended: vec![1],
        ..Batch::default()
    };
    store.write(&unended).unwrap();
    store.finish(&end()).unwrap();
    assert_eq!(rows(&path, sql), ["2|-", "3|-", "4|2", "5|-"]);
}
