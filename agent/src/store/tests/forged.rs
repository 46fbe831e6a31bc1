//! Files whose definitions somebody changed: what is not as we make it is not asked, and never run.

use anyhow::Result;

use super::*;
use crate::query::open_readonly;
use crate::store::recover::recover;

/// What never ends.
const ENDLESS: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)";

/// A finished file in which `sql` was executed.
fn forged(sql: &str) -> (TempDir, PathBuf) {
    let (folder, path) = folder();
    let mut store = store(&path);
    let one = calls(vec![call(1, None, 0, Outcome::Ok)]);
    store.write(&one).unwrap();
    store.finish(&end()).unwrap();
    drop(store);
    Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    (folder, path)
}

fn refusal<T>(result: Result<T>) -> String {
    format!("{:#}", result.err().expect("it is forged"))
}

#[test]
fn a_view_that_is_not_ours_is_not_asked() {
    let sql = format!("DROP VIEW functions; CREATE VIEW functions AS {ENDLESS} SELECT i FROM n");
    let (_folder, path) = forged(&sql);
    let said = refusal(open_readonly(&path));
    let expected = "its table or view 'functions' is not as exoscope makes it";
    assert!(said.ends_with(expected), "{said}");
    let said = refusal(Store::open(&path, info()).map(|_| ()));
    assert!(said.ends_with(expected), "{said}");
}

#[test]
fn a_table_that_is_a_view_is_left_out_of_what_is_saved() {
    let sql =
        format!("DROP TABLE error_detail; CREATE VIEW error_detail AS {ENDLESS} SELECT i FROM n");
    let (_folder, path) = forged(&sql);
    let said = recover(&path).unwrap();
    assert!(said[0].starts_with("the file was damaged"), "{said:?}");
    assert_eq!(rows(&path, "SELECT count(*) FROM calls"), ["1"]);
}

#[test]
fn a_version_that_nobody_writes_is_not_read() {
    let (_folder, path) = forged("PRAGMA user_version = 0");
    let said = refusal(open_readonly(&path));
    assert!(
        said.ends_with("no exoscope writes file version 0"),
        "{said}"
    );
}

#[test]
fn a_trigger_is_not_set_off() {
    let sql = "CREATE TRIGGER t AFTER INSERT ON session BEGIN DELETE FROM call; END";
    let (_folder, path) = forged(sql);
    assert!(open_readonly(&path).is_ok(), "reading sets nothing off");
    let said = refusal(Store::open(&path, info()).map(|_| ()));
    assert!(said.contains("it has the trigger 't'"), "{said}");
    assert_eq!(rows(&path, "SELECT count(*) FROM calls"), ["1"]);
}

#[test]
fn what_a_user_added_stays() {
    let (_folder, path) = forged(
        "CREATE VIEW slow AS SELECT * FROM calls WHERE duration_ns > 50; CREATE TABLE notes (note)",
    );
    assert!(open_readonly(&path).is_ok());
    store(&path).finish(&end()).unwrap();
    assert_eq!(rows(&path, "SELECT count(*) FROM slow"), ["1"]);
}
