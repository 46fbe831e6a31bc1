//! A call that is an iterator: from its first `next` until it has no more items.

use core::marker::PhantomData;
use core::mem::ManuallyDrop;

use crate::inspect::{Inspect, Kind};
use crate::items::{Called, Counted, Each, Frames, Items};
use crate::marker::Function;

/// Tells the compiler what an iterator's items are.
#[inline(always)]
pub fn with_next<T, I: Iterator<Item = T>>(iterator: I) -> I {
    iterator
}

/// Tells the compiler that an iterator's items are those of iterators of type `B`.
#[inline(always)]
pub fn with_next_of<B: Iterator, I: Iterator<Item = B::Item>>(iterator: I) -> I {
    iterator
}

/// The type of an iterator's items.
#[inline(always)]
pub fn kind_of_next<T: Iterator>(_iterator: &T) -> Kind<T::Item> {
    Kind::new()
}

/// An iterator that is one call. It ends with an error where its last item is an `Err`.
#[must_use = "iterators do nothing unless advanced"]
pub struct IteratorCall<F: Function, I, T, E: Each<F> = Counted> {
    items: Items<F, E>,
    inspector: PhantomData<I>,
    iterator: ManuallyDrop<T>,
}

impl<F: Function, I, T> IteratorCall<F, I, T> {
    /// Wraps an iterator that has not been advanced.
    #[inline(always)]
    pub fn new(_function: F, _inspector: I, iterator: T) -> Self {
        Self {
            items: Items::new(Counted),
            inspector: PhantomData,
            iterator: ManuallyDrop::new(iterator),
        }
    }
}

impl<F: Function, I, T, G: Function> IteratorCall<F, I, T, Called<G>> {
    /// Wraps an iterator that has not been advanced, and of which each item is a call of `G`.
    #[inline(always)]
    pub fn with_items(_function: F, _item: G, _inspector: I, iterator: T) -> Self {
        Self {
            items: Items::new(Called::new()),
            inspector: PhantomData,
            iterator: ManuallyDrop::new(iterator),
        }
    }
}

impl<F, I, T, E> Iterator for IteratorCall<F, I, T, E>
where
    F: Function,
    I: Inspect<T::Item>,
    T: Iterator,
    E: Each<F>,
{
    type Item = T::Item;

    #[inline]
    fn next(&mut self) -> Option<T::Item> {
        let frames = Frames::new();
        let turn = self.items.enter(&frames);
        let mut item = self.iterator.next();
        if let Some(turn) = turn {
            turn.came::<_, I>(item.as_mut());
        }
        item
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.iterator.size_hint()
    }
}

impl<F: Function, I, T, E: Each<F>> Drop for IteratorCall<F, I, T, E> {
    #[inline]
    fn drop(&mut self) {
        let frames = Frames::new();
        let cancelling = self.items.cancel(&frames);
        // SAFETY: dropped here and nowhere else, in place.
        unsafe { ManuallyDrop::drop(&mut self.iterator) };
        if let Some(cancelling) = cancelling {
            cancelling.cancel();
        }
    }
}
