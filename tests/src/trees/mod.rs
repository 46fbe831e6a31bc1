//! Random trees of calls: what the target `trees` says became of them, and what the rows say.
//!
//! The target's [`log`] is told by the bodies of the calls, and knows nothing of exoscope. Which
//! row is which call follows from the ends alone: on one thread, calls end in one order, in the log
//! and in the rows. Everything else is then [`compare`]d: functions, parents, outcomes, errors, and the
//! order of all beginnings and ends. Of a tree that differs, [`shrink`] finds a small part that does.

pub mod compare;
pub mod log;
pub mod rows;
pub mod shrink;
