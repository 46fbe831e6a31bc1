//! What targets do while they are captured: their output and status are as without us, and nothing stays
//! attached.

use std::path::{Path, PathBuf};

use super::agent::is_detached;
use super::scene::{Scene, account, attach};
use super::{Account, Case, Options};
use crate::agent::{Bench, detach};
use crate::build::Build;
use crate::calls::Calls;
use crate::cgroup::Cgroup;
use crate::process::{End, Process, Signal};

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
        done: "an instrumented library is loaded and unloaded, over and over, and is itself again after that",
        short: true,
        run: reloads,
    },
    Case {
        name: "target: SIGKILL",
        done: "the target is killed by `SIGKILL` in the midst of a call",
        short: true,
        run: |_| dies("kill", "was killed by signal 9 (SIGKILL)"),
    },
    Case {
        name: "target: abort",
        done: "the target aborts in the midst of a call",
        short: true,
        run: |_| dies("abort", "was killed by signal 6 (SIGABRT)"),
    },
    Case {
        name: "target: exit",
        done: "the target exits in the midst of a call",
        short: true,
        run: |_| dies("exit", "exited with status 0"),
    },
    Case {
        name: "target: OOM",
        done: "the OOM killer ends the target in the midst of a call, at the limit of its control group",
        short: true,
        run: |_| dies("eat", "was killed by the OOM killer"),
    },
    Case {
        name: "target: SIGKILL at work",
        done: "the target is killed while it makes calls; how many it made only the kernel knows",
        short: true,
        run: |_| killed_at_work(),
    },
];

/// Bytes that a target may use which the OOM killer is to end: enough for its calls, and less than it eats.
const LIMIT: u64 = 128 << 20;

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

/// Expects that a target printed and ended as one does that starts like it and that nobody looks into.
///
/// # Panics
/// Where it did not.
pub fn is_as(alone: Process, pid: u32, lines: &[String], end: &End) {
    let alone_pid = alone.pid();
    let (alone_lines, alone_end) = run_through(alone, |_| ());
    assert_eq!(
        same_each_time(lines, pid),
        same_each_time(&alone_lines, alone_pid)
    );
    assert_eq!(
        same_each_time(&end.stdout, pid),
        same_each_time(&alone_end.stdout, alone_pid)
    );
    assert_eq!(end.status, alone_end.status, "{:#?}", end.stderr);
}

/// What a process prints that is the same each time: neither its PID, which is a member of a JSON line or a
/// line's last word, nor a line about how long it took.
fn same_each_time(lines: &[String], pid: u32) -> Vec<String> {
    let (member, word) = (format!(r#""pid":{pid},"#), format!(" {pid}"));
    let without = |line: &String| {
        let line = line.replace(&member, "");
        line.strip_suffix(&word).unwrap_or(&line).to_owned()
    };
    let lines = lines.iter().filter(|line| !line.contains(r#""seconds":"#));
    lines.map(without).collect()
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
    let target = ready(&binary, name, &count);
    let pid = target.pid();
    let agent = attach(pid, &bench.file(), &["--markers", markers]);
    let end_session = |target: &Process| {
        detach(agent);
        is_detached(target);
    };
    let (lines, end) = run_through(target, end_session);
    is_as(ready(&binary, name, &count), pid, &lines, &end);
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
    let ready = || Process::ready_target(&binary, &["--end", "exec"]);
    let target = ready();
    let pid = target.pid();
    let agent = attach(pid, &bench.file(), &[]);
    let (lines, end) = run_through(target, |_| ());
    assert_eq!(agent.end().status.code(), Some(0));
    is_as(ready(), pid, &lines, &end);
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

/// A target that ends in the midst of a call, `how`; the file says why, and has that call.
fn dies(how: &str, reason: &str) -> Account {
    let bench = Bench::new();
    let binary = Build::release("variants").binary();
    let group = (how == "eat").then(|| Cgroup::limited(LIMIT));
    let ready = || {
        let target = Process::ready_target(&binary, &["--calls", "101", "--end", how]);
        if let Some(group) = &group {
            group.add(target.pid());
        }
        target
    };
    let target = ready();
    let pid = target.pid();
    let agent = attach(pid, &bench.file(), &[]);
    let (lines, end) = run_through(target, |_| ());
    is_as(ready(), pid, &lines, &end);
    ended_because(&bench, agent, reason);
    let died = bench.database().calls_where("outcome = 'target_died'");
    assert_eq!(
        (died.total(), died.of(LAST).target_died),
        (1, 1),
        "{died:?}"
    );
    let made = Calls::told(&lines, pid).total();
    all(account(&bench.file(), made, None, reason))
}

/// The call in which targets end.
const LAST: &str = "variants::ending::last";

/// A target that is killed at an instant of which it knows nothing: what was made is what was counted.
fn killed_at_work() -> Account {
    let bench = Bench::new();
    let scene = Scene::begin(&bench.file(), &[], 60);
    scene.has_rows();
    scene.target.signal(Signal::KILL);
    scene.target.end();
    let reason = "was killed by signal 9 (SIGKILL)";
    ended_because(&bench, scene.agent, reason);
    let counted = "SELECT sum(calls_counted) FROM completeness";
    let made = u64::try_from(bench.database().number(counted)).expect("a count");
    all(account(&scene.file, made, None, reason))
}

/// Expects that an agent ended well because its target had ended, and that the file says how.
fn ended_because(bench: &Bench, agent: Process, reason: &str) {
    let end = agent.end();
    assert_eq!(end.status.code(), Some(0), "{:#?}", end.stderr);
    let said = bench.database().rows("SELECT end_reason FROM sessions");
    assert_eq!(said, [[format!("the target {reason}")]]);
}
