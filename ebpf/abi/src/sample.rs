//! Samples of the target's stacks: what the program is told, and what it submits.

/// Return addresses of one stack at most. The kernel takes `kernel.perf_event_max_stack` of them,
/// which is 127 unless somebody changed it.
pub const FRAMES: usize = 256;
/// Chains of open calls that are looked at: one a binary with markers.
pub const CHAINS: usize = 4;

/// Section in which the library says where a thread finds its chain of open calls: one
/// [`ChainPlace`] for each copy of the library that the binary holds.
pub const CHAIN_SECTION: &str = ".exoscope.chain";

/// Where the address of a thread's innermost open call lies: two words that the library writes when
/// the binary is loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ChainPlace {
    /// [`UNKNOWN`] until the binary is loaded, [`THREAD_POINTER`], or the number of the binary's
    /// block of thread-local variables: its index in the thread's vector of blocks (`dtv`), as
    /// glibc lays it out.
    pub block: u64,
    /// Offset of the variable, added to the thread pointer or to the address of the block.
    pub offset: u64,
}
const _: () = assert!(size_of::<ChainPlace>() == 16);

/// A [`ChainPlace::block`] that has not been written, or that no program can find.
pub const UNKNOWN: u64 = u64::MAX;
/// A [`ChainPlace::block`] whose variable lies at one distance from every thread's pointer: that of
/// an executable.
pub const THREAD_POINTER: u64 = 0;

/// What the agent tells the program, as words of an array.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct SampleSettings {
    /// Device of the target's PID namespace, as the kernel numbers devices within.
    pub namespace_device: u64,
    /// Inode of the target's PID namespace.
    pub namespace_inode: u64,
    /// The target's process number in its namespace.
    pub pid: u64,
    /// Offset of the thread pointer in `task_struct`; 0 where it is not known.
    pub thread_pointer: u64,
    /// Nanoseconds between two samples of a CPU.
    pub period_ns: u64,
    /// How many of `chains` are used.
    pub chain_count: u64,
    /// Where the chains of open calls are.
    pub chains: [ChainPlace; CHAINS],
}

/// Words of [`SampleSettings`].
pub const SETTINGS_WORDS: usize = 6 + 2 * CHAINS;
const _: () = assert!(size_of::<SampleSettings>() == SETTINGS_WORDS * 8);

impl SampleSettings {
    /// The words, in the order of the fields.
    pub fn words(&self) -> [u64; SETTINGS_WORDS] {
        let mut words = [0; SETTINGS_WORDS];
        let (first, chains) = words.split_at_mut(SETTINGS_WORDS - 2 * CHAINS);
        first.copy_from_slice(&[
            self.namespace_device,
            self.namespace_inode,
            self.pid,
            self.thread_pointer,
            self.period_ns,
            self.chain_count,
        ]);
        for (words, place) in chains.chunks_exact_mut(2).zip(&self.chains) {
            words.copy_from_slice(&[place.block, place.offset]);
        }
        words
    }
}

/// One sample.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct SampleRecord {
    /// `CLOCK_MONOTONIC` nanoseconds.
    pub at_ns: u64,
    /// Number of the innermost captured call of the thread, or 0 where there is none or it is not
    /// known.
    pub call: u64,
    /// Nanoseconds for which the thread had been off the CPU; 0 for a sample of a running thread.
    pub off_ns: u64,
    /// Thread.
    pub tid: u32,
    /// Addresses used of `stack`.
    pub frames: u32,
    /// Where the thread runs in the program, then the return addresses, the innermost first.
    pub stack: [u64; FRAMES],
}
const _: () = assert!(size_of::<SampleRecord>() == 32 + FRAMES * 8);

/// What stands for the number of the target's process before the agent tells it: no process has it.
pub const NO_PROCESS: u64 = u64::MAX;

/// A thread that is off the CPU, or was the last time that it is known of.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct OffCpu {
    /// `CLOCK_MONOTONIC` nanoseconds since when it is; 0 while it runs.
    pub since_ns: u64,
    /// As in [`SampleRecord`], of the moment when it left the CPU.
    pub call: u64,
    /// Addresses used of `stack`.
    pub frames: u64,
    /// As in [`SampleRecord`].
    pub stack: [u64; FRAMES],
}

/// Words of [`OffCpu`].
pub const OFF_CPU_WORDS: usize = 3 + FRAMES;
const _: () = assert!(size_of::<OffCpu>() == OFF_CPU_WORDS * 8);
