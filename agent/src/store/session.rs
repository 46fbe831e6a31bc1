//! What a session says about itself, its target and its end.

use std::path::PathBuf;

use rustix::time::{ClockId, clock_gettime};

use crate::event::unix_ns;

/// A session as it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionInfo {
    /// Nanoseconds since 1970.
    pub started_unix_ns: i64,
    /// `CLOCK_MONOTONIC` nanoseconds at the same moment: what relates a call's times to the wall clock.
    pub started_ns: u64,
    /// Name of the machine.
    pub host: String,
    /// Release of the kernel.
    pub kernel: String,
    /// Version of this program.
    pub agent_version: String,
    /// The command line's options, as given.
    pub options: String,
    /// Samples a second on each CPU; 0 for none.
    pub sample_hertz: u32,
    /// Folder of the spool, unless that is to be beside the file.
    pub spool_folder: Option<PathBuf>,
}

impl SessionInfo {
    /// A session that begins now, on this machine.
    pub fn now(options: String, sample_hertz: u32) -> Self {
        Self {
            started_unix_ns: unix_ns(),
            started_ns: monotonic_ns(),
            host: kernel_text("hostname"),
            kernel: kernel_text("osrelease"),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            options,
            sample_hertz,
            spool_folder: None,
        }
    }
}

/// The target of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessInfo {
    /// Process number, as the agent sees it.
    pub pid: u32,
    /// Command line.
    pub command: String,
    /// Path of the binary.
    pub executable: String,
    /// GNU build ID in hexadecimal digits, where the binary has one.
    pub build_id: Option<String>,
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionEnd {
    /// Nanoseconds since 1970.
    pub ended_unix_ns: i64,
    /// One or a few words: `target exited`, `duration`, `interrupted by SIGINT`, …
    pub reason: String,
    /// Exit status of the target, where it ended: as shells give it, 128 and the signal's number
    /// where a signal ended it.
    pub exit_status: Option<i32>,
}

/// `CLOCK_MONOTONIC`, in nanoseconds.
pub(super) fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    // Neither is negative on this clock.
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// What the kernel says about itself; empty where `/proc` is not mounted.
fn kernel_text(name: &str) -> String {
    std::fs::read_to_string(format!("/proc/sys/kernel/{name}"))
        .map_or_else(|_| String::new(), |text| text.trim_end().to_owned())
}
