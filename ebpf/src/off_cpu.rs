//! Threads that are off the CPU: why they left it, and for how long.
//!
//! A program that the scheduler runs at every switch keeps the stack of each of the target's threads
//! that leaves a CPU, and submits it when the thread is back. A thread may switch a hundred thousand
//! times a second, so not every absence becomes a sample: one that lasted a period or longer does,
//! and a shorter one with a probability of its share of a period, and then stands for a whole one.
//! The sums are right on average, and a thread has at most one sample a period.
//!
//! Other processes pay for two comparisons at their switches.

use aya_ebpf::{
    EbpfContext,
    bindings::BPF_RB_NO_WAKEUP,
    btf_maps::{Array, HashMap},
    helpers::{
        bpf_get_current_pid_tgid, bpf_get_prandom_u32, bpf_probe_read_kernel,
        generated::bpf_probe_read_kernel as copy,
    },
    macros::{btf_map, raw_tracepoint},
    programs::RawTracePointContext,
};
use exoscope_abi::{
    Phase,
    sample::{FRAMES, OffCpu, SampleRecord, SampleSettings},
};

use crate::{
    marker::{now, phase, thread},
    sample::{SAMPLES, SAMPLING, innermost_call, lost, read_stack, runs_target},
};

/// `BPF_F_NO_PREALLOC`: memory for threads that there are, not for those that there may be.
const NO_PREALLOC: usize = 1;
/// `TASK_DEAD` of the kernel: the thread never comes back.
const DEAD: u64 = 0x80;

/// The target's threads, by number.
#[btf_map]
pub static OFF_CPU: HashMap<u32, OffCpu, 1, NO_PREALLOC> = HashMap::new();

/// One word: the target's process number, as the machine numbers it; 0 until one of its threads
/// leaves a CPU.
#[btf_map]
pub static OFF_CPU_PROCESS: Array<u64, 1> = Array::new();

/// What a thread is before it leaves a CPU for the first time.
static RUNNING: OffCpu = OffCpu {
    since_ns: 0,
    call: 0,
    frames: 0,
    stack: [0; FRAMES],
};

/// A CPU switches from one thread, which is still the current one, to the next.
#[raw_tracepoint(tracepoint = "sched_switch")]
pub fn off_cpu(ctx: RawTracePointContext) -> i32 {
    switch(&ctx);
    0
}

#[inline(always)]
fn switch(ctx: &RawTracePointContext) -> Option<()> {
    if phase() != Phase::Capturing as u64 {
        return None;
    }
    let settings = SAMPLING.get(0)?;
    let target = OFF_CPU_PROCESS.get_ptr_mut(0)?;
    let current = bpf_get_current_pid_tgid() >> 32;
    // SAFETY: the word lies in the map; whoever writes it writes the same.
    let mut process = unsafe { target.read_volatile() };
    if process == 0 {
        if !runs_target(settings) {
            return None;
        }
        process = current;
        // SAFETY: as above.
        unsafe { target.write_volatile(process) };
    }
    if current == process {
        leave(ctx, settings);
    }
    let next = ctx.arg::<u64>(2);
    if number(next, settings.task_process)? == process {
        come_back(
            number(next, settings.task_number)? as u32,
            settings.period_ns,
        );
    }
    Some(())
}

/// A number that lies so many bytes into a `task_struct`.
#[inline(always)]
fn number(task: u64, offset: u64) -> Option<u64> {
    // SAFETY: the helper checks the address.
    let number = unsafe { bpf_probe_read_kernel((task + offset) as *const u32) }.ok()?;
    Some(u64::from(number))
}

/// The current thread leaves the CPU.
#[inline(always)]
fn leave(ctx: &RawTracePointContext, settings: &SampleSettings) -> Option<()> {
    let thread = thread();
    if ctx.arg::<u64>(3) & DEAD != 0 {
        // One that never left before is not there.
        let _ = OFF_CPU.remove(thread);
        return None;
    }
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
fn come_back(thread: u32, period_ns: u64) -> Option<()> {
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
    let off_ns = worth(at_ns.saturating_sub(since_ns), period_ns)?;
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
