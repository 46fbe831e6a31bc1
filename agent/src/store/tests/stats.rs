//! Samples of the target, as rows.

use super::*;
use crate::stats::sample::{Figures, Name, Snapshot, Switches, ThreadStep};

/// A sample `at` milliseconds after the beginning, with so many threads.
fn sample(at: u64, threads: u64) -> Snapshot {
    Snapshot {
        at_ns: BEGIN_NS + at * 1_000_000,
        source: "kernel+procfs".into(),
        figures: Figures {
            rss_bytes: Some(at * 1_000),
            cgroup_oom_kills: Some(at),
            threads: Some(threads),
            ..Figures::default()
        },
        ..Snapshot::default()
    }
}

fn step(number: u32, name: Option<&str>, cpu_ms: u64) -> ThreadStep {
    ThreadStep {
        number,
        tid: number.saturating_add(50),
        name: name.map(|name| Name::new(name.as_bytes())),
        start_ns: BEGIN_NS - 100_000_000,
        cpu_ns: cpu_ms * 1_000_000,
        runqueue_ns: 8_000_000,
        switches: Switches {
            voluntary: 1,
            involuntary: 2,
        },
    }
}

fn samples(samples: Vec<Snapshot>) -> Batch {
    Batch {
        stats: samples,
        ..Batch::default()
    }
}

const PROCESS: &str =
    "SELECT session_id, pid, rss_bytes, swap_bytes, threads, cgroup_oom_kills, source
     FROM process_stats ORDER BY at_ns, session_id";
/// Times in milliseconds of the session.
const THREADS: &str =
    "SELECT session_id, tid, name, (at_ns - 5000000000) / 1000000, cpu_ns / 1000000,
     runqueue_ns / 1000000, blocked_ns / 1000000, voluntary_switches FROM thread_stats ORDER BY session_id, tid, at_ns";

#[test]
fn a_sample_is_a_row_and_unknown_figures_are_null() {
    let (_folder, path) = folder();
    let mut store = store(&path);
    store
        .write(&samples(vec![sample(1, 4), sample(2, 5)]))
        .unwrap();
    store.write(&samples(vec![sample(3, 6)])).unwrap();
    assert_eq!(
        rows(&path, PROCESS),
        [
            "1|42|1000|-|4|1|kernel+procfs",
            "1|42|2000|-|5|2|kernel+procfs",
            "1|42|3000|-|6|3|kernel+procfs"
        ]
    );
}

#[test]
fn a_thread_has_a_row_for_every_sample_of_its_life() {
    let (_folder, path) = folder();
    let mut store = store(&path);
    let first = Snapshot {
        threads: vec![step(0, Some("main"), 10), step(1, Some("idle"), 20)],
        ..sample(1, 2)
    };
    let third = Snapshot {
        threads: vec![step(0, Some("renamed"), 11)],
        ended: vec![1],
        ..sample(3, 1)
    };
    store.write(&samples(vec![first, sample(2, 2)])).unwrap();
    store.write(&samples(vec![third, sample(4, 1)])).unwrap();
    assert_eq!(
        rows(&path, THREADS),
        [
            "1|50|renamed|1|10|8|83|1",
            "1|50|renamed|2|10|8|84|1",
            "1|50|renamed|3|11|8|84|1",
            "1|50|renamed|4|11|8|85|1",
            "1|51|idle|1|20|8|73|1",
            "1|51|idle|2|20|8|74|1",
        ]
    );
    let stored = rows(&path, "SELECT count(*) FROM thread_stat");
    assert_eq!(stored, ["3"], "a thread that does not run takes no room");
}

#[test]
fn a_sample_in_which_nobody_told_of_threads_has_none() {
    let (_folder, path) = folder();
    let mut store = store(&path);
    let first = Snapshot {
        threads: vec![step(0, Some("main"), 10)],
        ..sample(1, 1)
    };
    let mut gap = sample(2, 0);
    gap.source = "null".into();
    gap.figures = Figures::default();
    store
        .write(&samples(vec![first, gap, sample(3, 1)]))
        .unwrap();
    assert_eq!(
        rows(&path, THREADS),
        ["1|50|main|1|10|8|83|1", "1|50|main|3|10|8|85|1"]
    );
    assert_eq!(rows(&path, PROCESS)[1], "1|42|-|-|-|-|null");
}

#[test]
fn sessions_keep_apart() {
    let (_folder, path) = folder();
    for _ in 0..2 {
        let mut store = store(&path);
        let first = Snapshot {
            threads: vec![step(0, Some("main"), 10)],
            ..sample(1, 1)
        };
        store.write(&samples(vec![first, sample(2, 1)])).unwrap();
        store.finish(&end()).unwrap();
    }
    assert_eq!(
        rows(&path, THREADS),
        [
            "1|50|main|1|10|8|83|1",
            "1|50|main|2|10|8|84|1",
            "2|50|main|1|10|8|83|1",
            "2|50|main|2|10|8|84|1"
        ]
    );
}

#[test]
fn a_batch_that_fails_leaves_its_samples_to_the_next_try() {
    let (_folder, path) = folder();
    let mut store = store(&path);
    store.write(&samples(vec![sample(1, 1)])).unwrap();
    let mut broken = samples(vec![sample(2, 1)]);
    broken.calls = vec![call(1, None, 99, Outcome::Ok)];
    assert!(store.write(&broken).is_err());
    broken.calls.clear();
    store.write(&broken).unwrap();
    assert_eq!(
        rows(&path, "SELECT count(*), max(sample_id) FROM process_stat"),
        ["2|2"]
    );
}

#[test]
fn the_largest_figures_fit() {
    let (_folder, path) = folder();
    let mut store = store(&path);
    let mut largest = sample(1, u64::MAX);
    largest.threads = vec![ThreadStep {
        cpu_ns: u64::MAX,
        tid: u32::MAX,
        ..step(u32::MAX, Some("\u{1b}[2J"), 0)
    }];
    store.write(&samples(vec![largest])).unwrap();
    assert_eq!(
        rows(&path, "SELECT threads FROM process_stats"),
        [i64::MAX.to_string()]
    );
    assert_eq!(rows(&path, "SELECT cpu_ns, tid FROM thread_stats").len(), 1);
}

#[test]
fn many_threads_are_stored_as_few_are() {
    for threads in [31, 32, 33, 100] {
        let (_folder, path) = folder();
        let mut store = store(&path);
        let many = (0..threads).map(|number| step(number, Some("many"), u64::from(number)));
        let all = Snapshot {
            threads: many.collect(),
            ..sample(1, threads.into())
        };
        store.write(&samples(vec![all])).unwrap();
        let found = rows(&path, THREADS);
        assert_eq!(found.len(), threads as usize);
        for (found, number) in found.iter().zip(0..threads) {
            let begin = format!("1|{}|many|1|{number}|8|", 50 + number);
            assert!(found.starts_with(&begin), "{found}");
        }
    }
}
