//! The markers are standard: other tools find them, and count what we count.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use exoscope_tests::agent::Bench;
use exoscope_tests::calls::{Calls, Outcomes};
use exoscope_tests::process::Process;

use crate::VARIANTS;

fn output(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("can't start {command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed: {said}");
    String::from_utf8(output.stdout).expect("it prints UTF-8")
}

/// Tools find tracepoints there; it is not mounted everywhere.
fn mount_tracefs() {
    const TRACEFS: &str = "/sys/kernel/tracing";
    if !Path::new(TRACEFS).join("events").exists() {
        output(Command::new("mount").args(["-t", "tracefs", "tracefs", TRACEFS]));
    }
}

#[test]
fn readelf_shows_the_probes() {
    let text = output(
        Command::new("readelf")
            .arg("--notes")
            .arg(VARIANTS.binary()),
    );
    let ours: BTreeSet<&str> = text
        .split("Provider: exoscope")
        .skip(1)
        .filter_map(|note| note.lines().nth(1)?.trim().strip_prefix("Name: "))
        .collect();
    assert_eq!(
        ours,
        BTreeSet::from([
            "entry",
            "error",
            "exit",
            "fork_guard",
            "link",
            "panic",
            "poll_begin",
            "poll_end",
            "wake",
        ])
    );
    // A base of 0 makes tools that correct addresses by it crash their targets.
    assert!(!text.contains("Base: 0x0000000000000000"), "{text}");
}

#[test]
fn bpftrace_counts_the_same_calls() {
    mount_tracefs();
    let bench = Bench::new();
    let binary = VARIANTS.copy_to(bench.path());
    let program = format!(
        "usdt:{0}:exoscope:entry {{ @begun[str(arg0)] = count(); }} \
         usdt:{0}:exoscope:exit {{ @ended[str(arg0)] = count(); }} \
         usdt:{0}:exoscope:error {{ @failed[str(arg0)] = count(); }}",
        binary.display()
    );
    let started = format!("{} --calls 29", binary.display());
    let mut command = Command::new("bpftrace");
    let end = Process::start(
        command
            .env("RUST_BACKTRACE", "0")
            .args(["-e", &program, "-c", &started]),
    )
    .end();
    assert!(end.status.success(), "{end:#?}");
    let pids: BTreeSet<u64> = end.stdout.iter().filter_map(|line| pid(line)).collect();
    let pids: Vec<u64> = pids.into_iter().collect();
    let [pid] = pids[..] else {
        panic!("one target, not {pids:?}")
    };
    let truth = Calls::told(&end.stdout, u32::try_from(pid).expect("a pid is small"));
    for (map, calls) in [
        ("begun", Outcomes::total as fn(&Outcomes) -> u64),
        ("ended", |calls| calls.ok + calls.cancelled),
        ("failed", |calls| calls.err + calls.panic),
    ] {
        let lines = end.stdout.iter();
        let counted: BTreeMap<&str, u64> = lines.filter_map(|line| count(map, line)).collect();
        let mut expected: BTreeMap<String, u64> = BTreeMap::new();
        for (function, outcomes) in &truth.0 {
            let typed = end.stdout.iter().any(|line| {
                count("begun", line).is_some_and(|(counted, _)| counted == function.as_str())
            });
            let text = if typed {
                function.clone()
            } else {
                without_type(function)
            };
            if calls(outcomes) > 0 {
                *expected.entry(text).or_default() += calls(outcomes);
            }
        }
        let expected: BTreeMap<&str, u64> = expected
            .iter()
            .map(|(text, &calls)| (text.as_str(), calls))
            .collect();
        assert_eq!(counted, expected, "{map}");
        assert!(!counted.is_empty(), "{map}");
    }
}

/// The path as an attribute on a single method sees it, which can't know the type of the `impl`.
fn without_type(path: &str) -> String {
    let is_type = |segment: &&str| segment.starts_with(char::is_uppercase);
    let segments: Vec<&str> = path
        .split("::")
        .filter(|segment| !is_type(segment))
        .collect();
    segments.join("::")
}

/// The process that a line of the truth is about.
fn pid(line: &str) -> Option<u64> {
    serde_json::from_str::<serde_json::Value>(line).ok()?["pid"].as_u64()
}

/// Function and count of a line such as `@map[shop::get]: 3`.
fn count<'line>(map: &str, line: &'line str) -> Option<(&'line str, u64)> {
    let line = line.strip_prefix('@')?.strip_prefix(map)?;
    let (function, count) = line.strip_prefix('[')?.split_once("]: ")?;
    Some((function, count.parse().ok()?))
}

#[test]
fn semaphores_lie_on_pages_of_their_own() {
    use object::{Object as _, ObjectSection as _};
    const PAGE: u64 = 4096;
    let bytes = fs::read(VARIANTS.binary()).expect("it was built");
    let elf = object::File::parse(&*bytes).expect("it is an ELF file");
    let range = |name| {
        let section = elf
            .section_by_name(name)
            .unwrap_or_else(|| panic!("no {name}"));
        section.address() / PAGE..=(section.address() + section.size() - 1) / PAGE
    };
    let semaphores = range(".probes");
    for name in [".data.rel.ro", ".got", ".dynamic"] {
        if elf.section_by_name(name).is_some() {
            let other = range(name);
            let apart = semaphores.end() < other.start() || other.end() < semaphores.start();
            assert!(
                apart,
                "{name} is made read-only and shares a page with the semaphores"
            );
        }
    }
}
