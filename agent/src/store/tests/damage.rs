//! Files that are deleted, renamed, truncated or overwritten while they are written, or were before.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;

use super::*;
use crate::event::CallPolls;
use crate::query::open_readonly;
use crate::store::file::beside;
use crate::store::opened::PAGE_BYTES;
use crate::store::recover::recover;
use crate::store::replace::Wrong;
use crate::store::salvage::salvage;

/// Calls that a store writes before something happens to its file, and after.
const BEFORE: u64 = 20_000;
const AFTER: u64 = 1_000;

/// What is said of a file that was whole.
const ALL_READ: &str = "what could be read was copied, 0 calls are lost";

fn write(store: &mut Store, first: u64, count: u64) {
    for first in (first..first + count).step_by(1000) {
        let made = (first..first + 1000).map(|id| call(id, None, (id % 3) as u32, Outcome::Ok));
        let polls = (first..first + 1000).step_by(10).map(|call| CallPolls {
            call,
            polls: 2,
            polled_ns: 40,
            ready_ns: 50,
        });
        let batch = Batch {
            polls: polls.collect(),
            ..calls(made.collect())
        };
        store.write(&batch).unwrap();
    }
}

/// A store that has written, and whose log is not empty.
fn written(path: &Path) -> Store {
    let mut store = store(path);
    write(&mut store, 1, BEFORE);
    assert_eq!(store.look(), None);
    store
}

/// Goes on, ends, and expects that every call is a row, or counted as lost. Gives back how many are.
fn goes_on(mut store: Store, path: &Path) -> u64 {
    assert_eq!(store.look(), None);
    write(&mut store, BEFORE + 1, AFTER);
    store.finish(&end()).unwrap();
    is_explained(path, BEFORE + AFTER)
}

fn is_explained(path: &Path, made: u64) -> u64 {
    assert_eq!(rows(path, "PRAGMA integrity_check"), ["ok"]);
    let number = |sql: &str| rows(path, sql)[0].parse::<u64>().unwrap();
    let stored = number("SELECT count(*) FROM calls");
    let lost = number("SELECT coalesce(sum(calls), 0) FROM lost_calls");
    assert_eq!(stored + lost, made);
    assert_eq!(number("SELECT sum(calls) FROM functions"), stored);
    assert_eq!(number("SELECT sum(calls) FROM duration_bucket"), stored);
    assert_eq!(
        rows(path, "SELECT sum(calls), sum(suspended_ns) FROM poll_stat"),
        rows(path, "SELECT count(polls), sum(suspended_ns) FROM calls")
    );
    lost
}

/// Brings the log into the file.
fn checkpoint(store: &Store) {
    let connection = &store.opened.connection;
    connection.execute_batch("PRAGMA wal_checkpoint").unwrap();
}

#[test]
fn a_file_that_was_deleted_is_written_again() {
    for suffix in ["", "-wal", "-shm"] {
        let (folder, path) = folder();
        let mut store = written(&path);
        fs::remove_file(folder.path().join(format!("test.db{suffix}"))).unwrap();
        let wrong = store.look().unwrap();
        assert!(matches!(wrong, Wrong::Gone(_)), "{wrong:?}");
        store.replace(&wrong).unwrap();
        assert_eq!(store.file_path(), path);
        assert_eq!(goes_on(store, &path), 0);
    }
}

#[test]
fn a_file_that_was_renamed_stays_and_is_written_again() {
    let (folder, path) = folder();
    let mut store = written(&path);
    let renamed = folder.path().join("renamed.db");
    fs::rename(&path, &renamed).unwrap();
    let wrong = store.look().unwrap();
    store.replace(&wrong).unwrap();
    assert_eq!(goes_on(store, &path), 0);
    assert_eq!(
        rows(&renamed, "SELECT count(*) FROM calls"),
        [BEFORE.to_string()]
    );
}

#[test]
fn a_file_whose_name_was_taken_goes_on_under_another_one() {
    let (_folder, path) = folder();
    let mut store = written(&path);
    fs::remove_file(&path).unwrap();
    fs::write(&path, "somebody else's").unwrap();
    let wrong = store.look().unwrap();
    store.replace(&wrong).unwrap();
    let place = store.file_path().to_owned();
    assert_ne!(place, path);
    assert_eq!(goes_on(store, &place), 0);
    assert_eq!(fs::read_to_string(&path).unwrap(), "somebody else's");
}

#[test]
fn a_file_that_was_truncated_is_replaced_by_what_can_be_read() {
    let (folder, path) = folder();
    let mut store = written(&path);
    checkpoint(&store);
    assert_eq!(store.look(), None);
    let file = File::options().write(true).open(&path).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    let wrong = store.look().unwrap();
    assert!(matches!(wrong, Wrong::Damaged(_)), "{wrong:?}");
    store.replace(&wrong).unwrap();
    // The log has all that the file lost.
    let lost = goes_on(store, &path);
    assert!(lost < BEFORE, "{lost}");
    assert!(folder.path().join("test.db.damaged-1").exists());
}

fn overwrite_header(path: &Path) {
    let file = File::options().write(true).open(path).unwrap();
    file.write_all_at(&[0x5a; 100], 0).unwrap();
}

#[test]
fn a_header_that_was_overwritten_costs_nothing() {
    let (_folder, path) = folder();
    let mut store = written(&path);
    checkpoint(&store);
    overwrite_header(&path);
    let wrong = store.look().unwrap();
    store.replace(&wrong).unwrap();
    assert_eq!(goes_on(store, &path), 0);
}

#[test]
fn a_log_that_was_truncated_is_noticed_also_after_it_was_written_on() {
    for written_on in [false, true] {
        let (_folder, path) = folder();
        let mut store = written(&path);
        let log = path.with_extension("db-wal");
        let log = File::options().write(true).open(log).unwrap();
        let end = log.metadata().unwrap().len();
        log.set_len(0).unwrap();
        if written_on {
            log.write_all_at(&[0x5a; 8192], end).unwrap();
        }
        let wrong = store.look().unwrap();
        assert!(matches!(wrong, Wrong::Damaged(_)), "{wrong:?}");
        store.replace(&wrong).unwrap();
        goes_on(store, &path);
    }
}

#[test]
fn a_damaged_file_is_recovered_but_for_its_damaged_pages() {
    let (folder, path) = folder();
    let mut store = written(&path);
    store.finish(&end()).unwrap();
    drop(store);
    let file = File::options().write(true).open(&path).unwrap();
    let pages = file.metadata().unwrap().len() / 8192;
    for page in [pages / 3, pages / 2] {
        file.write_all_at(&[0xa5; 8192], page * 8192).unwrap();
    }
    let said = recover(&path).unwrap();
    assert!(
        said[0].contains("what could be read was copied"),
        "{said:?}"
    );
    let lost = is_explained(&path, BEFORE);
    assert!((1..2000).contains(&lost), "{lost}");
    assert!(folder.path().join("test.db.damaged").exists());
    assert_eq!(recover(&path).unwrap(), [""; 0]);
}

#[test]
fn a_row_whose_number_is_damaged_hides_no_other() {
    let (_folder, path) = folder();
    let mut store = written(&path);
    store.finish(&end()).unwrap();
    drop(store);
    let last_leaf = "SELECT pageno FROM dbstat WHERE name = 'call' AND pagetype = 'leaf'
                     ORDER BY path DESC LIMIT 1";
    let page: u64 = rows(&path, last_leaf)[0].parse().unwrap();
    let file = File::options().read(true).write(true).open(&path).unwrap();
    let mut header = [0; 10];
    let at = (page - 1) * u64::from(PAGE_BYTES);
    file.read_exact_at(&mut header, at).unwrap();
    // The number of cells, and where the first of them is: the last place gets that, too.
    let cells = u64::from(u16::from_be_bytes([header[3], header[4]]));
    file.write_all_at(&header[8..], at + 8 + 2 * (cells - 1))
        .unwrap();
    recover(&path).unwrap();
    assert_eq!(is_explained(&path, BEFORE), 1);
}

#[test]
fn counts_that_damage_has_made_enormous_stop_nothing() {
    let (_folder, path) = folder();
    let mut store = written(&path);
    store.finish(&end()).unwrap();
    drop(store);
    for table in ["function_stat", "kernel_count"] {
        let sql = format!("UPDATE {table} SET calls = {}", i64::MAX);
        Connection::open(&path).unwrap().execute(&sql, []).unwrap();
    }
    spoil(&path, "app -x");
    recover(&path).unwrap();
    assert_eq!(
        rows(&path, "SELECT count(*) FROM calls"),
        [BEFORE.to_string()]
    );
    assert!(open_readonly(&path).unwrap().lost_calls().unwrap()[0].calls > 1 << 50);
}

#[test]
fn damage_at_the_end_of_a_table_hides_nothing_before_it() {
    let (_folder, path) = folder();
    let mut store = written(&path);
    store.finish(&end()).unwrap();
    drop(store);
    let leaves =
        "SELECT pageno FROM dbstat WHERE name = 'call' AND pagetype = 'leaf' ORDER BY path";
    let leaves = rows(&path, leaves);
    assert!(leaves.len() > 40, "{}", leaves.len());
    let file = File::options().write(true).open(&path).unwrap();
    for leaf in [&leaves[2], &leaves[leaves.len() - 1]] {
        let page: u64 = leaf.parse().unwrap();
        file.write_all_at(&[0xa5; 8192], (page - 1) * 8192).unwrap();
    }
    recover(&path).unwrap();
    let lost = is_explained(&path, BEFORE);
    assert!((1..2000).contains(&lost), "{lost}");
}

#[test]
fn a_damaged_schema_costs_nothing() {
    let page = 8192_u64;
    let pages = "SELECT group_concat(pageno) FROM dbstat WHERE name = 'sqlite_schema'";
    // No text, no definition, and no page, of a table or of a view.
    for damage in [&b"\xff"[..], b"SELECT SELECT", &[0; 8192]] {
        let (_folder, path) = folder();
        let mut store = written(&path);
        store.finish(&end()).unwrap();
        drop(store);
        let pages = rows(&path, pages).remove(0);
        let pages: Vec<u64> = pages.split(',').map(|page| page.parse().unwrap()).collect();
        assert!(pages.len() > 3, "{pages:?}");
        let file = File::options().write(true).open(&path).unwrap();
        for number in &pages[1..] {
            let end = (number * page) - damage.len() as u64;
            file.write_all_at(damage, end).unwrap();
        }
        recover(&path).unwrap();
        assert_eq!(is_explained(&path, BEFORE), 0);
    }
}

#[test]
fn an_index_that_lacks_a_row_is_damage() {
    let (_folder, path) = folder();
    let mut store = written(&path);
    store.finish(&end()).unwrap();
    drop(store);
    let root = "SELECT rootpage FROM sqlite_schema WHERE name = 'sqlite_autoindex_function_1'";
    let root: u64 = rows(&path, root)[0].parse().unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    // How many rows there are.
    file.write_all_at(&[0, 2], (root - 1) * 8192 + 3).unwrap();
    let database = open_readonly(&path).unwrap();
    assert!(database.damage().unwrap().is_some());
    drop(database);
    assert!(recover(&path).unwrap()[0].ends_with("0 calls are lost"));
    assert_eq!(is_explained(&path, BEFORE), 0);
}

#[test]
fn a_file_without_a_header_is_recovered() {
    let (_folder, path) = folder();
    let mut store = written(&path);
    store.finish(&end()).unwrap();
    drop(store);
    let file = File::options().write(true).open(&path).unwrap();
    file.write_all_at(&[0; 4096], 0).unwrap();
    recover(&path).unwrap();
    assert_eq!(is_explained(&path, BEFORE), 0);
}

/// A copy of a file that is written, and of its log, as a killed agent would leave them.
fn left_behind(store: &Store) -> PathBuf {
    let left = store.file_path().with_extension("left");
    for suffix in ["", "-wal", "-shm"] {
        let (from, to) = (beside(store.file_path(), suffix), beside(&left, suffix));
        fs::copy(from, to).unwrap();
    }
    left
}

fn change_log(path: &Path, change: impl FnOnce(&File, u64)) {
    let log = File::options()
        .write(true)
        .open(beside(path, "-wal"))
        .unwrap();
    change(&log, log.metadata().unwrap().len());
}

#[test]
fn a_damaged_log_is_refused_and_recovered_page_by_page() {
    type Damage = fn(&File, u64);
    let damages: [(Damage, std::ops::Range<u64>); 3] = [
        (|log, _| log.write_all_at(&[0x5a; 100], 0).unwrap(), 0..1),
        (
            |log, end| log.write_all_at(&[0x5a; 65536], end / 2).unwrap(),
            0..BEFORE / 2,
        ),
        (
            |log, end| log.write_all_at(&[0x5a; 64], end / 3).unwrap(),
            0..BEFORE / 2,
        ),
    ];
    let (_folder, path) = folder();
    let whole = written(&path);
    for (damage, lost) in damages {
        let path = left_behind(&whole);
        change_log(&path, damage);
        let read = || ["", "-wal"].map(|suffix| fs::read(beside(&path, suffix)).unwrap());
        let before = read();
        let refused = Store::open(&path, info()).err().unwrap().to_string();
        assert!(refused.contains("`exoscope recover "), "{refused}");
        assert!(read() == before);
        let said = recover(&path).unwrap();
        assert!(said[0].contains("the file was damaged"), "{said:?}");
        let missing = is_explained(&path, BEFORE);
        assert!(lost.contains(&missing), "{missing} are lost");
        assert!(recover(&path).unwrap().is_empty());
        fs::remove_file(beside(&path, ".damaged")).unwrap();
    }
}

#[test]
fn a_file_that_can_not_be_saved_keeps_its_name_and_its_log() {
    let (_folder, path) = folder();
    let whole = written(&path);
    let path = left_behind(&whole);
    let file = File::options().write(true).open(&path).unwrap();
    file.write_all_at(&[0x5a; 16], 0).unwrap();
    let read = || ["", "-wal"].map(|suffix| fs::read(beside(&path, suffix)).unwrap());
    let before = read();
    // There is no place for the new file.
    let new = beside(&path, ".new");
    fs::create_dir(&new).unwrap();
    let error = format!("{:#}", recover(&path).unwrap_err());
    assert!(error.starts_with("can't save what is left of '"), "{error}");
    assert!(read() == before);
    fs::remove_dir(&new).unwrap();
    recover(&path).unwrap();
    assert_eq!(is_explained(&path, BEFORE), 0);
}

#[test]
fn the_end_of_a_log_may_be_cut_off() {
    type Cut = fn(&File, u64);
    let cuts: [Cut; 3] = [
        |log, end| log.set_len(end - 5000).unwrap(),
        |log, end| log.write_all_at(&[0; 9000], end - 9000).unwrap(),
        |log, _| log.set_len(0).unwrap(),
    ];
    let (_folder, path) = folder();
    let whole = store(&path);
    for cut in cuts {
        let path = left_behind(&whole);
        change_log(&path, cut);
        let mut store = store(&path);
        write(&mut store, 1, AFTER);
        store.finish(&end()).unwrap();
        assert_eq!(rows(&path, "PRAGMA integrity_check"), ["ok"]);
    }
}

#[test]
fn a_log_may_hold_what_went_into_the_file_long_ago() {
    let (_folder, path) = folder();
    let mut store = written(&path);
    for first in [1, 2] {
        checkpoint(&store);
        // It begins anew, and the rest is from before.
        write(&mut store, first * BEFORE + 1, AFTER);
        assert!(crate::store::log::is_sound(&path).unwrap());
    }
}

#[test]
fn a_log_may_hold_what_did_not_fit_on_the_disk() {
    let (_folder, path) = folder();
    let mut store = written(&path);
    // It is written before its end, does not come to that, and the next one is written over its beginning.
    let unfinished = "PRAGMA cache_size = 4; BEGIN; CREATE TABLE much (value);
        WITH n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n LIMIT 1000)
        INSERT INTO much SELECT randomblob(8000) FROM n; ROLLBACK";
    let connection = &store.opened.connection;
    connection.execute_batch(unfinished).unwrap();
    let log = || fs::metadata(beside(&path, "-wal")).unwrap().len();
    let before = log();
    write(&mut store, BEFORE + 1, AFTER);
    assert_eq!(log(), before, "what was left reaches further");
    assert!(crate::store::log::is_sound(&path).unwrap());
}

/// Overwrites a text of a file, which is in it once.
fn spoil(path: &Path, text: &str) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let bytes = fs::read(path).unwrap();
    let found = |(at, part)| (part == text.as_bytes()).then_some(at);
    let places = bytes.windows(text.len()).enumerate();
    let places: Vec<usize> = places.filter_map(found).collect();
    assert_eq!(places.len(), 1, "{text}");
    file.write_all_at(b"\xff", places[0] as u64).unwrap();
}

#[test]
fn text_that_is_no_utf_8_is_found_and_replaced() {
    let (_folder, path) = folder();
    let mut store = store(&path);
    write(&mut store, 1, AFTER);
    store.finish(&end()).unwrap();
    drop(store);
    spoil(&path, "app -x");
    let database = open_readonly(&path).unwrap();
    let damage = database.damage().unwrap().unwrap();
    assert_eq!(damage, "it is damaged: texts that are no UTF-8: 1");
    let refused = database.sessions().unwrap_err().to_string();
    assert!(refused.contains("`exoscope recover "), "{refused}");
    drop(database);
    let said = recover(&path).unwrap();
    assert!(
        said[0].ends_with("0 calls are lost, and 1 text was damaged"),
        "{said:?}"
    );
    assert_eq!(is_explained(&path, AFTER), 0);
    assert_eq!(
        rows(&path, "SELECT command FROM processes"),
        ["\u{fffd}pp -x"]
    );
    assert_eq!(open_readonly(&path).unwrap().damage().unwrap(), None);
    assert!(recover(&path).unwrap().is_empty());
}

#[test]
fn a_file_is_found_whose_agent_was_killed_while_it_was_replaced() {
    for steps in 1..=3 {
        let (folder, path) = folder();
        let store = written(&path);
        let left = left_behind(&store);
        overwrite_header(&left);
        let aside = beside(&left, ".damaged-1");
        // What is done first, second and third.
        fs::rename(&left, &aside).unwrap();
        if steps > 1 {
            fs::rename(beside(&left, "-wal"), beside(&aside, "-wal")).unwrap();
        }
        if steps > 2 {
            fs::write(beside(&left, ".new"), "half of a file").unwrap();
        }
        let said = recover(&left).unwrap();
        assert!(said[0].ends_with("has its name again"), "{said:?}");
        assert_eq!(is_explained(&left, BEFORE), 0);
        assert!(!beside(&left, ".new").exists());
        drop((store, folder));
    }
}

#[test]
fn sums_are_the_same_when_they_are_computed_from_rows() {
    let (folder, path) = folder();
    let mut store = store(&path);
    let made = (1..=900).map(|id| {
        let outcome = Outcome::ALL[(id % 6) as usize];
        let figures = Figures {
            known: if id % 5 == 0 { 0 } else { u32::MAX },
            cpu_ns: 50,
            runqueue_ns: id / 10,
            blocked_ns: 50 + id - id / 10,
            minor_faults: 3,
            major_faults: (id % 2) as u32,
            ..Figures::default()
        };
        Call {
            figures,
            ..call(id, None, (id % 3) as u32, outcome)
        }
    });
    let polls = (1..=900).step_by(30).map(|call| CallPolls {
        call,
        polls: 2,
        polled_ns: 100 + call,
        ready_ns: 0,
    });
    let batch = Batch {
        polls: polls.collect(),
        ..calls(made.collect())
    };
    store.write(&batch).unwrap();
    store.finish(&end()).unwrap();
    drop(store);
    let mut second = Store::open(&path, info()).unwrap();
    let functions = ["app::b", "app::c", "app::d"].map(function);
    second.add_functions(&functions).unwrap();
    write(&mut second, 1, AFTER);
    second.finish(&end()).unwrap();
    let copy = folder.path().join("copy.db");
    assert_eq!(salvage(&path, &copy).unwrap().to_string(), ALL_READ);
    for table in ["function_stat", "poll_stat", "duration_bucket", "call"] {
        let sql = format!("SELECT * FROM {table} ORDER BY 1, 2");
        assert!(rows(&path, &sql) == rows(&copy, &sql), "{table}");
    }
}

#[test]
fn what_is_not_ours_is_not_recovered() {
    let (_folder, path) = folder();
    let other = "CREATE TABLE other (a); INSERT INTO other VALUES (7);";
    Connection::open(&path)
        .unwrap()
        .execute_batch(other)
        .unwrap();
    let text = path.with_extension("txt");
    fs::write(
        &text,
        "SQLite format 3, in the words of somebody else".repeat(9),
    )
    .unwrap();
    for path in [path, text] {
        let before = fs::read(&path).unwrap();
        let refused = recover(&path).unwrap_err().to_string();
        assert!(refused.ends_with("it is no exoscope file"), "{refused}");
        assert!(fs::read(&path).unwrap() == before);
    }
}
