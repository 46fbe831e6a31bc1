//! The file can't be written, or not fast enough, or not at all.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use super::fuse::Flaky;
use super::mounts::{Filler, Mount};
use super::scene::{RATE, Scene, Told, account, recover, stored};
use super::{Account, Case, Options};
use crate::agent::Bench;
use crate::calls::Calls;
use crate::process::Signal;

/// The cases.
pub const CASES: &[Case] = &[
    Case {
        name: "store: tmpfs full",
        done: "a tmpfs with the file is filled while calls arrive; the spool is elsewhere",
        short: true,
        run: |options| full(options, Mount::tmpfs, true),
    },
    Case {
        name: "store: tmpfs full, spool in it",
        done: "a tmpfs with file and spool is filled while calls arrive",
        short: false,
        run: |options| full(options, Mount::tmpfs, false),
    },
    Case {
        name: "store: ext4 full",
        done: "an ext4 with the file is filled while calls arrive; the spool is elsewhere",
        short: false,
        run: |options| full(options, Mount::ext4, true),
    },
    Case {
        name: "store: read-only for a while",
        done: "the file system refuses every change, then no more (FUSE); the spool is elsewhere",
        short: true,
        run: |options| refusing(options, libc::EROFS),
    },
    Case {
        name: "store: I/O errors for a while",
        done: "every write fails, then no more (FUSE); the spool is elsewhere",
        short: false,
        run: |options| refusing(options, libc::EIO),
    },
    Case {
        name: "store: every 1000th write fails",
        done: "every 1000th write fails with an I/O error as long as the session lasts (FUSE)",
        short: true,
        run: every_write,
    },
    Case {
        name: "store: the Nth write fails",
        done: "one write fails with an I/O error, or some in a row do: those of a session by random, in one \
               session after the other (FUSE)",
        short: true,
        run: nth_write,
    },
    Case {
        name: "store: torn writes",
        done: "every 1000th write stores half of its bytes and then fails (FUSE)",
        short: false,
        run: torn_writes,
    },
    Case {
        name: "store: I/O errors to the end",
        done: "every write fails to the end of the session and after it; then `exoscope recover`",
        short: true,
        run: to_the_end,
    },
    Case {
        name: "store: slow disk",
        done: "every write takes 20 ms longer (FUSE); the spool is elsewhere",
        short: false,
        run: slow,
    },
    Case {
        name: "store: blocked disk",
        done: "no write comes to an end for a while, nor fails (FUSE); the spool is elsewhere",
        short: true,
        run: |options| all(blocked(options, true)),
    },
    Case {
        name: "store: blocked disk, spool on it",
        done: "no write comes to an end for a while, nor fails (FUSE), neither to the file nor to the spool",
        short: false,
        run: |options| blocked(options, false),
    },
    Case {
        name: "store: blocked to the end",
        done: "no write comes to an end any more (FUSE), so the agent leaves all to the spool; then \
               `exoscope recover`",
        short: false,
        run: blocked_to_the_end,
    },
    Case {
        name: "store: locked",
        done: "another process holds the file's write lock",
        short: true,
        run: locked,
    },
    Case {
        name: "store: torn spool",
        done: "the file is locked; every 3rd write to the spool stores half and then fails (FUSE)",
        short: false,
        run: torn_spool,
    },
    Case {
        name: "store: no file descriptors",
        done: "the file is locked, and the agent can open no file",
        short: false,
        run: no_descriptors,
    },
];

/// Exit status of an agent that has calls without a row.
pub const LOST: i32 = 3;
/// How long calls go on after the fault.
const AFTER: Duration = Duration::from_secs(2);

/// Seconds of a target that calls before, during and after a fault.
fn seconds(options: Options) -> u64 {
    (options.lasts + AFTER).as_secs() + 1
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the path is UTF-8")
}

/// Lets something happen while calls arrive, ends it, and accounts for all of them. The file is to tell
/// of it.
fn with<T>(
    options: Options,
    file: &Path,
    spool: Option<&Path>,
    told: &Told,
    begin: impl FnOnce(&Scene) -> T,
    end: impl FnOnce(T),
) -> Account {
    let folder = spool.map(|folder| ["--spool-dir", text(folder)]);
    let agent_options = folder.as_ref().map_or(&[][..], |words| &words[..]);
    let scene = Scene::begin(file, agent_options, seconds(options));
    scene.has_rows();
    let fault = begin(&scene);
    sleep(options.lasts);
    let before = stored(file).unwrap_or(0);
    let ended = Instant::now();
    end(fault);
    let recovery = scene.recovery_ms(before, ended);
    let left = scene.end();
    let account = left.account(Some(recovery));
    left.file_tells_of(told, options.lasts);
    let missing = account.lost + account.only_counted;
    left.agent_ended_with(if missing > 0 { LOST } else { 0 });
    account
}

/// Expects that nothing was lost.
fn all(account: Account) -> Account {
    assert_eq!(account.lost, 0, "calls were lost: {account:?}");
    assert_eq!(account.only_counted, 0, "calls have no row: {account:?}");
    account
}

fn full(options: Options, make: fn(&Path, &str, u32) -> Mount, elsewhere: bool) -> Account {
    let bench = Bench::new();
    let disk = make(bench.path(), "disk", 96);
    let file = disk.path.join("out.db");
    let spool = elsewhere.then(|| bench.path());
    let fill = |_: &Scene| disk.fill();
    let account = with(options, &file, spool, &Told::FAILED, fill, Filler::remove);
    if elsewhere { all(account) } else { account }
}

fn refusing(options: Options, error: i32) -> Account {
    let bench = Bench::new();
    let disk = Flaky::mount(bench.path(), "disk");
    let file = disk.path.join("out.db");
    all(with(
        options,
        &file,
        Some(bench.path()),
        &Told::FAILED,
        |_| disk.faults.error.store(error, Ordering::Relaxed),
        |()| disk.faults.heal(),
    ))
}

/// Something goes wrong now and then, from the first rows to the end.
fn now_and_then(options: Options, fault: impl FnOnce(&Flaky)) -> Account {
    let bench = Bench::new();
    let disk = Flaky::mount(bench.path(), "disk");
    let scene = Scene::begin(
        &disk.path.join("out.db"),
        &["--spool-dir", text(bench.path())],
        seconds(options),
    );
    scene.has_rows();
    fault(&disk);
    let left = scene.end();
    disk.faults.heal();
    left.agent_ended_with(0);
    let account = all(left.account(None));
    assert!(disk.faults.done() > 0, "nothing went wrong");
    left.file_tells("the file can be written again after ");
    account
}

fn every_write(options: Options) -> Account {
    now_and_then(options, |disk| {
        disk.faults.every.store(1000, Ordering::Relaxed);
    })
}

fn torn_writes(options: Options) -> Account {
    now_and_then(options, |disk| {
        disk.faults.torn.store(1000, Ordering::Relaxed);
    })
}

/// Writes that are to fail after the first rows, of those of a session of a second.
const WRITES: u64 = 300;

fn nth_write(options: Options) -> Account {
    let mut random = fastrand::Rng::with_seed(options.seed);
    let bench = Bench::new();
    let mut sum = Account::default();
    for round in 0..options.count.clamp(2, 20) {
        let disk = Flaky::mount(bench.path(), &round.to_string());
        let spool = ["--spool-dir", text(bench.path())];
        let scene = Scene::begin(&disk.path.join("out.db"), &spool, 1);
        scene.has_rows();
        let (nth, more) = (random.u64(1..WRITES), random.u64(1..8));
        disk.faults
            .fail_from(nth, if random.bool() { more } else { 0 });
        let left = scene.end();
        assert!(disk.faults.done() > 0, "write {nth} did not come");
        left.agent_ended_with(0);
        sum = sum.and(all(left.account(None)));
    }
    sum
}

fn slow(options: Options) -> Account {
    let bench = Bench::new();
    let disk = Flaky::mount(bench.path(), "disk");
    all(with(
        options,
        &disk.path.join("out.db"),
        Some(bench.path()),
        &Told::SLOW,
        |_| disk.faults.delay_ms.store(20, Ordering::Relaxed),
        |()| disk.faults.heal(),
    ))
}

/// A target, captured, with the file on a disk whose writes will not come to an end. Nor does whoever
/// closes such a file.
fn begin_on(disk: &Flaky, spool: &Path, seconds: u64) -> Scene {
    let spool = ["--spool-dir", text(spool)];
    let scene = Scene::begin(&disk.path.join("out.db"), &spool, seconds);
    scene.has_rows();
    disk.faults.blocked.store(true, Ordering::Relaxed);
    scene
}

fn blocked(options: Options, elsewhere: bool) -> Account {
    // It is told of after a second.
    let lasts = options.lasts.max(Duration::from_secs(2));
    let bench = Bench::new();
    let disk = Flaky::mount(bench.path(), "disk");
    let spool = if elsewhere { bench.path() } else { &disk.path };
    let scene = begin_on(&disk, spool, (lasts + AFTER).as_secs() + 1);
    sleep(lasts);
    let ended = Instant::now();
    disk.faults.heal();
    // More than can have been written before: calls of half a second.
    let recovery = scene.recovery_ms(u64::from(RATE / 2), ended);
    let left = scene.end();
    left.agent_said("a write to the file has lasted for ");
    left.file_tells_of(&Told::BLOCKED, lasts);
    let account = left.account(Some(recovery));
    let missing = account.lost + account.only_counted;
    left.agent_ended_with(if missing > 0 { LOST } else { 0 });
    account
}

fn blocked_to_the_end(_: Options) -> Account {
    const GIVEN_UP: &str = "a write has not come to an end for ";
    let bench = Bench::new();
    let disk = Flaky::mount(bench.path(), "disk");
    let mut scene = begin_on(&disk, bench.path(), 3);
    let done = scene.target.pauses_at("done");
    let made = Calls::told(&done, scene.target.pid()).total();
    scene.agent.signal(Signal::INT);
    let said = scene.agent.says(GIVEN_UP, |line| line.contains(GIVEN_UP));
    assert!(said.contains("`exoscope recover "), "{said}");
    // Nobody leaves the kernel before his write does.
    disk.faults.heal();
    assert_eq!(scene.agent.end().status.code(), Some(1), "{said}");
    scene.target.ends_well();
    recover(&scene.file);
    all(account(&scene.file, made, None, "as ever"))
}

fn to_the_end(options: Options) -> Account {
    let bench = Bench::new();
    let disk = Flaky::mount(bench.path(), "disk");
    let spool = ["--spool-dir", text(bench.path())];
    let scene = Scene::begin(&disk.path.join("out.db"), &spool, seconds(options));
    scene.has_rows();
    disk.faults.error.store(libc::EIO, Ordering::Relaxed);
    let left = scene.end();
    left.agent_ended_with(1);
    left.agent_said("`exoscope recover ");
    disk.faults.heal();
    left.recover();
    all(left.account(None))
}

/// Holds the write lock of a file.
pub fn lock(file: &Path) -> Connection {
    let connection = Connection::open(file).expect("it is a database");
    let patience = connection.busy_timeout(Duration::from_secs(30));
    patience
        .and_then(|()| connection.execute_batch("BEGIN IMMEDIATE"))
        .expect("the lock is free at times");
    connection
}

fn locked(options: Options) -> Account {
    let bench = Bench::new();
    all(with(
        options,
        &bench.file(),
        None,
        &Told::FAILED,
        |_| lock(&bench.file()),
        drop,
    ))
}

fn torn_spool(options: Options) -> Account {
    let bench = Bench::new();
    let disk = Flaky::mount(bench.path(), "spool");
    disk.faults.torn.store(3, Ordering::Relaxed);
    let file = bench.file();
    let spool = Some(disk.path.as_path());
    let account = with(options, &file, spool, &Told::FAILED, |_| lock(&file), drop);
    assert!(disk.faults.done() > 0, "no write was torn");
    account
}

fn no_descriptors(options: Options) -> Account {
    let bench = Bench::new();
    let file = bench.file();
    let begin = |scene: &Scene| {
        let agent = Pid::from_raw(scene.agent.pid().cast_signed()).expect("it is no 0");
        let none = Rlimit {
            current: Some(3),
            maximum: getrlimit(Resource::Nofile).maximum,
        };
        let before = prlimit(Some(agent), Resource::Nofile, none).expect("root may");
        (agent, before, lock(&file))
    };
    let end = |(agent, before, lock)| {
        prlimit(Some(agent), Resource::Nofile, before).expect("root may");
        drop::<Connection>(lock);
    };
    let account = with(options, &file, None, &Told::FAILED, begin, end);
    assert!(
        account.only_counted > 0,
        "the spool had a file: {account:?}"
    );
    account
}
