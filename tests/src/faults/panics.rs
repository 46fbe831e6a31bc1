//! Threads of the agent panic: a debug build has them do so on command.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use super::agent::is_detached;
use super::scene::{Scene, account, attach_by, stored, target_at};
use super::{Account, Case};
use crate::agent::Bench;
use crate::build::debug_exoscope;
use crate::database::Database;

/// The cases.
pub const CASES: &[Case] = &[
    Case {
        name: "panic: consumer",
        done: "the thread that drains the rings panics twice",
        short: true,
        run: |_| all(goes_on("consumer:50:2", 2, 2)),
    },
    Case {
        name: "panic: record",
        done: "the thread that drains the rings panics over two records: those are lost",
        short: false,
        run: |_| {
            let account = goes_on("record:5000:2", 2, 2);
            assert_eq!(account.lost, 2);
            account
        },
    },
    Case {
        name: "panic: writer",
        done: "the thread that writes panics twice between two batches",
        short: false,
        run: |_| all(goes_on("writer:20:2", 2, 2)),
    },
    Case {
        name: "panic: writer given up",
        done: "the thread that writes panics time after time between two batches: it writes on",
        short: false,
        run: |_| all(goes_on("writer:20:1000000", 5, 5)),
    },
    Case {
        name: "panic: commit",
        done: "the thread that writes panics once over a batch",
        short: false,
        run: |_| all(goes_on("commit:20:1", 1, 0)),
    },
    Case {
        name: "panic: batch",
        done: "the thread that writes panics over a batch as often as that is tried: it is lost",
        short: true,
        run: |_| goes_on("commit:20:2", 2, 0),
    },
    Case {
        name: "panic: copies",
        done: "the thread that copies what waits for the file panics time after time: it is given up",
        short: false,
        run: |_| all(goes_on("copies:2:1000000", 5, 5)),
    },
    Case {
        name: "panic: stats",
        done: "the thread that samples the process panics twice",
        short: false,
        run: |_| all(sampling("stats:3:2", 2)),
    },
    Case {
        name: "panic: stats given up",
        done: "the thread that samples the process panics time after time",
        short: false,
        run: |_| all(sampling("stats:3:1000000", 5)),
    },
    Case {
        name: "panic: sampler",
        done: "the thread that samples stacks panics twice",
        short: false,
        run: |_| all(sampling("sampler:3:2", 2)),
    },
    Case {
        name: "panic: sampler given up",
        done: "the thread that samples stacks panics time after time",
        short: false,
        run: |_| all(sampling("sampler:3:1000000", 5)),
    },
    Case {
        name: "panic: consumer given up",
        done: "the thread that drains the rings panics time after time: the session ends. Made are the \
               calls that the kernel counted by then, lost those that `completeness` says are missing",
        short: false,
        run: |_| {
            ends(
                "consumer:50:1000000",
                "the consumer panicked time after time",
            )
        },
    },
    Case {
        name: "panic: session",
        done: "the first thread panics: the session ends. Made are the calls that the kernel counted by \
               then",
        short: true,
        run: |_| ends("session:4:1", "the session panicked"),
    },
];

/// Panics after which a thread is given up.
const GIVEN_UP: u32 = 5;
/// Calls a second: a debug build is slow.
const RATE: u32 = 20_000;
/// Seconds for which the target calls.
const SECONDS: u64 = 3;

/// A scene whose agent panics where and when `plan` says.
fn scene(file: &Path, plan: &str, seconds: u64) -> Scene {
    let target = target_at(RATE, seconds);
    let sampled = ["--sample", "99"];
    let options = if plan.starts_with("sampler") {
        &sampled[..]
    } else {
        &["--stats-interval", "50"]
    };
    let agent = Command::new(debug_exoscope());
    let mut agent = attach_by(agent, target.pid(), file, options);
    agent.env("EXOSCOPE_PANIC", plan).env("RUST_BACKTRACE", "0");
    Scene::of(target, seconds, agent, file)
}

/// What a thread says that was made to panic.
const PANICKED: &str = "EXOSCOPE_PANIC wants the ";

/// The agent goes on after so many panics, of which so many are recorded.
fn goes_on(plan: &str, panics: u32, recorded: i64) -> Account {
    let bench = Bench::new();
    goes_on_in(&bench, plan, panics, recorded)
}

fn goes_on_in(bench: &Bench, plan: &str, panics: u32, recorded: i64) -> Account {
    let file = bench.file();
    let mut scene = scene(&file, plan, SECONDS);
    for _ in 0..panics {
        scene.agent.says(PANICKED, |line| line.contains(PANICKED));
    }
    let ended = Instant::now();
    let recovery = scene.recovery_ms(stored(&file).unwrap_or(0), ended);
    let left = scene.end();
    left.agent_ended_with(0);
    let panics = "SELECT count(*) FROM agent_events WHERE kind = 'panic'";
    let database = Database::open(&left.file);
    assert_eq!(
        database.number(panics),
        recorded,
        "{:#?}",
        left.agent.stderr
    );
    left.account(Some(recovery))
}

/// What samples goes on after so many panics; or is given up, and samples nothing more.
fn sampling(plan: &str, panics: u32) -> Account {
    const SOME: i64 = 10;
    let bench = Bench::new();
    let account = goes_on_in(&bench, plan, panics, panics.into());
    let sampled = match plan.starts_with("sampler") {
        true => "SELECT count(*) FROM samples",
        false => "SELECT count(*) FROM process_stats",
    };
    let sampled = bench.database().number(sampled);
    let given_up = panics >= GIVEN_UP;
    assert_eq!(sampled < SOME, given_up, "{sampled} samples");
    account
}

/// Expects that nothing was lost.
fn all(account: Account) -> Account {
    assert_eq!(account.lost, 0, "calls were lost: {account:?}");
    account
}

/// The agent ends, says why, and leaves nothing attached.
fn ends(plan: &str, why: &str) -> Account {
    let bench = Bench::new();
    let file = bench.file();
    let mut scene = scene(&file, plan, 3600);
    let end = scene.agent.end();
    assert_eq!(end.status.code(), Some(1), "{:#?}", end.stderr);
    let told = end.stderr.iter().any(|line| line.contains(why));
    assert!(told, "no `{why}` in {:#?}", end.stderr);
    is_detached(&scene.target);
    assert!(scene.target.runs(), "the target has ended");
    let database = Database::open(&file);
    let sum = |what| database.number(&format!("SELECT sum({what}) FROM completeness"));
    let counted = sum("calls_counted").cast_unsigned();
    Account {
        lost: sum("calls_missing").cast_unsigned(),
        ..account(&file, counted, None, "goes on")
    }
}
