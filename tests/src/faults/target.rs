//! What targets do while they are captured: their output and status are as without us, and nothing stays
//! attached.

use std::path::{Path, PathBuf};

use super::agent::is_detached;
use super::scene::{account, attach};
use super::{Account, Case, Options};
use crate::agent::{Bench, detach};
use crate::build::Build;
use crate::calls::Calls;
use crate::process::{End, Process};

/// The cases.
pub const CASES: &[Case] = &[
    Case {
        name: "target: fork storm, fast",
        done: "the target forks, over and over: its children make calls",
        short: true,
        run: |options| storm("fork", options.count.min(200) * 5, "fast"),
    },
    Case {
        name: "target: fork storm, safe",
        done: "the same with breakpoints",
        short: true,
        run: |options| storm("fork", options.count.min(200) * 5, "safe"),
    },
    Case {
        name: "target: clone storm, safe",
        done: "children by the bare system call `clone` make calls, with breakpoints",
        short: true,
        run: |options| storm("clone", options.count.min(200) * 5, "safe"),
    },
    Case {
        name: "target: clone storm, fast",
        done: "the same with rewritten nops, which such a child does not survive: that is a limit, and the \
               target itself goes on",
        short: true,
        run: |_| unguarded(),
    },
    Case {
        name: "target: thread storm",
        done: "threads come, make calls, and go",
        short: true,
        run: |options| storm("threads", options.count.min(200) * 100, "auto"),
    },
    Case {
        name: "target: exec of itself",
        done: "the target executes its own binary, over and over, within one process",
        short: true,
        run: |options| storm("exec", options.count.min(200), "auto"),
    },
    Case {
        name: "target: exec of another",
        done: "the target becomes another program in the midst of a call",
        short: true,
        run: |_| exec_of_another(),
    },
    Case {
        name: "target: library comes and goes",
        done: "an instrumented library is loaded and unloaded, over and over",
        short: true,
        run: reloads,
    },
];

/// A target, with a copy of its binary of its own, so that nobody else attaches to it.
pub fn storms(bench: &Bench) -> PathBuf {
    Build::release("storms").copy_to(bench.path())
}

/// What a target prints from `ready` to `done`, and how it ends. `at_done` is called before it does.
pub fn run_through(mut target: Process, at_done: impl FnOnce(&Process)) -> (Vec<String>, End) {
    target.go_on();
    let lines = target.pauses_at("done");
    at_done(&target);
    target.go_on();
    (lines, target.end())
}

/// What a process prints that is not its PID.
fn but_for_pid(lines: &[String], pid: u32) -> Vec<String> {
    let pid = pid.to_string();
    lines.iter().map(|line| line.replace(&pid, "PID")).collect()
}

/// Starts a storm, which waits.
pub fn ready(binary: &Path, storm: &str, count: &str) -> Process {
    let mut target = Process::target(binary, &[storm, "--count", count]);
    target.pauses_at("ready");
    target
}

/// A storm, captured, next to the same without an agent.
fn storm(name: &str, count: u32, markers: &str) -> Account {
    let bench = Bench::new();
    let binary = storms(&bench);
    let count = count.to_string();
    let alone = ready(&binary, name, &count);
    let alone_pid = alone.pid();
    let (alone_lines, alone_end) = run_through(alone, |_| ());

    let target = ready(&binary, name, &count);
    let pid = target.pid();
    let agent = attach(pid, &bench.file(), &["--markers", markers]);
    let end_session = |target: &Process| {
        detach(agent);
        is_detached(target);
    };
    let (lines, end) = run_through(target, end_session);
    assert_eq!(
        but_for_pid(&lines, pid),
        but_for_pid(&alone_lines, alone_pid)
    );
    assert_eq!(end.status, alone_end.status, "{:#?}", end.stderr);
    all(account(
        &bench.file(),
        Calls::told(&lines, pid).total(),
        None,
        "as without us",
    ))
}

/// Children made around the C library, which have no page for rewritten nops to call.
fn unguarded() -> Account {
    const CHILDREN: &str = "10";
    let bench = Bench::new();
    let target = ready(&storms(&bench), "clone", CHILDREN);
    let pid = target.pid();
    let agent = attach(pid, &bench.file(), &["--markers", "fast"]);
    let end_session = |target: &Process| {
        detach(agent);
        is_detached(target);
    };
    let (lines, end) = run_through(target, end_session);
    assert!(end.status.success(), "{:#?}", end.stderr);
    let died = lines.iter().find_map(|line| {
        let count = line.strip_prefix(r#"{"died":"#)?.strip_suffix('}')?;
        Some(count.to_owned())
    });
    let died = died.expect("the target says how many children died");
    all(account(
        &bench.file(),
        Calls::told(&lines, pid).total(),
        None,
        &format!("ends well; {died} of {CHILDREN} children died"),
    ))
}

/// Expects that nothing was lost.
pub fn all(account: Account) -> Account {
    assert_eq!(account.lost, 0, "calls were lost: {account:?}");
    account
}

fn exec_of_another() -> Account {
    let bench = Bench::new();
    let binary = Build::release("variants").binary();
    let mut target = Process::ready_target(&binary, &["--end", "exec"]);
    let pid = target.pid();
    let agent = attach(pid, &bench.file(), &[]);
    target.go_on();
    let lines = target.pauses_at("done");
    target.ends_well();
    assert_eq!(agent.end().status.code(), Some(0));
    all(account(
        &bench.file(),
        Calls::told(&lines, pid).total(),
        None,
        "as without us",
    ))
}

fn reloads(options: Options) -> Account {
    let bench = Bench::new();
    let plugin = Build::release("plugin").copy_to(bench.path());
    let plugin = plugin.to_str().expect("the path is UTF-8");
    let calls = (options.count.min(500) * 20).to_string();
    let arguments = [plugin, "--calls", &calls, "--reload-every", "1"];
    let mut target = Process::ready_target(&Build::release("host").binary(), &arguments);
    let pid = target.pid();
    let agent = attach(pid, &bench.file(), &[]);
    target.go_on();
    let lines = target.pauses_at("done");
    detach(agent);
    is_detached(&target);
    target.ends_well();
    all(account(
        &bench.file(),
        Calls::told(&lines, pid).total(),
        None,
        "as without us",
    ))
}
