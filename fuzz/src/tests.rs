//! Every reader with what it is there to read and with what was found before, without a fuzzer.

use std::panic;
use std::path::{Path, PathBuf};

use exoscope_agent::capture::decode::decode;
use exoscope_agent::query::open_readonly;
use exoscope_agent::target::elf;

use super::*;

/// What was found before, by its file.
fn findings(reader: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("findings");
    let Ok(entries) = fs::read_dir(folder.join(reader)) else {
        return Vec::new();
    };
    let paths = entries.map(|entry| entry.expect("the folder is readable").path());
    let read = |path: PathBuf| {
        let bytes = fs::read(&path).expect("a finding is readable");
        (path, bytes)
    };
    paths.map(read).collect()
}

fn survives(reader: &Reader) {
    for (number, seed) in (reader.seeds)().iter().enumerate() {
        let read = panic::catch_unwind(|| (reader.read)(seed));
        assert!(read.is_ok(), "{} panics on its seed {number}", reader.name);
    }
    for (path, bytes) in findings(reader.name) {
        let read = panic::catch_unwind(|| (reader.read)(&bytes));
        assert!(read.is_ok(), "{} panics on {}", reader.name, path.display());
    }
}

/// A test for each reader.
macro_rules! readers {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            let row = READERS.iter().find(|reader| reader.name == stringify!($name));
            survives(row.expect("it is in the table"));
        })*

        #[test]
        fn every_reader_has_a_test_and_every_finding_a_reader() {
            let tests = [$(stringify!($name)),*];
            let readers: Vec<_> = READERS.iter().map(|reader| reader.name).collect();
            assert_eq!(readers, tests);
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("findings");
            for entry in fs::read_dir(folder).expect("there are findings") {
                let name = entry.expect("the folder is readable").file_name();
                assert!(readers.iter().any(|reader| name == *reader), "{name:?}");
            }
        }
    };
}

readers! {
    elf symbols proc kernel_types shared records fields samples spool replay database rows recovery log
}

#[test]
fn seeds_are_what_readers_are_there_to_read() {
    let folder = scratch();
    let path = folder.path().join("binary");
    fs::write(&path, &seeds::elf()[0]).expect("there is room");
    let binary = elf::read(&path).expect("it is one");
    let found = (binary.functions.len(), binary.sites.len());
    assert_eq!(found, (1, 2), "{binary:?}");
    assert!(binary.rejected.is_empty(), "{binary:?}");

    fs::write(&path, seeds::whole_file()).expect("there is room");
    let file = open_readonly(&path).expect("it is one");
    assert_eq!(file.functions().expect("it can be read").len(), 2);
    let (_, log) = seeds::file_and_log();
    assert!(log.len() > 20 << 13, "the log has {} bytes", log.len());

    for (number, seed) in seeds::records().iter().enumerate() {
        let decoded = pieces(seed).filter(|piece| decode(piece).is_some());
        assert!(decoded.count() >= 1, "seed {number} is no record");
    }
}
