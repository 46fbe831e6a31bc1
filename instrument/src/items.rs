//! A call that gives items: a stream or an iterator.

#[cfg(feature = "stream")]
use core::task::Context;

use exoscope_abi::Outcome;

use crate::detail;
use crate::inspect::Inspect;
use crate::marker::Function;
#[cfg(feature = "stream")]
use crate::poll;
use crate::turns::{Moves, Turn, Turns};

/// State of a call that gives items. It may move between two of them.
pub(crate) struct Items<F: Function, E: Each<F>> {
    turns: Turns<F, Moves>,
    given: Given,
    each: E,
}

/// The items that there were.
struct Given {
    /// How many, at most `u32::MAX`.
    count: u32,
    /// The latest one was an `Err`.
    last_failed: bool,
}

/// Whether the items of a call of `F` are calls too.
pub trait Each<F: Function> {
    /// Markers of the items' calls.
    type Function: Function;
    /// A turn of the call of the item that comes next, which begins in its first one. `None` where
    /// items are no calls.
    fn enter(&mut self) -> Option<Turn<Self::Function, Moves>>;
    /// Begins the last turn of an item's call, where one has begun and not ended.
    fn begin_last(&mut self);
    /// Ends that turn.
    fn end_last(&mut self);
}

/// Items are counted and no more.
pub struct Counted;

/// Each item is a call of `G`.
pub struct Called<G: Function>(Turns<G, Moves>);

impl<F: Function> Each<F> for Counted {
    type Function = F;

    #[cfg_attr(debug_assertions, inline)]
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn enter(&mut self) -> Option<Turn<F, Moves>> {
        None
    }

    #[cfg_attr(debug_assertions, inline)]
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn begin_last(&mut self) {}

    #[inline(always)]
    fn end_last(&mut self) {}
}

impl<G: Function> Called<G> {
    #[inline(always)]
    pub(crate) const fn new() -> Self {
        Self(Turns::new())
    }
}

impl<F: Function, G: Function> Each<F> for Called<G> {
    type Function = G;

    #[cfg_attr(debug_assertions, inline)]
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn enter(&mut self) -> Option<Turn<G, Moves>> {
        if !self.0.is_open() {
            // The call of the item before has ended.
            *self = Self::new();
        }
        self.0.enter(0)
    }

    #[cfg_attr(debug_assertions, inline)]
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn begin_last(&mut self) {
        if self.0.is_open() {
            self.0.begin_last();
        }
    }

    #[inline(always)]
    fn end_last(&mut self) {
        if self.0.is_open() {
            self.0.end_last(0);
        }
    }
}

impl<F: Function, E: Each<F>> Items<F, E> {
    #[inline(always)]
    pub(crate) const fn new(each: E) -> Self {
        Self {
            turns: Turns::new(),
            given: Given {
                count: 0,
                last_failed: false,
            },
            each,
        }
    }

    /// A turn in which an item may come; `None` once the call has ended.
    #[cfg_attr(debug_assertions, inline)]
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn enter(&mut self) -> Option<ItemTurn<'_, F, E>> {
        let whole = self.turns.enter(self.given.told())?;
        Some(ItemTurn {
            item: self.each.enter(),
            whole,
            given: &mut self.given,
        })
    }

    /// Begins the last turn, where the call has begun and not ended: it is dropped. The drop of this
    /// state ends it.
    #[cfg_attr(debug_assertions, inline)]
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn begin_last(&mut self) {
        if self.turns.is_open() {
            self.turns.begin_last();
            self.each.begin_last();
        }
    }
}

impl Given {
    /// What an end says of them: 0 is for calls that give no items.
    #[inline(always)]
    fn told(&self) -> u32 {
        self.count.saturating_add(1)
    }
}

impl<F: Function, E: Each<F>> Drop for Items<F, E> {
    #[cfg_attr(debug_assertions, inline)]
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn drop(&mut self) {
        if self.turns.is_open() {
            self.each.end_last();
            self.turns.end_last(self.given.told());
        }
    }
}

/// A turn of a call that gives items. Dropped without being ended, it reports that it unwound.
pub(crate) struct ItemTurn<'a, F: Function, E: Each<F>> {
    /// The inner call, which is dropped first.
    item: Option<Turn<E::Function, Moves>>,
    whole: Turn<F, Moves>,
    given: &'a mut Given,
}

impl<F: Function, E: Each<F>> ItemTurn<'_, F, E> {
    /// Runs one poll, as [`poll::watched`] does.
    #[cfg(feature = "stream")]
    #[inline(always)]
    pub(crate) fn watched<R>(
        turn: Option<&Self>,
        context: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> R,
    ) -> R {
        let item = turn.and_then(|turn| turn.item.as_ref());
        poll::watched(turn.map(|turn| &turn.whole), context, |context| {
            poll::watched(item, context, poll)
        })
    }

    /// Nothing came yet.
    #[cfg(feature = "stream")]
    #[cfg_attr(debug_assertions, inline)]
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn suspend(self) {
        if let Some(item) = self.item {
            item.suspend();
        }
        self.whole.suspend();
    }

    /// An item came, or the end.
    #[cfg_attr(debug_assertions, inline)]
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn came<T, I: Inspect<T>>(self, came: Option<&T>) {
        let Self { item, whole, given } = self;
        match came {
            Some(came) => {
                if let Some(item) = item {
                    item.leave::<T, I>(came);
                }
                given.count = given.count.saturating_add(1);
                given.last_failed = I::failed(came);
                if given.last_failed && F::detail_wanted() {
                    tell::<F, T, I>(whole.call(), came);
                }
                whole.suspend();
            }
            None => {
                if let Some(item) = item {
                    item.exit(Outcome::Cancelled);
                }
                if given.last_failed {
                    whole.fail_with_item();
                } else {
                    whole.exit(Outcome::Ok);
                }
            }
        }
    }
}

/// Fires the marker for an `Err` that is handed on. It may be the last item: that shows when it is
/// gone, and nothing of it can be kept without memory for it.
#[cold]
#[inline(never)]
fn tell<F: Function, T, I: Inspect<T>>(call: usize, item: &T) {
    detail::with::<F, T, I>(item, |detail| F::item_error(call, detail));
}
