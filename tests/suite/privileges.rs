//! Rights: which ones are enough, whose they are, and what is left of them while a session runs.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use exoscope_tests::agent::{Bench, command, detach, is_attached};
use exoscope_tests::build::{Build, exoscope};
use exoscope_tests::calls::Calls;
use exoscope_tests::eventually;
use exoscope_tests::process::{Process, Signal};
use rusqlite::Connection;
use rustix::process::{Pid, getpriority_process};
use serde_json::Value;

use crate::VARIANTS;
use crate::refusal::{self, says};

/// Two ordinary users.
const USER: &str = "4711";
const OTHER: &str = "4712";
/// What capture needs, as `setpriv` names it.
const NEEDED: &str = "-all,+bpf,+perfmon,+sys_ptrace";

/// Bits of capabilities in `/proc/PID/status`, from `linux/capability.h`.
const DAC_READ_SEARCH: u64 = 1 << 2;
const SYS_PTRACE: u64 = 1 << 19;
const CHECKPOINT_RESTORE: u64 = 1 << 40;

/// `command` as an ordinary user with more arguments of `setpriv`.
fn as_user(user: &str, more: &[&str], command: &Command) -> Command {
    let mut wrapped = Command::new("setpriv");
    wrapped
        .args(["--reuid", user, "--regid", user, "--clear-groups"])
        .args(more)
        .arg(command.get_program())
        .args(command.get_args())
        .env("RUST_BACKTRACE", "0");
    wrapped
}

/// As [`as_user`], by one who was given the capabilities that capture needs, and nothing else.
fn as_user_with_rights(command: &Command) -> Command {
    as_user_with(NEEDED, command)
}

/// As [`as_user`], by one who was given these capabilities.
fn as_user_with(rights: &str, command: &Command) -> Command {
    let sets = ["--bounding-set", "--inh-caps", "--ambient-caps"];
    let options: Vec<&str> = sets.into_iter().flat_map(|set| [set, rights]).collect();
    as_user(USER, &options, command)
}

/// A folder that every user may write, with copies of programs in it.
struct Place(Bench);

impl Place {
    fn new() -> Self {
        let bench = Bench::new();
        let everybody = fs::Permissions::from_mode(0o777);
        fs::set_permissions(bench.path(), everybody).expect("the folder is ours");
        Self(bench)
    }

    /// A copy of a program that every user may start.
    fn copy(&self, program: &Path, name: &str) -> PathBuf {
        let copy = self.0.path().join(name);
        fs::copy(program, &copy).expect("there is room");
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).expect("it is ours");
        copy
    }

    /// A copy of the agent with the capabilities that the command gives it that `doctor` prints.
    fn agent(&self) -> PathBuf {
        let agent = self.copy(exoscope(), "agent");
        let mut doctor = Command::new(&agent);
        let end = Process::start(doctor.args(["doctor", "--json"])).end();
        let said: Value = serde_json::from_str(&end.stdout.join("\n")).expect("it is JSON");
        let setcap = said["setcap"].as_str().expect("it is a command");
        assert!(
            setcap.starts_with("setcap cap_bpf,cap_perfmon,cap_sys_ptrace+ep "),
            "{setcap}"
        );
        let status = Command::new("sh").args(["-c", setcap]).status();
        assert!(status.is_ok_and(|status| status.success()), "{setcap}");
        agent
    }

    /// A target of a user, which is ready.
    fn target(&self, program: &Path, user: &str, arguments: &[&str]) -> Process {
        let mut command = Command::new(program);
        command.args(arguments).arg("--wait-stdin");
        let mut target = Process::start(&mut as_user(user, &[], &command));
        target.pauses_at("ready");
        target
    }

    /// `agent attach` to a process.
    fn attach(&self, agent: &Path, pid: u32, options: &[&str]) -> Command {
        let attach = self.0.attach_command(pid, options);
        let mut command = Command::new(agent);
        command.args(attach.get_args());
        command
    }
}

/// What a line of the file `status` of every thread of a process says, by the threads' names.
fn of_threads(pid: u32, line: &str) -> Vec<(String, u64)> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    let of_thread = |task: PathBuf| {
        let status = fs::read_to_string(task.join("status")).ok()?;
        let value = |name: &str| {
            let mut lines = status.lines();
            lines.find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()))
        };
        let bits = u64::from_str_radix(&value(&format!("{line}:"))?, 16).ok()?;
        Some((value("Name:")?, bits))
    };
    let tasks = tasks.filter_map(|task| of_thread(task.ok()?.path()));
    tasks.collect()
}

/// The nice level of a process or a thread; `None` where it has ended.
fn nice_level(number: i32) -> Option<i32> {
    getpriority_process(Pid::from_raw(number)).ok()
}

/// Expects that of the threads of an agent the one that reads the rings is so many nice levels more urgent
/// than the others, which have the level of this process and `more`.
fn is_urgent(agent: &Process, levels: i32, more: i32) {
    let usual = nice_level(0).expect("this process runs") + more;
    let threads = || -> Option<Vec<(String, i32)>> {
        let tasks = fs::read_dir(format!("/proc/{}/task", agent.pid())).ok()?;
        let thread = |task: PathBuf| {
            let name = fs::read_to_string(task.join("comm")).ok()?;
            let number = task.file_name()?.to_str()?.parse().ok()?;
            Some((name.trim().to_owned(), nice_level(number)?))
        };
        tasks.map(|task| thread(task.ok()?.path())).collect()
    };
    let reader = ("exo-consumer".to_owned(), usual - levels);
    eventually("the reader to be urgent, and nobody else", || {
        let mut threads = threads()?;
        let reader = threads.iter().position(|thread| *thread == reader)?;
        threads.remove(reader);
        threads
            .iter()
            .all(|(_, level)| *level == usual)
            .then_some(())
    });
}

/// The program that an agent started.
fn started_by(agent: &Process) -> u32 {
    let children = format!("/proc/{0}/task/{0}/children", agent.pid());
    let children = fs::read_to_string(children).expect("the kernel lists children");
    children.trim().parse().expect("it has one child")
}

/// Expects that every thread of an agent has the capabilities `kept` and no others, now and later.
fn has_kept(agent: &Process, kept: u64) {
    const THREADS: [&str; 5] = [
        "exo-consumer",
        "exo-writer",
        "exo-copies",
        "exo-stats",
        "exo-sampler",
    ];
    // One of the self-test may still be on its way out, and a new one does not have its name at once.
    eventually("the threads of a session and no others", || {
        let threads = of_threads(agent.pid(), "CapEff");
        let is_there = |name: &&str| threads.iter().any(|(of, _)| of == name);
        (THREADS.iter().all(is_there) && threads.len() == 1 + THREADS.len()).then_some(())
    });
    for set in ["CapEff", "CapPrm"] {
        for (name, bits) in of_threads(agent.pid(), set) {
            assert_eq!(bits, kept, "{set} of {name}: {bits:x} and not {kept:x}");
        }
    }
    for set in ["CapInh", "CapAmb"] {
        assert!(
            of_threads(agent.pid(), set)
                .iter()
                .all(|(_, bits)| *bits == 0),
            "{set}"
        );
    }
    assert!(
        of_threads(agent.pid(), "NoNewPrivs")
            .iter()
            .all(|(_, set)| *set == 1)
    );
}

/// Captures everything of a target with an agent that `command` starts, which keeps `kept`.
fn captures(place: &Place, mut target: Process, command: &mut Command, kept: u64) {
    let mut agent = Process::start(command);
    is_attached(&mut agent);
    has_kept(&agent, kept);
    target.go_on();
    let truth = Calls::told(&target.pauses_at("done"), target.pid());
    detach(agent);
    place.0.database().holds(&truth);
    target.ends_well();
}

const EVERYTHING: [&str; 4] = ["--sample", "99", "--off-cpu", "--polls"];

#[test]
fn who_has_three_capabilities_looks_into_processes_of_others_and_keeps_one() {
    let place = Place::new();
    let target = place.target(&VARIANTS.copy_to(place.0.path()), OTHER, &["--calls", "7"]);
    let agent = place.copy(exoscope(), "agent");
    let attach = place.attach(&agent, target.pid(), &EVERYTHING);
    captures(
        &place,
        target,
        &mut as_user_with_rights(&attach),
        SYS_PTRACE,
    );
}

#[test]
fn a_user_of_a_file_with_capabilities_looks_into_their_own_process_and_keeps_none() {
    let place = Place::new();
    let target = place.target(&VARIANTS.copy_to(place.0.path()), USER, &["--calls", "7"]);
    let attach = place.attach(&place.agent(), target.pid(), &EVERYTHING);
    captures(&place, target, &mut as_user(USER, &[], &attach), 0);
}

#[test]
fn root_keeps_what_it_reads_the_target_with() {
    let place = Place::new();
    let target = place.target(&VARIANTS.copy_to(place.0.path()), USER, &["--calls", "7"]);
    let mut attach = place.attach(exoscope(), target.pid(), &EVERYTHING);
    let kept = SYS_PTRACE | DAC_READ_SEARCH | CHECKPOINT_RESTORE;
    captures(&place, target, &mut attach, kept);
}

#[test]
fn libraries_are_attached_to_without_capabilities() {
    let place = Place::new();
    let host = Build::release("host").copy_to(place.0.path());
    let plugin = place.copy(&Build::release("plugin").binary(), "plugin.so");
    let plugin = plugin.to_str().expect("its path is UTF-8");
    let mut target = place.target(&host, USER, &[plugin, "--late"]);
    let attach = place.attach(&place.agent(), target.pid(), &["--sample", "99"]);
    let mut agent = Process::start(&mut as_user(USER, &[], &attach));
    is_attached(&mut agent);
    has_kept(&agent, 0);
    target.go_on();
    target.pauses_at("loaded");
    is_attached(&mut agent);
    target.go_on();
    let truth = Calls::told(&target.pauses_at("done"), target.pid());
    assert!(truth.total() > 0);
    detach(agent);
    place.0.database().holds(&truth);
    target.ends_well();
}

/// Expects that a user who starts an agent whose file has capabilities does not get to see a process.
fn is_closed(place: &Place, agent: &Path, pid: u32) {
    let pid_word = pid.to_string();
    let sites = ["sites", "--pid", &pid_word];
    let in_flight = ["in-flight", "--pid", &pid_word];
    let command = |arguments: &[&str]| {
        let mut command = Command::new(agent);
        command.args(arguments);
        command
    };
    for refused in [
        place.attach(agent, pid, &[]),
        command(&sites),
        command(&in_flight),
    ] {
        let sentence = refusal::of(&mut as_user(USER, &[], &refused));
        let no_right = format!("no right to look at process {pid} (");
        says(&sentence, &[&no_right, "run exoscope as root"]);
    }
    assert!(!place.0.file().exists());
}

#[test]
fn the_capabilities_of_the_file_are_no_right_to_look_at_what_its_user_may_not_trace() {
    let place = Place::new();
    let agent = place.agent();
    let binary = VARIANTS.copy_to(place.0.path());
    let of_another = place.target(&binary, OTHER, &["--calls", "3"]);
    is_closed(&place, &agent, of_another.pid());
    let of_root = Process::ready_target(&binary, &["--calls", "3"]);
    is_closed(&place, &agent, of_root.pid());
    // Of the same user, and more than their other programs: the kernel lets nobody trace it.
    let stronger = place.copy(&binary, "stronger");
    let given = Command::new("setcap")
        .arg("cap_net_raw+ep")
        .arg(&stronger)
        .status();
    assert!(given.is_ok_and(|status| status.success()));
    let protected = place.target(&stronger, USER, &["--calls", "3"]);
    is_closed(&place, &agent, protected.pid());
    for target in [of_another, of_root, protected] {
        let mut target = target;
        target.go_on();
        target.pauses_at("done");
        target.ends_well();
    }
}

#[test]
fn a_session_ends_where_its_target_becomes_a_program_of_another_user() {
    let place = Place::new();
    let agent = place.agent();
    let privileged = place.copy(Path::new("/bin/sleep"), "privileged");
    fs::set_permissions(&privileged, fs::Permissions::from_mode(0o4755)).expect("it is root's");
    let mut shell = Command::new("sh");
    let script = format!("echo ready; read line; exec {} 60", privileged.display());
    shell.args(["-c", &script]);
    let mut target = Process::start(&mut as_user(USER, &[], &shell));
    target.pauses_at("ready");
    let plugin = place.copy(&Build::release("plugin").binary(), "plugin.so");
    let library = ["--library", plugin.to_str().expect("its path is UTF-8")];
    let attach = place.attach(&agent, target.pid(), &library);
    let mut agent = Process::start(&mut as_user(USER, &[], &attach));
    is_attached(&mut agent);
    target.go_on();
    let end = agent.end();
    assert_eq!(end.status.code(), Some(1), "{end:#?}");
    let last = end.stderr.last().expect("it says why");
    says(last, &["the target may not be looked into any more"]);
    // A user who started a program of root may not end it.
    let root = Command::new("kill").arg(target.pid().to_string()).status();
    assert!(root.is_ok_and(|status| status.success()));
}

#[test]
fn the_reader_of_the_rings_is_urgent_and_a_started_program_is_not() {
    let place = Place::new();
    let target = VARIANTS.copy_to(place.0.path());
    let run = place.0.run_command(
        &["--sample", "99"],
        &target,
        &["--calls", "3", "--wait-stdin"],
    );
    let mut nice = Command::new("nice");
    let nice = nice.args(["-n", "3"]).arg(exoscope()).args(run.get_args());
    let mut agent = Process::start(nice);
    agent.pauses_at("ready");
    is_urgent(&agent, 10, 3);
    let target = started_by(&agent).cast_signed();
    let usual = nice_level(0).expect("this process runs");
    assert_eq!(nice_level(target), Some(usual + 3));
    agent.go_on();
    agent.pauses_at("done");
    agent.ends_well();
}

#[test]
fn who_may_not_be_urgent_captures_all_the_same() {
    let place = Place::new();
    let binary = VARIANTS.copy_to(place.0.path());
    let agent = place.copy(exoscope(), "agent");
    for (rights, levels) in [(NEEDED, 0), (&format!("{NEEDED},+sys_nice"), 10)] {
        let mut target = place.target(&binary, OTHER, &["--calls", "3"]);
        let attach = place.attach(&agent, target.pid(), &[]);
        let mut agent = Process::start(&mut as_user_with(rights, &attach));
        is_attached(&mut agent);
        is_urgent(&agent, levels, 0);
        assert!(
            of_threads(agent.pid(), "CapPrm")
                .iter()
                .all(|(_, bits)| *bits == SYS_PTRACE),
            "the right to be urgent is given up"
        );
        target.go_on();
        let truth = Calls::told(&target.pauses_at("done"), target.pid());
        detach(agent);
        place.0.database().holds(&truth);
        target.ends_well();
        fs::remove_file(place.0.file()).expect("a session made it");
    }
}

#[test]
fn a_started_program_has_no_capabilities_of_ours() {
    let place = Place::new();
    let binary = VARIANTS.copy_to(place.0.path());
    let agent = place.copy(exoscope(), "agent");
    let run = place
        .0
        .run_command(&[], &binary, &["--calls", "3", "--wait-stdin"]);
    let mut command = Command::new(&agent);
    command.args(run.get_args());
    let mut agent = Process::start(&mut as_user_with_rights(&command));
    agent.pauses_at("ready");
    let target = started_by(&agent);
    for set in ["CapEff", "CapPrm", "CapAmb"] {
        assert_eq!(of_threads(target, set)[0].1, 0, "{set}");
    }
    agent.go_on();
    agent.pauses_at("done");
    agent.ends_well();
}

#[test]
fn a_set_user_id_agent_refuses_to_work() {
    let place = Place::new();
    let agent = place.copy(exoscope(), "agent");
    fs::set_permissions(&agent, fs::Permissions::from_mode(0o4755)).expect("it is ours");
    let mut doctor = Command::new(&agent);
    doctor.arg("doctor");
    let sentence = refusal::of(&mut as_user(USER, &[], &doctor));
    says(
        &sentence,
        &["exoscope is set-user-ID", "chmod u-s", "`exoscope doctor`"],
    );
}

#[test]
fn every_file_of_a_session_is_for_its_owner_alone() {
    let bench = Bench::new();
    let mut target = Process::ready_target(&VARIANTS.binary(), &["--calls", "6001"]);
    // More calls than wait in memory, and rings that hold them whenever the agent gets a CPU.
    let options = ["--sample", "99", "--ring-size", "128MiB"];
    let mut attach = bench.attach_command(target.pid(), &options);
    // SAFETY: it makes one system call and nothing else.
    unsafe {
        attach.pre_exec(|| {
            libc::umask(0);
            Ok(())
        });
    }
    let mut agent = Process::start(&mut attach);
    is_attached(&mut agent);
    // Somebody holds the file, so what comes waits in the spool.
    let holder = Connection::open(bench.file()).expect("it is there");
    eventually("a moment to lock the file", || {
        holder.execute_batch("BEGIN IMMEDIATE").ok()
    });
    target.go_on();
    let truth = Calls::told(&target.pauses_at("done"), target.pid());
    let mut seen = eventually("a spool", || {
        let seen = modes(bench.path());
        seen.iter()
            .any(|(name, _)| name.contains("-spool-"))
            .then_some(seen)
    });
    holder.execute_batch("ROLLBACK").expect("it has a lock");
    drop(holder);
    eventually("the file without a spool", || {
        let spooled = modes(bench.path())
            .iter()
            .any(|(name, _)| name.contains("-spool-"));
        (!spooled).then_some(())
    });
    // A file that is gone is replaced by another one.
    let gone = fs::metadata(bench.file()).expect("it is there").ino();
    fs::rename(bench.file(), bench.path().join("renamed")).expect("the folder is ours");
    eventually("another file", || {
        let another = fs::metadata(bench.file())
            .ok()
            .filter(|file| file.ino() != gone);
        seen.extend(modes(bench.path()));
        another
    });
    agent.signal(Signal::INT);
    let end = agent.end();
    assert_eq!(end.status.code(), Some(0), "{end:#?}");
    seen.extend(modes(bench.path()));
    for expected in ["out.db", "out.db-wal", "out.db-shm", "-spool-"] {
        assert!(
            seen.iter()
                .any(|(name, _)| name.ends_with(expected) || name.contains(expected))
        );
    }
    for (name, mode) in &seen {
        assert_eq!(mode & 0o077, 0, "{name}: {mode:o}");
    }
    bench.database().holds(&truth);
    target.ends_well();
}

/// Names and permissions of the files in a folder.
fn modes(folder: &Path) -> Vec<(String, u32)> {
    let entries = fs::read_dir(folder).expect("it is there");
    let entries = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        let mode = entry.metadata().ok()?.permissions().mode();
        Some((
            entry.file_name().to_string_lossy().into_owned(),
            mode & 0o7777,
        ))
    });
    entries.collect()
}

#[test]
fn the_unit_that_doctor_prints_is_one() {
    let end = command(&["doctor", "--unit"]);
    assert_eq!(end.status.code(), Some(0), "{end:#?}");
    let place = Place::new();
    let unit = place.0.path().join("exoscope@.service");
    fs::write(&unit, end.stdout.join("\n") + "\n").expect("there is room");
    let mut verify = Command::new("systemd-analyze");
    let verified = Process::start(verify.arg("verify").arg(&unit)).end();
    assert!(verified.status.success(), "{verified:#?}");
    assert_eq!(
        verified.stderr, [""; 0],
        "it says so of every line that it does not know"
    );
}
