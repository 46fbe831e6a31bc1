//! Agent and target have no memory to spare: their control groups are at the limit.
//!
//! What a process needs is what is charged to its group but for the files that the kernel could read
//! again. At 90 % of the limit there is room for a ninth of that beside it, at 100 % for nothing.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::agent::is_detached;
use super::scene::{RATE, Scene, account, attach_by, attach_command, recover, stored, target};
use super::store::{LOST, lock};
use super::{Account, Case, Options};
use crate::agent::{self, Bench};
use crate::build::{Build, exoscope};
use crate::cgroup::Cgroup;
use crate::database::Database;
use crate::process::{Process, Signal};

/// The cases.
pub const CASES: &[Case] = &[
    Case {
        name: "memory: rings",
        done: "one agent has rings of 16 MiB, another one of 32 MiB: they are charged to its control \
               group, and not to the target's",
        short: false,
        run: rings,
    },
    Case {
        name: "memory: agent at 90 %",
        done: "what the agent needs is 90 % of its control group's limit for a while",
        short: false,
        run: |options| agent_at(options, 90, false),
    },
    Case {
        name: "memory: agent at 95 %",
        done: "what the agent needs is 95 % of its control group's limit for a while",
        short: false,
        run: |options| agent_at(options, 95, false),
    },
    Case {
        name: "memory: agent at 100 %",
        done: "what the agent needs is all that its control group may use for a while",
        short: false,
        run: |options| agent_at(options, 100, false),
    },
    Case {
        name: "memory: agent at 90 %, swap",
        done: "the same with a swap file",
        short: false,
        run: |options| agent_at(options, 90, true),
    },
    Case {
        name: "memory: agent at 95 %, swap",
        done: "the same with a swap file",
        short: false,
        run: |options| agent_at(options, 95, true),
    },
    Case {
        name: "memory: agent at 100 %, swap",
        done: "the same with a swap file",
        short: false,
        run: |options| agent_at(options, 100, true),
    },
    Case {
        name: "memory: scarce",
        done: "the file is locked, and another process of the agent's control group writes to more memory \
               than there is, over and over, until calls are only counted: all wait for the swap file",
        short: true,
        run: scarce,
    },
    Case {
        name: "memory: target at 90 %",
        done: "what the target needs is 90 % of its control group's limit before the agent attaches; an \
               agent that refuses gets just the room that it asks for",
        short: false,
        run: |options| target_at(options, 90, false),
    },
    Case {
        name: "memory: target at 95 %",
        done: "what the target needs is 95 % of its control group's limit before the agent attaches",
        short: false,
        run: |options| target_at(options, 95, false),
    },
    Case {
        name: "memory: target at 100 %",
        done: "what the target needs is all that its control group may use before the agent attaches, but \
               for the page or two that it still takes by itself",
        short: false,
        run: |options| target_at(options, 100, false),
    },
    Case {
        name: "memory: target at 90 %, swap",
        done: "the same with a swap file",
        short: false,
        run: |options| target_at(options, 90, true),
    },
    Case {
        name: "memory: target at 95 %, swap",
        done: "the same with a swap file",
        short: false,
        run: |options| target_at(options, 95, true),
    },
    Case {
        name: "memory: target at 100 %, swap",
        done: "the same with a swap file",
        short: false,
        run: |options| target_at(options, 100, true),
    },
];

/// After so long the agent has taken what it takes at this rate: most of it are pages of the file that
/// it has at hand, up to 16 MiB.
const GROWS_FOR: Duration = Duration::from_secs(16);
/// More than any process of these cases needs.
const PLENTY: u64 = 1 << 30;

/// A file that the machine swaps to; no more when it is dropped.
struct Swap(PathBuf);

impl Swap {
    /// A new swap file in `folder`.
    ///
    /// # Panics
    /// Where the kernel, or the file system, has none.
    fn on(folder: &Path) -> Self {
        let file = folder.join("swap");
        // Swapped to is only what has its place on the disk.
        std::fs::write(&file, vec![0; 128 << 20]).expect("the folder is writable");
        run("chmod", Command::new("chmod").arg("600").arg(&file));
        run("mkswap", Command::new("mkswap").arg(&file));
        run("swapon", Command::new("swapon").arg(&file));
        Self(file)
    }
}

impl Drop for Swap {
    fn drop(&mut self) {
        let _ = Command::new("swapoff").arg(&self.0).status();
    }
}

fn run(name: &str, command: &mut Command) {
    let output = command.stdout(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{name}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {}", said.trim());
}

/// A control group that may swap, or may not.
struct Memory {
    group: Cgroup,
    swap: Option<Swap>,
}

impl Memory {
    fn new(folder: &Path, swap: bool) -> Self {
        let group = Cgroup::limited(PLENTY);
        let swap = swap.then(|| Swap::on(folder));
        if swap.is_none() {
            group.without_swap();
        }
        Self { group, swap }
    }

    /// Sets the limit so that what is needed is so many percent of it.
    fn limit(&self, percent: u64) -> u64 {
        self.limit_beside(percent, 0)
    }

    /// The same with so many bytes beside that.
    fn limit_beside(&self, percent: u64, bytes: u64) -> u64 {
        let needed = self.group.needed() * 100 / percent;
        self.group.limit_from(needed + bytes)
    }

    /// What became of it.
    fn said(&self, limit: u64) -> String {
        let hits = self.group.hits();
        format!("limit {:.1} MiB, hit {hits} times", mib(limit))
    }
}

#[expect(clippy::cast_precision_loss, reason = "it is printed with one digit")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn rings(_: Options) -> Account {
    const MORE: u64 = 16 << 20;
    let bench = Bench::new();
    let in_target = Cgroup::limited(PLENTY);
    let mut sum = Account::default();
    let mut charged = Vec::new();
    for size in ["16MiB", "32MiB"] {
        let file = bench.path().join(format!("{size}.db"));
        let target = target_in(&in_target, 1);
        let before = in_target.needed();
        let group = Cgroup::limited(PLENTY);
        let options = ["--ring-size", size];
        let agent = attach_by(group.command(exoscope()), target.pid(), &file, &options);
        let scene = Scene::of(target, 1, agent, &file);
        charged.push(group.needed());
        // Pages of code that are changed become the target's own.
        let added = in_target.needed().saturating_sub(before);
        assert!(added < MORE / 4, "the target has {added} bytes more");
        sum = sum.and(scene.end().account(None));
    }
    let more = charged[1].saturating_sub(charged[0]);
    assert!(
        (MORE / 2..MORE * 3 / 2).contains(&more),
        "rings that are larger by {MORE} bytes cost {more}"
    );
    Account {
        file: format!("whole; {:.1} MiB charged for 16", mib(more)),
        ..sum
    }
}

fn agent_at(options: Options, percent: u64, swap: bool) -> Account {
    let bench = Bench::new();
    let file = bench.file();
    let memory = Memory::new(bench.path(), swap);
    let seconds = GROWS_FOR.as_secs() + options.lasts.as_secs() + 10;
    let target = target(seconds);
    let agent = memory.group.command(exoscope());
    let agent = attach_by(agent, target.pid(), &file, &[]);
    let mut scene = Scene::of(target, seconds, agent, &file);
    scene.has_rows();
    sleep(GROWS_FOR);
    let committed = stored(&file).unwrap_or(0);
    let limit = memory.limit(percent);
    sleep(options.lasts);
    assert!(memory.group.hits() > 0, "the limit was not reached");
    let mut said = memory.said(limit);
    if memory.swap.is_some() {
        let swapped = memory.group.swapped();
        assert!(swapped > 0, "nothing was swapped out: {said}");
        said = format!("{said}, {:.1} MiB swapped out", mib(swapped));
    }
    if !scene.agent.runs() {
        return killed(scene, committed, &said);
    }
    let before = stored(&file).unwrap_or(0);
    let ended = Instant::now();
    memory.group.limit(PLENTY);
    let recovery = scene.recovery_ms(before, ended);
    let account = scene.end().account(Some(recovery));
    let steps = "SELECT count(*) FROM agent_events WHERE kind = 'degraded'";
    let steps = Database::open(&file).number(steps);
    Account {
        file: format!("whole; {said}; steps: {steps}"),
        ..account
    }
}

/// The OOM killer has ended the agent: what was committed is there, and the target goes on.
fn killed(scene: Scene, committed: u64, said: &str) -> Account {
    let Scene {
        mut target, file, ..
    } = scene;
    is_detached(&target);
    recover(&file);
    let whole = account(&file, 0, None, "");
    target.pauses_at("done");
    target.ends_well();
    Account {
        made: committed,
        rows: whole.rows.min(committed),
        target: "as ever".to_owned(),
        file: format!("{}; agent OOM-killed; {said}", whole.file),
        ..Account::default()
    }
}

/// Room beside what the agent needs, of which another process wants more.
const ROOM: u64 = 24 << 20;
/// What that process writes to, as `dd` takes it.
const WRITTEN_TO: &str = "bs=64M";

fn scarce(_: Options) -> Account {
    const SECONDS: u64 = 4;
    let bench = Bench::new();
    let file = bench.file();
    let memory = Memory::new(bench.path(), true);
    // Version 2 has limit and pressure in one group, version 1 no pressure.
    let pressure = (!memory.group.has_pressure()).then(Cgroup::with_pressure);
    let groups: Vec<&Cgroup> = pressure.iter().chain([&memory.group]).collect();
    let target = target(SECONDS);
    let agent = attach_by(
        Cgroup::command_in(&groups, exoscope()),
        target.pid(),
        &file,
        &[],
    );
    let mut scene = Scene::of(target, SECONDS, agent, &file);
    scene.has_rows();

    let locked = lock(&file);
    let limit = memory.group.limit_from(memory.group.needed() + ROOM);
    let mut other = Cgroup::command_in(&groups, Path::new("dd"));
    let other = Process::start(other.args(["if=/dev/zero", "of=/dev/null", WRITTEN_TO]));
    let scarce = |line: &str| line.contains(": memory was scarce, so ");
    scene.agent.says("a step", scarce);
    other.signal(Signal::KILL);
    other.end();
    memory.group.limit(PLENTY);
    let before = stored(&file).unwrap_or(0);
    let ended = Instant::now();
    drop(locked);
    let recovery = scene.recovery_ms(before, ended);
    let left = scene.end();
    left.agent_ended_with(LOST);
    said_to_be_scarce(&file);
    let account = left.account(Some(recovery));
    assert!(account.only_counted > 0, "{account:?}");
    Account {
        file: format!("whole; {}", memory.said(limit)),
        ..account
    }
}

/// A step was an event, and the report says first what was only counted.
fn said_to_be_scarce(file: &Path) {
    let events = "SELECT count(*) FROM agent_events
                  WHERE kind = 'degraded' AND message LIKE '%: memory was scarce, so %'";
    assert!(
        Database::open(file).number(events) > 0,
        "no step is an event"
    );
    let report = agent::command(&["report", file.to_str().expect("it is UTF-8")]).stdout;
    let said = |line: &String| {
        line.contains(" calls counted and not recorded between ")
            && line.ends_with(", because memory was scarce")
    };
    assert!(report.iter().any(said), "{report:#?}");
}

/// A target that waits, in a control group.
fn target_in(group: &Cgroup, seconds: u64) -> Process {
    let mut command = group.command(&Build::release("variants").binary());
    command.args(["--rate", &RATE.to_string()]);
    command.args(["--seconds", &seconds.to_string(), "--wait-stdin"]);
    let mut target = Process::start(&mut command);
    target.pauses_at("ready");
    target
}

/// Bytes that a target may take after it was ready, without us: it takes a page or two. Less than the agent
/// asks for.
const OWN: u64 = 32 << 10;

fn target_at(options: Options, percent: u64, swap: bool) -> Account {
    let bench = Bench::new();
    let memory = Memory::new(bench.path(), swap);
    let seconds = options.lasts.as_secs();
    // Without us it has enough.
    let mut alone = target_in(&memory.group, 1);
    memory.limit_beside(percent, OWN);
    alone.go_on();
    alone.pauses_at("done");
    alone.ends_well();
    memory.group.limit(PLENTY);

    let mut target = target_in(&memory.group, seconds);
    let limit = memory.limit_beside(percent, OWN);
    let (agent, refused) = attach_with_room(&mut target, &memory.group, &bench.file());
    let left = Scene::attached(target, seconds, agent, &bench.file()).end();
    left.agent_ended_with(0);
    let account = left.account(None);
    assert_eq!(account.lost, 0, "calls were lost: {account:?}");
    let refused = match refused {
        0 => String::new(),
        kib => format!("refused, then attached with room for {kib} KiB; "),
    };
    Account {
        file: format!("whole; {refused}{}", memory.said(limit)),
        ..account
    }
}

/// Attaches to a target; where its group has no room for that, the agent refuses, and gets just the
/// room that it asks for, in KiB. The target is not harmed either way.
fn attach_with_room(target: &mut Process, group: &Cgroup, file: &Path) -> (Process, u64) {
    let mut asked = 0;
    // A CPU may have taken pages for the group in advance.
    for _ in 0..5 {
        let mut agent = Process::start(&mut attach_command(target.pid(), file, &[]));
        let said = agent.says("`attached`, or why not", |line| {
            line.starts_with("exoscope: attached to ") || line.contains("can't attach to ")
        });
        let kib = said.split("up to ").nth(1);
        let kib = kib.and_then(|words| words.split(' ').next());
        let Some(kib) = kib.and_then(|word| word.parse::<u64>().ok()) else {
            return (agent, asked);
        };
        assert_eq!(agent.end().status.code(), Some(1), "{said}");
        assert!(target.runs(), "the target has ended");
        asked = kib;
        group.limit_from(group.needed() + (kib << 10));
    }
    panic!("the agent refuses a target with the room that it asked for: {asked} KiB");
}
