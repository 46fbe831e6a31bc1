//! The state of one call, and the thread's chain of open calls.

use core::cell::Cell;
use core::marker::PhantomData;

use crate::marker::Function;

std::thread_local! {
    /// Address of the innermost open call on this thread, or 0.
    static INNERMOST: Cell<usize> = const { Cell::new(0) };
}

/// A synchronous call on the stack; dropped while unwinding it reports a panic.
#[repr(C)]
pub struct Guard<F: Function> {
    outer: Cell<usize>,
    start: Cell<u64>,
    function: PhantomData<F>,
}

impl<F: Function> Drop for Guard<F> {
    #[inline(always)]
    fn drop(&mut self) {
        INNERMOST.set(self.outer.get());
        F::error(&raw const *self as usize, 2, self.outer.get(), self.start.get(), 0);
    }
}

/// Runs `body` as one call of `F`.
#[inline(always)]
pub fn call<F: Function, R>(body: impl FnOnce() -> R) -> R {
    let guard = Guard::<F> { outer: Cell::new(0), start: Cell::new(0), function: PhantomData };
    let address = &raw const guard as usize;
    let outer = INNERMOST.replace(address);
    guard.outer.set(outer);
    if F::start_wanted() {
        guard.start.set(now());
    }
    F::entry(address, outer);
    let result = body();
    let outer = guard.outer.get();
    let start = guard.start.get();
    core::mem::forget(guard);
    INNERMOST.set(outer);
    F::exit(address, 0, outer, start);
    result
}

#[cold]
fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec for the call to write.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
