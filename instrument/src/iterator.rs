//! A call that is an iterator: from its first `next` until it has no more items.

use core::marker::PhantomData;
use core::mem::ManuallyDrop;

use exoscope_abi::Outcome;

use crate::inspect::{Inspect, Kind};
use crate::items::Items;
use crate::marker::Function;
use crate::turns::Frame;

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
pub struct IteratorCall<F: Function, I, T> {
    items: Items<F>,
    inspector: PhantomData<I>,
    iterator: ManuallyDrop<T>,
}

impl<F: Function, I, T> IteratorCall<F, I, T> {
    /// Wraps an iterator that has not been advanced.
    #[inline(always)]
    pub fn new(_function: F, _inspector: I, iterator: T) -> Self {
        Self {
            items: Items::new(),
            inspector: PhantomData,
            iterator: ManuallyDrop::new(iterator),
        }
    }
}

impl<F: Function, I: Inspect<T::Item>, T: Iterator> Iterator for IteratorCall<F, I, T> {
    type Item = T::Item;

    #[inline]
    fn next(&mut self) -> Option<T::Item> {
        let frame = Frame::new();
        let turn = self.items.enter(&frame);
        let item = self.iterator.next();
        if let Some(turn) = turn {
            self.items.came::<_, I>(turn, item.as_ref());
        }
        item
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.iterator.size_hint()
    }
}

impl<F: Function, I, T> Drop for IteratorCall<F, I, T> {
    #[inline]
    fn drop(&mut self) {
        let frame = Frame::new();
        let cancelling = self.items.cancel(&frame);
        // SAFETY: dropped here and nowhere else, in place.
        unsafe { ManuallyDrop::drop(&mut self.iterator) };
        if let Some(cancelling) = cancelling {
            cancelling.exit(Outcome::Cancelled);
        }
    }
}
