//! Files whose sessions were cut short, damaged, and recovered.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use exoscope_agent::spool::Place;
use exoscope_agent::store::recover::recover;
use tempfile::TempDir;

use super::damage::Places;
use super::kept::{Content, all_rows, log_of};
use super::reading::{assert_readable, assert_sound};
use crate::{scratch, seeds};

/// A file whose session was cut short, in a folder of its own.
pub struct Cut {
    folder: TempDir,
    pub path: PathBuf,
    /// Where its spool is.
    pub spool: Place,
}

impl Cut {
    pub fn new() -> Self {
        static FILE: OnceLock<(Vec<u8>, u64)> = OnceLock::new();
        let (bytes, key) = FILE.get_or_init(seeds::cut_file);
        let cut = Self::with_key(*key);
        fs::write(&cut.path, bytes).expect("there is room");
        cut
    }

    fn with_key(key: u64) -> Self {
        let folder = scratch();
        let path = folder.path().join("cut.db");
        let spool = Place::new(&path, None, key);
        Self {
            folder,
            path,
            spool,
        }
    }

    /// The names of all files in the folder.
    fn files(&self) -> BTreeSet<String> {
        let entries = fs::read_dir(&self.folder).expect("it is readable");
        let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
        entries
            .map(|entry| name(entry.expect("it is readable")))
            .collect()
    }
}

/// What is damaged, and what it held.
struct Base {
    /// The file and, behind it, its log.
    bytes: Vec<u8>,
    /// Bytes of the file.
    len: usize,
    places: Places,
    content: Content,
}

impl Base {
    fn new(file: &[u8], log: &[u8]) -> Self {
        let bytes = [file, log].concat();
        let cut = Cut::with_key(0);
        write(&cut.path, file, log);
        Self {
            places: Places::of_file_and_log(&bytes, file.len()),
            len: file.len(),
            content: Content::of(&cut.path).expect("the file is sound"),
            bytes,
        }
    }

    /// Writes what damage leaves to a file and its log.
    fn damaged(&self, path: &Path, changes: &[u8]) {
        let bytes = self.places.change(&self.bytes, changes);
        let (file, log) = bytes.split_at(self.len.min(bytes.len()));
        write(path, file, log);
    }
}

/// Writes a file and its log, unless that is empty.
fn write(path: &Path, file: &[u8], log: &[u8]) {
    fs::write(path, file).expect("there is room");
    if !log.is_empty() {
        fs::write(log_of(path), log).expect("there is room");
    }
}

/// A file whose session was cut short and in which bytes were overwritten.
pub fn recovery(bytes: &[u8]) {
    static BASE: OnceLock<Base> = OnceLock::new();
    let base = BASE.get_or_init(|| Base::new(&seeds::cut_file().0, &[]));
    recovers(base, bytes);
}

/// Likewise where the machine went down: the last of what was written is in the file's log, in which bytes
/// were overwritten, too.
pub fn log(bytes: &[u8]) {
    static BASE: OnceLock<Base> = OnceLock::new();
    let base = BASE.get_or_init(|| {
        let (file, log) = seeds::file_and_log();
        Base::new(&file, &log)
    });
    recovers(base, bytes);
}

fn recovers(base: &Base, bytes: &[u8]) {
    let cut = Cut::with_key(0);
    base.damaged(&cut.path, bytes);
    if let Err(error) = recover(&cut.path) {
        assert_may_fail(&format!("{error:#}"));
        assert!(cut.path.exists(), "{error:#}: the file is gone");
        return;
    }
    assert_sound(&cut.path);
    assert_readable(&cut.path);
    let aside = cut.folder.path().join("cut.db.damaged");
    if aside.exists() {
        base.content.assert_kept(&aside, &cut.path);
    }
    assert_own_files(&cut);
    let before = all_rows(&cut.path);
    let again = recover(&cut.path).expect("it was recovered");
    assert!(again.is_empty(), "recovered again: {again:?}");
    assert!(before == all_rows(&cut.path), "what was recovered changed");
}

/// Fails unless an error says that the file is not one of ours that this program may write, or where more of it is.
fn assert_may_fail(error: &str) {
    let reasons = [
        "no exoscope file",
        "newer exoscope",
        "is not as exoscope",
        // Damage may name one.
        "`exoscope recover --without-spool",
    ];
    let may = reasons.iter().any(|reason| error.contains(reason));
    assert!(may, "recovery failed: {error}");
}

/// Fails where files lie about that nobody asked for.
fn assert_own_files(cut: &Cut) {
    let mut files = cut.files();
    files.retain(|name| name != "cut.db" && !name.starts_with("cut.db.damaged"));
    assert!(files.is_empty(), "{files:?} lie about");
}
