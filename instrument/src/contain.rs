//! The user's code that runs only because somebody looks.

use core::cell::Cell;
use core::mem;
use core::panic::AssertUnwindSafe;
use std::panic::catch_unwind;

std::thread_local! {
    /// Such code runs on this thread.
    static RUNNING: Cell<bool> = const { Cell::new(false) };
}

/// Whether such code runs on this thread.
pub(crate) fn is_running() -> bool {
    RUNNING.get()
}

/// Runs the user's formatting or a field's expression; gives whether it came to its end.
///
/// A panic in it would not have happened without us, so it goes no further. The panic hook has then
/// run, and under `panic = "abort"` the program ends.
pub(crate) fn contain(run: impl FnOnce()) -> bool {
    let outer = RUNNING.replace(true);
    let result = catch_unwind(AssertUnwindSafe(run));
    RUNNING.set(outer);
    let Err(payload) = result else {
        return true;
    };
    // What the panic was given may panic again while it is dropped. Once is enough.
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        mem::forget(again);
    }
    false
}
