//! A call that is a future: its state travels with the future, not with a thread.

use core::future::Future;
use core::marker::{PhantomData, PhantomPinned};
use core::mem::{self, ManuallyDrop};
use core::pin::Pin;
use core::task::{Context, Poll};

use exoscope_abi::Outcome;

use crate::detail;
use crate::inspect::Inspect;
use crate::marker::Function;
use crate::{SUPPORTED, chain};

/// State of a call that is polled. Its pinned address is the call's identity.
///
/// The first two words are those of a call on the stack: the next outer call, here of the latest
/// poll, and the time at which the call began.
#[repr(C)]
pub(crate) struct PolledState<F> {
    outer: usize,
    start: u64,
    /// Address of the parent, with [`OPEN`] or [`ENDED`] in the low bits that an address leaves
    /// free; 0 before the first poll.
    parent: usize,
    function: PhantomData<F>,
    // The address must not change once the call has begun.
    pinned: PhantomPinned,
}

const OPEN: usize = 1;
const ENDED: usize = 2;

impl<F: Function> PolledState<F> {
    pub(crate) const fn new() -> Self {
        Self {
            outer: 0,
            start: 0,
            parent: 0,
            function: PhantomData,
            pinned: PhantomPinned,
        }
    }

    #[inline(always)]
    pub(crate) fn is_open(&self) -> bool {
        SUPPORTED && self.parent & OPEN != 0
    }

    /// Makes this the innermost call of the thread for one poll, and begins it at the first.
    /// `None` once it has ended.
    #[inline(always)]
    pub(crate) fn poll(&mut self) -> Option<Polling<F>> {
        if !SUPPORTED || self.parent & ENDED != 0 {
            return None;
        }
        let address = self.address();
        let outer = chain::push(address);
        self.outer = outer;
        if self.parent == 0 {
            self.parent = outer | OPEN;
            if F::start_wanted() {
                self.start = chain::now();
            }
            F::entry(address, outer);
        }
        Some(Polling { state: self, outer })
    }

    /// Takes the call from the thread's chain, where `outer` is next, and marks it as ended; gives
    /// its parent.
    #[inline(always)]
    fn end(&mut self, outer: usize) -> usize {
        chain::pop(outer);
        let parent = self.parent & !OPEN;
        self.parent = ENDED;
        parent
    }

    #[inline(always)]
    fn address(&self) -> usize {
        &raw const *self as usize
    }

    #[cold]
    #[inline(never)]
    fn unwound(&mut self) {
        let parent = self.end(self.outer);
        F::error(self.address(), Outcome::Panic as u32, parent, self.start, 0);
    }
}

/// One poll, or the drop, of an open call. Dropped without being ended, it reports a panic.
pub(crate) struct Polling<F: Function> {
    state: *mut PolledState<F>,
    /// What the state holds as well: here it can stay in a register.
    outer: usize,
}

impl<F: Function> Polling<F> {
    /// The state; `self` is not used while the future is polled.
    #[inline(always)]
    fn into_state<'a>(self) -> (&'a mut PolledState<F>, usize) {
        let Self { state, outer } = self;
        mem::forget(self);
        // SAFETY: made from a mutable reference to a pinned state that outlives the poll; the
        // future beside it was borrowed meanwhile, the state was not.
        (unsafe { &mut *state }, outer)
    }

    /// The poll ended, the call did not.
    #[inline(always)]
    pub(crate) fn suspend(self) {
        chain::pop(self.into_state().1);
    }

    /// The call ended and is no error.
    #[inline(always)]
    pub(crate) fn exit(self, outcome: Outcome) {
        let (state, outer) = self.into_state();
        let parent = state.end(outer);
        F::exit(state.address(), outcome as u32, parent, state.start);
    }

    /// The call ended with the error in `returned`.
    #[cold]
    #[inline(never)]
    pub(crate) fn fail<R, I: Inspect<R>>(self, returned: &R) {
        let (state, outer) = self.into_state();
        detail::with::<F, R, I>(returned, |detail| {
            let parent = state.end(outer);
            F::error(
                state.address(),
                Outcome::Err as u32,
                parent,
                state.start,
                detail,
            );
        });
    }

    /// The call ended with an error that is no longer there to be described.
    #[cfg(feature = "stream")]
    #[cold]
    #[inline(never)]
    pub(crate) fn fail_silently(self) {
        let (state, outer) = self.into_state();
        let parent = state.end(outer);
        F::error(state.address(), Outcome::Err as u32, parent, state.start, 0);
    }

    /// The call ended with what it returned.
    #[inline(always)]
    pub(crate) fn leave<R, I: Inspect<R>>(self, returned: &mut R) {
        // SAFETY: as in `into_state`.
        I::returned::<F>(unsafe { &*self.state }.address(), returned);
        if I::failed(returned) {
            self.fail::<R, I>(returned);
        } else {
            self.exit(Outcome::Ok);
        }
    }
}

impl<F: Function> Drop for Polling<F> {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: as in `into_state`; the poll has unwound, so the future is no longer borrowed.
        unsafe { &mut *self.state }.unwound();
    }
}

/// A future that is one call: from its first poll until it is complete, panics, or is dropped.
#[repr(C)]
#[must_use = "futures do nothing unless polled"]
pub struct FutureCall<F: Function, I, T> {
    state: PolledState<F>,
    inspector: PhantomData<I>,
    future: ManuallyDrop<T>,
}

impl<F: Function, I, T> FutureCall<F, I, T> {
    /// Wraps a future that has not been polled.
    #[inline(always)]
    pub fn new(_function: F, _inspector: I, future: T) -> Self {
        Self {
            state: PolledState::new(),
            inspector: PhantomData,
            future: ManuallyDrop::new(future),
        }
    }
}

impl<F: Function, I: Inspect<T::Output>, T: Future> Future for FutureCall<F, I, T> {
    type Output = T::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T::Output> {
        // SAFETY: neither field is moved; the future is pinned because `self` is.
        let this = unsafe { self.get_unchecked_mut() };
        let polling = this.state.poll();
        // SAFETY: as above.
        let mut polled = unsafe { Pin::new_unchecked(&mut *this.future) }.poll(context);
        if let Some(polling) = polling {
            match &mut polled {
                Poll::Ready(output) => polling.leave::<_, I>(output),
                Poll::Pending => polling.suspend(),
            }
        }
        polled
    }
}

impl<F: Function, I, T> FutureCall<F, I, T> {
    /// Drops the future of a call that has begun and not ended, as part of the call.
    #[cold]
    #[inline(never)]
    fn cancel(&mut self) {
        let cancelling = self.state.poll();
        // SAFETY: called by `drop` alone, which drops nothing itself then.
        unsafe { ManuallyDrop::drop(&mut self.future) };
        if let Some(cancelling) = cancelling {
            cancelling.exit(Outcome::Cancelled);
        }
    }
}

impl<F: Function, I, T> Drop for FutureCall<F, I, T> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.state.is_open() {
            self.cancel();
        } else {
            // SAFETY: dropped here or in `cancel`, once, in place.
            unsafe { ManuallyDrop::drop(&mut self.future) };
        }
    }
}
