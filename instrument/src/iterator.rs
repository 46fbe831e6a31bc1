//! A call that is an iterator: from its first `next` until it has no more items.

use core::marker::PhantomData;

use crate::inspect::{Inspect, Kind};
use crate::items::{Called, Counted, Each, Items};
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
    inspector: PhantomData<I>,
    /// Dropped before `items`, and so in the call.
    iterator: T,
    items: Items<F, E>,
}

impl<F: Function, I, T> IteratorCall<F, I, T> {
    /// Wraps an iterator that has not been advanced.
    #[inline(always)]
    pub fn new(_function: F, _inspector: I, iterator: T) -> Self {
        Self {
            inspector: PhantomData,
            iterator,
            items: Items::new(Counted),
        }
    }
}

impl<F: Function, I, T, G: Function> IteratorCall<F, I, T, Called<G>> {
    /// Wraps an iterator that has not been advanced, and of which each item is a call of `G`.
    #[inline(always)]
    pub fn with_items(_function: F, _item: G, _inspector: I, iterator: T) -> Self {
        Self {
            inspector: PhantomData,
            iterator,
            items: Items::new(Called::new()),
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
        let turn = self.items.enter();
        let item = self.iterator.next();
        if let Some(turn) = turn {
            turn.came::<_, I>(item.as_ref());
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
        self.items.begin_last();
    }
}
