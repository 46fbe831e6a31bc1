//! What the task iterator writes about each thread of the target.
//!
//! A record is [`TASK`] and [`SIGNAL`] read one after the other from the kernel's own structures. Their
//! layout differs from kernel to kernel: the agent finds the [`Offsets`] and gives them to the program.

/// One thread, and what the kernel keeps for its process beside the threads that live.
///
/// Times are nanoseconds, the rest are counts; all of them grow from the thread's or the process's
/// beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct TaskRecord {
    /// `CLOCK_MONOTONIC` at which the thread was looked at.
    pub at_ns: u64,
    /// Number of the thread.
    pub tid: u64,
    /// `CLOCK_MONOTONIC` at which it began.
    pub start_ns: u64,
    /// Time on a CPU; of a thread that is running, up to its last tick.
    pub cpu_ns: u64,
    /// Time waiting for a CPU, up to the last time that it got one.
    pub runqueue_ns: u64,
    /// Time in user mode, sampled by ticks.
    pub user_ns: u64,
    /// Time in the kernel, sampled by ticks.
    pub system_ns: u64,
    /// Switches to another thread because it waited.
    pub voluntary_switches: u64,
    /// Switches to another thread because its turn was over.
    pub involuntary_switches: u64,
    /// Page faults without reading.
    pub minor_faults: u64,
    /// Page faults that read.
    pub major_faults: u64,
    /// [`Self::user_ns`] of the threads of its process that have ended. This and what follows up to the
    /// name is 0 in all records of an iteration but the first.
    pub ended_user_ns: u64,
    /// [`Self::system_ns`] of those.
    pub ended_system_ns: u64,
    /// [`Self::voluntary_switches`] of those.
    pub ended_voluntary_switches: u64,
    /// [`Self::involuntary_switches`] of those.
    pub ended_involuntary_switches: u64,
    /// [`Self::minor_faults`] of those.
    pub ended_minor_faults: u64,
    /// [`Self::major_faults`] of those.
    pub ended_major_faults: u64,
    /// Name, as the kernel keeps it: up to the first 0.
    pub name: [u8; NAME_LEN],
}
const _: () = assert!(size_of::<TaskRecord>() == 8 + 8 * (TASK.len() + SIGNAL.len()) + NAME_LEN);

/// Bytes of a thread's name, the 0 at its end included.
pub const NAME_LEN: usize = 16;

/// The members of `task_struct` (a thread) that the record begins with after `at_ns`, in its order.
/// Each takes eight bytes of the record, whatever its size.
pub const TASK: [&str; 10] = [
    "pid",
    "start_time",
    "se.sum_exec_runtime",
    "sched_info.run_delay",
    "utime",
    "stime",
    "nvcsw",
    "nivcsw",
    "min_flt",
    "maj_flt",
];
/// The members of `signal_struct` (what the threads of a process share) that follow.
pub const SIGNAL: [&str; 6] = ["utime", "stime", "nvcsw", "nivcsw", "min_flt", "maj_flt"];

/// Where the members lie in the structures of the running kernel, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Offsets {
    /// Of [`TASK`].
    pub task: [u32; TASK.len()],
    /// Of [`SIGNAL`].
    pub signal: [u32; SIGNAL.len()],
    /// Of `task_struct.signal`.
    pub signal_address: u32,
    /// Of `task_struct.comm`.
    pub name: u32,
}
const _: () = assert!(size_of::<Offsets>() == 4 * (TASK.len() + SIGNAL.len() + 2));
