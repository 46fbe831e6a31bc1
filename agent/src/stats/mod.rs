//! Figures of the target beside its calls, sampled on a timer.
//!
//! [`source`] says what a source is and has the table of all; there is one file for each:
//! [`kernel`], [`procfs`], [`null`]. [`monitor`] chooses who answers, [`threads`] makes rows of what
//! it says, and [`sampler`] is the thread that does so on a timer.

pub mod kept;
pub mod kernel;
pub mod monitor;
pub mod null;
pub mod parse;
pub mod procfs;
pub mod sample;
pub mod sampler;
pub mod source;
pub mod threads;
