//! The thread's chain of open calls, and the clock.

use core::cell::Cell;
use core::sync::atomic::{Ordering::SeqCst, compiler_fence};

std::thread_local! {
    /// What is innermost on this thread: the address of an open call's state, a token, or 0.
    static INNERMOST: Cell<usize> = const { Cell::new(0) };
}

/// Makes `call` the innermost one of this thread, and gives the one before, or 0, after `keep` has
/// written it to the state at that address.
///
/// A signal handler may run instrumented functions at any instruction, so the state is complete before
/// its address is there to be found.
pub(crate) fn push(call: usize, keep: impl FnOnce(usize)) -> usize {
    INNERMOST.with(|innermost| {
        let before = innermost.get();
        keep(before);
        compiler_fence(SeqCst);
        innermost.set(call);
        before
    })
}

/// Makes `token` the innermost call of this thread; gives the one before, or 0.
#[inline(always)]
pub(crate) fn replace(token: usize) -> usize {
    INNERMOST.replace(token)
}

/// Makes `outer` the innermost call of this thread again.
#[inline(always)]
pub(crate) fn pop(outer: usize) {
    INNERMOST.set(outer);
}

/// What is innermost on this thread: the address of an open call's state, a token, or 0.
#[inline(always)]
pub(crate) fn innermost() -> usize {
    INNERMOST.get()
}

/// Where this thread keeps the address of its innermost open call.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub(crate) fn address() -> usize {
    INNERMOST.with(|innermost| innermost.as_ptr() as usize)
}

/// `CLOCK_MONOTONIC` in nanoseconds, read without a system call where the vDSO has it.
#[cfg(target_os = "linux")]
pub(crate) fn now() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid timespec for the call to write.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Not read: nothing raises a semaphore on this target.
#[cfg(not(target_os = "linux"))]
#[cold]
pub(crate) fn now() -> u64 {
    0
}
