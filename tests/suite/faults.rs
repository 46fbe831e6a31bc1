//! A short selection of `cargo xtask faults`, each case once.

use std::time::Duration;

use exoscope_tests::faults::{Options, Row, cases, table};

/// Runs the short cases whose name begins so.
fn family(name: &str) {
    let options = Options {
        seed: 20_261_127,
        count: 3,
        lasts: Duration::from_millis(1500),
    };
    let chosen = cases().filter(|case| case.short && case.name.starts_with(name));
    let rows: Vec<Row> = chosen.map(|case| Row::of(case, options)).collect();
    assert!(!rows.is_empty(), "no case begins with {name}");
    let failed = rows.iter().filter(|row| row.failure().is_some());
    assert_eq!(failed.count(), 0, "\n{}", table(&rows));
}

#[test]
fn every_call_is_explained_whatever_the_disk_does() {
    family("store: ");
}

#[test]
fn every_call_is_explained_whatever_becomes_of_the_file() {
    family("file: ");
}

#[test]
fn every_call_is_explained_whatever_had_become_of_the_file() {
    family("found: ");
}

#[test]
fn every_call_is_explained_whatever_becomes_of_the_agent() {
    family("agent: ");
}

#[test]
fn every_call_is_explained_where_memory_is_scarce() {
    family("memory: ");
}

#[test]
fn every_call_is_explained_whatever_thread_of_the_agent_panics() {
    family("panic: ");
}

#[test]
fn every_call_is_explained_whatever_the_target_does() {
    family("target: ");
}

#[test]
fn every_call_is_explained_whatever_is_done_around_the_target() {
    family("around: ");
}

#[test]
fn every_call_is_explained_however_often_agents_come_and_go() {
    family("attached: ");
}
