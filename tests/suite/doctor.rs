//! `exoscope doctor`, on a machine where capture works.

use exoscope_tests::agent::command;
use serde_json::Value;

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
            "sampling"
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
