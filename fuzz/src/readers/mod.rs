//! What each reader is asked for, and what must hold of its answer.

mod database;
mod rings;
mod spool;
mod target;

pub use database::{database, recovery, rows};
pub use rings::{fields, records, samples, shared};
pub use spool::{replay, spool};
pub use target::{elf, kernel_types, proc, symbols};
