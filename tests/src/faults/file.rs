//! The file is deleted, renamed, truncated or overwritten while it is written.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::scene::{Scene, stored};
use super::{Account, Case, Options};
use crate::agent::Bench;

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
        run: |options| {
            changed(options, "", |file| {
                file.write_all_at(&[0x5a; 100], 0).expect("root may")
            })
        },
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

fn len(file: &File) -> u64 {
    file.metadata().expect("it is open").len()
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Something is done to the file or what is beside it, and another file takes its place.
fn replaced(done: impl FnOnce(&Path)) -> Account {
    let bench = Bench::new();
    let file = bench.file();
    let scene = Scene::begin(&file, &[], SECONDS);
    scene.has_rows();
    // Some of it is in the file, and some in the log.
    let reader = Connection::open(&file).expect("it is a database");
    reader
        .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
        .expect("anybody may");
    drop(reader);
    // The agent looks a few times a second.
    std::thread::sleep(Duration::from_millis(800));
    let before = stored(&file).expect("it is readable");
    done(&file);
    let ended = Instant::now();
    let recovery = scene.recovery_ms(before, ended);
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
        let file = File::options()
            .read(true)
            .write(true)
            .open(beside(file, suffix));
        change(&file.expect("it is there"));
    })
}

fn inner_page(_: Options) -> Account {
    let bench = Bench::new();
    let file = bench.file();
    let scene = Scene::begin(&file, &[], 1);
    let left = scene.end();
    left.agent_ended_with(0);
    let database = File::options()
        .read(true)
        .write(true)
        .open(&file)
        .expect("it is there");
    let page = 8192;
    let middle = len(&database) / page / 2 * page;
    database
        .write_all_at(&[0xa5; 8192], middle)
        .expect("root may");
    left.recover();
    Account {
        file: "another one, whole".to_owned(),
        ..left.account(None)
    }
}
