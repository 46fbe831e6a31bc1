//! Every kind of function, exactly: each case of the target `kinds` and its rows.

use std::path::Path;

use exoscope_tests::agent::{self, Bench, detach};
use exoscope_tests::build::Build;
use exoscope_tests::eventually;
use exoscope_tests::forest::{self, Case};
use exoscope_tests::process::Process;

const KINDS: Build = Build::release("kinds");

/// Captures one run of the cases that need no process of their own.
fn together(binary: &Path, options: &[&str]) {
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
