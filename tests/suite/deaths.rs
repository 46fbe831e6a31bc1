//! How a target ended, in words, and the calls that were open then.

use std::path::Path;

use exoscope_tests::agent::{Bench, command};
use exoscope_tests::cgroup::Cgroup;
use exoscope_tests::eventually;
use exoscope_tests::process::Signal;
use exoscope_tests::resources::Resources;

use crate::VARIANTS;
use crate::stats::RESOURCES;

const OOM: &str = "the target was killed by the OOM killer";

/// What the file says of the end, and of the status.
fn end_of(bench: &Bench) -> (String, i64) {
    let database = bench.database();
    let reason = database.rows("SELECT end_reason FROM sessions");
    (
        reason[0][0].clone(),
        database.number("SELECT exit_status FROM processes"),
    )
}

/// Expects that the one call in which the target died is shown before the functions.
fn the_report_shows_first(bench: &Bench, function: &str) {
    let file = bench.file();
    let end = command(&["report", file.to_str().expect("the folder's path is UTF-8")]);
    let text = end.stdout.join("\n");
    let line = |part: &str| {
        let found = end.stdout.iter().position(|line| line.contains(part));
        found.unwrap_or_else(|| panic!("no `{part}` in:\n{text}"))
    };
    let died = line("1 call was open when the target died");
    assert!(end.stdout[died + 3].ends_with(function), "{text}");
    assert!(died < line("function  "), "{text}");
}

#[test]
fn the_status_of_a_target_that_is_not_our_child_is_told() {
    let bench = Bench::new();
    let mut target = Resources::start(&RESOURCES.binary());
    let agent = bench.attach(target.pid(), &[]);
    target.0.tell("exit 3");
    assert_eq!(target.0.end().status.code(), Some(3));
    assert_eq!(agent.end().status.code(), Some(0));
    assert_eq!(
        end_of(&bench),
        ("the target exited with status 3".to_owned(), 3)
    );
    the_report_shows_first(&bench, "resources::end");
}

#[test]
fn the_status_is_told_also_where_nobody_waits_for_the_target() {
    let bench = Bench::new();
    let mut target = Resources::start(&RESOURCES.binary());
    let agent = bench.attach(target.pid(), &[]);
    target.0.tell("exit 4");
    assert_eq!(agent.end().status.code(), Some(0));
    assert_eq!(
        end_of(&bench),
        ("the target exited with status 4".to_owned(), 4)
    );
    target.0.end();
}

#[test]
fn a_signal_is_named() {
    for (signal, number, name) in [
        (Signal::TERM, 15, "SIGTERM"),
        (Signal::KILL, 9, "SIGKILL"),
        // One that leaves a core, and that no shell makes its background jobs ignore, as it does SIGQUIT.
        (Signal::TRAP, 5, "SIGTRAP"),
    ] {
        let bench = Bench::new();
        let target = Resources::start(&RESOURCES.binary());
        let agent = bench.attach(target.pid(), &[]);
        target.0.signal(signal);
        target.0.end();
        assert_eq!(agent.end().status.code(), Some(0));
        let reason = format!("the target was killed by signal {number} ({name})");
        assert_eq!(end_of(&bench), (reason, 128 + number));
    }
}

#[test]
fn run_tells_how_its_program_ended() {
    for (how, status, reason) in [
        ("return", 0, "the target exited with status 0"),
        ("abort", 134, "the target was killed by signal 6 (SIGABRT)"),
        ("kill", 137, "the target was killed by signal 9 (SIGKILL)"),
    ] {
        let bench = Bench::new();
        let arguments = ["--calls", "3", "--end", how];
        let end = bench.run(&[], &VARIANTS.binary(), &arguments);
        assert_eq!(end.status.code(), Some(status), "{how}: {:#?}", end.stderr);
        assert_eq!(
            end_of(&bench),
            (reason.to_owned(), i64::from(status)),
            "{how}"
        );
        if how != "return" {
            the_report_shows_first(&bench, "variants::ending::last");
        }
    }
}

#[test]
fn a_target_that_the_oom_killer_ends_is_told_of() {
    let group = Cgroup::limited(48 << 20);
    let bench = Bench::new();
    let mut target = Resources::start(&RESOURCES.binary());
    group.add(target.pid());
    let agent = bench.attach(target.pid(), &["--stats-interval", "5"]);
    eventually("a sample", || {
        let seen = bench
            .database()
            .number("SELECT count(*) FROM process_stats");
        (seen > 0).then_some(())
    });
    target.0.tell("eat 200000000");
    assert_eq!(target.0.end().status.code(), None, "a signal ended it");
    assert_eq!(agent.end().status.code(), Some(0));
    assert_eq!(end_of(&bench), (OOM.to_owned(), 137));
    let database = bench.database();
    let died = database.rows("SELECT function FROM calls WHERE outcome = 'target_died'");
    assert_eq!(died, [["resources::Kept::eat"]]);
    the_report_shows_first(&bench, "resources::Kept::eat");
    // The last sample is one of the group that it died in.
    let last = "SELECT cgroup_memory_limit_bytes, cgroup_oom_kills FROM process_stats
        ORDER BY at_ns DESC LIMIT 1";
    assert_eq!(
        database.rows(last),
        [[(48 << 20).to_string(), "1".to_owned()]]
    );
}

#[test]
fn run_tells_of_the_oom_killer_when_the_program_joins_its_group_late() {
    let group = Cgroup::limited(48 << 20);
    let bench = Bench::new();
    let members = group.members();
    let script = format!(
        "echo $$ > {} && exec {}",
        members.display(),
        RESOURCES.binary().display()
    );
    let mut command = bench.run_command(&[], Path::new("sh"), &["-c", &script]);
    let mut run = Resources(exoscope_tests::process::Process::start(&mut command));
    run.0.pauses_at("ready");
    run.0.tell("eat 200000000");
    assert_eq!(run.0.end().status.code(), Some(137));
    assert_eq!(end_of(&bench), (OOM.to_owned(), 137));
}

#[test]
fn another_process_that_the_oom_killer_ends_is_not_the_target() {
    let group = Cgroup::limited(48 << 20);
    let bench = Bench::new();
    let target = Resources::start(&RESOURCES.binary());
    let mut other = Resources::start(&RESOURCES.binary());
    group.add(target.pid());
    let agent = bench.attach(target.pid(), &["--stats-interval", "20"]);
    group.add(other.pid());
    other.0.tell("eat 200000000");
    other.0.end();
    target.0.signal(Signal::KILL);
    target.0.end();
    assert_eq!(agent.end().status.code(), Some(0));
    let reason = "the target was killed by signal 9 (SIGKILL)".to_owned();
    assert_eq!(end_of(&bench), (reason, 137));
    let kills = "SELECT max(cgroup_oom_kills) FROM process_stats";
    assert_eq!(bench.database().number(kills), 1, "the group counts it");
}
