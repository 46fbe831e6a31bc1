//! How long each thread of the target has been off the CPU.
//!
//! The kernel's own account of a running thread is up to a tick old, and it keeps none of the time that
//! a thread is blocked. So a program at the scheduler's switches notes the account whenever a thread
//! leaves its CPU, where it is exact ([`Followed`]). When it came back, and how long it waited for a CPU,
//! the kernel keeps by itself.
//!
//! A thread is followed from its first call. Other processes pay for a comparison at their switches.

use aya_ebpf::{btf_maps::Array, macros::btf_map};
use exoscope_abi::figures::{Followed, Stay, TimesOff};

use crate::{kernel::Task, marker::now, task_storage::TaskStorage};

/// The threads.
#[btf_map]
static THREADS: TaskStorage<Followed> = TaskStorage::new();

/// One word: the process number of the target, as the machine numbers it; 0 until one of its threads is
/// followed.
#[btf_map]
static TARGET: Array<u64, 1> = Array::new();

/// What the tracepoint hands over: whether the switch is forced, the thread that leaves the CPU, which
/// is still the current one, and the one that gets it.
type Switch = [*const u8; 3];

/// A CPU switches from one thread to the next.
#[unsafe(no_mangle)]
#[unsafe(link_section = "tp_btf/sched_switch")]
pub extern "C" fn sched_switch(context: *const Switch) -> i32 {
    // SAFETY: the kernel calls the program with these arguments.
    leaves(Task(unsafe { (*context)[1] }));
    0
}

#[inline(always)]
fn leaves(task: Task) -> Option<()> {
    // SAFETY: the word lies in the map; whoever writes it writes the same.
    let target = unsafe { TARGET.get_ptr(0)?.read_volatile() };
    if task.process() == target
        && let Some(thread) = THREADS.get(task.0)
    {
        // SAFETY: the value is the thread's own, which does nothing else meanwhile.
        unsafe { (*thread).leaves(now(), task.clock_ns(), task.cpu_ns(), &stay_of(task)) };
    }
    Some(())
}

#[inline(always)]
fn stay_of(task: Task) -> Stay {
    Stay {
        arrived_ns: task.arrived_ns(),
        arrivals: task.arrivals(),
        runqueue_ns: task.runqueue_ns(),
    }
}

/// The times of the current thread off the CPU, and of that waiting for one, at `at_ns`, a moment ago.
#[inline(always)]
pub fn times_at(task: Task, at_ns: u64) -> Option<TimesOff> {
    let thread = THREADS.get_or_zeros(task.0)?;
    // SAFETY: the value is the thread's own; what it does elsewhere ends before it goes on here.
    unsafe {
        if (*thread).arrivals == 0 {
            follow(task, thread)?;
        }
        let (mut seen, mut stay) = (thread.read_volatile(), stay_of(task));
        if (&raw const (*thread).out_ns).read_volatile() != seen.out_ns {
            // The thread was off the CPU between two reads: some are from before, others from after.
            (seen, stay) = (thread.read_volatile(), stay_of(task));
        }
        seen.times_at(at_ns, &stay)
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
        (&raw mut (*thread).arrivals).write_volatile(task.arrivals());
    }
    Some(())
}
