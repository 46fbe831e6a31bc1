//! What the marker, the BPF programs and the agent agree on, written once.
//!
//! Three parties share these types: the library inside the target ([`probe`], [`note`]), the BPF
//! programs ([`record`], [`figures`], [`ring`], [`sample`], [`table`], [`totals`], [`task`]), and the agent, which reads all of
//! them. The crate is `no_std`, has no dependency, and asserts every size at compile time, so that a
//! layout cannot drift on one side only.
#![no_std]

pub mod field;
pub mod figures;
pub mod note;
pub mod outcome;
pub mod phase;
pub mod polls;
pub mod probe;
pub mod record;
pub mod ring;
pub mod sample;
pub mod table;
pub mod task;
pub mod totals;

pub use outcome::Outcome;
pub use phase::Phase;

/// Version of the markers and notes. The agent refuses a target whose notes carry a newer one.
pub const ABI_VERSION: u32 = 1;
