//! Files of sessions, and segments of their spools.

use std::fs;
use std::ops::Range;
use std::path::Path;

use exoscope_agent::event::{
    AgentEvent, Batch, Call, CallPolls, CountedCalls, ErrorDetail, Fields, Figures, Frame,
    Function, FunctionCounts, Level, Message, OpenCall, Outcome, Sample, Samples, SessionLosses,
    Stack, UnmatchedExit,
};
use exoscope_agent::spool::segment::{Header, Writer};
use exoscope_agent::stats::sample::{Name, Snapshot, Switches, ThreadStep};
use exoscope_agent::store::{ProcessInfo, SessionEnd, SessionInfo, Store};
use rusqlite::Connection;

use super::piece;
use crate::scratch;

/// Bytes of a page of a file.
const PAGE: usize = 1 << 13;

fn function() -> Function {
    Function {
        path: "app::work".into(),
        file: "src/main.rs".into(),
        line: 7,
    }
}

/// One that is called often.
fn other_function() -> Function {
    Function {
        path: "app::step".into(),
        line: 9,
        ..function()
    }
}

fn call(id: u64, parent: Option<u64>, outcome: Outcome) -> Call {
    Call {
        id,
        parent,
        function: 0,
        tid: 9,
        start_ns: 5_000_000_000 + id,
        duration_ns: 1_000,
        self_ns: 10,
        outcome,
        items: (id == 2).then_some(3),
        figures: Figures {
            known: exoscope_abi::figures::ALL,
            cpu_ns: 700,
            runqueue_ns: 200,
            blocked_ns: 100,
            minor_faults: 1,
            ..Figures::default()
        },
    }
}

fn error(call: u64) -> ErrorDetail {
    ErrorDetail {
        call,
        panic: false,
        kind: "app::Error".into(),
        message: "it broke".into(),
        truncated: false,
    }
}

fn samples() -> Samples {
    let frame = |function: &str| Frame {
        function: function.into(),
        file: Some("src/main.rs".into()),
        line: Some(7),
        module: "app".into(),
        inlined: false,
    };
    let sample = |off_ns| Sample {
        tid: 9,
        at_ns: 5_000_000_500,
        call: Some(2),
        stack: 0,
        off_ns,
    };
    Samples {
        frames: vec![frame("main"), frame("app::work")],
        stacks: vec![Stack {
            frames: vec![0, 1],
            cut: false,
        }],
        samples: vec![sample(None), sample(Some(50))],
    }
}

fn snapshot() -> Snapshot {
    Snapshot {
        at_ns: 5_000_000_700,
        source: "kernel".into(),
        threads: vec![ThreadStep {
            number: 0,
            tid: 9,
            name: Some(Name::new(b"app")),
            start_ns: 5_000_000_000,
            cpu_ns: 600,
            runqueue_ns: 10,
            switches: Switches::default(),
        }],
        ..Snapshot::default()
    }
}

/// A batch with something of everything.
fn batch() -> Batch {
    Batch {
        calls: vec![
            call(1, None, Outcome::Err),
            call(2, Some(1), Outcome::Err),
            call(3, Some(2), Outcome::Panic),
            call(5, Some(1), Outcome::TargetDied),
        ],
        polls: vec![CallPolls {
            call: 2,
            polls: 3,
            polled_ns: 400,
            ready_ns: 200,
        }],
        errors: vec![error(1), error(2)],
        fields: vec![Fields {
            call: 3,
            json: r#"{"id":7}"#.into(),
            truncated: false,
        }],
        unmatched: vec![UnmatchedExit {
            function: 0,
            tid: 9,
            at_ns: 5_000_000_100,
            outcome: Outcome::Ok,
        }],
        open: Some(vec![OpenCall {
            id: 4,
            parent: Some(1),
            function: 0,
            tid: 9,
            start_ns: 5_000_000_900,
            child_ns: 0,
            children: 0,
        }]),
        counts: Some(vec![FunctionCounts::of_calls(0, 9)]),
        losses: Some(SessionLosses {
            links: 1,
            panics: 2,
        }),
        unended: vec![6],
        samples: samples(),
        counted: vec![CountedCalls {
            function: 0,
            from_unix_ns: 1_700_000_001_000_000_000,
            until_unix_ns: 1_700_000_002_000_000_000,
            calls: 2,
            reason: "the spool is half full".into(),
        }],
        events: vec![AgentEvent {
            at_unix_ns: 1_700_000_001_000_000_000,
            level: Level::Warning,
            kind: "lost".into(),
            message: "said".into(),
        }],
        stats: vec![snapshot()],
    }
}

/// A batch with calls of both functions, some of which fail: some hundred take more than a page.
fn calls(ids: Range<u64>) -> Batch {
    let fails = |id: &u64| id.is_multiple_of(8);
    let call = |id| Call {
        function: (id % 2) as u32,
        ..call(
            id,
            Some(1),
            if fails(&id) {
                Outcome::Err
            } else {
                Outcome::Ok
            },
        )
    };
    Batch {
        errors: ids.clone().filter(fails).map(error).collect(),
        calls: ids.map(call).collect(),
        ..Batch::default()
    }
}

fn messages() -> [Message; 2] {
    [
        Message::Functions(vec![function()]),
        Message::Batch(Box::new(batch())),
    ]
}

/// A segment of the session with that key, with these messages.
pub fn segment_with(key: u64, messages: &[Message]) -> Vec<u8> {
    let folder = scratch();
    let path = folder.path().join("segment");
    let header = Header {
        key,
        functions: vec![function()],
    };
    let mut writer = Writer::create(&path, &header).expect("it is new");
    for (number, message) in (1..).zip(messages) {
        writer.push(number, message).expect("there is room");
    }
    fs::read(&path).expect("it was written")
}

/// Whole segments, and messages as the payloads of records.
pub fn spool() -> Vec<Vec<u8>> {
    let mut seeds = replay();
    seeds.push(segment_with(7, &messages()));
    seeds
}

/// Messages as the payloads of records.
pub fn replay() -> Vec<Vec<u8>> {
    let payload = |number: u64, message: &Message| {
        piece(&postcard::to_allocvec(&(number, message)).expect("it can be written"))
    };
    let [functions, batch] = messages();
    vec![
        payload(1, &functions),
        [payload(1, &functions), payload(2, &batch)].concat(),
        payload(2, &batch).repeat(2),
    ]
}

/// Bytes that change a file: see the reader.
pub fn database() -> Vec<Vec<u8>> {
    let change = |page: u8, at: i16, bytes: &[u8]| {
        let [low, high] = at.to_le_bytes();
        [&[page, low, high, bytes.len() as u8], bytes].concat()
    };
    vec![
        Vec::new(),
        // The header: the format, the number of pages, the version.
        [
            change(0, 18, &[2, 2]),
            change(0, 28, &[0, 0, 1, 0]),
            change(0, 60, &[0, 0, 0, 0]),
        ]
        .concat(),
        // Where a page's cells are, and its last ones.
        [change(5, 0, &[13, 0, 0, 0, 9]), change(5, -8, &[0xff; 8])].concat(),
        change(255, 0x1000, &[0; 16]),
    ]
}

/// As [`database`].
pub fn recovery() -> Vec<Vec<u8>> {
    database()
}

/// As [`database`], in the file, in the header of its log, and in pages there.
pub fn log() -> Vec<Vec<u8>> {
    let mut seeds = database();
    let (file, log) = file_and_log();
    let (pages, frames) = (file.len() / PAGE, log.len() / PAGE);
    for place in [0, 1, frames / 2, frames - 1] {
        // The number of the page and, behind it, the salts; the end of what the page uses.
        let place = (pages + place) as u8;
        seeds.push([&[place, 3, 0, 1, 0xff][..], &[place, 0xf8, 0xff, 2, 1, 2]].concat());
    }
    seeds
}

/// Values of each kind, in the first rows of some columns: see the reader.
pub fn rows() -> Vec<Vec<u8>> {
    let of_column = |column: u8| {
        let mut change = vec![column, 0, 1, 0x80];
        change.extend([column, 0, 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
        change.extend([column, 0, 3, 3, b'a', 0x1b, b'\n']);
        change
    };
    let mut seeds: Vec<_> = (0..250).step_by(40).map(of_column).collect();
    seeds.push(Vec::new());
    seeds
}

/// The file of a session that has ended.
pub fn whole_file() -> Vec<u8> {
    let folder = scratch();
    let path = folder.path().join("whole.db");
    let mut store = begin(&path);
    let end = SessionEnd {
        ended_unix_ns: 1_700_000_009_000_000_000,
        reason: "the target exited with status 3".into(),
        exit_status: Some(3),
    };
    store.finish(&end).expect("there is room");
    fs::read(&path).expect("it was written")
}

/// The file of a session that was cut short, and the key of its spool.
pub fn cut_file() -> (Vec<u8>, u64) {
    let folder = scratch();
    let path = folder.path().join("cut.db");
    let store = begin(&path);
    let key = store.spool().key;
    drop(store);
    (fs::read(&path).expect("it was written"), key)
}

/// The file of a session that was cut short together with its machine, and the log of that file.
pub fn file_and_log() -> (Vec<u8>, Vec<u8>) {
    let folder = scratch();
    let path = folder.path().join("cut.db");
    let mut store = begin(&path);
    let other = Connection::open(&path).expect("it is there");
    let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
    let brought = other.query_row(checkpoint, [], |_| Ok(()));
    brought.expect("nobody reads it");
    for first in (400..700).step_by(100) {
        let batch = calls(first..first + 100);
        store.write(&batch).expect("there is room");
    }
    let read = |path| fs::read(path).expect("it was written");
    (read(path.clone()), read(path.with_extension("db-wal")))
}

/// A session with batches in its file.
fn begin(path: &Path) -> Store {
    let info = SessionInfo {
        started_unix_ns: 1_700_000_000_000_000_000,
        started_ns: 5_000_000_000,
        ..SessionInfo::now("-q".into(), 99)
    };
    let mut store = Store::open(path, info).expect("it is new");
    let process = ProcessInfo {
        pid: 42,
        command: "app".into(),
        executable: "/bin/app".into(),
        build_id: None,
    };
    store.add_process(&process).expect("there is room");
    let functions = [function(), other_function()];
    store.add_functions(&functions).expect("there is room");
    store.write(&batch()).expect("there is room");
    store.write(&calls(10..400)).expect("there is room");
    store
}
