//! The atomic instructions of BPF, which `core` does not offer on this target.
//!
//! A program that runs in a uprobe can be preempted by another one on the same CPU, so even
//! counters that only one CPU touches are added to atomically.

use core::intrinsics::{self, AtomicOrdering};

/// Adds `value` to `*target`.
///
/// # Safety
/// `target` points into a map value that stays alive while the program runs, and is aligned.
#[inline(always)]
pub unsafe fn add(target: *mut u64, value: u64) {
    // SAFETY: the caller's promise.
    unsafe { intrinsics::atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(target, value) };
}

/// Adds `value` to `*target` and gives back what was there.
///
/// # Safety
/// As for [`add`].
#[inline(always)]
pub unsafe fn fetch_add(target: *mut u64, value: u64) -> u64 {
    // SAFETY: the caller's promise.
    unsafe { intrinsics::atomic_xadd::<u64, u64, { AtomicOrdering::SeqCst }>(target, value) }
}

/// Puts `new` into `*target` where `old` is there; tells whether it was.
///
/// # Safety
/// As for [`add`].
#[inline(always)]
pub unsafe fn compare_exchange(target: *mut u64, old: u64, new: u64) -> bool {
    // SAFETY: the caller's promise.
    let (found, _) = unsafe {
        intrinsics::atomic_cxchg::<u64, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(
            target, old, new,
        )
    };
    found == old
}
