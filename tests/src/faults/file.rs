//! The file is deleted, renamed, truncated or overwritten while it is written.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rustix::thread::{CpuSet, Pid, sched_getaffinity, sched_setaffinity};

use super::agent::{calls, is_detached, runs};
use super::scene::{Scene, account, accounted, attach, attach_command, recover, stored, target};
use super::{Account, Case, Options};
use crate::agent::Bench;
use crate::eventually;
use crate::process::Process;

/// The cases.
pub const CASES: &[Case] = &[
    Case {
        name: "file: deleted",
        done: "the file is deleted while it is written; the log stays",
        short: true,
        run: |options| gone(options, ""),
    },
    Case {
        name: "file: log deleted",
        done: "the write-ahead log is deleted while it is written",
        short: false,
        run: |options| gone(options, "-wal"),
    },
    Case {
        name: "file: index of the log deleted",
        done: "the shared index of the log is deleted while it is used",
        short: false,
        run: |options| gone(options, "-shm"),
    },
    Case {
        name: "file: renamed",
        done: "the file is renamed while it is written",
        short: false,
        run: renamed,
    },
    Case {
        name: "file: truncated",
        done: "the file loses its second half while it is written",
        short: true,
        run: |options| {
            changed(options, "", |file| {
                file.set_len(len(file) / 2).expect("root may")
            })
        },
    },
    Case {
        name: "file: log truncated",
        done: "the write-ahead log is emptied while it is written",
        short: false,
        run: |options| changed(options, "-wal", |file| file.set_len(0).expect("root may")),
    },
    Case {
        name: "file: header overwritten",
        done: "the first 100 bytes of the file are overwritten while it is written",
        short: false,
        run: |options| changed(options, "", |file| overwrite(file, 0, 100)),
    },
    Case {
        name: "file: log overwritten",
        done: "the first 100 bytes of the write-ahead log are overwritten while it is written",
        short: false,
        run: |options| changed(options, "-wal", |file| overwrite(file, 0, 100)),
    },
    Case {
        name: "file: index of the log overwritten",
        done: "all of the shared index of the log is overwritten while it is used",
        short: false,
        run: index_overwritten,
    },
    Case {
        name: "file: index of the log emptied",
        done: "the shared index of the log is emptied while it is used, which ends the agent; then \
               `exoscope recover`. Made are the calls that were rows before",
        short: false,
        run: |_| index_emptied(),
    },
    Case {
        name: "file: half of the log overwritten",
        done: "the second half of the write-ahead log is overwritten while it is written; then `exoscope \
               recover`",
        short: false,
        run: |_| inside("-wal"),
    },
    Case {
        name: "file: middle overwritten",
        done: "64 KiB in the middle of the file are overwritten while it is written; then `exoscope \
               recover`",
        short: false,
        run: |_| inside(""),
    },
    Case {
        name: "file: inner page overwritten",
        done: "a page of a finished file is overwritten; then `exoscope recover`",
        short: true,
        run: inner_page,
    },
];

/// Calls go on for so long after the fault.
const SECONDS: u64 = 5;

/// Bytes of a page of a file.
pub const PAGE: u64 = 8192;

/// Bytes of a file.
pub fn len(file: &File) -> u64 {
    file.metadata().expect("it is open").len()
}

/// A file that is there, to be damaged.
pub fn opened(file: &Path) -> File {
    let file = File::options().read(true).write(true).open(file);
    file.expect("it is there")
}

/// Writes what no part of a file looks like.
pub fn overwrite(file: &File, at: u64, bytes: u64) {
    let nonsense = vec![0x5a; usize::try_from(bytes).expect("it fits memory")];
    file.write_all_at(&nonsense, at).expect("root may");
}

/// The file beside a file whose name goes on with `suffix`.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Lets some of what is written be in the file, and some in the log.
fn checkpoint(file: &Path) {
    let reader = Connection::open(file).expect("it is a database");
    reader
        .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
        .expect("anybody may");
}

/// What tells a file from another one that has its name later; `None` where there is none.
fn number_of(file: &Path) -> Option<u64> {
    Some(fs::metadata(file).ok()?.ino())
}

/// Something is done to the file or what is beside it, and another file takes its place.
fn replaced(done: impl FnOnce(&Path)) -> Account {
    let bench = Bench::new();
    let file = bench.file();
    let scene = Scene::begin(&file, &[], SECONDS);
    scene.has_rows();
    checkpoint(&file);
    // The agent looks a few times a second.
    sleep(Duration::from_millis(800));
    let old = number_of(&file);
    done(&file);
    let ended = Instant::now();
    let taken_over = eventually("another file", || {
        let other = number_of(&file).is_some_and(|number| Some(number) != old);
        accounted(&file).filter(|_| other)
    });
    // Rows that were there before may be lost: more is accounted for than what was taken over.
    eventually("new rows", || {
        accounted(&file).filter(|calls| *calls > taken_over)
    });
    let recovery = u64::try_from(ended.elapsed().as_millis()).expect("it is no age");
    let left = scene.end();
    left.agent_said("the file was replaced by another one");
    left.agent_ended_with(0);
    Account {
        file: "another one, whole".to_owned(),
        ..left.account(Some(recovery))
    }
}

fn gone(_: Options, suffix: &str) -> Account {
    let account = replaced(|file| fs::remove_file(beside(file, suffix)).expect("it is there"));
    assert_eq!(account.lost, 0, "all of it was open: {account:?}");
    account
}

fn renamed(_: Options) -> Account {
    let account = replaced(|file| fs::rename(file, beside(file, ".old")).expect("it is there"));
    assert_eq!(account.lost, 0, "all of it was open: {account:?}");
    account
}

fn changed(_: Options, suffix: &str, change: impl FnOnce(&File)) -> Account {
    replaced(|file| {
        change(&opened(&beside(file, suffix)));
    })
}

/// SQLite finds that the index is none, and makes it anew.
fn index_overwritten(_: Options) -> Account {
    let bench = Bench::new();
    let file = bench.file();
    let scene = Scene::begin(&file, &[], SECONDS);
    scene.has_rows();
    let before = stored(&file).expect("it is readable");
    let index = opened(&beside(&file, "-shm"));
    let ended = Instant::now();
    overwrite(&index, 0, len(&index));
    let recovery = scene.recovery_ms(before, ended);
    let left = scene.end();
    left.agent_ended_with(0);
    left.account(Some(recovery))
}

/// Whoever has a file in his memory that gets shorter is killed by the kernel: the target does not notice.
fn index_emptied() -> Account {
    let bench = Bench::new();
    let file = bench.file();
    let mut target = target(3600);
    let agent = attach(target.pid(), &file, &[]);
    target.go_on();
    eventually("the first rows", || stored(&file).filter(|rows| *rows > 0));
    let before = calls(&file);
    opened(&beside(&file, "-shm")).set_len(0).expect("root may");
    assert_eq!(agent.end().status.signal(), Some(libc::SIGBUS));
    is_detached(&target);
    recover(&file);
    let after = calls(&file);
    Account {
        made: before.len() as u64,
        rows: before.intersection(&after).count() as u64,
        target: runs(&mut target),
        ..account(&file, 0, None, "")
    }
}

/// Keeps a target on one CPU. Each CPU numbers calls by itself, so those of another one would come between
/// older rows, and write damaged pages anew.
pub fn stays_on_its_cpu(target: &Process) {
    let allowed = sched_getaffinity(None).expect("this thread may run somewhere");
    let mut one = CpuSet::new();
    let first = (0..CpuSet::MAX_CPU).find(|cpu| allowed.is_set(*cpu));
    one.set(first.expect("this thread runs on some CPU"));
    let pid = i32::try_from(target.pid()).ok().and_then(Pid::from_raw);
    sched_setaffinity(pid, &one).expect("it is our child");
}

/// Bytes inside of the file or its log are overwritten, which is noticed when they are read.
fn inside(suffix: &str) -> Account {
    let bench = Bench::new();
    let file = bench.file();
    let target = target(SECONDS);
    stays_on_its_cpu(&target);
    let agent = attach_command(target.pid(), &file, &[]);
    let scene = Scene::of(target, SECONDS, agent, &file);
    scene.has_rows();
    sleep(Duration::from_millis(800));
    checkpoint(&file);
    sleep(Duration::from_millis(800));
    let damaged = opened(&beside(&file, suffix));
    let half = len(&damaged) / 2 / PAGE * PAGE;
    match suffix {
        "" => overwrite(&damaged, half, 8 * PAGE),
        _ => overwrite(&damaged, half, half),
    }
    let left = scene.end();
    let said = left.recover().join("\n");
    assert!(said.contains("the file was damaged"), "{said}");
    Account {
        file: "another one, whole".to_owned(),
        ..left.account(None)
    }
}

fn inner_page(_: Options) -> Account {
    let bench = Bench::new();
    let file = bench.file();
    let scene = Scene::begin(&file, &[], 1);
    let left = scene.end();
    left.agent_ended_with(0);
    let database = opened(&file);
    overwrite(&database, len(&database) / PAGE / 2 * PAGE, PAGE);
    left.recover();
    Account {
        file: "another one, whole".to_owned(),
        ..left.account(None)
    }
}
