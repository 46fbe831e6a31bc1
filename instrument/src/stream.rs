//! A call that is a stream: from its first poll until it has no more items.

use core::marker::PhantomData;
use core::pin::Pin;
use core::task::{Context, Poll};

use futures_core::Stream;

use crate::inspect::{Inspect, Kind};
use crate::items::{Called, Counted, Each, ItemTurn, Items};
use crate::marker::Function;

/// Tells the compiler what a stream's items are.
#[inline(always)]
pub fn with_item<T, S: Stream<Item = T>>(stream: S) -> S {
    stream
}

/// Tells the compiler that a stream's items are those of streams of type `B`.
#[inline(always)]
pub fn with_item_of<B: Stream, S: Stream<Item = B::Item>>(stream: S) -> S {
    stream
}

/// The type of a stream's items.
#[inline(always)]
pub fn kind_of_item<S: Stream>(_stream: &S) -> Kind<S::Item> {
    Kind::new()
}

/// A stream that is one call. It ends with an error where its last item is an `Err`.
#[must_use = "streams do nothing unless polled"]
pub struct StreamCall<F: Function, I, T, E: Each<F> = Counted> {
    inspector: PhantomData<I>,
    /// Dropped before `items`, and so in the call.
    stream: T,
    items: Items<F, E>,
}

impl<F: Function, I, T> StreamCall<F, I, T> {
    /// Wraps a stream that has not been polled.
    #[inline(always)]
    pub fn new(_function: F, _inspector: I, stream: T) -> Self {
        Self {
            inspector: PhantomData,
            stream,
            items: Items::new(Counted),
        }
    }
}

impl<F: Function, I, T, G: Function> StreamCall<F, I, T, Called<G>> {
    /// Wraps a stream that has not been polled, and of which each item is a call of `G`.
    #[inline(always)]
    pub fn with_items(_function: F, _item: G, _inspector: I, stream: T) -> Self {
        Self {
            inspector: PhantomData,
            stream,
            items: Items::new(Called::new()),
        }
    }
}

impl<F, I, T, E> Stream for StreamCall<F, I, T, E>
where
    F: Function,
    I: Inspect<T::Item>,
    T: Stream,
    E: Each<F>,
{
    type Item = T::Item;

    #[inline]
    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T::Item>> {
        // SAFETY: no field is moved; the stream is pinned because `self` is.
        let this = unsafe { self.get_unchecked_mut() };
        let mut turn = this.items.enter();
        // SAFETY: as above.
        let stream = unsafe { Pin::new_unchecked(&mut this.stream) };
        let polled = ItemTurn::watched(turn.as_mut(), context, |context| stream.poll_next(context));
        if let Some(turn) = turn {
            match &polled {
                Poll::Ready(item) => turn.came::<_, I>(item.as_ref()),
                Poll::Pending => turn.suspend(),
            }
        }
        polled
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.stream.size_hint()
    }
}

impl<F: Function, I, T, E: Each<F>> Drop for StreamCall<F, I, T, E> {
    #[inline]
    fn drop(&mut self) {
        self.items.begin_last();
    }
}
