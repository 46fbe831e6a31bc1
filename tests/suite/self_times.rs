//! A call's own time is its duration less the time in which calls made directly by it were open.

use std::collections::BTreeMap;

use exoscope_tests::agent::Bench;
use exoscope_tests::build::Build;
use exoscope_tests::database::Database;

use crate::{AWAITS, VARIANTS, truth_of};

/// Beginning and end of a call.
type Interval = (i64, i64);

/// Pairs of `part` in the calls of `joins` that are open at the same time: 1, 2, 2, 1 and 2.
const OVERLAPS: i64 = 8;

/// What a row of `calls` says.
struct Row {
    id: i64,
    parent: Option<i64>,
    function: String,
    interval: Interval,
    self_ns: i64,
}

fn rows(database: &Database) -> Vec<Row> {
    let rows = database
        .rows("SELECT call_id, parent_id, function, start_ns, duration_ns, self_ns FROM calls");
    rows.into_iter()
        .map(|row| {
            let number = |at: usize| row[at].parse::<i64>().expect("an integer");
            Row {
                id: number(0),
                parent: (row[1] != "-").then(|| number(1)),
                function: row[2].clone(),
                interval: (number(3), number(3) + number(4)),
                self_ns: number(5),
            }
        })
        .collect()
}

/// Nanoseconds of `whole` that lie in none of the intervals.
fn uncovered(whole: Interval, mut intervals: Vec<Interval>) -> i64 {
    intervals.sort_unstable();
    let mut free = 0;
    let mut until = whole.0;
    for (start, end) in intervals {
        free += (start.min(whole.1) - until).max(0);
        until = until.max(end.min(whole.1));
    }
    free + whole.1 - until
}

/// Expects of every row that its own time is what its children's rows leave; but of calls of
/// `nearly` only that it is off by less than a hundredth of the duration.
fn own_times_are_what_children_leave(database: &Database, nearly: &str) {
    let rows = rows(database);
    let mut children: BTreeMap<i64, Vec<Interval>> = BTreeMap::new();
    for row in &rows {
        if let Some(parent) = row.parent {
            children.entry(parent).or_default().push(row.interval);
        }
    }
    for row in &rows {
        let left = uncovered(row.interval, children.remove(&row.id).unwrap_or_default());
        let slack = if row.function == nearly {
            (row.interval.1 - row.interval.0) / 100
        } else {
            0
        };
        assert!(
            row.self_ns.abs_diff(left) <= slack.unsigned_abs(),
            "call {} of {}: {} ns of its own, children leave {left}",
            row.id,
            row.function,
            row.self_ns
        );
    }
    assert!(children.is_empty(), "every parent has a row: {children:?}");
}

fn captured(target: Build, options: &[&str]) -> Database {
    let bench = Bench::new();
    let end = bench.run(options, &target.copy_to(bench.path()), &[]);
    assert_eq!(end.status.code(), Some(0), "{:#?}", end.stderr);
    let database = bench.database();
    let truth = truth_of(&database, &end.stdout);
    if !options.contains(&"--exclude") {
        database.holds(&truth);
    }
    database
}

/// Pairs of `part` in one call that were open at the same time.
fn overlaps(database: &Database) -> i64 {
    database.number(
        "SELECT count(*) FROM calls a JOIN calls b ON a.parent_id = b.parent_id
         WHERE a.function = 'awaits::joined::part' AND b.function = a.function
         AND a.start_ns < b.start_ns AND b.start_ns < a.start_ns + a.duration_ns",
    )
}

#[test]
fn time_of_children_that_overlap_counts_once() {
    let database = captured(AWAITS, &[]);
    assert_eq!(overlaps(&database), OVERLAPS);
    own_times_are_what_children_leave(&database, "");
}

#[test]
fn time_of_children_that_overlap_counts_once_from_exits_alone() {
    let database = captured(AWAITS, &["--capture", "exits"]);
    assert_eq!(overlaps(&database), OVERLAPS);
    own_times_are_what_children_leave(&database, "awaits::joined::many");
}

#[test]
fn own_times_of_every_kind_of_call_are_what_children_leave() {
    for options in [&[][..], &["--capture", "exits"]] {
        own_times_are_what_children_leave(&captured(VARIANTS, options), "");
    }
}

#[test]
fn children_of_excluded_calls_are_those_of_the_next_outer_one() {
    for capture in ["full", "exits"] {
        let options = ["--capture", capture, "--exclude", "*::part"];
        let database = captured(AWAITS, &options);
        own_times_are_what_children_leave(&database, "awaits::joined::many");
        let parents = database.rows(
            "SELECT p.function, count(*) FROM calls c LEFT JOIN calls p ON p.call_id = c.parent_id
             WHERE c.function = 'awaits::joined::step' GROUP BY 1 ORDER BY 1",
        );
        let expected = [
            ("-", 1),
            ("awaits::joined::gives", 1),
            ("awaits::joined::joins", 40),
            ("awaits::joined::many", 1002),
        ];
        let expected = expected.map(|(parent, count)| vec![parent.to_owned(), count.to_string()]);
        assert_eq!(parents, expected, "{capture}");
    }
}
