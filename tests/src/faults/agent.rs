//! The agent is killed, stopped, or starved.

use std::collections::HashSet;
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::file::stays_on_its_cpu;
use super::mounts::Mount;
use super::scene::{Scene, attach, attach_by, attach_command, recover, stored, target, target_at};
use super::store::lock;
use super::{Account, Case, Options};
use crate::agent::{Bench, command, detach, is_attached};
use crate::build::{Build, exoscope};
use crate::cgroup::Cgroup;
use crate::database::Database;
use crate::eventually;
use crate::memory::{Semaphores, Traces};
use crate::process::{Process, Signal};

/// The cases.
pub const CASES: &[Case] = &[
    Case {
        name: "agent: SIGKILL",
        done: "the agent is killed at random moments, also while it begins, attaches, detaches or ends; \
               the next one, or `exoscope recover`, finishes the file. Made are the calls that were rows \
               before. Nothing stays attached",
        short: true,
        run: killed,
    },
    Case {
        name: "agent: SIGKILL while spooling",
        done: "the file is locked, the agent killed once it spools; then `exoscope recover`. Made are the \
               calls that were rows before it or came from the spool, without a gap",
        short: true,
        run: |_| killed_while_spooling(false),
    },
    Case {
        name: "agent: SIGKILL while spooling, next",
        done: "the same, and then another session in the file instead of `exoscope recover`",
        short: true,
        run: |_| killed_while_spooling(true),
    },
    Case {
        name: "agent: SIGKILL, little waits",
        done: "the same with a thousand calls a second, for which memory has room: what waits there for long goes \
               into the spool as well",
        short: true,
        run: |_| killed_while_little_waits(),
    },
    Case {
        name: "agent: SIGKILL on a full disk",
        done: "a tmpfs with the file is filled, the agent killed once it spools elsewhere; then `exoscope \
               recover`, which fails and leaves all as it was, and again when there is room. Made are the calls \
               that were rows before it or came from the spool, without a gap",
        short: true,
        run: |_| killed_on_a_full_disk(),
    },
    Case {
        name: "agent: OOM kill",
        done: "the memory of the agent's control group shrinks until the OOM killer comes; then the next \
               agent finishes the file. Made are the calls that were rows before it",
        short: false,
        run: oom_killed,
    },
    Case {
        name: "agent: clock set back",
        done: "the wall clock of the agent goes back by an hour",
        short: false,
        run: clock_set_back,
    },
    Case {
        name: "agent: SIGSTOP",
        done: "the agent is stopped for a while",
        short: false,
        run: stopped,
    },
    Case {
        name: "agent: SIGSTOP for 2.4 s",
        done: "the agent is stopped for 2.4 s, and the target stays on one CPU, whose ring holds all of its \
               calls",
        short: false,
        run: |_| stopped_briefly(),
    },
    Case {
        name: "agent: starved",
        done: "the agent gets 2 % of a CPU for a while",
        short: false,
        run: starved,
    },
];

/// Seconds that a target would call that is not waited for.
const LONG: u64 = 3600;
/// An agent is killed within this time of its start, or of attaching, or of the word to end.
const KILLED_WITHIN_MS: u64 = 400;
/// An agent is killed within this time of the moment that was waited for.
const KILLED_AFTER_US: u64 = 300;

/// The numbers of all calls that are rows.
///
/// # Panics
/// Where the file can't be read.
pub fn calls(file: &Path) -> HashSet<i64> {
    calls_where(file, "true")
}

fn calls_where(file: &Path, condition: &str) -> HashSet<i64> {
    let read = || -> rusqlite::Result<HashSet<i64>> {
        let database = Connection::open(file)?;
        let sql = format!("SELECT call_id FROM calls WHERE {condition}");
        let mut select = database.prepare(&sql)?;
        select.query_map([], |row| row.get(0))?.collect()
    };
    read().unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// Waits until the bytes of a target's code are its binary's, and its semaphores 0.
pub fn is_detached(target: &Process) {
    eventually("nothing to be attached", || {
        (Traces::of(target.pid()) == Traces::NONE).then_some(())
    });
}

/// When an agent is killed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// At any time before it has attached, or soon after.
    Beginning,
    /// Once it has begun to attach.
    Attaching,
    /// At any time after it has attached.
    Capturing,
    /// Once it has begun to detach.
    Detaching,
    /// At any time after it was told to end.
    Ending,
}

impl Moment {
    const ALL: [Self; 6] = [
        Self::Beginning,
        Self::Attaching,
        Self::Capturing,
        Self::Capturing,
        Self::Detaching,
        Self::Ending,
    ];

    /// The agent has attached before.
    const fn is_late(self) -> bool {
        !matches!(self, Self::Beginning | Self::Attaching)
    }
}

/// Starts an agent, kills it at some moment, and gives back the calls that were rows before.
fn attach_and_kill(
    moment: Moment,
    random: &mut fastrand::Rng,
    target: &Process,
    file: &Path,
) -> HashSet<i64> {
    let semaphores = Semaphores::of(target.pid());
    let mut agent = Process::start(&mut attach_command(target.pid(), file, &[]));
    if moment.is_late() {
        is_attached(&mut agent);
    }
    if moment == Moment::Attaching {
        while agent.runs() && semaphores.raised() == 0 {}
    } else {
        sleep(Duration::from_millis(random.u64(0..KILLED_WITHIN_MS)));
    }
    let before = match moment {
        Moment::Beginning | Moment::Attaching => HashSet::new(),
        _ => calls(file),
    };
    let attached = semaphores.raised();
    if matches!(moment, Moment::Detaching | Moment::Ending) {
        agent.signal(Signal::INT);
    }
    match moment {
        Moment::Detaching => while semaphores.raised() == attached {},
        Moment::Ending => sleep(Duration::from_micros(random.u64(0..100_000))),
        _ => (),
    }
    if matches!(moment, Moment::Attaching | Moment::Detaching) {
        // A sleep would last longer.
        let at = Instant::now() + Duration::from_micros(random.u64(0..KILLED_AFTER_US));
        while Instant::now() < at {}
    }
    agent.signal(Signal::KILL);
    agent.end();
    before
}

fn killed(options: Options) -> Account {
    let mut random = fastrand::Rng::with_seed(options.seed);
    let bench = Bench::new();
    let mut target = target(LONG);
    target.go_on();
    let mut sum = Account::default();
    for round in 0..options.count {
        let file = bench.path().join(format!("{round}.db"));
        let moment = Moment::ALL[random.usize(0..Moment::ALL.len())];
        let before = attach_and_kill(moment, &mut random, &target, &file);
        is_detached(&target);
        goes_on(&target, &file, random.bool());
        is_detached(&target);
        let after = calls(&file);
        sum.made += before.len() as u64;
        sum.rows += before.intersection(&after).count() as u64;
        is_whole(&file);
        fs::remove_file(&file).expect("it is there, and alone");
        // Nothing may be left of log and spool.
        assert_eq!(fs::read_dir(bench.path()).expect("it is there").count(), 0);
    }
    sum.target = runs(&mut target);
    sum.file = format!("whole, {} times", options.count);
    sum
}

/// The next agent, or `exoscope recover`, finishes a file. An agent that had hardly begun has left
/// none, or an empty one.
fn goes_on(target: &Process, file: &Path, by_next_agent: bool) {
    let begun = is_ours(file);
    if begun && !by_next_agent {
        recover(file);
        return;
    }
    if !begun {
        let _ = fs::remove_file(file);
    }
    detach(attach(target.pid(), file, &[]));
}

/// Whether there is a file, and something in it.
fn is_ours(file: &Path) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.len() > 0)
}

/// The OOM killer ends the agent; then the next one finishes the file.
fn oom_killed(_: Options) -> Account {
    let bench = Bench::new();
    let file = bench.file();
    let mut target = target(LONG);
    let group = Cgroup::limited(1 << 30);
    let agent = group.command(exoscope());
    let mut agent = Process::start(&mut attach_by(agent, target.pid(), &file, &[]));
    is_attached(&mut agent);
    target.go_on();
    let before = eventually("the OOM killer", || {
        let before = calls(&file);
        group.limit(group.usage().saturating_sub(2 << 20));
        (!agent.runs()).then_some(before)
    });
    assert_eq!(agent.end().status.signal(), Some(Signal::KILL.as_raw()));
    is_detached(&target);
    detach(attach(target.pid(), &file, &[]));
    let after = calls(&file);
    is_whole(&file);
    Account {
        made: before.len() as u64,
        rows: before.intersection(&after).count() as u64,
        target: runs(&mut target),
        file: "whole".to_owned(),
        ..Account::default()
    }
}

/// The wall clock is set back while calls arrive.
fn clock_set_back(options: Options) -> Account {
    let bench = Bench::new();
    let file = bench.file();
    let set_back = bench.path().join("set-back");
    let seconds = options.lasts.as_secs() + 2;
    let target = target(seconds);
    let mut agent = attach_command(target.pid(), &file, &[]);
    agent
        .env("LD_PRELOAD", Build::release("clock").disabled().binary())
        .env("CLOCK_BACK_WHILE", &set_back);
    let scene = Scene::of(target, seconds, agent, &file);
    scene.has_rows();
    File::create(&set_back).expect("the folder is writable");
    let lock = lock(&file);
    sleep(options.lasts.max(Duration::from_secs(1)));
    drop(lock);
    let left = scene.end();
    left.agent_ended_with(0);
    let database = Database::open(&file);
    // Events have the time of the clock: the one about the lock comes after the first ones.
    let apart = "SELECT (max(at_unix_ns) - min(at_unix_ns)) / 1000000000 FROM agent_events";
    assert!(database.number(apart) > 3000, "the clock went on");
    let lasted = "SELECT (ended_unix_ns - started_unix_ns) / 1000000000 FROM sessions";
    let lasted = database.number(lasted).cast_unsigned();
    assert!((seconds..seconds + 60).contains(&lasted), "{lasted} s");
    left.account(None)
}

/// Expects that the file is not damaged, and that its sums are those of its rows.
fn is_whole(file: &Path) {
    super::scene::account(file, 0, None, "");
}

/// Expects that a target runs, and says so.
///
/// # Panics
/// Where it does not.
pub fn runs(target: &mut Process) -> String {
    assert!(target.runs(), "the target has ended");
    "goes on".to_owned()
}

/// The segments of spools in a folder.
fn segments(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("it is there");
    let paths = entries.map(|entry| entry.expect("it is readable").path());
    paths
        .filter(|path| path.to_string_lossy().contains("-spool-"))
        .collect()
}

fn killed_while_spooling(next_agent: bool) -> Account {
    let bench = Bench::new();
    let file = bench.file();
    killed_while_blocked(
        target(LONG),
        SPOOLED,
        bench.path(),
        &file,
        || lock(&file),
        |target, lock| {
            drop(lock);
            match next_agent {
                true => detach(attach(target.pid(), &file, &[])).stderr,
                false => recover(&file),
            }
        },
    )
}

fn killed_while_little_waits() -> Account {
    let bench = Bench::new();
    let file = bench.file();
    killed_while_blocked(
        target_at(1000, LONG),
        COPIED,
        bench.path(),
        &file,
        || lock(&file),
        |_, lock| {
            drop(lock);
            recover(&file)
        },
    )
}

fn killed_on_a_full_disk() -> Account {
    let bench = Bench::new();
    let disk = Mount::tmpfs(bench.path(), "disk", 96);
    let file = disk.path.join("out.db");
    killed_while_blocked(
        target(LONG),
        SPOOLED,
        bench.path(),
        &file,
        || disk.fill(),
        |_, filler| {
            let stored = calls(&file);
            let end = command(&["recover", file.to_str().expect("it is UTF-8")]);
            assert_eq!(end.status.code(), Some(1), "{:#?}", end.stderr);
            let left = (calls(&file), segments(bench.path()).is_empty());
            assert!(left == (stored, false), "{:#?}", end.stderr);
            filler.remove();
            recover(&file)
        },
    )
}

/// What is in the spool of an agent before it is killed.
struct Waits {
    /// Copies of what waits in memory, or what memory had no room for.
    copied: bool,
    /// Of which there are more bytes than these.
    bytes: u64,
}

const SPOOLED: Waits = Waits {
    copied: false,
    bytes: 1 << 20,
};
/// Of some seconds of a thousand calls each.
const COPIED: Waits = Waits {
    copied: true,
    bytes: 64 << 10,
};

/// Has `block` keep an agent from writing `file`, kills it when its spool in `folder` has what `waits` says, and has
/// `finish` say what became of them.
fn killed_while_blocked<B>(
    mut target: Process,
    waits: Waits,
    folder: &Path,
    file: &Path,
    block: impl FnOnce() -> B,
    finish: impl FnOnce(&Process, B) -> Vec<String>,
) -> Account {
    // Its calls are numbered one after the other then.
    stays_on_its_cpu(&target);
    let spool = folder.to_str().expect("it is UTF-8");
    let agent = attach(target.pid(), file, &["--spool-dir", spool]);
    target.go_on();
    eventually("the first rows", || stored(file).filter(|rows| *rows > 0));
    let blocked = block();
    eventually("segments", || {
        let bytes = |path: &PathBuf| path.metadata().map_or(0, |metadata| metadata.len());
        let copies = |path: &&PathBuf| path.to_string_lossy().ends_with("-copy") == waits.copied;
        let bytes: u64 = segments(folder).iter().filter(copies).map(bytes).sum();
        (bytes > waits.bytes).then_some(())
    });
    let before = calls(file);
    agent.signal(Signal::KILL);
    agent.end();
    is_detached(&target);
    let said = finish(&target, blocked);
    let spooled = said.iter().find_map(|line| {
        let (_, calls) = line.split_once("without an end: ")?;
        calls.split(' ').next()?.parse::<u64>().ok()
    });
    let spooled = spooled.unwrap_or_else(|| panic!("it said: {said:#?}"));
    assert!(segments(folder).is_empty(), "segments are left");
    let after = calls_where(file, "session_id = 1");
    is_whole(file);
    let mut new: Vec<i64> = after.difference(&before).copied().collect();
    new.sort_unstable();
    assert!(!new.is_empty(), "{said:#?}");
    // The numbers of a CPU are equally far apart.
    let steps: Vec<i64> = new.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let gaps = steps.iter().filter(|step| **step != steps[0]).count();
    assert_eq!(gaps, 0, "the spool had all calls of a time");
    let there = before.intersection(&after).count();
    Account {
        made: before.len() as u64 + spooled,
        rows: (there + new.len()) as u64,
        lost: 0,
        only_counted: 0,
        recovery_ms: None,
        target: runs(&mut target),
        file: "whole".to_owned(),
    }
}

/// Something is done to the agent, for a while.
fn while_it_works(
    lasts: Duration,
    prepare: impl FnOnce(&Process),
    begin: impl FnOnce(&Process),
    end: impl FnOnce(&Process),
) -> Account {
    let bench = Bench::new();
    let file = bench.file();
    let seconds = lasts.as_secs() + 3;
    let target = target(seconds);
    prepare(&target);
    let agent = attach_command(target.pid(), &file, &[]);
    let scene = Scene::of(target, seconds, agent, &file);
    scene.has_rows();
    begin(&scene.agent);
    sleep(lasts);
    let before = stored(&file).unwrap_or(0);
    let ended = Instant::now();
    end(&scene.agent);
    let recovery = scene.recovery_ms(before, ended);
    scene.end().account(Some(recovery))
}

fn stopped(options: Options) -> Account {
    stopped_for(options.lasts, |_| ())
}

fn stopped_for(lasts: Duration, prepare: impl FnOnce(&Process)) -> Account {
    while_it_works(
        lasts,
        prepare,
        |agent| agent.signal(Signal::STOP),
        |agent| agent.signal(Signal::CONT),
    )
}

fn stopped_briefly() -> Account {
    let account = stopped_for(Duration::from_millis(2400), stays_on_its_cpu);
    assert_eq!(account.rows, account.made, "{account:?}");
    account
}

/// A control group whose processes get little of a CPU.
struct Starving(PathBuf);

impl Starving {
    fn new() -> Self {
        let name = format!("exoscope-starving-{}", std::process::id());
        let (old, new) = (Path::new("/sys/fs/cgroup/cpu"), Path::new("/sys/fs/cgroup"));
        let (group, file, quota) = if old.is_dir() {
            (old.join(name), "cpu.cfs_quota_us", "2000")
        } else {
            (new.join(name), "cpu.max", "2000 100000")
        };
        fs::create_dir(&group).expect("this is root, and a controller for CPUs is mounted");
        fs::write(group.join(file), quota).expect("the controller has a quota");
        Self(group)
    }

    fn add(&self, process: &Process) {
        fs::write(self.0.join("cgroup.procs"), process.pid().to_string()).expect("it runs");
    }

    /// Expects that its processes had to wait.
    fn has_starved(&self) {
        let stat = fs::read_to_string(self.0.join("cpu.stat")).expect("the group is there");
        let line = stat
            .lines()
            .find_map(|line| line.strip_prefix("nr_throttled "));
        let times = line.and_then(|times| times.parse::<u64>().ok());
        assert!(times.expect("the kernel counts it") > 0, "{stat}");
    }

    fn release(&self, process: &Process) {
        let parent = self.0.parent().expect("a group has a parent");
        fs::write(parent.join("cgroup.procs"), process.pid().to_string()).expect("it runs");
    }
}

impl Drop for Starving {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

fn starved(options: Options) -> Account {
    let group = Starving::new();
    while_it_works(
        options.lasts,
        |_| (),
        |agent| group.add(agent),
        |agent| {
            group.has_starved();
            group.release(agent);
        },
    )
}
