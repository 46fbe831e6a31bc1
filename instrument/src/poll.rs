//! Polls, while somebody looks at them.

use core::mem::ManuallyDrop;
use core::ptr;
use core::task::{Context, Waker};

use crate::marker::Function;
use crate::turns::{Place, Turn};
use crate::waker;

/// Runs one poll of a call with the context that it was given, or with one whose waker tells of
/// wake-ups.
#[inline(always)]
pub(crate) fn watched<F: Function, P: Place, R>(
    turn: &Turn<F, P>,
    context: &mut Context<'_>,
    poll: impl FnOnce(&mut Context<'_>) -> R,
) -> R {
    let telling: ManuallyDrop<Waker>;
    let mut watched;
    // Two contexts, each with a lifetime of its own: only a pointer can be the one or the other. And
    // `poll` is called in one place only, so that the compiler puts it there.
    let mut context: *mut Context<'_> = ptr::from_mut(context).cast();
    if turn.is_seen() && F::polls_wanted() {
        // SAFETY: made of a reference above.
        telling = begin::<F>(turn.call(), unsafe { &*context }.waker());
        watched = Context::from_waker(&telling);
        context = &raw mut watched;
    }
    // SAFETY: it points at a context that outlives the poll, and that nothing else uses meanwhile.
    poll(unsafe { &mut *context })
}

/// A poll begins. Gives the waker for it.
#[cold]
#[inline(never)]
fn begin<F: Function>(call: usize, waker: &Waker) -> ManuallyDrop<Waker> {
    F::poll_begin(call, waker.data() as usize);
    waker::telling(waker)
}

/// A poll ended, and the call did not.
pub(crate) fn end<F: Function>(call: usize) {
    F::poll_end(call);
}
