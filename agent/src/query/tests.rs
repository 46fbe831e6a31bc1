//! Reading real files.

use std::fs;

use exoscope_abi::Outcome;
use rusqlite::Connection;

use super::*;
use crate::event::{Batch, Call, CallPolls, ErrorDetail, FunctionCounts, OpenCall};
use crate::store::tests::{call, calls, end, folder, function, open_call, store};

/// A finished file with the calls 1 to 5.
fn finished(path: &Path) {
    let mut store = store(path);
    store.add_functions(&[function("other::c")]).unwrap();
    let mut batch = calls(vec![
        call(1, None, 0, Outcome::Ok),
        Call {
            duration_ns: 900,
            ..call(2, Some(1), 1, Outcome::Err)
        },
        Call {
            duration_ns: 800,
            ..call(3, Some(1), 1, Outcome::Ok)
        },
        Call {
            duration_ns: 850,
            ..call(4, None, 3, Outcome::Err)
        },
        call(5, None, 0, Outcome::Panic),
    ]);
    let (kind, message) = ("E".to_owned(), "m".to_owned());
    batch.errors = vec![ErrorDetail {
        call: 2,
        panic: false,
        kind,
        message,
        truncated: true,
    }];
    batch.counts = Some(vec![
        FunctionCounts::of_calls(0, 2),
        FunctionCounts::of_calls(1, 2),
        FunctionCounts::of_calls(3, 1),
    ]);
    store.write(&batch).unwrap();
    store.finish(&end()).unwrap();
}

/// Numbers of the calls that pass the filter.
fn chosen(path: &Path, filter: &CallFilter) -> Vec<i64> {
    let mut ids = Vec::new();
    let each = |call: CallRow| {
        ids.push(call.call_id);
        Ok(())
    };
    open_readonly(path).unwrap().calls(filter, each).unwrap();
    ids
}

fn error_of(path: &Path) -> String {
    format!("{:#}", open_readonly(path).unwrap_err())
}

#[test]
fn filters_choose_by_function_outcome_and_duration() {
    let (_folder, path) = folder();
    finished(&path);
    let of = |functions: &[&str], outcome, slowest| {
        let functions = functions
            .iter()
            .map(|&pattern| pattern.to_owned())
            .collect();
        chosen(
            &path,
            &CallFilter {
                functions,
                outcome,
                slowest,
            },
        )
    };
    assert_eq!(of(&[], None, None), [1, 2, 3, 4, 5]);
    assert_eq!(of(&["app::*"], None, None), [1, 2, 3, 5]);
    assert_eq!(of(&["*::c", "app::a"], None, None), [1, 4, 5]);
    assert_eq!(of(&[], Some(Outcome::Err), None), [2, 4]);
    assert_eq!(of(&[], Some(Outcome::Ok), None), [1, 3]);
    assert_eq!(of(&[], None, Some(3)), [2, 4, 3]);
    assert_eq!(of(&["app::?"], Some(Outcome::Err), Some(9)), [2]);
    assert_eq!(of(&[], None, Some(0)), Vec::<i64>::new());
}

#[test]
fn a_pattern_without_a_match_names_near_ones() {
    let (_folder, path) = folder();
    finished(&path);
    let filter = CallFilter {
        functions: vec!["app::aa*".into()],
        ..CallFilter::default()
    };
    let error = open_readonly(&path)
        .unwrap()
        .calls(&filter, |_| Ok(()))
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("no function matches 'app::aa*'; near names: 'app::a', "),
        "{error}"
    );
}

#[test]
fn calls_come_in_the_order_of_the_table_unsorted() {
    let (_folder, path) = folder();
    finished(&path);
    let database = open_readonly(&path).unwrap();
    let sql = CallFilter::default().sql(CallRow::COLUMNS);
    let plan = format!("EXPLAIN QUERY PLAN {sql}");
    let steps = database
        .select(&plan, [None::<String>], |row| row.get::<_, String>(3))
        .unwrap();
    assert!(
        steps.iter().all(|step| !step.contains("TEMP B-TREE")),
        "{steps:?}"
    );
}

#[test]
fn rows_carry_what_the_views_have() {
    let (_folder, path) = folder();
    finished(&path);
    let database = open_readonly(&path).unwrap();
    let session = &database.sessions().unwrap()[0];
    assert_eq!(
        (session.pid, session.calls, session.exit_status),
        (Some(42), 5, Some(3))
    );
    let functions = database.functions().unwrap();
    let of = |path: &str| functions.iter().find(|row| row.function == path).unwrap();
    assert_eq!((of("app::b").calls, of("app::b").max_ns), (2, Some(900)));
    assert_eq!((of("app::c").calls, of("app::c").p50_ns), (0, None));
    let missing: i64 = database
        .completeness()
        .unwrap()
        .iter()
        .map(|row| row.calls_missing)
        .sum();
    assert_eq!(missing, 0);
    let errors = database.errors().unwrap();
    let origins: Vec<i64> = errors.iter().map(|error| error.origin_call_id).collect();
    assert_eq!(origins, [2, 4, 5]);
    assert_eq!(errors[0].message.as_deref(), Some("m"));
}

/// Two commits of calls of many lengths, every other one with polls.
fn of_many_lengths(path: &Path) {
    let mut store = store(path);
    for first in [1, 3_001] {
        let made = (first..first + 3_000).map(|id| Call {
            duration_ns: 50 + id * id * id % 70_001,
            ..call(id, None, (id % 7 % 2) as u32, Outcome::Ok)
        });
        let batch = calls(made.collect());
        let polls = batch.calls.iter().step_by(2).map(|call| CallPolls {
            call: call.id,
            polls: call.id % 5,
            polled_ns: call.duration_ns / 3,
            ready_ns: call.duration_ns / 4,
        });
        let polls = polls.collect();
        store.write(&Batch { polls, ..batch }).unwrap();
    }
    store.finish(&end()).unwrap();
}

#[test]
fn percentiles_are_those_of_the_view() {
    let (_folder, path) = folder();
    of_many_lengths(&path);
    let database = open_readonly(&path).unwrap();
    let sql = format!(
        "SELECT {} FROM functions ORDER BY self_ns DESC, calls DESC, function",
        rows::FunctionRow::COLUMNS
    );
    let view = database.select(&sql, [], rows::FunctionRow::read).unwrap();
    assert!(view[0].p50_ns < view[0].p90_ns && view[0].p90_ns < view[0].p99_ns);
    assert_eq!(database.functions().unwrap(), view);
}

#[test]
fn sums_of_polls_are_those_of_the_calls() {
    let (_folder, path) = folder();
    of_many_lengths(&path);
    let database = open_readonly(&path).unwrap();
    let sql =
        "SELECT function, count(*), sum(polls), sum(polled_ns), sum(ready_ns), sum(suspended_ns)
               FROM calls WHERE polls IS NOT NULL GROUP BY 1 ORDER BY 5 DESC";
    let calls = database.select(sql, [], PollsRow::read).unwrap();
    assert_eq!(calls.iter().map(|row| row.calls).sum::<i64>(), 3_000);
    assert_eq!(database.polls().unwrap(), calls);
}

#[test]
fn a_file_that_is_being_written_is_read_as_of_one_moment() {
    let (_folder, path) = folder();
    let mut store = store(&path);
    let open = Some(vec![OpenCall {
        id: 9,
        ..open_call()
    }]);
    store
        .write(&Batch {
            open,
            ..calls(vec![call(1, None, 0, Outcome::Ok)])
        })
        .unwrap();
    let before = open_readonly(&path).unwrap();
    store
        .write(&calls(vec![call(9, None, 0, Outcome::Ok)]))
        .unwrap();
    assert_eq!(before.in_flight().unwrap()[0].call_id, 9);
    assert_eq!(before.sessions().unwrap()[0].calls, 1);
    assert_eq!(before.sessions().unwrap()[0].end_reason, None);
    let after = open_readonly(&path).unwrap();
    assert_eq!(after.in_flight().unwrap(), []);
    assert_eq!(after.sessions().unwrap()[0].calls, 2);
}

#[test]
fn what_cannot_be_read_is_one_sentence() {
    let (folder, path) = folder();
    assert!(
        error_of(&path).contains("No such file"),
        "{}",
        error_of(&path)
    );
    assert!(error_of(folder.path()).ends_with("it is no regular file"));
    for content in [&b""[..], b"some text", &[b'x'; 9000]] {
        fs::write(&path, content).unwrap();
        assert!(
            error_of(&path).ends_with("is no exoscope file"),
            "{}",
            error_of(&path)
        );
    }
    fs::remove_file(&path).unwrap();
    Connection::open(&path)
        .unwrap()
        .execute_batch("CREATE TABLE t (a)")
        .unwrap();
    assert!(error_of(&path).ends_with("is no exoscope file"));
    fs::remove_file(&path).unwrap();
    finished(&path);
    Connection::open(&path)
        .unwrap()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    assert!(
        error_of(&path).contains("a newer exoscope (file version 99"),
        "{}",
        error_of(&path)
    );
}

/// Reads everything; the first error in words.
fn read_all(path: &Path) -> Result<usize> {
    let database = open_readonly(path)?;
    let mut rows = database.sessions()?.len() + database.functions()?.len();
    rows += database.completeness()?.len() + database.errors()?.len();
    rows += database.in_flight()?.len() + database.unmatched_exits()?.len();
    database.calls(&CallFilter::default(), |_| {
        rows += 1;
        Ok(())
    })?;
    Ok(rows)
}

#[test]
fn a_damaged_file_is_an_error_and_never_loops() {
    let (_folder, path) = folder();
    let mut store = store(&path);
    let many = |first: u64| (first..first + 2000).map(|id| call(id, Some(id - 1), 0, Outcome::Err));
    store.write(&calls(many(1).collect())).unwrap();
    store.finish(&end()).unwrap();
    drop(store);
    let whole = fs::read(&path).unwrap();
    let rows = read_all(&path).unwrap();
    let mut truncated = 0;
    for pages in 1..whole.len() / 8192 {
        fs::write(&path, &whole[..pages * 8192]).unwrap();
        truncated += usize::from(read_all(&path).is_err());
    }
    assert_eq!(
        truncated,
        whole.len() / 8192 - 1,
        "every truncated file is reported"
    );
    // Each page in turn is overwritten; what still reads must not read as more than there was.
    for page in 0..whole.len() / 8192 {
        let mut damaged = whole.clone();
        damaged[page * 8192..(page + 1) * 8192].fill(0xa5);
        fs::write(&path, damaged).unwrap();
        if let Ok(read) = read_all(&path) {
            assert!(read <= rows, "page {page}: {read} rows of {rows}");
        }
    }
}

/// One line a node: indented path, calls, total and self time.
fn outline(nodes: &[tree::TreeNode], indent: usize) -> Vec<String> {
    let line = |node: &tree::TreeNode| {
        let own = format!(
            "{:indent$}{} {} {} {}",
            "", node.function, node.calls, node.total_ns, node.self_ns
        );
        std::iter::once(own).chain(outline(&node.children, indent + 2))
    };
    nodes.iter().flat_map(line).collect()
}

/// The tree of calls, each a number, its parent's, the function's, and nanoseconds: all, and its own.
fn tree_of(rows: &[(u64, Option<u64>, u32, u64, u64)]) -> Vec<String> {
    let (_folder, path) = folder();
    let mut store = store(&path);
    let made = |&(id, parent, function, duration_ns, self_ns)| Call {
        duration_ns,
        self_ns,
        ..call(id, parent, function, Outcome::Ok)
    };
    store
        .write(&calls(rows.iter().map(made).collect()))
        .unwrap();
    store.finish(&end()).unwrap();
    outline(&open_readonly(&path).unwrap().tree().unwrap(), 0)
}

#[test]
fn calls_are_merged_by_the_path_that_led_to_them() {
    // Numbers do not follow the order of beginnings: each CPU counts by itself.
    let tree = tree_of(&[
        (9, None, 0, 1000, 500),
        (1, Some(9), 1, 300, 300),
        (2, Some(9), 1, 200, 150),
        (3, Some(2), 2, 50, 50),
        (4, None, 1, 70, 70),
    ]);
    assert_eq!(
        tree,
        [
            "app::a 1 1000 500",
            "  app::b 2 500 450",
            "    app::c 1 50 50",
            "app::b 1 70 70",
        ]
    );
}

#[test]
fn recursion_counts_once_in_totals() {
    let direct = tree_of(&[
        (1, None, 0, 100, 10),
        (2, Some(1), 0, 90, 20),
        (3, Some(2), 0, 70, 40),
        (4, Some(3), 1, 30, 30),
    ]);
    assert_eq!(direct, ["app::a 3 100 70", "  app::b 1 30 30"]);
    let mutual = tree_of(&[
        (1, None, 0, 100, 10),
        (2, Some(1), 1, 90, 10),
        (3, Some(2), 0, 80, 10),
        (4, Some(3), 1, 70, 40),
        (5, Some(4), 2, 30, 30),
    ]);
    assert_eq!(
        mutual,
        ["app::a 2 100 20", "  app::b 2 90 50", "    app::c 1 30 30"]
    );
}

#[test]
fn children_of_a_lost_call_are_roots() {
    let tree = tree_of(&[(2, Some(1), 1, 30, 30), (3, Some(2), 2, 10, 10)]);
    assert_eq!(tree, ["app::b 1 30 30", "  app::c 1 10 10"]);
}
