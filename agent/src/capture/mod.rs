//! Capturing: from the rings to batches of events.
//!
//! [`consumer`] is the thread that drains the rings ([`ring`]) on a timer; [`decode`] checks bytes, [`assemble`]
//! makes calls of records, and [`shared`] reads what the programs keep in mapped arrays: open calls
//! and counts.

pub mod assemble;
pub mod consumer;
mod covered;
pub mod decode;
mod expected;
pub mod fields;
mod looks;
pub mod ring;
pub mod shared;
