//! Counts what each thread allocates.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, counted.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often a closure allocates on this thread.
pub fn of<T>(run: impl FnOnce() -> T) -> u64 {
    let before = COUNT.get();
    let returned = run();
    let count = COUNT.get() - before;
    drop(returned);
    count
}

// SAFETY: the system's allocator does all of it. The count needs no memory and no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller has seen to it.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller has seen to it, and the memory is the system's.
        unsafe { System.dealloc(memory, layout) }
    }
}
