//! A future that is one call.

use core::future::Future;
use core::marker::PhantomData;
use core::pin::Pin;
use core::task::{Context, Poll};

use crate::inspect::Inspect;
use crate::marker::Function;
use crate::poll;
use crate::turns::{Moves, Place, Stays, Turns};

/// A future that is one call: from its first poll until it is complete, panics, or is dropped.
///
/// The compiler goes through every type that is in another one, and gives up where that is too deep.
/// So the future is a field as it is, and no `ManuallyDrop`.
#[must_use = "futures do nothing unless polled"]
pub struct FutureCall<F: Function, I, T, P: Place> {
    inspector: PhantomData<I>,
    /// Dropped before `turns`, and so in the call.
    future: T,
    turns: Turns<F, P>,
}

/// A future that is pinned before it is polled, and stays there: of an `async fn`, or in a box.
pub type PinnedFutureCall<F, I, T> = FutureCall<F, I, T, Stays>;
/// A future that may be `Unpin`.
pub type MovableFutureCall<F, I, T> = FutureCall<F, I, T, Moves>;

impl<F: Function, I, T, P: Place> FutureCall<F, I, T, P> {
    /// Wraps a future that has not been polled.
    #[inline(always)]
    pub fn new(_function: F, _inspector: I, future: T) -> Self {
        Self {
            inspector: PhantomData,
            future,
            turns: Turns::new(),
        }
    }
}

impl<F, I, T, P> Future for FutureCall<F, I, T, P>
where
    F: Function,
    I: Inspect<T::Output>,
    T: Future,
    P: Place,
{
    type Output = T::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T::Output> {
        // SAFETY: neither field is moved; the future is pinned because `self` is.
        let this = unsafe { self.get_unchecked_mut() };
        let turn = this.turns.enter();
        // SAFETY: as above.
        let future = unsafe { Pin::new_unchecked(&mut this.future) };
        let mut polled = poll::watched(&turn, context, |context| future.poll(context));
        match &polled {
            Poll::Pending => turn.suspend(),
            Poll::Ready(_) if !turn.is_wanted() => turn.forget(),
            Poll::Ready(output) => {
                let failed = I::failed(output);
                if (failed || I::HANDS_ON) && turn.is_seen() {
                    polled = turn.tell::<_, I>(polled);
                } else {
                    turn.end(failed);
                }
            }
        }
        polled
    }
}

impl<F: Function, I, T, P: Place> Drop for FutureCall<F, I, T, P> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.turns.is_open() {
            self.turns.begin_last();
        }
    }
}
