//! A future that is one call.

use core::future::Future;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::pin::Pin;
use core::task::{Context, Poll};

use exoscope_abi::Outcome;

use crate::inspect::Inspect;
use crate::marker::Function;
use crate::poll;
use crate::turns::{Frame, Turns};

/// A future that is one call: from its first poll until it is complete, panics, or is dropped.
///
/// One that `MOVES` may do so between two polls, where `T` is `Unpin`.
#[must_use = "futures do nothing unless polled"]
pub struct FutureCall<F: Function, I, T, const MOVES: bool> {
    turns: Turns<F, MOVES>,
    inspector: PhantomData<I>,
    future: ManuallyDrop<T>,
}

/// A future that is pinned before it is polled, and stays there: of an `async fn`, or in a box.
pub type PinnedFutureCall<F, I, T> = FutureCall<F, I, T, false>;
/// A future that may be `Unpin`.
pub type MovableFutureCall<F, I, T> = FutureCall<F, I, T, true>;

impl<F: Function, I, T, const MOVES: bool> FutureCall<F, I, T, MOVES> {
    /// Wraps a future that has not been polled.
    #[inline(always)]
    pub fn new(_function: F, _inspector: I, future: T) -> Self {
        Self {
            turns: Turns::new(),
            inspector: PhantomData,
            future: ManuallyDrop::new(future),
        }
    }
}

impl<F, I, T, const MOVES: bool> Future for FutureCall<F, I, T, MOVES>
where
    F: Function,
    I: Inspect<T::Output>,
    T: Future,
{
    type Output = T::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T::Output> {
        // SAFETY: neither field is moved; the future is pinned because `self` is.
        let this = unsafe { self.get_unchecked_mut() };
        let frame = Frame::new();
        let turn = this.turns.enter(&frame, 0);
        // SAFETY: as above.
        let future = unsafe { Pin::new_unchecked(&mut *this.future) };
        let mut polled = poll::watched(turn.as_ref(), context, |context| future.poll(context));
        if let Some(turn) = turn {
            match &mut polled {
                Poll::Ready(output) => turn.leave::<_, I>(output),
                Poll::Pending => turn.suspend(),
            }
        }
        polled
    }
}

impl<F: Function, I, T, const MOVES: bool> FutureCall<F, I, T, MOVES> {
    /// Drops the future of a call that has begun and not ended, as part of the call.
    #[cold]
    #[inline(never)]
    fn cancel(&mut self) {
        let frame = Frame::new();
        let turn = self.turns.enter(&frame, 0);
        // SAFETY: called by `drop` alone, which drops nothing itself then.
        unsafe { ManuallyDrop::drop(&mut self.future) };
        if let Some(turn) = turn {
            turn.exit(Outcome::Cancelled);
        }
    }
}

impl<F: Function, I, T, const MOVES: bool> Drop for FutureCall<F, I, T, MOVES> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.turns.is_open() {
            self.cancel();
        } else {
            // SAFETY: dropped here or in `cancel`, once, in place.
            unsafe { ManuallyDrop::drop(&mut self.future) };
        }
    }
}
