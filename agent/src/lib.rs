//! The agent of exoscope: attaches to a running Rust program from outside, takes its markers
//! through BPF, and writes every call as a row into SQLite.
//!
//! Data flows one way: [`target`] finds the sites, [`attach`] attaches programs to them,
//! [`capture`] takes records from the rings and makes events of them, [`sample`] does so with
//! stacks, [`spool`] holds them until [`store`] has written them; [`query`] reads the file, [`report`] prints what it gives, and
//! [`flamegraph`] draws it.

pub mod attach;
pub mod capture;
pub mod cgroup;
pub mod cli;
pub mod event;
pub mod flamegraph;
pub mod kernel_types;
pub mod panics;
pub mod preflight;
pub mod privileges;
pub mod query;
pub mod report;
pub mod sample;
pub mod session;
pub mod spool;
pub mod stats;
pub mod store;
pub mod target;
