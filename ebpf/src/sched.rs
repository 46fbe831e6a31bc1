//! How long each thread of the target has been off the CPU.
//!
//! The kernel's own account of a running thread is up to a tick old, and it keeps none of the time that
//! a thread is blocked. So a program at the scheduler's switches adds up how long threads are away
//! ([`Followed`]); how much of that they wait for a CPU, the kernel counts by itself.
//!
//! A thread is followed from its first call. Other processes pay for two comparisons at their switches.

use aya_ebpf::{btf_maps::Array, macros::btf_map};
use exoscope_abi::figures::{Followed, TimesOff};

use crate::{kernel::Task, marker::now, task_storage::TaskStorage};

/// The threads.
#[btf_map]
static THREADS: TaskStorage<Followed> = TaskStorage::new();

/// One word: the process number of the target, as the machine numbers it; 0 until one of its threads is
/// followed.
#[btf_map]
static TARGET: Array<u64, 1> = Array::new();

/// What the tracepoint hands over: whether the switch is forced, the thread that leaves the CPU, and the
/// one that gets it.
type Switch = [*const u8; 3];

/// A CPU switches from one thread to the next.
#[unsafe(no_mangle)]
#[unsafe(link_section = "tp_btf/sched_switch")]
pub extern "C" fn sched_switch(context: *const Switch) -> i32 {
    // SAFETY: the kernel calls the program with these arguments.
    let (before, after) = unsafe { (Task((*context)[1]), Task((*context)[2])) };
    switch(before, after);
    0
}

#[inline(always)]
fn switch(before: Task, after: Task) -> Option<()> {
    // SAFETY: the word lies in the map; whoever writes it writes the same.
    let target = unsafe { TARGET.get_ptr(0)?.read_volatile() };
    if before.process() == target
        && let Some(thread) = THREADS.get(before.0)
    {
        // SAFETY: the value is the thread's own, which does nothing else meanwhile.
        unsafe { (*thread).leaves(now(), before.runqueue_ns()) };
    }
    if after.process() == target
        && let Some(thread) = THREADS.get(after.0)
    {
        // SAFETY: as above.
        unsafe { (*thread).comes_back(now(), after.cpu_ns()) };
    }
    Some(())
}

/// The times of the current thread off the CPU, and of that waiting for one, at `at_ns`, a moment ago.
#[inline(always)]
pub fn times_at(task: Task, at_ns: u64) -> Option<TimesOff> {
    let thread = THREADS.get_or_zeros(task.0)?;
    // SAFETY: as in `switch`.
    unsafe {
        if (*thread).in_ns == 0 {
            follow(task, thread)?;
        }
        let mut seen = thread.read_volatile();
        if (&raw const (*thread).in_ns).read_volatile() != seen.in_ns {
            // The thread was off the CPU between two reads: some are from before, others from after.
            seen = thread.read_volatile();
        }
        Some(seen.times_at(at_ns, task.runqueue_ns()))
    }
}

/// The first call of a thread.
///
/// # Safety
/// `thread` is the value of this thread.
#[inline(always)]
unsafe fn follow(task: Task, thread: *mut Followed) -> Option<()> {
    // SAFETY: the caller's promise; the word lies in the map.
    unsafe {
        TARGET.get_ptr_mut(0)?.write_volatile(task.process());
        (&raw mut (*thread).in_ns).write_volatile(now());
    }
    Some(())
}
