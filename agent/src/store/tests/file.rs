//! The file itself: whose it is, who reads it, and what is refused.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use super::*;
use crate::store::schema::VERSION;

#[test]
fn readers_see_commits_while_the_store_writes() {
    let (_folder, path) = folder();
    let mut store = store(&path);
    let reader = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    for id in 1..=50 {
        store
            .write(&calls(vec![call(id, None, 0, Outcome::Ok)]))
            .unwrap();
        assert_eq!(
            rows_of(
                &reader,
                "SELECT count(*), (SELECT calls FROM functions LIMIT 1) FROM calls"
            ),
            [format!("{id}|{id}")]
        );
    }
    reader.execute_batch("BEGIN").unwrap();
    assert_eq!(rows_of(&reader, "SELECT count(*) FROM calls"), ["50"]);
    store
        .write(&calls(vec![call(51, None, 0, Outcome::Ok)]))
        .unwrap();
    store.finish(&end()).unwrap();
    assert_eq!(rows_of(&reader, "SELECT count(*) FROM calls"), ["50"]);
    reader.execute_batch("COMMIT").unwrap();
    assert_eq!(rows_of(&reader, "SELECT count(*) FROM calls"), ["51"]);
}

#[test]
fn the_file_is_private_and_single_at_the_end() {
    let (folder, path) = folder();
    let mut store = store(&path);
    let names = |folder: &TempDir| {
        let mut names: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        names
    };
    store
        .write(&calls(vec![call(1, None, 0, Outcome::Ok)]))
        .unwrap();
    let files = names(&folder);
    assert_eq!(files, ["test.db", "test.db-shm", "test.db-wal"]);
    let owner = fs::metadata(&path).unwrap().uid();
    for name in files {
        let metadata = fs::metadata(folder.path().join(name)).unwrap();
        assert_eq!(
            (metadata.permissions().mode() & 0o777, metadata.uid()),
            (0o600, owner)
        );
    }
    assert!(store.size_bytes() >= 8192);
    store.finish(&end()).unwrap();
    assert_eq!(names(&folder), ["test.db"]);
    let header = fs::read(&path).unwrap();
    assert_eq!(&header[68..72], b"exos");
}

#[test]
fn what_is_no_exoscope_file_is_refused_and_untouched() {
    let (folder, path) = folder();
    let foreign = folder.path().join("foreign.db");
    Connection::open(&foreign)
        .unwrap()
        .execute_batch("CREATE TABLE t (a)")
        .unwrap();
    for content in [
        Vec::new(),
        b"not a database".to_vec(),
        vec![b'x'; 9000],
        fs::read(&foreign).unwrap(),
    ] {
        fs::write(&path, &content).unwrap();
        let error = format!("{:#}", Store::open(&path, info()).err().unwrap());
        assert!(error.ends_with("it is no exoscope file"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), content);
    }
    let error = format!("{:#}", Store::open(folder.path(), info()).err().unwrap());
    assert!(error.starts_with("can't add a session to '"), "{error}");
    let nowhere = folder.path().join("none/test.db");
    let error = format!("{:#}", Store::open(&nowhere, info()).err().unwrap());
    assert!(
        error.contains("choose another place with --output"),
        "{error}"
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn a_newer_version_and_a_second_writer_are_refused() {
    let (_folder, path) = folder();
    let mut first = store(&path);
    let error = format!("{:#}", Store::open(&path, info()).err().unwrap());
    assert!(
        error.contains("is being written by another session"),
        "{error}"
    );
    first.finish(&end()).unwrap();
    drop(first);
    Connection::open(&path)
        .unwrap()
        .pragma_update(None, "user_version", VERSION + 1)
        .unwrap();
    let before = fs::read(&path).unwrap();
    let error = format!("{:#}", Store::open(&path, info()).err().unwrap());
    assert!(
        error.contains("written by a newer exoscope (file version 2"),
        "{error}"
    );
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn an_abandoned_session_leaves_nothing() {
    let (folder, path) = folder();
    store(&path).abandon().unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    let mut kept = store(&path);
    kept.write(&calls(vec![call(1, None, 0, Outcome::Ok)]))
        .unwrap();
    kept.finish(&end()).unwrap();
    drop(kept);
    let mut second = store(&path);
    second.add_functions(&[function("app::new")]).unwrap();
    second.abandon().unwrap();
    assert_eq!(rows(&path, "SELECT session_id FROM sessions"), ["1"]);
    assert_eq!(
        rows(&path, "SELECT function FROM functions"),
        ["app::a", "app::b", "app::c"]
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_damaged_file_is_an_error_and_stays() {
    let (_folder, path) = folder();
    store(&path).finish(&end()).unwrap();
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..5000]).unwrap();
    let error = format!("{:#}", Store::open(&path, info()).err().unwrap());
    assert!(error.contains("`exoscope recover "), "{error}");
    assert!(path.exists());
}
