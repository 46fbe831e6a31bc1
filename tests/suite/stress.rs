//! The loads that the predecessor was tried with, in its size: every call is a row.
//!
//! `cargo xtask stress` runs them 10 and 100 times as large, and says how fast they are.

use exoscope_tests::agent::Bench;
use exoscope_tests::build::Build;
use exoscope_tests::calls::Calls;
use exoscope_tests::database::Database;
use exoscope_tests::process::Process;

/// Runs a load to its end and gives back what the target did, and the file.
fn run(load: &str) -> (Vec<String>, Database) {
    let bench = Bench::new();
    let binary = Build::release("stress").copy_to(bench.path());
    let seed = std::process::id().to_string();
    eprintln!("stress {load}: --seed {seed}");
    let mut target = Process::target(&binary, &[load, "--seed", &seed]);
    target.pauses_at("ready");
    let pid = target.pid();
    let agent = bench.attach(pid, &[]);
    target.go_on();
    let end = target.end();
    assert!(end.status.success(), "{:#?}", end.stderr);
    let status = agent.end().status;
    assert_eq!(status.code(), Some(0), "the agent of {load}");
    let database = bench.database();
    database.holds(&Calls::told(&end.stdout, pid));
    (end.stdout, database)
}

/// A number of the target's first line.
fn did(lines: &[String], what: &str) -> i64 {
    let did: serde_json::Value = serde_json::from_str(&lines[0]).expect("it tells what it did");
    did[what].as_i64().expect("it is an integer")
}

#[test]
fn twenty_threads_with_a_thousand_calls_each() {
    let (lines, _) = run("frequency");
    assert_eq!(did(&lines, "calls"), 20_000);
}

#[test]
fn tasks_and_threads_at_once() {
    let (_, database) = run("mixed");
    let steps_of_jobs = database.number(
        "SELECT count(*) FROM calls AS step JOIN calls AS job ON job.call_id = step.parent_id
         WHERE step.function LIKE '%::step' AND job.function LIKE '%::job'",
    );
    assert_eq!(steps_of_jobs, 1_000);
}

#[test]
fn data_of_one_byte_to_64_kb() {
    let (_, database) = run("contention");
    let whole = "json_extract(fields, '$.bytes') = length(json_extract(fields, '$.data'))";
    let differ = database.number(&format!(
        "SELECT count(*) FROM calls WHERE fields IS NULL OR ({whole}) = fields_truncated"
    ));
    assert_eq!(differ, 0, "fields are whole, or say that they are not");
    let truncated = database.number("SELECT count(*) FROM calls WHERE fields_truncated");
    assert!((1..1_000).contains(&truncated), "{truncated}");
}

#[test]
fn a_fifth_of_all_operations_fails() {
    let (_, database) = run("failures");
    let failed = database.number("SELECT count(*) FROM calls WHERE outcome = 'err'");
    let errors = database.number("SELECT sum(count) FROM errors WHERE frames = 2");
    assert_eq!(failed, 2 * errors, "each error travels through two calls");
    assert!((200..600).contains(&errors), "{errors}");
}

#[test]
fn memory_of_1_to_20_mb() {
    let (_, database) = run("memory");
    let sizes = database.rows("SELECT fields FROM calls ORDER BY start_ns");
    let expected = [1, 5, 10, 20].map(|size| vec![format!("{{\"megabytes\":{size}}}")]);
    assert_eq!(sizes, expected);
}

#[test]
fn twenty_streams_at_once() {
    let (lines, database) = run("streams");
    let items = database.number("SELECT sum(items) FROM calls");
    assert_eq!((items, did(&lines, "items")), (2_000, 2_000));
}
