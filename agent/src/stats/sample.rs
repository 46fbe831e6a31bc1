//! What is found out at one moment: by sources, then as rows.

use exoscope_abi::task::NAME_LEN;
use serde::{Deserialize, Serialize};

/// Defines the figures of a process, each `None` where it is not known, and their names.
macro_rules! figures {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Figures of a process: a column of `process_stats` each.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub struct Figures {
            $($(#[$doc])* pub $name: Option<u64>,)*
        }

        impl Figures {
            /// The columns, in order.
            pub const COLUMNS: &'static [&'static str] = &[$(stringify!($name)),*];

            /// What stands in the columns, in order.
            pub fn values(&self) -> impl Iterator<Item = Option<u64>> {
                [$(self.$name),*].into_iter()
            }
        }
    };
}

figures! {
    /// Resident memory: the sum of the next three.
    rss_bytes,
    /// Of it: memory of its own, without a file behind.
    anon_bytes,
    /// Of it: pages of mapped files.
    file_bytes,
    /// Of it: pages of shared memory (`shmem`, `tmpfs`).
    shared_bytes,
    /// Memory of its own that is swapped out.
    swap_bytes,
    /// The most that was ever resident, also before the session.
    peak_rss_bytes,
    /// CPU time in user mode. With the next one it is exact as a sum; ticks decide how it is split.
    cpu_user_ns,
    /// CPU time in the kernel.
    cpu_system_ns,
    /// Time that threads waited for a CPU, summed.
    runqueue_ns,
    /// Time that threads neither ran nor waited for a CPU, summed.
    blocked_ns,
    /// Page faults without reading.
    minor_faults,
    /// Page faults that read.
    major_faults,
    /// Switches to another thread because one waited.
    voluntary_switches,
    /// Switches to another thread because a turn was over.
    involuntary_switches,
    /// Threads that live.
    threads,
    /// Open file descriptors.
    file_descriptors,
    /// Bytes read from storage.
    read_bytes,
    /// Bytes written to storage, or that will be.
    written_bytes,
    /// Bytes that system calls read, from anything.
    syscall_read_bytes,
    /// Bytes that system calls wrote, to anything.
    syscall_written_bytes,
    /// Time in which some thread of the machine waited for a CPU.
    cpu_pressure_some_ns,
    /// Time in which all did (0 for the machine, by definition).
    cpu_pressure_full_ns,
    /// Time in which some thread of the machine waited for memory.
    memory_pressure_some_ns,
    /// Time in which all did.
    memory_pressure_full_ns,
    /// Time in which some thread of the machine waited for storage.
    io_pressure_some_ns,
    /// Time in which all did.
    io_pressure_full_ns,
    /// As `cpu_pressure_some_ns`, for the threads of the target's control group.
    cgroup_cpu_pressure_some_ns,
    /// As `cpu_pressure_full_ns`.
    cgroup_cpu_pressure_full_ns,
    /// As `memory_pressure_some_ns`.
    cgroup_memory_pressure_some_ns,
    /// As `memory_pressure_full_ns`.
    cgroup_memory_pressure_full_ns,
    /// As `io_pressure_some_ns`.
    cgroup_io_pressure_some_ns,
    /// As `io_pressure_full_ns`.
    cgroup_io_pressure_full_ns,
    /// Memory charged to the control group.
    cgroup_memory_bytes,
    /// The least of the limits of the control group and of those around it.
    cgroup_memory_limit_bytes,
    /// Times that it was throttled at `memory.high` (version 2 only).
    cgroup_high_events,
    /// Times that it reached its limit.
    cgroup_max_events,
    /// Processes of it that the OOM killer killed.
    cgroup_oom_kills,
}

/// What sources tell of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Number of the sample, from 1: what is to be found out once for each is not found out for every part.
    pub number: u64,
    /// Figures that need nothing more.
    pub figures: Figures,
    /// The threads, where a source told of them.
    pub tasks: Option<Tasks>,
}

/// The threads of the process, and what is summed over them. All counts grow from the beginning of
/// the process or the thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tasks {
    /// Each thread that lives.
    pub threads: Vec<Task>,
    /// CPU time in user mode as ticks sampled it, in any unit.
    pub sampled_user: u64,
    /// CPU time in the kernel as ticks sampled it, in the same unit.
    pub sampled_system: u64,
    /// Page faults of all threads, also of those that have ended.
    pub minor_faults: u64,
    /// Of those: that read.
    pub major_faults: u64,
    /// Switches of threads that have ended; `None` where the source does not know.
    pub ended_switches: Option<Switches>,
}

/// One thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Its number.
    pub tid: u32,
    /// Its name.
    pub name: Name,
    /// `CLOCK_MONOTONIC` nanoseconds at which it began.
    pub start_ns: u64,
    /// Nanoseconds on a CPU; while it runs, up to its last tick.
    pub cpu_ns: u64,
    /// Nanoseconds that it waited for a CPU, up to the last time that it got one.
    pub runqueue_ns: u64,
    /// Its switches.
    pub switches: Switches,
}

/// Switches from one thread to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switches {
    /// Because it waited.
    pub voluntary: u64,
    /// Because its turn was over.
    pub involuntary: u64,
}

/// The name of a thread: bytes, as the target chose them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Name([u8; NAME_LEN]);

impl Name {
    /// A name from bytes that end at the first 0; what is longer is cut.
    pub fn new(bytes: &[u8]) -> Self {
        let mut name = [0; NAME_LEN];
        let len = bytes.iter().position(|&byte| byte == 0);
        let len = len.unwrap_or(bytes.len()).min(NAME_LEN - 1);
        name[..len].copy_from_slice(&bytes[..len]);
        Self(name)
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let len = self.0.iter().position(|&byte| byte == 0);
        let bytes = &self.0[..len.unwrap_or(NAME_LEN)];
        f.write_str(&String::from_utf8_lossy(bytes))
    }
}

/// One moment, as the store takes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// `CLOCK_MONOTONIC` nanoseconds.
    pub at_ns: u64,
    /// The sources that answered, joined by `+`.
    pub source: String,
    /// Figures of the process.
    pub figures: Figures,
    /// Threads that are new, or have run since the last sample.
    pub threads: Vec<ThreadStep>,
    /// Numbers of the threads that have ended since the last sample.
    pub ended: Vec<u32>,
}

/// A thread that is new, or has run. Until its next step nothing of it changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadStep {
    /// Number of the thread in the session, from 0; a thread that gets the `tid` of an ended one has
    /// another.
    pub number: u32,
    /// Its number in the kernel.
    pub tid: u32,
    /// Its name, where that is new.
    pub name: Option<Name>,
    /// `CLOCK_MONOTONIC` nanoseconds at which it began.
    pub start_ns: u64,
    /// Nanoseconds on a CPU.
    pub cpu_ns: u64,
    /// Nanoseconds waiting for a CPU.
    pub runqueue_ns: u64,
    /// Its switches.
    pub switches: Switches,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_end_at_the_first_zero_and_are_cut_to_what_the_kernel_keeps() {
        assert_eq!(Name::new(b"worker\0rest").to_string(), "worker");
        assert_eq!(Name::new(&[b'x'; 40]).to_string(), "x".repeat(15));
        assert_eq!(Name::new(b"").to_string(), "");
        assert_eq!(Name::new(b"\xff\x1b[2J").to_string(), "\u{fffd}\u{1b}[2J");
    }

    #[test]
    fn every_figure_has_its_column() {
        let figures = Figures {
            rss_bytes: Some(1),
            cgroup_oom_kills: Some(2),
            ..Figures::default()
        };
        let values: Vec<_> = figures.values().collect();
        assert_eq!(values.len(), Figures::COLUMNS.len());
        assert_eq!((Figures::COLUMNS[0], values[0]), ("rss_bytes", Some(1)));
        assert_eq!(values.last(), Some(&Some(2)));
    }
}
