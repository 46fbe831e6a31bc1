//! What the agent sets before it loads the programs. The verifier knows these values, so a branch
//! that they rule out costs nothing.

use core::ptr;

use exoscope_abi::figures::Offsets;

/// Functions of the session: the length of one shard of the totals.
#[unsafe(no_mangle)]
static FUNCTIONS: u32 = 1;
/// Shards of the totals less 1: a power of two less 1.
#[unsafe(no_mangle)]
static SHARD_MASK: u32 = 0;
/// Buckets of the table of open calls less 1: a power of two less 1.
#[unsafe(no_mangle)]
static TABLE_MASK: u32 = 0;
/// Bytes of a ring's data less 1: a power of two less 1.
#[unsafe(no_mangle)]
static RING_MASK: u32 = 0;
/// CPUs that can run a program: the step between two call numbers of one CPU.
#[unsafe(no_mangle)]
static CPUS: u32 = 1;
/// 1 where only ends are attached and the target takes the start.
#[unsafe(no_mangle)]
static EXITS: u32 = 0;
/// 1 where polls and wake-ups are attached.
#[unsafe(no_mangle)]
static WITH_POLLS: u32 = 0;
/// Which of the kernel's counts are taken for each call: `exoscope_abi::figures::CPU` and the like.
#[unsafe(no_mangle)]
static FIGURES: u32 = 0;
/// CPUs that may have a share of a process's counters of memory.
#[unsafe(no_mangle)]
static MEMORY_CPUS: u32 = 1;
/// Where the counts are.
#[unsafe(no_mangle)]
pub static OFFSETS: Offsets = Offsets {
    pid: 0,
    tgid: 0,
    cpu_time: 0,
    cpu_time_at: 0,
    run_delay: 0,
    cfs_rq: 0,
    rq: 0,
    clock: 0,
    clock_task: 0,
    min_flt: 0,
    maj_flt: 0,
    nvcsw: 0,
    nivcsw: 0,
    mm: 0,
    rss_count: 0,
    rss_counters: 0,
    rss_step: 0,
    array_values: 0,
};

macro_rules! getter {
    ($(#[$doc:meta])* $name:ident, $global:ident) => {
        $(#[$doc])*
        #[inline(always)]
        pub fn $name() -> u32 {
            // SAFETY: a static is valid for reads; volatile, because the agent overwrites it
            // in the object, behind the compiler's back.
            unsafe { ptr::read_volatile(&raw const $global) }
        }
    };
}

getter!(/// Functions of the session.
    functions, FUNCTIONS);
getter!(/// Shards of the totals less 1.
    shard_mask, SHARD_MASK);
getter!(/// Buckets of the table less 1.
    table_mask, TABLE_MASK);
getter!(/// Bytes of a ring less 1.
    ring_mask, RING_MASK);
getter!(/// CPUs.
    cpus, CPUS);
getter!(/// The counts that are taken.
    figures, FIGURES);
getter!(/// CPUs with a share of the counters of memory.
    memory_cpus, MEMORY_CPUS);

/// One of [`OFFSETS`], in bytes.
#[inline(always)]
pub fn offset(of: &u32) -> usize {
    // SAFETY: a reference is valid for reads; volatile as in `getter!`.
    unsafe { ptr::read_volatile(of) as usize }
}

/// Only ends are attached.
#[inline(always)]
pub fn exits_only() -> bool {
    // SAFETY: as in `getter!`.
    unsafe { ptr::read_volatile(&raw const EXITS) != 0 }
}

/// Polls and wake-ups are attached.
#[inline(always)]
pub fn polls() -> bool {
    // SAFETY: as in `getter!`.
    unsafe { ptr::read_volatile(&raw const WITH_POLLS) != 0 }
}
