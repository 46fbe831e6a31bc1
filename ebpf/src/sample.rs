//! Sampling: a program that an event per CPU runs so many times a second.
//!
//! An event of the CPU, not one of each thread: it costs the target nothing when threads begin, end
//! or switch, it sees threads of any age, and the other processes of the machine pay a look at the
//! clock and at two numbers. What is taken belongs to the target: its process number is compared in
//! the target's own PID namespace, so an agent in a container means the process that it named.
//!
//! The call is the one that a call which began now would have as its parent. The target keeps the
//! address of its innermost open call in a thread-local variable ([`ChainPlace`]); the rest is what
//! `entry` does. Markers do nothing for it.

use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext,
    bindings::{BPF_F_USER_STACK, BPF_RB_NO_WAKEUP, bpf_pidns_info},
    btf_maps::{Array, RingBuf},
    helpers::{
        bpf_get_current_task, bpf_probe_read_kernel, bpf_probe_read_user,
        generated::{bpf_get_ns_current_pid_tgid, bpf_get_stack},
    },
    macros::{btf_map, perf_event},
    programs::PerfEventContext,
};
use exoscope_abi::{
    Phase,
    sample::{CHAINS, ChainPlace, FRAMES, SampleRecord, SampleSettings, THREAD_POINTER},
};

use crate::{
    atomic, chain,
    marker::{now, phase, thread},
};

/// What the agent tells of the target; it changes when the target loads a library.
#[btf_map]
pub static SAMPLING: Array<SampleSettings, 1> = Array::new();

/// The samples, apart from the calls: a flood of the one must not drown the other.
#[btf_map]
pub static SAMPLES: RingBuf<SampleRecord, 4096> = RingBuf::new();

/// One word: samples that did not fit.
#[btf_map]
pub static SAMPLES_LOST: Array<u64, 1> = Array::new();

/// Offset of the vector of blocks from the thread pointer: `tcbhead_t` of glibc.
const BLOCKS: u64 = 8;
/// Bytes of an entry of that vector. The one before the first says how many there are.
const BLOCK_ENTRY: u64 = 16;

/// Takes the stack of the thread that runs on this CPU, where it is the target's.
#[perf_event]
pub fn sample(ctx: PerfEventContext) -> u32 {
    take(&ctx);
    0
}

#[inline(always)]
fn take(ctx: &PerfEventContext) -> Option<()> {
    if phase() != Phase::Capturing as u64 {
        return None;
    }
    let settings = SAMPLING.get(0)?;
    if !runs_target(settings) {
        return None;
    }
    let Some(mut entry) = SAMPLES.reserve(0) else {
        lost();
        return None;
    };
    let record: *mut SampleRecord = entry.as_mut_ptr();
    // SAFETY: the ring gave memory for a whole record. Every field is written but for the rest of
    // the stack, which `frames` leaves out.
    unsafe {
        (&raw mut (*record).at_ns).write(now());
        (&raw mut (*record).call).write(innermost_call(settings));
        (&raw mut (*record).off_ns).write(0);
        (&raw mut (*record).tid).write(thread());
        let stack = &raw mut (*record).stack;
        (&raw mut (*record).frames).write(read_stack(ctx.as_ptr(), stack));
    }
    entry.submit(BPF_RB_NO_WAKEUP as u64);
    Some(())
}

/// Whether the thread on this CPU is one of the target's.
#[inline(always)]
fn runs_target(settings: &SampleSettings) -> bool {
    let mut process = bpf_pidns_info { pid: 0, tgid: 0 };
    // SAFETY: the helper fills in the structure; it fails for a thread of another namespace.
    let failed = unsafe {
        bpf_get_ns_current_pid_tgid(
            settings.namespace_device,
            settings.namespace_inode,
            &raw mut process,
            size_of::<bpf_pidns_info>() as u32,
        )
    };
    failed == 0 && u64::from(process.tgid) == settings.pid
}

/// Reads the stack in the program, also of a thread that is in the kernel; gives the number of
/// addresses.
///
/// # Safety
/// `ctx` is the context of the program, and `stack` is valid for writes.
#[inline(always)]
pub unsafe fn read_stack(ctx: *mut c_void, stack: *mut [u64; FRAMES]) -> u32 {
    let size = size_of::<[u64; FRAMES]>() as u32;
    // SAFETY: the caller's promise; the kernel follows frame pointers and gives up where one can't
    // be read.
    let bytes = unsafe { bpf_get_stack(ctx, stack.cast(), size, BPF_F_USER_STACK as u64) };
    if bytes < 0 { 0 } else { bytes as u32 / 8 }
}

/// Counts a sample that did not fit.
#[inline(always)]
pub fn lost() {
    if let Some(count) = SAMPLES_LOST.get_ptr_mut(0) {
        // SAFETY: the word lies in the map.
        unsafe { atomic::add(count, 1) };
    }
}

/// Number of the innermost captured call of this thread. 0 where there is none, and where binaries
/// with a chain each have one open: which of them is inner, nobody knows.
#[inline(always)]
pub fn innermost_call(settings: &SampleSettings) -> u64 {
    let Some(pointer) = thread_pointer(settings.thread_pointer) else {
        return 0;
    };
    let mut innermost = 0;
    for index in 0..CHAINS {
        if index as u64 >= settings.chain_count {
            break;
        }
        let Some(call) = chain_head(pointer, &settings.chains[index]) else {
            continue;
        };
        let number = chain::innermost_number(call);
        if number != 0 {
            if innermost != 0 {
                return 0;
            }
            innermost = number;
        }
    }
    innermost
}

/// The thread pointer of this thread, which lies `offset` bytes into the kernel's `task_struct`.
#[inline(always)]
fn thread_pointer(offset: u64) -> Option<u64> {
    if offset == 0 {
        return None;
    }
    // SAFETY: the helper only reads the number of the task; the other one checks the address.
    unsafe { bpf_probe_read_kernel((bpf_get_current_task() + offset) as *const u64) }.ok()
}

/// Address of the innermost open call of one chain.
#[inline(always)]
fn chain_head(pointer: u64, place: &ChainPlace) -> Option<u64> {
    if place.block == THREAD_POINTER {
        return read(pointer.wrapping_add(place.offset));
    }
    let blocks = read(pointer.wrapping_add(BLOCKS))?;
    if place.block > read(blocks.wrapping_sub(BLOCK_ENTRY))? {
        return None;
    }
    // A block that this thread has not used yet has no readable address.
    let block = read(blocks.wrapping_add(place.block.wrapping_mul(BLOCK_ENTRY)))?;
    read(block.wrapping_add(place.offset))
}

/// A word of the target's memory.
#[inline(always)]
fn read(address: u64) -> Option<u64> {
    // SAFETY: the helper checks the address.
    unsafe { bpf_probe_read_user(address as *const u64) }.ok()
}
