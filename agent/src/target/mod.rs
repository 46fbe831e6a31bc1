//! The target: its binaries with their sites, its process, and the choice of functions.

pub mod elf;
pub mod ending;
pub mod launch;
pub mod process;
pub mod select;
mod symbol;
