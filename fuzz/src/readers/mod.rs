//! What each reader is asked for, and what must hold of its answer.

mod damage;
mod database;
mod kept;
mod reading;
mod recovery;
mod rings;
mod spool;
mod target;

pub use database::{database, rows};
pub use recovery::{log, recovery};
pub use rings::{fields, records, samples, shared};
pub use spool::{replay, spool};
pub use target::{elf, kernel_types, proc, symbols};
