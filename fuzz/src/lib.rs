//! The readers of exoscope, each as a function that takes bytes that nobody vouches for.
//!
//! Whatever the bytes are, a reader ends soon, and what it gives back makes sense; else the function
//! panics. [`READERS`] is the table of them. libFuzzer looks for bytes that make one panic, hang or use
//! up memory (`fuzz_targets`, `cargo xtask fuzz`); what it found lies in `findings/READER`, and is read
//! by the tests of this crate beside what the readers are there for ([`mod@seeds`]).

pub mod readers;
pub mod seeds;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::Path;

use tempfile::TempDir;

/// A reader.
#[derive(Clone, Copy)]
pub struct Reader {
    /// Its name: that of its fuzz target and of the folder with what was found.
    pub name: &'static str,
    /// Reads bytes.
    pub read: fn(&[u8]),
    /// What it is there to read.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// A row of the table: readers and their seeds have one name.
macro_rules! reader {
    ($name:ident) => {
        Reader {
            name: stringify!($name),
            read: readers::$name,
            seeds: seeds::$name,
        }
    };
}

/// Every reader, in the order in which data flows.
pub const READERS: &[Reader] = &[
    reader!(elf),
    reader!(symbols),
    reader!(proc),
    reader!(kernel_types),
    reader!(shared),
    reader!(records),
    reader!(fields),
    reader!(samples),
    reader!(spool),
    reader!(replay),
    reader!(database),
    reader!(rows),
    reader!(recovery),
    reader!(log),
];

/// Writes what a reader is there to read into the folder with which its fuzz target begins,
/// `corpus/READER`.
///
/// # Panics
/// Where there is no such reader, or no room.
pub fn write_seeds(name: &str) {
    let reader = READERS.iter().find(|reader| reader.name == name);
    let seeds = (reader.expect("it is in the table").seeds)();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(name);
    fs::create_dir_all(&folder).expect("there is room");
    for (number, seed) in seeds.iter().enumerate() {
        fs::write(folder.join(format!("seed-{number}")), seed).expect("there is room");
    }
}

/// A folder for files that are read and written once: in memory, where the machine has such a place.
fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    let folder = tempfile::tempdir_in(memory).or_else(|_| tempfile::tempdir());
    folder.expect("there is room")
}

/// Cuts bytes into pieces: each begins with its length, of two bytes.
fn pieces(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (len, rest) = bytes.split_first_chunk()?;
        let len = usize::from(u16::from_le_bytes(*len)).min(rest.len());
        let (piece, rest) = rest.split_at(len);
        bytes = rest;
        Some(piece)
    })
}
