//! Capturing: from the rings to batches of events.
//!
//! [`ring`] drains, [`decode`] checks bytes, [`assemble`] makes calls of records, and [`shared`]
//! reads what the programs keep in mapped arrays: open calls and counts. [`consumer`] is the thread
//! that does all of it on a timer.

pub mod assemble;
pub mod consumer;
pub mod decode;
pub mod shared;
