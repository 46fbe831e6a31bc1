//! Sessions that were cut short, and what their spools give.

use std::fs;

use super::*;
use crate::event::Message;
use crate::spool::segment::{Header, Writer};
use crate::store::recover::{recover, recover_without_spool};

fn message(ids: std::ops::RangeInclusive<u64>) -> Message {
    let calls_of = ids.map(|id| call(id, None, (id % 3) as u32, Outcome::Ok));
    Message::Batch(Box::new(calls(calls_of.collect())))
}

/// A store that has written message 1, with calls 1 to 10, and dies; its spool has messages 1 to 3,
/// with calls 1 to 30. Gives back the paths of two segments.
fn cut_short(path: &Path) -> [PathBuf; 2] {
    cut_short_in(path, info())
}

fn cut_short_in(path: &Path, info: SessionInfo) -> [PathBuf; 2] {
    let mut store = store_of(path, info);
    let place = store.spool().clone();
    assert!(store.write_message(1, &message(1..=10)).unwrap());
    assert!(!store.write_message(1, &message(1..=10)).unwrap());
    drop(store);
    let header = Header {
        key: place.key,
        functions: ["app::a", "app::b", "app::c"].map(function).into(),
    };
    let paths = [place.segment(1), place.segment(3)];
    let mut segment = Writer::create(&paths[0], &header).unwrap();
    segment.push(1, &message(1..=10)).unwrap();
    segment.push(2, &message(11..=20)).unwrap();
    let mut segment = Writer::create(&paths[1], &header).unwrap();
    segment.push(3, &message(21..=30)).unwrap();
    paths
}

const CALLS: &str =
    "SELECT count(*), count(DISTINCT call_id), min(function), max(call_id) FROM calls";
const ENDS: &str = "SELECT end_reason FROM sessions ORDER BY session_id";

#[test]
fn the_next_session_finds_every_call_of_the_spool_once() {
    let (folder, path) = folder();
    cut_short(&path);
    let mut second = store(&path);
    assert_eq!(
        second.recovered(),
        [
            "session 1 was cut short, without an end: 20 calls came from its spool, 10 were in the file \
          already"
        ]
    );
    second
        .write(&calls(vec![call(1, None, 0, Outcome::Ok)]))
        .unwrap();
    second.finish(&end()).unwrap();
    assert_eq!(rows(&path, CALLS), ["31|31|app::a|1000001"]);
    assert_eq!(
        rows(&path, ENDS),
        ["interrupted", "the target exited with status 3"]
    );
    assert_eq!(
        rows(
            &path,
            "SELECT sum(calls), (SELECT sum(calls) FROM duration_bucket) FROM functions"
        ),
        ["31|31"]
    );
    assert_eq!(
        rows(&path, "SELECT kind FROM agent_events WHERE session_id = 1"),
        ["recovered"]
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn recovering_again_changes_nothing() {
    let (_folder, path) = folder();
    cut_short(&path);
    assert_eq!(recover(&path).unwrap().len(), 1);
    let bytes = fs::read(&path).unwrap();
    assert_eq!(recover(&path).unwrap(), [""; 0]);
    assert_eq!(rows(&path, CALLS), ["30|30|app::a|30"]);
    assert_eq!(rows(&path, "PRAGMA integrity_check"), ["ok"]);
    // But for the log's traces in its header, the file is the same.
    assert_eq!(bytes.len(), fs::read(&path).unwrap().len());
}

#[test]
fn a_torn_segment_gives_what_is_whole_and_others_are_read() {
    let (_folder, path) = folder();
    let [first, _] = cut_short(&path);
    let bytes = fs::read(&first).unwrap();
    fs::write(&first, &bytes[..bytes.len() - 3]).unwrap();
    recover(&path).unwrap();
    assert_eq!(rows(&path, CALLS), ["20|20|app::a|30"]);
    let told = rows(
        &path,
        "SELECT message FROM agent_events WHERE kind = 'lost'",
    );
    assert!(told[0].contains("damaged or cut off"), "{told:?}");
}

#[test]
fn what_is_no_segment_of_the_session_is_not_read() {
    let (_folder, path) = folder();
    let [first, second] = cut_short(&path);
    fs::write(&first, b"exospl01 and then anything").unwrap();
    let mut foreign = fs::read(&second).unwrap();
    foreign[16] ^= 1;
    fs::write(&second, foreign).unwrap();
    recover(&path).unwrap();
    assert_eq!(rows(&path, CALLS), ["10|10|app::a|10"]);
    assert_eq!(
        rows(
            &path,
            "SELECT count(*) FROM agent_events WHERE kind = 'lost'"
        ),
        ["2"]
    );
}

#[test]
fn a_file_that_is_being_written_is_not_recovered() {
    let (_folder, path) = folder();
    let _store = store(&path);
    let error = format!("{:#}", recover(&path).unwrap_err());
    assert!(
        error.contains("is being written by another session"),
        "{error}"
    );
}

#[test]
fn a_file_of_a_newer_program_is_not_recovered() {
    let (folder, path) = folder();
    store(&path).finish(&end()).unwrap();
    let change = |sql: &str| Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    change("PRAGMA user_version = 2; CREATE TABLE newer (value INTEGER) STRICT");
    let before = fs::read(&path).unwrap();
    let error = format!("{:#}", recover(&path).unwrap_err());
    let newer = "': it was written by a newer exoscope (file version 2, ";
    assert!(
        error.starts_with("can't recover '") && error.contains(newer),
        "{error}"
    );
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    // With the tables of this version alone, the number is what is wrong.
    change("DROP TABLE newer");
    let said = recover(&path).unwrap();
    assert!(said[0].starts_with("the file was damaged"), "{said:?}");
    assert_eq!(rows(&path, "PRAGMA user_version"), ["1"]);
}

#[test]
fn what_is_no_file_is_not_recovered() {
    let (folder, path) = folder();
    for (path, why) in [
        (&*path, "No such file or directory (os error 2)"),
        (folder.path(), "Is a directory (os error 21)"),
        (Path::new("/dev/null"), "it is no regular file"),
    ] {
        let error = format!("{:#}", recover(path).unwrap_err());
        let expected = format!("can't recover '{}': {why}", path.display());
        assert_eq!(error, expected);
    }
}

/// The folder of a spool that is not beside the file, and the file.
fn cut_short_elsewhere(folder: &Path) -> (PathBuf, PathBuf) {
    let (spool, path) = (folder.join("spool"), folder.join("test.db"));
    fs::create_dir(&spool).unwrap();
    let info = SessionInfo {
        spool_folder: Some(spool.clone()),
        ..info()
    };
    cut_short_in(&path, info);
    (spool, path)
}

#[test]
fn a_spool_whose_folder_is_not_there_is_waited_for() {
    let (folder, _) = folder();
    let (spool, path) = cut_short_elsewhere(folder.path());
    let away = folder.path().join("away");
    fs::rename(&spool, &away).unwrap();
    let said = format!("{:#}", recover(&path).unwrap_err());
    let (shown, gone) = (path.display(), spool.display());
    let expected = format!(
        "can't recover '{shown}': the spool of session 1 is in the folder '{gone}', which is not there: bring \
         that back, or `exoscope recover --without-spool {shown}` leaves out what is in it"
    );
    assert_eq!(said, expected);
    let next = format!("{:#}", Store::open(&path, info()).err().unwrap());
    assert!(next.contains("bring that back"), "{next}");
    fs::rename(&away, &spool).unwrap();
    recover(&path).unwrap();
    assert_eq!(rows(&path, CALLS), ["30|30|app::a|30"]);
    assert_eq!(fs::read_dir(&spool).unwrap().count(), 0);
}

#[test]
fn a_spool_can_be_left_out() {
    let (folder, _) = folder();
    let (spool, path) = cut_short_elsewhere(folder.path());
    fs::remove_dir_all(&spool).unwrap();
    let said = recover_without_spool(&path).unwrap();
    let left_out = format!(
        "its spool is left out, for it is in the folder '{}', which is not there",
        spool.display()
    );
    let sentence = format!("session 1 was cut short, without an end: {left_out}");
    assert_eq!(said, [sentence]);
    assert_eq!(rows(&path, CALLS), ["10|10|app::a|10"]);
    let told = "SELECT level, message FROM agent_events WHERE kind = 'lost'";
    assert_eq!(rows(&path, told), [format!("error|{left_out}")]);
}

#[test]
fn a_spool_may_have_been_moved_with_its_file() {
    let (folder, _) = folder();
    let (spool, path) = cut_short_elsewhere(folder.path());
    let moved = folder.path().join("moved");
    fs::rename(&spool, &moved).unwrap();
    let path_there = moved.join("other.db");
    fs::rename(&path, &path_there).unwrap();
    recover(&path_there).unwrap();
    assert_eq!(rows(&path_there, CALLS), ["30|30|app::a|30"]);
    assert_eq!(fs::read_dir(&moved).unwrap().count(), 1);
}
