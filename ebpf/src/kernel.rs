//! The kernel's own structures, as far as the programs read them. Where the members lie, the agent has
//! found out ([`Offsets`](exoscope_abi::figures::Offsets)): the verifier knows the offsets, and checks
//! each against the kernel's types, so that they are read without a helper.

use aya_ebpf::helpers::generated::bpf_get_current_task_btf;

use crate::config::{OFFSETS, offset};

/// A thread: a `task_struct`.
#[derive(Clone, Copy)]
pub struct Task(pub *const u8);

macro_rules! members {
    ($($(#[$doc:meta])* $name:ident: $type:ty as $result:ty, $offset:ident;)*) => {
        $($(#[$doc])*
        #[inline(always)]
        pub fn $name(self) -> $result {
            // SAFETY: the verifier checks that a member of this size lies there.
            unsafe { load::<$type>(self.0, offset(&OFFSETS.$offset)) as $result }
        })*
    };
}

impl Task {
    /// The one that runs here.
    #[inline(always)]
    pub fn current() -> Self {
        // SAFETY: the helper only gives the address.
        Self(unsafe { bpf_get_current_task_btf() }.cast_const().cast())
    }

    members! {
        /// Its number, as the machine numbers it.
        number: u32 as u32, pid;
        /// That of its process, likewise.
        process: u32 as u32, tgid;
        /// Nanoseconds that it has been on a CPU, up to when the kernel last added them up.
        cpu_ns: u64 as u64, cpu_time;
        /// When that was, by the clock that stands still while the CPU does not run threads.
        cpu_ns_at: u64 as u64, cpu_time_at;
        /// Nanoseconds that it has waited for a CPU.
        runqueue_ns: u64 as u64, run_delay;
        /// Page faults without reading.
        minor_faults: u64 as u32, min_flt;
        /// Page faults that read.
        major_faults: u64 as u32, maj_flt;
        /// Switches because it waited.
        voluntary_switches: u64 as u32, nvcsw;
        /// Switches because its turn was over.
        involuntary_switches: u64 as u32, nivcsw;
    }

    /// The queue of its CPU.
    #[inline(always)]
    pub fn queue(self) -> Queue {
        // SAFETY: as for the other members; a thread always has a queue, and that a CPU's.
        unsafe {
            let queue = load::<*const u8>(self.0, offset(&OFFSETS.cfs_rq));
            Queue(load::<*const u8>(queue, offset(&OFFSETS.rq)))
        }
    }

    /// The memory of its process.
    #[inline(always)]
    pub fn memory(self) -> Memory {
        // SAFETY: as for the other members.
        Memory(unsafe { load::<*const u8>(self.0, offset(&OFFSETS.mm)) })
    }
}

/// The threads of a CPU: an `rq`.
#[derive(Clone, Copy)]
pub struct Queue(*const u8);

impl Queue {
    /// How far its clock is ahead of the one that stands still while the CPU does not run threads. The kernel
    /// sets one after the other.
    #[inline(always)]
    pub fn clocks_apart(self) -> u64 {
        // SAFETY: as for the members of a thread.
        unsafe {
            let clock = load::<u64>(self.0, offset(&OFFSETS.clock));
            clock.wrapping_sub(load::<u64>(self.0, offset(&OFFSETS.clock_task)))
        }
    }
}

/// The memory of a process: an `mm_struct`.
#[derive(Clone, Copy)]
pub struct Memory(pub *const u8);

impl Memory {
    /// Pages of one counter that all CPUs have told.
    #[inline(always)]
    pub fn told(self, counter: usize) -> u32 {
        let at = offset(&OFFSETS.rss_count) + counter * offset(&OFFSETS.rss_step);
        // SAFETY: as for the members of a thread.
        unsafe { load::<u64>(self.0, at) as u32 }
    }
}

/// Reads a member that lies so many bytes into a structure.
///
/// # Safety
/// The offset is that of a member of this type.
#[inline(always)]
pub unsafe fn load<T>(structure: *const u8, offset: usize) -> T {
    // SAFETY: the caller's promise; volatile, because the kernel changes it at any time.
    unsafe { structure.wrapping_add(offset).cast::<T>().read_volatile() }
}
