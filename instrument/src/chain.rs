//! The thread's chain of open calls, and the clock.

use core::cell::Cell;

std::thread_local! {
    /// Address of the innermost open call on this thread, or 0.
    static INNERMOST: Cell<usize> = const { Cell::new(0) };
}

/// Makes the call at `address` the innermost one of this thread; gives the one before, or 0.
#[inline(always)]
pub(crate) fn push(address: usize) -> usize {
    INNERMOST.replace(address)
}

/// Makes `outer` the innermost call of this thread again.
#[inline(always)]
pub(crate) fn pop(outer: usize) {
    INNERMOST.set(outer);
}

/// Address of the innermost open call on this thread, or 0.
#[inline(always)]
pub(crate) fn innermost() -> usize {
    INNERMOST.get()
}

/// `CLOCK_MONOTONIC` in nanoseconds, read without a system call where the vDSO has it.
#[cfg(target_os = "linux")]
#[cold]
#[inline(never)]
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
