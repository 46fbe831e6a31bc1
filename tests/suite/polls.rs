//! With `--polls`, a call's time is split as whoever polls it sees it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use exoscope_tests::agent::Bench;
use exoscope_tests::build::exoscope;
use exoscope_tests::database::Database;
use exoscope_tests::process::Process;
use serde::Deserialize;

use crate::{AWAITS, truth_of};

/// What the target measured of one call, from outside of it.
#[derive(Debug, Deserialize)]
struct Measured {
    polled: String,
    polls: i64,
    polled_ns: i64,
    ready_ns: i64,
    lasted_ns: i64,
}

/// What a row of `calls` says.
#[derive(Debug)]
struct Row {
    polls: i64,
    polled_ns: i64,
    ready_ns: i64,
    suspended_ns: i64,
    duration_ns: i64,
}

/// How far a time may be off in the call that is closest: nothing that is not meant to takes as long.
const CLOSE_NS: i64 = 3_000_000;

/// Captures a whole run; gives back the folder, and what the target measured, by function.
fn captured(options: &[&str]) -> (Bench, BTreeMap<String, Vec<Measured>>) {
    let bench = Bench::new();
    let end = bench.run(options, &AWAITS.copy_to(bench.path()), &[]);
    assert_eq!(end.status.code(), Some(0), "{:#?}", end.stderr);
    let database = bench.database();
    database.holds(&truth_of(&database, &end.stdout));
    let mut measured: BTreeMap<String, Vec<Measured>> = BTreeMap::new();
    for line in &end.stdout {
        if let Ok(one) = serde_json::from_str::<Measured>(line) {
            measured.entry(one.polled.clone()).or_default().push(one);
        }
    }
    (bench, measured)
}

fn rows(database: &Database, function: &str) -> Vec<Row> {
    let rows = database.rows(&format!(
        "SELECT polls, polled_ns, ready_ns, suspended_ns, duration_ns FROM calls
         WHERE function = '{function}' ORDER BY start_ns"
    ));
    let number = |text: &String| {
        text.parse()
            .unwrap_or_else(|_| panic!("{function}: {text}"))
    };
    rows.iter()
        .map(|row| Row {
            polls: number(&row[0]),
            polled_ns: number(&row[1]),
            ready_ns: number(&row[2]),
            suspended_ns: number(&row[3]),
            duration_ns: number(&row[4]),
        })
        .collect()
}

/// Expects rows that lie inside what was measured around them, and one that is close to it.
fn are_as_measured(function: &str, rows: &[Row], measured: &[Measured]) {
    assert_eq!(rows.len(), measured.len(), "{function}");
    let mut closest = i64::MAX;
    for (row, measured) in rows.iter().zip(measured) {
        let both = format!("{function}: {row:?}, {measured:?}");
        assert_eq!(row.polls, measured.polls, "{both}");
        assert!(row.polled_ns <= measured.polled_ns, "{both}");
        assert!(row.duration_ns <= measured.lasted_ns, "{both}");
        // One that is dropped ends a little before that is measured.
        let after_ns = measured.lasted_ns - row.duration_ns;
        assert!(row.ready_ns + after_ns >= measured.ready_ns, "{both}");
        let sum = row.polled_ns + row.ready_ns + row.suspended_ns;
        assert!(row.suspended_ns >= 0 && sum == row.duration_ns, "{both}");
        let suspended_ns = measured.lasted_ns - measured.polled_ns - measured.ready_ns;
        let off_ns = (measured.polled_ns - row.polled_ns)
            .max((row.ready_ns - measured.ready_ns).abs())
            .max((suspended_ns - row.suspended_ns).abs());
        closest = closest.min(off_ns);
    }
    assert!(closest < CLOSE_NS, "{function}: {rows:?}, {measured:?}");
}

#[test]
fn times_are_split_as_the_target_measures_it() {
    let (bench, measured) = captured(&["--polls"]);
    let database = bench.database();
    assert_eq!(measured.len(), 10, "functions that the target measured");
    for (function, measured) in &measured {
        are_as_measured(function, &rows(&database, function), measured);
    }
    // Polled and woken with the call around it, to within what polling it costs.
    let inner = rows(&database, "awaits::polls::inner");
    are_as_measured("inner", &inner, &measured["awaits::polls::outer"]);
}

#[test]
fn every_future_and_stream_is_split_and_nothing_else() {
    let (bench, _) = captured(&["--polls"]);
    let database = bench.database();
    let split = database.rows(
        "SELECT function FROM calls GROUP BY function
         HAVING count(polls) = count(*) AND count(polled_ns) = count(*) AND count(ready_ns) = count(*)
           AND count(suspended_ns) = count(*) AND sum(polled_ns + ready_ns + suspended_ns <> duration_ns) = 0
         ORDER BY function",
    );
    let mut split: Vec<&str> = split.iter().map(|row| row[0].as_str()).collect();
    split.retain(|function| *function != "awaits::polls::items");
    let expected = [
        "joined::joins",
        "joined::many",
        "joined::part",
        "polls::at_once",
        "polls::inner",
        "polls::moves",
        "polls::never_woken",
        "polls::outer",
        "polls::wakes_itself",
        "polls::woken",
        "polls::woken_and_dropped",
        "polls::woken_and_left",
        "polls::woken_in_poll",
    ]
    .map(|function| format!("awaits::{function}"));
    assert_eq!(split, expected);
    let others = database.rows(
        "SELECT function, count(polls) FROM calls
         WHERE function LIKE '%::step' OR function LIKE '%::plain' OR function LIKE '%::gives'
         GROUP BY function ORDER BY function",
    );
    let none = ["joined::gives", "joined::step", "polls::plain"]
        .map(|function| vec![format!("awaits::{function}"), "0".to_owned()]);
    assert_eq!(others, none);
}

#[test]
fn nothing_is_split_unless_asked_for() {
    let (bench, _) = captured(&[]);
    let split =
        "SELECT count(polls) + count(polled_ns) + count(ready_ns) + count(suspended_ns) FROM calls";
    assert_eq!(bench.database().number(split), 0);
    let report = printed(&["report"], &bench.file());
    assert!(!report.contains("suspended"), "{report}");
}

#[test]
fn report_and_calls_show_how_times_are_split() {
    let (bench, _) = captured(&["--polls"]);
    let report = printed(&["report"], &bench.file());
    let line = report
        .lines()
        .skip_while(|line| !line.contains("polled function"))
        .find(|line| line.starts_with("awaits::polls::wakes_itself"))
        .unwrap_or_else(|| panic!("no line: {report}"));
    // 5 calls of 4 polls.
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words[1..3], ["5", "20"], "{line}");
    let calls = printed(&["calls", "--function", "*::at_once"], &bench.file());
    let polls = calls.lines().filter(|line| {
        line.contains("1: ") && line.contains(" polled, 0 ns ready, 0 ns suspended")
    });
    assert_eq!(polls.count(), 5, "{calls}");
    let json = printed(
        &["calls", "--json", "--function", "*::at_once"],
        &bench.file(),
    );
    assert_eq!(json.matches("\"polls\":1,").count(), 5, "{json}");
}

#[test]
fn polls_without_beginnings_are_wrong_usage() {
    let bench = Bench::new();
    let options = ["--polls", "--capture", "exits"];
    let end = Process::start(&mut bench.run_command(&options, Path::new("/bin/true"), &[])).end();
    assert_eq!(end.status.code(), Some(2), "{end:#?}");
    let [sentence] = &end.stderr[..] else {
        panic!("not one sentence: {end:#?}")
    };
    assert!(
        sentence.starts_with("exoscope: --polls can't be used with --capture exits"),
        "{sentence}"
    );
    crate::refusal::leaves_nothing(&bench);
}

/// What a command prints about a file.
fn printed(arguments: &[&str], file: &Path) -> String {
    let end = Process::start(Command::new(exoscope()).args(arguments).arg(file)).end();
    assert_eq!(end.status.code(), Some(0), "{end:#?}");
    end.stdout.join("\n")
}
