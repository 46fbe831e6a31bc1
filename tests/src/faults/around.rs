//! What is done to the target and around it while it is captured.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

use super::agent::is_detached;
use super::scene::{RATE, account, attach};
use super::target::{all, is_as, ready, run_through, storms};
use super::{Account, Case, Options};
use crate::agent::{Bench, detach};
use crate::build::Build;
use crate::calls::Calls;
use crate::database::Database;
use crate::eventually;
use crate::memory::Traces;
use crate::process::{Process, Signal};

/// The cases.
pub const CASES: &[Case] = &[
    Case {
        name: "around: binary replaced",
        done: "another file takes the place of the running binary, before and after the agent attaches",
        short: true,
        run: |_| replaced(),
    },
    Case {
        name: "around: PID reuse",
        done: "the target dies while the agent is stopped, and another process of the same binary gets \
               its PID",
        short: true,
        run: |_| pid_reuse(),
    },
    Case {
        name: "around: namespaces and overlayfs",
        done: "the target has PID and mount namespaces of its own, and its binary is on an overlayfs",
        short: true,
        run: |_| namespaces(),
    },
    Case {
        name: "around: seccomp",
        done: "a filter kills the target for every system call that programs of C libraries don't make, \
               with both kinds of markers",
        short: true,
        run: |_| seccomp(),
    },
    Case {
        name: "around: two agents",
        done: "two agents capture one target, and one is killed in between",
        short: true,
        run: |_| two_agents(),
    },
    Case {
        name: "around: two of one binary",
        done: "two processes of one binary, each with an agent of its own",
        short: true,
        run: |_| two_targets(),
    },
    Case {
        name: "attached: over and over",
        done: "an agent attaches and detaches, twice a count, while 100,000 calls a second are made. Made \
               are the calls that the sessions counted. Output and status are those of as many calls \
               alone, and after each session the code is the binary's",
        short: true,
        run: over_and_over,
    },
];

/// Ends a session, of which nothing is left in the target.
fn end_session(agent: Process, target: &Process) {
    detach(agent);
    is_detached(target);
}

/// Puts another file in the place of a binary.
fn replace(binary: &Path) {
    let other = binary.with_extension("new");
    fs::write(&other, "no program").expect("the folder is writable");
    fs::rename(&other, binary).expect("the folder is writable");
}

fn replaced() -> Account {
    let mut sum = Account::default();
    for before in [true, false] {
        let bench = Bench::new();
        let binary = storms(&bench);
        let target = ready(&binary, "threads", "100");
        let pid = target.pid();
        if before {
            replace(&binary);
        }
        let agent = attach(pid, &bench.file(), &[]);
        if !before {
            replace(&binary);
        }
        let (lines, end) = run_through(target, |target| end_session(agent, target));
        let whole = Bench::new();
        is_as(ready(&storms(&whole), "threads", "100"), pid, &lines, &end);
        let made = Calls::told(&lines, pid).total();
        sum = sum.and(all(account(&bench.file(), made, None, "as without us")));
    }
    sum
}

/// Starts a process until it has a PID that another one had.
fn ready_with_pid(pid: u32, binary: &Path) -> Process {
    eventually("a process with the PID of another", || {
        // Only the next process of this namespace gets it, and others start processes, too.
        fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).expect("this is root");
        let target = Process::target(binary, &["threads", "--count", "10"]);
        (target.pid() == pid).then_some(target)
    })
}

fn pid_reuse() -> Account {
    let bench = Bench::new();
    let binary = storms(&bench);
    let mut target = ready(&binary, "threads", "100");
    let pid = target.pid();
    let agent = attach(pid, &bench.file(), &[]);
    target.go_on();
    let lines = target.pauses_at("done");
    let made = Calls::told(&lines, pid).total();
    agent.signal(Signal::STOP);
    target.signal(Signal::KILL);
    target.end();
    let mut other = ready_with_pid(pid, &binary);
    other.pauses_at("ready");
    let (_, end) = run_through(other, |_| agent.signal(Signal::CONT));
    assert!(end.status.success(), "{:#?}", end.stderr);
    assert_eq!(agent.end().status.code(), Some(0));
    all(account(
        &bench.file(),
        made,
        None,
        "the other is not captured",
    ))
}

/// The one child of a process, once it is there.
fn child_of(pid: u32) -> u32 {
    eventually("a child", || {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
        children.split_ascii_whitespace().next()?.parse().ok()
    })
}

/// A target in PID and mount namespaces of its own, with its binary on an overlayfs.
fn in_namespaces(bench: &Bench) -> Process {
    const INSIDE: &str = "cd \"$0\" && mkdir lower upper work merged && mv storms lower && \
        mount -t tmpfs none upper && mkdir upper/upper upper/work && \
        mount -t overlay -o lowerdir=lower,upperdir=upper/upper,workdir=upper/work none merged && \
        cp merged/storms merged/copied && exec merged/copied threads --count 100";
    storms(bench);
    let mut wrapper = Command::new("unshare");
    wrapper
        .args([
            "--mount",
            "--pid",
            "--fork",
            "--mount-proc",
            "sh",
            "-c",
            INSIDE,
        ])
        .arg(bench.path());
    let mut wrapper = Process::start(&mut wrapper);
    wrapper.pauses_at("ready");
    wrapper
}

fn namespaces() -> Account {
    let bench = Bench::new();
    let wrapper = in_namespaces(&bench);
    let pid = child_of(wrapper.pid());
    let agent = attach(pid, &bench.file(), &[]);
    assert_ne!(Traces::of(pid), Traces::NONE);
    let end_session = |_: &Process| {
        detach(agent);
        assert_eq!(Traces::of(pid), Traces::NONE);
    };
    let (lines, end) = run_through(wrapper, end_session);
    is_as(in_namespaces(&Bench::new()), pid, &lines, &end);
    // It is the first process of its namespace.
    let made = Calls::told(&lines, 1).total();
    all(account(&bench.file(), made, None, "as without us"))
}

/// A filter that allows what Linux had before probes made system calls, and kills for all the rest.
fn filter() -> BpfProgram {
    /// The last system call before `uretprobe` and `uprobe`.
    const LAST: i64 = 334;
    /// Those that were added later and are for everybody.
    const LATER: std::ops::RangeInclusive<i64> = 424..=460;
    let allowed = (0..=LAST).chain(LATER).map(|call| (call, Vec::new()));
    let filter = SeccompFilter::new(
        allowed.collect(),
        SeccompAction::KillProcess,
        SeccompAction::Allow,
        TargetArch::x86_64,
    );
    filter
        .and_then(TryInto::try_into)
        .expect("the filter is not too large")
}

/// A target under that filter.
fn filtered(binary: &Path) -> Process {
    let mut command = Command::new(binary);
    command.args(["threads", "--count", "100"]);
    let filter = filter();
    let apply = move || seccompiler::apply_filter(&filter).map_err(io::Error::other);
    // SAFETY: the closure makes two system calls on memory that was allocated before the fork.
    unsafe { command.pre_exec(apply) };
    let mut target = Process::start(&mut command);
    target.pauses_at("ready");
    let status = fs::read_to_string(format!("/proc/{}/status", target.pid())).expect("it runs");
    assert!(status.contains("\nSeccomp:\t2\n"), "no filter: {status}");
    target
}

fn seccomp() -> Account {
    let mut sum = Account::default();
    for markers in ["fast", "safe"] {
        let bench = Bench::new();
        let binary = storms(&bench);
        let target = filtered(&binary);
        let pid = target.pid();
        let agent = attach(pid, &bench.file(), &["--markers", markers]);
        let (lines, end) = run_through(target, |target| end_session(agent, target));
        is_as(filtered(&binary), pid, &lines, &end);
        let made = Calls::told(&lines, pid).total();
        sum = sum.and(all(account(&bench.file(), made, None, "as without us")));
    }
    sum
}

fn two_agents() -> Account {
    let bench = Bench::new();
    let target = ready(&storms(&bench), "threads", "100");
    let pid = target.pid();
    let killed = attach(pid, &bench.path().join("killed.db"), &[]);
    let (one, two) = (bench.file(), bench.path().join("two.db"));
    let agents = [attach(pid, &one, &[]), attach(pid, &two, &[])];
    killed.signal(Signal::KILL);
    killed.end();
    let end_sessions = |target: &Process| {
        agents.into_iter().for_each(|agent| drop(detach(agent)));
        is_detached(target);
    };
    let (lines, end) = run_through(target, end_sessions);
    assert!(end.status.success(), "{:#?}", end.stderr);
    let made = Calls::told(&lines, pid).total();
    let accounts = [&one, &two].map(|file| all(account(file, made, None, "as without us")));
    let [one, two] = accounts;
    one.and(two)
}

fn two_targets() -> Account {
    let bench = Bench::new();
    let binary = storms(&bench);
    let captured = ["90", "110"].map(|count| {
        let target = ready(&binary, "threads", count);
        let file = bench.path().join(format!("{count}.db"));
        let agent = attach(target.pid(), &file, &[]);
        (count, target, agent, file)
    });
    let accounts = captured.map(|(count, target, agent, file)| {
        let pid = target.pid();
        let (lines, end) = run_through(target, |target| end_session(agent, target));
        is_as(ready(&binary, "threads", count), pid, &lines, &end);
        all(account(
            &file,
            Calls::told(&lines, pid).total(),
            None,
            "as without us",
        ))
    });
    let [one, two] = accounts;
    one.and(two)
}

fn over_and_over(options: Options) -> Account {
    let bench = Bench::new();
    let binary = Build::release("variants").binary();
    let rate = RATE.to_string();
    let mut target = Process::ready_target(&binary, &["--rate", &rate, "--until-told"]);
    target.go_on();
    let mut sum = Account::default();
    let mut random = fastrand::Rng::with_seed(options.seed);
    for round in 0..options.count * 2 {
        let file = bench.path().join(format!("{round}.db"));
        let markers = ["safe", "fast"][random.usize(0..2)];
        let options = ["--markers", markers];
        let agent = attach(target.pid(), &file, &options);
        sleep(Duration::from_millis(random.u64(0..50)));
        detach(agent);
        is_detached(&target);
        // What the kernel counted, and not the target, which goes on.
        let counted = "SELECT coalesce(sum(calls_counted), 0) FROM completeness";
        let made = Database::open(&file).number(counted).cast_unsigned();
        sum = sum.and(all(account(&file, made, None, "as without us")));
        fs::remove_file(&file).expect("it is there");
    }
    assert!(target.runs(), "the target has ended");
    let pid = target.pid();
    let (lines, end) = run_through(target, |_| ());
    let made = Calls::told(&lines, pid).total().to_string();
    let alone = Process::ready_target(&binary, &["--rate", &made, "--seconds", "1"]);
    is_as(alone, pid, &lines, &end);
    sum
}
