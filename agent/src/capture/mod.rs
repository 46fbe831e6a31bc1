//! Capturing: from the rings to batches of events.
//!
//! [`consumer`] is the thread that drains the rings ([`ring`]) on a timer; [`decode`] checks bytes, [`assemble`]
//! makes calls of records, and [`shared`] reads what the programs keep in mapped arrays: open calls
//! and counts. Where there is too little room on the way to the file, [`governor`] has calls counted
//! and not recorded, in [`steps`].

pub mod assemble;
pub mod consumer;
mod covered;
pub mod decode;
mod expected;
pub mod fields;
pub mod governor;
mod looks;
pub mod memory;
pub mod ring;
pub mod shared;
pub mod steps;
