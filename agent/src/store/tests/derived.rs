//! The views that are computed: errors by origin, calls in flight, completeness.

use super::*;
use crate::event::CountedCalls;

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
            panic: false,
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
        panic: call == 4,
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
        children: 0,
    };
    let look = |open: &[u64], calls| Batch {
        open: Some(
            open.iter()
                .map(|id| OpenCall {
                    id: *id,
                    ..open_call()
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
    let now = crate::store::session::monotonic_ns();
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
        ..FunctionCounts::of_calls(1, 1204)
    };
    batch.counts = Some(vec![FunctionCounts::of_calls(0, 2), lossy]);
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
        ["app::a|2|1|0|-|0", "app::c|0|0|0|-|0"]
    );
    store
        .write(&calls(vec![call(7, None, 0, Outcome::Unfinished)]))
        .unwrap();
    store.finish(&end()).unwrap();
    let reason = "1,200 records lost: the ring was full (raise --ring-size); \
                  3 calls not followed: the table of open calls was full (raise --open-calls); \
                  1 end without a beginning: that call began before the session, or had not been followed; \
                  2 ends never seen: stored as unfinished; 1 error message lost";
    assert_eq!(
        rows(&path, "SELECT * FROM completeness"),
        [
            "app::a|2|2|0|-|0",
            &format!("app::b|1204|1|1203|{reason}|0"),
            "app::c|0|0|0|-|0"
        ]
    );
}

#[test]
fn calls_that_were_only_counted_are_in_totals_and_histograms_with_the_reason() {
    let (_folder, path) = folder();
    let mut store = store(&path);
    let mut counts = FunctionCounts {
        only_counted: 1_000_300,
        err: 2,
        ..FunctionCounts::of_calls(0, 1_000_301)
    };
    counts.histogram[0] = 1;
    counts.histogram[7] = 0xfe_dcba;
    counts.histogram[39] = 300;
    let counted = |from, until, calls| CountedCalls {
        function: 0,
        from_unix_ns: from * 1_000_000_000_i64,
        until_unix_ns: until * 1_000_000_000_i64,
        calls,
        reason: format!("the spool was {from} % full"),
    };
    let batch = Batch {
        counts: Some(vec![counts]),
        counted: vec![counted(76, 90, 300), counted(99, 3700, 1_000_000)],
        ..calls(vec![call(1, None, 0, Outcome::Ok)])
    };
    store.write(&batch).unwrap();
    store.finish(&end()).unwrap();
    let reason = "1,000,300 calls counted and not recorded between 1970-01-01 00:01:16 and 1970-01-01 \
                  01:01:40 UTC, because the spool was 76 % full (the first of 2 times)";
    assert_eq!(
        rows(&path, "SELECT * FROM completeness WHERE calls_counted > 0"),
        [format!("app::a|1000301|1|1000300|{reason}|1000300")]
    );
    let totals = "SELECT function, calls, err, panic, cancelled, only_counted, lost FROM totals";
    assert_eq!(rows(&path, totals), ["app::a|1000301|2|0|0|1000300|0"]);
    assert_eq!(
        rows(&path, "SELECT from_ns, to_ns, calls FROM histograms"),
        ["0|1|1", "128|255|16702650", "549755813888|-|300"]
    );
    assert_eq!(
        rows(&path, "SELECT function, calls FROM counted_calls"),
        ["app::a|300", "app::a|1000000"]
    );
}

#[test]
fn what_is_lost_of_no_known_function_is_said_once() {
    let (_folder, path) = folder();
    let mut store = store(&path);
    let lost = |links, panics| Batch {
        losses: Some(SessionLosses { links, panics }),
        ..Batch::default()
    };
    let said = "SELECT * FROM completeness WHERE function IS NULL";
    assert_eq!(rows(&path, said), Vec::<String>::new());
    store.write(&lost(0, 1)).unwrap();
    assert_eq!(
        rows(&path, said),
        ["-|0|0|0|1 message of a panic lost (raise --ring-size)|0"]
    );
    store.write(&lost(1234, 5)).unwrap();
    store.finish(&end()).unwrap();
    let reason = "5 messages of panics lost (raise --ring-size); 1,234 links lost: the calls of \
                  tasks and threads that they were made for may have no parent (raise --ring-size)";
    assert_eq!(rows(&path, said), [format!("-|0|0|0|{reason}|0")]);
}

#[test]
fn a_session_that_was_killed_is_closed_by_the_next_and_its_losses_stay_visible() {
    let (_folder, path) = folder();
    let mut killed = store(&path);
    let batch = Batch {
        counts: Some(vec![FunctionCounts::of_calls(0, 5)]),
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
        ["interrupted", "the target exited with status 3"]
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
