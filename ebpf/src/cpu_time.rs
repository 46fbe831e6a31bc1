//! How long a thread has not been on a CPU.
//!
//! The kernel's account of a running thread's CPU time is up to a tick old. But it tells when it was made, by a
//! clock that stands still while a hypervisor or an interrupt has the CPU, and since then the thread has run:
//!
//! ```text
//! on a CPU  = account + (clock without interruptions - when the account was made)
//! off a CPU = clock - on a CPU
//!           = when the account was made - account + (clock - clock without interruptions)
//! ```
//!
//! None of this has to be known for now: the first difference changes only when the thread gets a CPU again, and
//! the second only when something is taken from it. So no thread has to be followed, and nobody pays at
//! switches. What is taken is known when the kernel next sets its clocks, which is at a tick, at a switch, or when
//! somebody reads the clock of the thread's CPU time.

use aya_ebpf::{btf_maps::PerCpuArray, macros::btf_map};

use crate::kernel::Task;

/// How far the two clocks of each CPU were apart when somebody last looked.
#[btf_map]
static APART: PerCpuArray<u64, 1> = PerCpuArray::new();

/// Looks that take longer than another CPU takes from setting one half of a difference to setting the other.
const LOOKS: u32 = 32;

/// Nanoseconds that the current thread has not been on a CPU; only differences count.
#[inline(always)]
pub fn off_ns(task: Task) -> Option<u64> {
    let before = account(task);
    let apart = clocks_apart(task)?;
    let mut account_ns = account(task);
    if account_ns != before {
        account_ns = after_a_while(|| account(task), before);
    }
    Some(account_ns.wrapping_add(apart))
}

/// When the thread's account was made, less the account.
#[inline(always)]
fn account(task: Task) -> u64 {
    task.cpu_ns_at().wrapping_sub(task.cpu_ns())
}

/// How far the clocks of this CPU are apart.
#[inline(always)]
fn clocks_apart(task: Task) -> Option<u64> {
    let queue = task.queue();
    let known = APART.get_ptr_mut(0)?;
    let mut apart = queue.clocks_apart();
    // SAFETY: the value lies in the map. A program that comes between writes as good a one.
    unsafe {
        if apart != known.read_volatile() {
            // Something has been taken, or another CPU is setting the clocks.
            apart = after_a_while(|| queue.clocks_apart(), known.read_volatile());
            known.write_volatile(apart);
        }
    }
    Some(apart)
}

/// Looks again and again, until it sees what was known, or else what stays.
#[inline(always)]
fn after_a_while(look: impl Fn() -> u64, known: u64) -> u64 {
    let mut looks = 0;
    loop {
        let seen = look();
        looks += 1;
        if seen == known || looks == LOOKS {
            return seen;
        }
    }
}
