//! The user's code that runs only because somebody looks.

use core::mem;
use core::panic::AssertUnwindSafe;
use std::panic::catch_unwind;

/// Runs the user's formatting or a field's expression; gives whether it came to its end.
///
/// A panic in it would not have happened without us, so it goes no further. The panic hook has then
/// run, and under `panic = "abort"` the program ends.
pub(crate) fn contain(run: impl FnOnce()) -> bool {
    let Err(payload) = catch_unwind(AssertUnwindSafe(run)) else {
        return true;
    };
    // What the panic was given may panic again while it is dropped. Once is enough.
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        mem::forget(again);
    }
    false
}
