//! Every kind of function, exactly: each case of the target `kinds` and its rows.

use std::path::Path;

use exoscope_tests::agent::{self, Bench, detach};
use exoscope_tests::build::Build;
use exoscope_tests::eventually;
use exoscope_tests::forest::{self, Case};
use exoscope_tests::process::Process;
use serde::Deserialize;

const KINDS: Build = Build::release("kinds");

/// Captures one run of the cases that need no process of their own.
fn together(binary: &Path, options: &[&str]) -> Bench {
    let ends: &[&str] = if options.contains(&"exits") {
        &["--ends"]
    } else {
        &[]
    };
    let bench = Bench::new();
    let end = bench.run(options, binary, ends);
    assert_eq!(end.status.code(), Some(0), "{:#?}", end.stderr);
    let mut cases = Case::read(&end.stdout);
    cases.push(cases.first().expect("the target has cases").main());
    let cases: Vec<_> = cases.iter().collect();
    forest::holds(
        &bench.database(),
        &cases,
        &format!("{}, {options:?}", binary.display()),
    );
    bench
}

/// Captures the cases that need a process of their own.
fn alone(binary: &Path, options: &[&str]) {
    let listed = Process::target(binary, &["--list"]).end();
    let cases = Case::read(&listed.stdout)
        .into_iter()
        .filter(|case| case.alone);
    for case in cases {
        let bench = Bench::new();
        let end = bench.run(options, binary, &["--case", case.name()]);
        let what = format!("{}, {options:?}", binary.display());
        assert_eq!(
            end.status.code(),
            Some(i32::from(case.status)),
            "case {}, {what}: {:#?}",
            case.name(),
            end.stderr
        );
        forest::holds(&bench.database(), &[&case, &case.main()], &what);
    }
}

#[test]
fn debug() {
    for markers in ["safe", "fast"] {
        together(&KINDS.profile("dev").binary(), &["--markers", markers]);
    }
}

#[test]
fn release() {
    for markers in ["safe", "fast"] {
        together(&KINDS.binary(), &["--markers", markers]);
    }
}

#[test]
fn exits_only() {
    // The kernel allows one place for the semaphore of an instruction, so a file that is captured
    // in full elsewhere can not be captured like this at the same time.
    let folder = Bench::new();
    let binary = KINDS.copy_to(folder.path());
    for markers in ["safe", "fast"] {
        together(&binary, &["--capture", "exits", "--markers", markers]);
    }
}

#[test]
fn panic_abort() {
    let binary = KINDS.profile("panic-abort").binary();
    together(&binary, &[]);
    alone(&binary, &[]);
}

#[test]
fn processes() {
    for markers in ["safe", "fast"] {
        alone(&KINDS.binary(), &["--markers", markers]);
    }
}

#[test]
fn tests_are_functions_too() {
    let binary = KINDS.test("marked").binary();
    let bench = Bench::new();
    let end = bench.run(&[], &binary, &["--test-threads=1", "--nocapture"]);
    assert_eq!(end.status.code(), Some(0), "{:#?}", end.stdout);
    let cases = Case::read(&end.stdout);
    let cases: Vec<_> = cases.iter().collect();
    assert_eq!(cases.len(), 1, "the test program says what to expect");
    forest::holds(&bench.database(), &cases, "tests of the target");
}

#[test]
fn what_never_completes_is_in_flight_and_unfinished_in_the_end() {
    const WAITS: &str = "kinds::futures::never_completes::waits";
    let arguments = ["--case", "futures::never_completes"];
    let mut target = Process::ready_target(&KINDS.binary(), &arguments);
    let bench = Bench::new();
    let agent = bench.attach(target.pid(), &[]);
    target.go_on();
    target.pauses_at("holding");
    let file = bench.file();
    let file = file.to_str().expect("a temporary folder's path is UTF-8");
    eventually("the call in flight", || {
        let listed = agent::command(&["in-flight", file, "--json"]);
        let lines = listed.stdout.iter();
        let in_flight = lines.filter(|line| line.contains(WAITS)).count();
        (listed.status.success() && in_flight == 1).then_some(())
    });
    detach(agent);
    let rows = bench.database().rows(
        "SELECT c.function, c.outcome, p.function FROM calls c
         LEFT JOIN calls p ON p.call_id = c.parent_id ORDER BY c.start_ns",
    );
    let path = |name: &str| WAITS.replace("waits", name);
    let expected = [
        [path("waits"), "unfinished".to_owned(), "-".to_owned()],
        [path("before"), "ok".to_owned(), path("waits")],
        [path("inner"), "unfinished".to_owned(), path("waits")],
    ];
    assert_eq!(rows, expected);
    target.go_on();
    target.pauses_at("done");
    target.ends_well();
}

#[test]
fn without_fields_nothing_else_is_missing() {
    let bench = Bench::new();
    let end = bench.run(&["--no-fields"], &KINDS.binary(), &[]);
    assert_eq!(end.status.code(), Some(0), "{:#?}", end.stderr);
    let mut cases = Case::read(&end.stdout);
    cases.push(cases.first().expect("the target has cases").main());
    cases.iter_mut().for_each(Case::forget_fields);
    let cases: Vec<_> = cases.iter().collect();
    forest::holds(&bench.database(), &cases, "--no-fields");
}

#[test]
fn with_polls_those_of_futures_and_streams_are_counted() {
    let bench = together(&KINDS.binary(), &["--polls"]);
    let database = bench.database();
    let polls = |function: &str| {
        let sql = format!(
            "SELECT polls FROM calls WHERE function = 'kinds::{function}' ORDER BY start_ns"
        );
        database.rows(&sql).concat().join(" ")
    };
    for (function, expected) in [
        ("futures::awaited::outer", "4"),
        ("futures::awaited::ready", "1 1"),
        ("futures::awaited::later", "4 1"),
        ("futures::awaited::sync", "-"),
        ("executors::own::task", "3 2 1"),
        ("executors::own::step", "2 2 2"),
        ("executors::own::drives", "-"),
        ("streams::completed::consumes", "3 1"),
        ("streams::completed::numbers", "5 1"),
        ("streams::completed::uses", "- -"),
        ("iterators::completed::numbers", "- -"),
    ] {
        assert_eq!(polls(function), expected, "polls of {function}");
    }
    let wrong = "SELECT count(*) FROM calls WHERE polls IS NOT NULL AND (polls < 1 OR polled_ns < 0
        OR ready_ns < 0 OR suspended_ns < 0 OR polled_ns + ready_ns + suspended_ns <> duration_ns)";
    assert_eq!(
        database.number(wrong),
        0,
        "calls whose time is split wrongly"
    );
}

#[test]
fn what_is_open_at_the_end_was_polled_until_then() {
    let arguments = ["--case", "futures::never_completes"];
    let mut target = Process::ready_target(&KINDS.binary(), &arguments);
    let bench = Bench::new();
    let agent = bench.attach(target.pid(), &["--polls"]);
    target.go_on();
    target.pauses_at("holding");
    detach(agent);
    let rows = bench.database().rows(
        "SELECT replace(function, 'kinds::futures::never_completes::', ''), outcome, polls,
           polled_ns + ready_ns + suspended_ns = duration_ns,
           polled_ns > 0 AND ready_ns = 0 AND suspended_ns > 0
         FROM calls ORDER BY start_ns",
    );
    assert_eq!(
        rows,
        [
            ["waits", "unfinished", "1", "1", "1"],
            ["before", "ok", "1", "1", "0"],
            ["inner", "unfinished", "1", "1", "1"],
        ]
    );
    target.go_on();
    target.pauses_at("done");
    target.ends_well();
}

/// What `exoscope tree --json` prints.
#[derive(Debug, Deserialize)]
struct Tree {
    roots: Vec<Node>,
}

/// A function as reached by one path.
#[derive(Debug, Deserialize)]
struct Node {
    function: String,
    calls: i64,
    total_ns: i64,
    self_ns: i64,
    children: Vec<Self>,
}

impl Node {
    fn visit<'a>(&'a self, each: &mut impl FnMut(&'a Self)) {
        each(self);
        self.children.iter().for_each(|child| child.visit(each));
    }
}

#[test]
fn the_tree_has_every_call_once_and_recursion_once_in_its_totals() {
    const RECURSIVE: &str = "kinds::functions::recursive::";
    let bench = together(&KINDS.binary(), &[]);
    let (database, file) = (bench.database(), bench.file());
    let file = file.to_str().expect("a temporary folder's path is UTF-8");
    let printed = agent::command(&["tree", file, "--json"]);
    let tree: Tree = serde_json::from_str(&printed.stdout.join("\n")).expect("it prints the trees");
    let (mut calls, mut self_ns) = (0, 0);
    let mut recursive = Vec::new();
    let mut visit = |node: &Node| {
        calls += node.calls;
        self_ns += node.self_ns;
        let below: i64 = node.children.iter().map(|child| child.calls).sum();
        if let Some(name) = node.function.strip_prefix(RECURSIVE) {
            recursive.push((name.to_owned(), node.calls, below, node.total_ns));
        }
    };
    tree.roots.iter().for_each(|root| root.visit(&mut visit));
    assert_eq!(calls, database.number("SELECT count(*) FROM calls"));
    assert_eq!(self_ns, database.number("SELECT sum(self_ns) FROM calls"));
    recursive.sort();
    let outermost = |name: &str| {
        database.number(&format!(
            "SELECT max(duration_ns) FROM calls WHERE function = '{RECURSIVE}{name}'"
        ))
    };
    // `even` and `odd` call each other: each of them contains the calls of the other.
    let expected = [
        ("down", 100_000, 0),
        ("even", 3, 2),
        ("level", 3, 0),
        ("odd", 2, 0),
    ];
    let expected =
        expected.map(|(name, calls, below)| (name.to_owned(), calls, below, outermost(name)));
    assert_eq!(recursive, expected);
}
