//! `exoscope doctor`, on a machine where capture works.

use std::process::Command;

use exoscope_tests::agent::command;
use exoscope_tests::build::exoscope;
use exoscope_tests::process::Process;
use serde_json::Value;

use crate::bad_machines::without_iterators;

#[test]
fn doctor_says_that_capture_works_and_what_a_marker_costs() {
    let end = command(&["doctor"]);
    assert_eq!(end.status.code(), Some(0), "{end:#?}");
    assert_eq!(end.stderr, [""; 0]);
    assert_eq!(
        end.stdout.last().map(String::as_str),
        Some("capture works here")
    );
    for check in [
        "kernel",
        "capabilities",
        "bpf",
        "uprobe_multi",
        "btf",
        "sampling",
        "self-test",
        "markers",
        "stats kernel",
        "stats procfs",
        "stats null",
    ] {
        let says = |line: &&String| line.starts_with("ok ") && line.contains(&format!(" {check} "));
        assert!(
            end.stdout.iter().any(|line| says(&line)),
            "{check}: {:#?}",
            end.stdout
        );
    }
    assert!(
        end.stdout.iter().any(|line| line.contains(" ns a marker")),
        "{:#?}",
        end.stdout
    );
}

#[test]
fn doctor_prints_json() {
    let end = command(&["doctor", "--json"]);
    assert_eq!(end.status.code(), Some(0), "{end:#?}");
    let report: Value = serde_json::from_str(&end.stdout.join("\n")).expect("it is JSON");
    assert_eq!(report["works"], true);
    assert!(
        matches!(report["markers_auto"].as_str(), Some("fast" | "safe")),
        "{report:#}"
    );
    let checks = report["checks"].as_array().expect("checks are a list");
    let names: Vec<&str> = checks
        .iter()
        .filter_map(|check| check["name"].as_str())
        .collect();
    assert_eq!(
        names,
        [
            "kernel",
            "capabilities",
            "bpf",
            "uprobe_multi",
            "btf",
            "sampling",
            "call cpu",
            "call faults",
            "call memory",
            "call switches",
        ]
    );
    assert!(checks.iter().all(|check| check["ok"] == true), "{report:#}");
    let trials = report["self_test"]["trials"]
        .as_array()
        .expect("trials are a list");
    let safe = trials
        .iter()
        .find(|trial| trial["byte"] == "safe")
        .expect("every byte is tried");
    assert!(
        safe["ns_per_marker"].as_f64().is_some_and(|ns| ns > 0.0),
        "{report:#}"
    );
}

#[test]
fn doctor_says_what_each_source_of_stats_can_give() {
    let end = command(&["doctor", "--json"]);
    let report: Value = serde_json::from_str(&end.stdout.join("\n")).expect("it is JSON");
    let sources = report["sources"].as_array().expect("sources are a list");
    let given = |source: &str| -> Vec<&str> {
        let of_it = sources
            .iter()
            .filter(|offer| offer["source"] == source && offer["ok"] == true);
        of_it.filter_map(|offer| offer["part"].as_str()).collect()
    };
    let all = [
        "tasks",
        "memory",
        "files",
        "io",
        "pressure",
        "cgroup",
        "cgroup_pressure",
    ];
    assert_eq!(given("kernel"), ["tasks"]);
    assert_eq!(given("procfs"), all);
    assert_eq!(given("null"), all);
}

#[test]
fn doctor_says_why_a_source_is_not_available() {
    let end = Process::start(&mut without_iterators(doctor())).end();
    let without =
        "without  stats kernel   threads, CPU time, faults and switches: Operation not permitted";
    assert!(
        end.stdout.iter().any(|line| line.starts_with(without)),
        "{:#?}",
        end.stdout
    );

    const HIDE: &str = r#"mount --bind /proc/1/fd /proc/pressure && exec "$0" "$@""#;
    let mut hidden = Command::new("unshare");
    hidden
        .args(["--mount", "sh", "-c", HIDE])
        .arg(exoscope())
        .arg("doctor");
    let end = Process::start(&mut hidden).end();
    let without = "without  stats procfs   pressure of the machine: can't open /proc/pressure/";
    assert!(
        end.stdout.iter().any(|line| line.starts_with(without)),
        "{:#?}",
        end.stdout
    );
    assert_eq!(
        end.stdout.last().map(String::as_str),
        Some("capture works here")
    );
}

fn doctor() -> Command {
    let mut command = Command::new(exoscope());
    command.arg("doctor");
    command
}
