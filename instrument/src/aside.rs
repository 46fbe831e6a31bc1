//! A return value that somebody looks at.

use core::ptr;

/// Largest value that is moved aside and back. A reference to it would keep the value in memory,
/// instead of in registers, where nobody looks too.
const MOVED_MAX: usize = 2 * size_of::<usize>();

/// Calls `look`, which must not unwind, with the value that `returned` points at.
#[inline(always)]
pub(crate) fn look<R>(returned: &mut R, look: impl FnOnce(&R)) {
    if size_of::<R>() <= MOVED_MAX {
        // SAFETY: the value is moved out and back in, and nothing unwinds between.
        unsafe {
            let value = ptr::read(returned);
            ptr::write(returned, look_at_moved(value, look));
        }
    } else {
        look(returned);
    }
}

#[cold]
#[inline(never)]
fn look_at_moved<R>(returned: R, look: impl FnOnce(&R)) -> R {
    look(&returned);
    returned
}
