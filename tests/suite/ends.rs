//! How sessions end, what they make of calls that are open then, and what they leave behind.

use std::path::Path;

use exoscope_tests::agent::{Bench, detach};
use exoscope_tests::calls::{Calls, Outcomes};
use exoscope_tests::eventually;
use exoscope_tests::memory::Traces;
use exoscope_tests::process::{Process, Signal};

use crate::{VARIANTS, truth_of};

const HELD: &str = "variants::hold::held";

/// A target that pauses inside a call which began after the agent attached with `options`, and the
/// agent, and what the target did before that call.
fn held(bench: &Bench, options: &[&str]) -> (Process, Process, Calls) {
    let mut target = Process::ready_target(&VARIANTS.binary(), &["--calls", "7", "--hold"]);
    let agent = bench.attach(target.pid(), options);
    target.go_on();
    let truth = Calls::told(&target.pauses_at("holding"), target.pid());
    (target, agent, truth)
}

#[test]
fn a_call_that_was_open_at_the_start_is_an_unmatched_exit() {
    for mode in ["full", "exits"] {
        let bench = Bench::new();
        let binary = VARIANTS.copy_to(bench.path());
        let mut target = Process::ready_target(&binary, &["--calls", "7", "--hold"]);
        target.go_on();
        target.pauses_at("holding");
        let agent = bench.attach(target.pid(), &["--capture", mode]);
        target.go_on();
        let truth = Calls::told(&target.pauses_at("done"), target.pid());
        detach(agent);

        let database = bench.database();
        let stored = truth.only(|function| function != HELD);
        assert_eq!(database.functions().differences(&stored), [""; 0], "{mode}");
        assert_eq!(
            database.calls_where("true").differences(&stored),
            [""; 0],
            "{mode}"
        );
        let unmatched = database.rows("SELECT function, tid, outcome FROM unmatched_exits");
        let expected = [HELD.to_owned(), target.pid().to_string(), "ok".to_owned()];
        assert_eq!(unmatched, [expected.to_vec()], "{mode}");
        let said = database.rows(&format!(
            "SELECT calls_counted, calls_stored, calls_missing, reason FROM completeness
             WHERE function = '{HELD}'"
        ));
        let reason = "1 end without a beginning: that call began before the session";
        assert_eq!(
            said,
            [["0", "0", "0", reason].map(str::to_owned).to_vec()],
            "{mode}"
        );
        target.ends_well();
    }
}

#[test]
fn a_call_in_which_the_target_is_killed_is_target_died() {
    let bench = Bench::new();
    let (target, agent, mut truth) = held(&bench, &[]);
    target.signal(Signal::KILL);
    target.end();
    let end = agent.end();
    assert_eq!(end.status.code(), Some(0), "{:#?}", end.stderr);
    truth.add(
        HELD,
        Outcomes {
            target_died: 1,
            ..Outcomes::default()
        },
    );
    let database = bench.database();
    database.holds(&truth);
    assert_eq!(database.number("SELECT count(*) FROM in_flight"), 0);
}

#[test]
fn a_call_that_outlives_the_session_is_unfinished() {
    let bench = Bench::new();
    let (mut target, agent, mut truth) = held(&bench, &[]);
    detach(agent);
    truth.add(
        HELD,
        Outcomes {
            unfinished: 1,
            ..Outcomes::default()
        },
    );
    bench.database().holds(&truth);
    target.go_on();
    target.pauses_at("done");
    target.ends_well();
}

#[test]
fn duration_and_sigterm_end_a_session_like_ctrl_c() {
    for (options, signal, reason) in [
        (&["--duration", "3s"][..], None, "duration"),
        (&[], Some(Signal::TERM), "terminated"),
    ] {
        let bench = Bench::new();
        let (mut target, agent, mut truth) = held(&bench, options);
        if let Some(signal) = signal {
            agent.signal(signal);
        }
        assert_eq!(agent.end().status.code(), Some(0), "{reason}");
        truth.add(
            HELD,
            Outcomes {
                unfinished: 1,
                ..Outcomes::default()
            },
        );
        let database = bench.database();
        database.holds(&truth);
        assert_eq!(
            database.rows("SELECT end_reason FROM sessions"),
            [[reason.to_owned()]]
        );
        assert!(target.runs());
        target.go_on();
        target.pauses_at("done");
        target.ends_well();
    }
}

#[test]
fn run_exits_like_the_program() {
    for (how, status) in [
        ("return", 0),
        ("exit", 0),
        ("abort", 134),
        ("kill", 137),
        ("exec", 0),
    ] {
        let bench = Bench::new();
        let end = bench.run(&[], &VARIANTS.binary(), &["--calls", "3", "--end", how]);
        assert_eq!(end.status.code(), Some(status), "{how}: {:#?}", end.stderr);
        let database = bench.database();
        database.holds(&truth_of(&database, &end.stdout));
        assert_eq!(
            database.number("SELECT exit_status FROM processes"),
            i64::from(status),
            "{how}"
        );
    }
}

#[test]
fn run_gives_back_the_status_of_a_program_that_makes_no_call() {
    let bench = Bench::new();
    let end = bench.run(&[], &VARIANTS.binary(), &["--no-such-option"]);
    assert_eq!(end.status.code(), Some(2));
    assert_eq!(bench.database().number("SELECT count(*) FROM calls"), 0);
}

#[test]
fn run_follows_wrappers_to_the_program() {
    let binary = VARIANTS.binary();
    let path = binary.to_str().expect("the target folder's path is UTF-8");
    let shell = format!("exec {path} --calls 5");
    let wrappers: [(&str, &[&str]); 2] = [
        ("env", &["X=1", path, "--calls", "5"]),
        ("sh", &["-c", &shell]),
    ];
    for (wrapper, arguments) in wrappers {
        let bench = Bench::new();
        let end = bench.run(&[], Path::new(wrapper), arguments);
        assert_eq!(end.status.code(), Some(0), "{wrapper}: {:#?}", end.stderr);
        let database = bench.database();
        database.holds(&truth_of(&database, &end.stdout));
        assert_eq!(
            database.rows("SELECT executable FROM processes"),
            [[path.to_owned()]]
        );
    }
}

#[test]
fn forked_children_live_and_are_not_captured() {
    for markers in ["safe", "fast"] {
        let bench = Bench::new();
        let arguments = ["--calls", "9", "--fork"];
        let mut target = Process::ready_target(&VARIANTS.binary(), &arguments);
        let agent = bench.attach(target.pid(), &["--markers", markers]);
        target.go_on();
        let lines = target.pauses_at("done");
        let died =
            |line: &&String| line.contains("wait_status") && !line.contains(r#""wait_status":0}"#);
        assert_eq!(lines.iter().find(died), None, "{markers}");
        assert_eq!(
            lines
                .iter()
                .filter(|line| line.contains("wait_status"))
                .count(),
            2,
            "{markers}"
        );
        detach(agent);
        bench.database().holds(&Calls::told(&lines, target.pid()));
        target.ends_well();
    }
}

#[test]
fn nothing_stays_attached_when_a_session_ends() {
    for markers in ["safe", "fast"] {
        let bench = Bench::new();
        let (mut target, agent, _) = held(&bench, &["--markers", markers]);
        let traces = Traces::of(target.pid());
        assert!(
            traces.changed_code > 0 && traces.raised_semaphores > 0,
            "{markers}: {traces:?}"
        );
        detach(agent);
        assert_eq!(Traces::of(target.pid()), Traces::NONE, "{markers}");
        target.go_on();
        target.pauses_at("done");
        target.ends_well();
    }
}

#[test]
fn nothing_stays_attached_when_the_agent_is_killed() {
    for markers in ["safe", "fast"] {
        let bench = Bench::new();
        let (mut target, agent, _) = held(&bench, &["--markers", markers]);
        assert_ne!(Traces::of(target.pid()), Traces::NONE, "{markers}");
        agent.signal(Signal::KILL);
        agent.end();
        let clean = || (Traces::of(target.pid()) == Traces::NONE).then_some(());
        eventually("the kernel to detach what the agent left", clean);
        target.go_on();
        target.pauses_at("done");
        target.ends_well();
    }
}
