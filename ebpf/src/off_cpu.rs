//! Threads that are off the CPU: why they left it, and for how long.
//!
//! A program that the scheduler runs at every switch keeps the stack of each of the target's threads
//! that leaves a CPU, and submits it when the thread is back. A thread may switch a hundred thousand
//! times a second, so not every absence becomes a sample: one that lasted a period or longer does,
//! and a shorter one with a probability of its share of a period, and then stands for a whole one.
//! The sums are right on average, and a thread has at most one sample a period.
//!
//! Other processes pay for that a program runs at their switches, and for three loads and two
//! comparisons in it: whose the two threads are is all that is looked at, and without a helper.

use aya_ebpf::{
    EbpfContext,
    bindings::BPF_RB_NO_WAKEUP,
    btf_maps::HashMap,
    helpers::{bpf_get_prandom_u32, generated::bpf_probe_read_kernel as copy},
    macros::{btf_map, btf_tracepoint},
    programs::BtfTracePointContext,
};
use exoscope_abi::{
    Phase,
    sample::{FRAMES, NO_PROCESS, OffCpu, SampleRecord},
};

use crate::{
    kernel::Task,
    marker::{now, phase},
    sample::{SAMPLES, SAMPLING, innermost_call, lost, read_stack},
};

/// `BPF_F_NO_PREALLOC`: memory for threads that there are, not for those that there may be.
const NO_PREALLOC: usize = 1;
/// `TASK_DEAD` of the kernel: the thread never comes back.
const DEAD: u64 = 0x80;

/// The target's threads, by number.
#[btf_map]
pub static OFF_CPU: HashMap<u32, OffCpu, 1, NO_PREALLOC> = HashMap::new();

/// The target's number, as the machine numbers it. Like the phase, a map by itself: its address is
/// known, and nothing is looked up.
#[unsafe(link_section = ".data.off_cpu")]
#[unsafe(no_mangle)]
static mut OFF_CPU_PROCESS: u64 = NO_PROCESS;

/// What a thread is before it leaves a CPU for the first time.
static RUNNING: OffCpu = OffCpu {
    since_ns: 0,
    call: 0,
    frames: 0,
    stack: [0; FRAMES],
};

/// A CPU switches from one thread, which is still the current one, to the next.
#[btf_tracepoint(function = "sched_switch")]
pub fn off_cpu(ctx: BtfTracePointContext) -> i32 {
    let (previous, next) = (Task(ctx.arg(1)), Task(ctx.arg(2)));
    let leaves = is_of_target(previous);
    let comes_back = is_of_target(next);
    if (leaves || comes_back) && phase() == Phase::Capturing as u64 {
        if leaves {
            leave(&ctx, previous);
        }
        if comes_back {
            come_back(next);
        }
    }
    0
}

/// Whether this is one of the target's threads.
#[inline(always)]
fn is_of_target(task: Task) -> bool {
    // SAFETY: one aligned word, read whole; the agent sets it at any time.
    let target = unsafe { (&raw const OFF_CPU_PROCESS).read_volatile() };
    u64::from(task.process()) == target
}

/// The current thread leaves the CPU.
#[inline(always)]
fn leave(ctx: &BtfTracePointContext, task: Task) -> Option<()> {
    let thread = task.number();
    if ctx.arg::<u64>(3) & DEAD != 0 {
        // One that never left before is not there.
        let _ = OFF_CPU.remove(thread);
        return None;
    }
    let settings = SAMPLING.get(0)?;
    let entry = match OFF_CPU.get_ptr_mut(thread) {
        Some(entry) => entry,
        None => {
            add(thread)?;
            OFF_CPU.get_ptr_mut(thread)?
        }
    };
    // SAFETY: the entry lies in the map, and belongs to this thread, which runs here alone. The time
    // is written last: until then the thread counts as running.
    unsafe {
        let frames = read_stack(ctx.as_ptr(), &raw mut (*entry).stack);
        (&raw mut (*entry).frames).write(u64::from(frames));
        (&raw mut (*entry).call).write(innermost_call(settings));
        (&raw mut (*entry).since_ns).write_volatile(now());
    }
    Some(())
}

/// Puts a thread into the map.
#[inline(always)]
#[expect(
    clippy::needless_borrows_for_generic_args,
    reason = "a copy of the value would lie on the program's stack, which is smaller"
)]
fn add(thread: u32) -> Option<()> {
    if OFF_CPU.insert(thread, &RUNNING, 0).is_err() {
        lost();
        return None;
    }
    Some(())
}

/// One of the target's threads gets the CPU.
#[inline(always)]
fn come_back(task: Task) -> Option<()> {
    let thread = task.number();
    let settings = SAMPLING.get(0)?;
    let entry = OFF_CPU.get_ptr_mut(thread)?;
    // SAFETY: the entry lies in the map; the thread that it belongs to is not running yet.
    let (since_ns, call, frames) = unsafe {
        let entry = &*entry;
        (entry.since_ns, entry.call, entry.frames)
    };
    if since_ns == 0 {
        return None;
    }
    // SAFETY: as above.
    unsafe { (&raw mut (*entry).since_ns).write_volatile(0) };
    let at_ns = now();
    let off_ns = worth(at_ns.saturating_sub(since_ns), settings.period_ns)?;
    let Some(mut sample) = SAMPLES.reserve(0) else {
        lost();
        return None;
    };
    let record: *mut SampleRecord = sample.as_mut_ptr();
    // SAFETY: the ring gave memory for a whole record, of which every field is written; both stacks
    // are equally long.
    unsafe {
        (&raw mut (*record).at_ns).write(at_ns);
        (&raw mut (*record).call).write(call);
        (&raw mut (*record).off_ns).write(off_ns);
        (&raw mut (*record).tid).write(thread);
        (&raw mut (*record).frames).write(frames as u32);
        copy(
            (&raw mut (*record).stack).cast(),
            size_of::<[u64; FRAMES]>() as u32,
            (&raw const (*entry).stack).cast(),
        );
    }
    sample.submit(BPF_RB_NO_WAKEUP as u64);
    Some(())
}

/// Nanoseconds that an absence stands for; `None` for one that is left out.
#[inline(always)]
fn worth(off_ns: u64, period_ns: u64) -> Option<u64> {
    if off_ns >= period_ns {
        return Some(off_ns);
    }
    // A period is at most a second, so the product of two numbers below 2³² does not overflow.
    // SAFETY: the helper only draws a number.
    let random = unsafe { bpf_get_prandom_u32() };
    let drawn = (u64::from(random) * period_ns) >> 32;
    (drawn < off_ns).then_some(period_ns)
}
