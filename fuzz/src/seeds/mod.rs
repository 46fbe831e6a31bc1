//! What the readers are there to read: from here the fuzzer begins.

mod elf;
mod files;
mod rings;
mod target;

pub use elf::elf;
pub use files::{
    cut_file, database, file_and_log, log, recovery, replay, rows, segment_with, spool, whole_file,
};
pub use rings::{fields, records, samples, shared};
pub use target::{kernel_types, proc, symbols};

/// A piece with its length before it.
fn piece(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_le_bytes(), bytes].concat()
}
