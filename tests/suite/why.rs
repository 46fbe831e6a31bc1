//! Why a function, or one call, was slow, as a person reads it in `report` and `calls`, and as a program reads it
//! in their JSON: because it computed, waited for a CPU, waited for something else, or faulted.

use exoscope_tests::agent::{Bench, command, detach};
use exoscope_tests::resources::Resources;
use serde::Deserialize;
use serde_json::Value;

use crate::stats::RESOURCES;

const MS: i64 = 1_000_000;
/// Pages of the file that is read by faults.
const STORED: i64 = 300;
/// Pages that are touched for the first time.
const FRESH: i64 = 3_000;

/// What is told of a function, or of a call.
#[derive(Debug, Deserialize)]
struct Why {
    cpu_ns: i64,
    runqueue_ns: i64,
    blocked_ns: i64,
    minor_faults: i64,
    major_faults: i64,
}

/// A file of calls that are slow, each function for a reason of its own.
fn slow_for_reasons() -> Bench {
    let bench = Bench::new();
    let stored = bench.path().join("stored");
    std::fs::write(&stored, vec![1; 4096 * STORED as usize]).expect("the folder is writable");
    let mut target = Resources::start(&RESOURCES.binary());
    let agent = bench.attach(target.pid(), &[]);
    let fault = format!("fault {}", stored.display());
    let touch = format!("touch {FRESH}");
    for slow in [
        "spin 60",
        "spin 60",
        "sleep 60",
        "sleep 60",
        "rivals 4 200",
        &touch,
        &fault,
    ] {
        target.observes(slow);
    }
    detach(agent);
    bench
}

/// What a command prints of the file.
fn printed(bench: &Bench, words: &[&str]) -> Vec<String> {
    let file = bench.file();
    let file = file.to_str().expect("the folder's path is UTF-8");
    let end = command(&[&[words[0], file], &words[1..]].concat());
    assert_eq!(end.status.code(), Some(0), "{:#?}", end.stderr);
    end.stdout
}

fn json(bench: &Bench, words: &[&str]) -> Value {
    let text = printed(bench, &[words, &["--json"]].concat()).join("\n");
    serde_json::from_str(&text).expect("it is JSON")
}

/// A row of a table: what stands under each title. Columns are apart by two blanks at least, and what is
/// in them holds one at most.
struct Printed {
    titles: Vec<String>,
    cells: Vec<String>,
}

impl Printed {
    /// The row in which `function` ends a word.
    fn row(lines: &[String], function: &str) -> Self {
        let split = |line: &String| -> Vec<String> {
            let cells = line.split("  ").map(str::trim);
            cells
                .filter(|cell| !cell.is_empty())
                .map(str::to_owned)
                .collect()
        };
        let at = |what: &dyn Fn(&str) -> bool| {
            let found = lines
                .iter()
                .find(|line| line.split("  ").any(|cell| what(cell.trim())));
            split(found.unwrap_or_else(|| panic!("no row of `{function}` in {lines:#?}")))
        };
        Self {
            titles: at(&|cell| cell == "function"),
            cells: at(&|cell| cell.ends_with(&format!("::{function}"))),
        }
    }

    fn under(&self, title: &str) -> &str {
        let place = self.titles.iter().position(|found| found == title);
        let place = place.unwrap_or_else(|| panic!("no column `{title}` in {:?}", self.titles));
        &self.cells[place]
    }
}

/// Nanoseconds of a time as it is printed, such as `1.24 ms`.
fn time(text: &str) -> i64 {
    let (number, unit) = text.split_once(' ').unwrap_or_else(|| panic!("`{text}`"));
    let unit = match unit {
        "ns" => 1.0,
        "µs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        _ => panic!("`{text}` is no time"),
    };
    let number: f64 = number.parse().unwrap_or_else(|_| panic!("`{text}`"));
    (number * unit) as i64
}

fn number(text: &str) -> i64 {
    let digits = text.replace(',', "");
    digits
        .parse()
        .unwrap_or_else(|_| panic!("`{text}` is no number"))
}

/// Page faults as they are printed: `12`, or `12 + 3 disk`.
fn faults(text: &str) -> (i64, i64) {
    match text.split_once(" + ") {
        Some((minor, major)) => {
            let major = major.strip_suffix(" disk");
            (
                number(minor),
                number(major.unwrap_or_else(|| panic!("`{text}`"))),
            )
        }
        None => (number(text), 0),
    }
}

/// What `report` prints of a function.
fn in_report(lines: &[String], function: &str) -> Why {
    let row = Printed::row(lines, function);
    let (minor_faults, major_faults) = faults(row.under("faults"));
    Why {
        cpu_ns: time(row.under("CPU")),
        runqueue_ns: time(row.under("run queue")),
        blocked_ns: time(row.under("blocked")),
        minor_faults,
        major_faults,
    }
}

/// What `calls` prints of the slowest call of a function.
fn slowest(bench: &Bench, function: &str) -> Why {
    let lines = printed(
        bench,
        &[
            "calls",
            "--function",
            &format!("*::{function}"),
            "--slowest",
            "1",
        ],
    );
    assert_eq!(lines.len(), 2, "titles and one call: {lines:#?}");
    let kernel = lines[1].split("  ").find(|cell| cell.contains(" CPU, "));
    let kernel = kernel.unwrap_or_else(|| panic!("no figures in `{}`", lines[1]));
    let part = |what: &str| {
        // A number of faults may have commas of its own.
        let mut parts = kernel
            .trim()
            .split(", ")
            .filter_map(|part| part.strip_suffix(what));
        parts
            .next()
            .unwrap_or_else(|| panic!("no `{what}` in `{kernel}`"))
    };
    let (minor_faults, major_faults) = faults(part(" faults"));
    Why {
        cpu_ns: time(part(" CPU")),
        runqueue_ns: time(part(" run queue")),
        blocked_ns: time(part(" blocked")),
        minor_faults,
        major_faults,
    }
}

/// Likewise, as JSON.
fn slowest_json(bench: &Bench, function: &str) -> Why {
    let words = [
        "calls",
        "--function",
        &format!("*::{function}"),
        "--slowest",
        "1",
    ];
    Why::deserialize(&json(bench, &words)["calls"][0]).expect("it has every figure")
}

/// Expects that each function has its reason and none of the others, for calls that are `times` as long as one.
/// What the machine adds, time in the run queue, may be anywhere.
fn reasons_are_told_apart(times: i64, of: impl Fn(&str) -> Why) {
    let [spins, sleeps, turns] = ["spins", "sleeps", "takes_turns"].map(&of);
    let [touches, reads] = ["touches", "faults"].map(&of);
    let least = times * 60 * MS * 99 / 100;
    assert!(spins.cpu_ns >= least && spins.blocked_ns == 0, "{spins:?}");
    assert!(
        sleeps.blocked_ns >= least && sleeps.cpu_ns < least / 6,
        "{sleeps:?}"
    );
    // Three of four threads wait while one computes.
    assert!(
        turns.runqueue_ns > turns.cpu_ns && turns.blocked_ns == 0,
        "{turns:?}"
    );
    // What is under the pages may be in memory already, as tables that refer to them are.
    assert!(
        (FRESH..FRESH + 20).contains(&touches.minor_faults),
        "{touches:?}"
    );
    assert!(
        (STORED - 20..=STORED).contains(&reads.major_faults),
        "{reads:?}"
    );
    for other in [&spins, &sleeps, &turns, &touches] {
        assert_eq!(other.major_faults, 0, "{other:?}");
    }
    for other in [&spins, &sleeps, &turns] {
        assert!(other.minor_faults < FRESH / 10, "{other:?}");
    }
}

#[test]
fn a_report_tells_why_a_function_is_slow() {
    let bench = slow_for_reasons();
    let lines = printed(&bench, &["report"]);
    reasons_are_told_apart(2, |function| in_report(&lines, function));
    let report = json(&bench, &["report"]);
    reasons_are_told_apart(2, |function| {
        let functions = report["functions"].as_array().expect("a list");
        let name = format!("::{function}");
        let of = |row: &&Value| {
            row["function"]
                .as_str()
                .is_some_and(|path| path.ends_with(&name))
        };
        let row = functions.iter().find(of).expect("it was called");
        Why::deserialize(row).expect("it has every figure")
    });
}

#[test]
fn one_row_of_a_call_tells_why_it_was_slow() {
    let bench = slow_for_reasons();
    reasons_are_told_apart(1, |function| slowest(&bench, function));
    reasons_are_told_apart(1, |function| slowest_json(&bench, function));
}
