//! The file was damaged before the agent starts that is to add a session to it.
//!
//! The agent goes on where all of the file can be read, and else refuses, in one sentence that says
//! what to do, and leaves file and target as they were. `exoscope recover` then saves what can be
//! saved, and the next session goes on.

use std::fs;
use std::path::Path;

use super::agent::is_detached;
use super::file::{PAGE, beside, len, opened, overwrite};
use super::scene::{Scene, account, attach, attach_command, recover, stored, target};
use super::{Account, Case};
use crate::agent::{Bench, command};
use crate::calls::Calls;
use crate::database::Database;
use crate::eventually;
use crate::process::{Process, Signal};

/// The cases.
pub const CASES: &[Case] = &[
    Case {
        name: "found: header overwritten",
        done: "the first 100 bytes of a finished file were overwritten before the next session",
        short: false,
        run: |_| {
            found(Session::Finished, Harm::Some, |file| {
                overwrite(&opened(file), 0, 100);
            })
        },
    },
    Case {
        name: "found: inner page overwritten",
        done: "a page in the middle of a finished file was overwritten before the next session",
        short: false,
        run: |_| {
            found(Session::Finished, Harm::Some, |file| {
                let file = opened(file);
                overwrite(&file, len(&file) / PAGE / 2 * PAGE, PAGE);
            })
        },
    },
    Case {
        name: "found: truncated",
        done: "a finished file lost its second half before the next session",
        short: false,
        run: |_| {
            found(Session::Finished, Harm::Some, |file| {
                let file = opened(file);
                file.set_len(len(&file) / 2).expect("root may");
            })
        },
    },
    Case {
        name: "found: log overwritten",
        done: "the agent was killed, and the first 100 bytes of the log that it left were overwritten \
               before the next session",
        short: true,
        run: |_| {
            found(Session::Killed, Harm::Some, |file| {
                overwrite(&opened(&beside(file, "-wal")), 0, 100);
            })
        },
    },
    Case {
        name: "found: middle of the log overwritten",
        done: "the same with 64 KiB in its middle",
        short: false,
        run: |_| {
            found(Session::Killed, Harm::Some, |file| {
                let log = opened(&beside(file, "-wal"));
                overwrite(&log, len(&log) / 2, 64 << 10);
            })
        },
    },
    Case {
        name: "found: index of the log overwritten",
        done: "the agent was killed, and all of the index of the log that it left was overwritten before \
               the next session",
        short: false,
        run: |_| {
            found(Session::Killed, Harm::None, |file| {
                let index = opened(&beside(file, "-shm"));
                overwrite(&index, 0, len(&index));
            })
        },
    },
];

/// How the session ended that is in the file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Session {
    /// As it should: the file is alone.
    Finished,
    /// The agent was killed: a log is beside the file.
    Killed,
}

/// Whether something is lost that `exoscope doctor` is to tell of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Harm {
    None,
    Some,
}

/// Writes a session; gives back how many calls are rows of it.
fn first_session(how: Session, file: &Path) -> u64 {
    if how == Session::Finished {
        return Scene::begin(file, &[], 1).end().account(None).rows;
    }
    const ENOUGH: u64 = 100_000;
    let mut target = target(3600);
    let agent = attach(target.pid(), file, &[]);
    target.go_on();
    eventually("rows", || stored(file).filter(|rows| *rows > ENOUGH));
    agent.signal(Signal::KILL);
    agent.end();
    is_detached(&target);
    // Whoever reads the file itself brings its log into it.
    let copy = file.with_extension("copy");
    for suffix in ["", "-wal"] {
        fs::copy(beside(file, suffix), beside(&copy, suffix)).expect("there is room");
    }
    let rows = Database::open(&copy).number("SELECT count(*) FROM calls");
    for suffix in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(beside(&copy, suffix));
    }
    rows.cast_unsigned()
}

/// Damages a file with a session, and adds another one.
fn found(how: Session, harm: Harm, damage: impl FnOnce(&Path)) -> Account {
    let bench = Bench::new();
    let file = bench.file();
    let before = first_session(how, &file);
    damage(&file);
    let doctor = command(&["doctor", file.to_str().expect("it is UTF-8")]);
    let doctor = [doctor.stdout, doctor.stderr].concat().join("\n");
    if harm == Harm::Some {
        assert!(doctor.contains("`exoscope recover "), "{doctor}");
    }

    let mut target = target(1);
    let pid = target.pid();
    let (agent, said) = match attached(pid, &file) {
        Ok(agent) => (agent, "goes on".to_owned()),
        Err(said) => {
            assert!(said.contains("`exoscope recover "), "{said}");
            assert!(target.runs(), "the target has ended");
            is_detached(&target);
            recover(&file);
            (attach(pid, &file, &[]), "refused, recovered".to_owned())
        }
    };
    target.go_on();
    let made = Calls::told(&target.pauses_at("done"), pid).total();
    agent.signal(Signal::INT);
    assert_ne!(agent.end().status.code(), Some(1));
    target.ends_well();
    recover(&file);
    Account {
        file: format!("whole; {said}"),
        ..account(&file, before + made, None, "as ever")
    }
}

/// Attaches to a target; or gives back why the agent does not. Then the file is as it was.
fn attached(pid: u32, file: &Path) -> Result<Process, String> {
    let read = || ["", "-wal"].map(|suffix| fs::read(beside(file, suffix)).ok());
    let before = read();
    let mut agent = Process::start(&mut attach_command(pid, file, &[]));
    let said = agent.says("`attached`, or why not", |line| {
        line.starts_with("exoscope: attached to ") || line.contains("can't ")
    });
    if said.starts_with("exoscope: attached to ") {
        return Ok(agent);
    }
    assert_eq!(agent.end().status.code(), Some(1), "{said}");
    assert!(read() == before, "the file was changed: {said}");
    Err(said)
}
