//! A call that gives items: a stream or an iterator.

use core::marker::PhantomData;
use core::mem::ManuallyDrop;
#[cfg(feature = "stream")]
use core::task::Context;

use exoscope_abi::Outcome;

use crate::detail;
use crate::inspect::Inspect;
use crate::marker::Function;
#[cfg(feature = "stream")]
use crate::poll;
use crate::turns::{ENDED, Moves, Turn, Turns};

/// State of a call that gives items. It may move between two of them.
pub(crate) struct Items<F: Function, E: Each<F>> {
    turns: Turns<F, Moves>,
    given: Given,
    each: E,
}

/// The items that there were: twice their number, and 1 more where the latest was an `Err`.
#[derive(Clone, Copy)]
struct Given(u64);

/// Whether the items of a call of `F` are calls too.
pub trait Each<F: Function> {
    /// A turn of the call of the item that comes next.
    type Turn: EachTurn;
    /// The turn, in the first of which the call begins.
    fn enter(&mut self) -> Self::Turn;
    /// Begins the last turn of an item's call, where one has begun and not ended.
    fn begin_last(&mut self);
    /// Ends that turn.
    fn end_last(&mut self);
}

/// A turn of the call of an item. Dropped without being ended, it reports that it unwound.
pub trait EachTurn {
    /// Runs one poll, as [`poll::watched`] does.
    #[cfg(feature = "stream")]
    fn watched<R>(&self, context: &mut Context<'_>, poll: impl FnOnce(&mut Context<'_>) -> R) -> R;
    /// Nothing came yet.
    #[cfg(feature = "stream")]
    fn suspend(self);
    /// The item came.
    fn came<T, I: Inspect<T>>(self, came: &T);
    /// There are no more items.
    fn ended(self);
}

/// Items are counted and no more.
pub struct Counted;

/// Each item is a call of `G`.
pub struct Called<G: Function>(Turns<G, Moves>);

impl<F: Function> Each<F> for Counted {
    type Turn = ();

    #[inline(always)]
    fn enter(&mut self) {}

    #[cfg_attr(debug_assertions, inline)]
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn begin_last(&mut self) {}

    #[inline(always)]
    fn end_last(&mut self) {}
}

/// Items are no calls.
impl EachTurn for () {
    #[cfg(feature = "stream")]
    #[inline(always)]
    fn watched<R>(&self, context: &mut Context<'_>, poll: impl FnOnce(&mut Context<'_>) -> R) -> R {
        poll(context)
    }

    #[cfg(feature = "stream")]
    #[inline(always)]
    fn suspend(self) {}

    #[inline(always)]
    fn came<T, I: Inspect<T>>(self, _came: &T) {}

    #[inline(always)]
    fn ended(self) {}
}

impl<G: Function> EachTurn for Turn<G, Moves> {
    #[cfg(feature = "stream")]
    #[inline(always)]
    fn watched<R>(&self, context: &mut Context<'_>, poll: impl FnOnce(&mut Context<'_>) -> R) -> R {
        poll::watched(self, context, poll)
    }

    #[cfg(feature = "stream")]
    #[inline(always)]
    fn suspend(self) {
        self.suspend();
    }

    #[inline(always)]
    fn came<T, I: Inspect<T>>(self, came: &T) {
        self.leave::<T, I>(came);
    }

    #[inline(always)]
    fn ended(self) {
        self.exit(Outcome::Cancelled, 0);
    }
}

impl<G: Function> Called<G> {
    #[inline(always)]
    pub(crate) const fn new() -> Self {
        Self(Turns::new())
    }
}

impl<F: Function, G: Function> Each<F> for Called<G> {
    type Turn = Turn<G, Moves>;

    #[cfg_attr(debug_assertions, inline)]
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn enter(&mut self) -> Self::Turn {
        if !self.0.is_open() {
            // The call of the item before has ended.
            *self = Self::new();
        }
        self.0.enter()
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
            given: Given(0),
            each,
        }
    }

    /// A turn in which an item may come; `None` once the call has ended.
    #[cfg_attr(debug_assertions, inline)]
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn enter(&mut self) -> Option<ItemTurn<'_, F, E>> {
        let outer = self.turns.enter_chain();
        (outer != ENDED).then(|| ItemTurn {
            item: self.each.enter(),
            whole: Whole {
                items: self,
                outer,
                borrowed: PhantomData,
            },
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
    #[inline(always)]
    fn add(&mut self, failed: bool) {
        self.0 = (self.0 | 1) + 1 + u64::from(failed);
    }

    #[inline(always)]
    fn last_failed(&self) -> bool {
        self.0 & 1 != 0
    }

    /// What an end says of them, at most `u32::MAX`: 0 is for calls that give no items.
    #[inline(always)]
    fn told(&self) -> u32 {
        u32::try_from(self.0 / 2 + 1).unwrap_or(u32::MAX)
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
    item: E::Turn,
    whole: Whole<'a, F, E>,
}

/// The turn of the outer call. Dropped without being ended, it reports that it unwound.
struct Whole<'a, F: Function, E: Each<F>> {
    items: *mut Items<F, E>,
    /// What is next outside of the call.
    outer: usize,
    borrowed: PhantomData<&'a mut Items<F, E>>,
}

impl<F: Function, E: Each<F>> Whole<'_, F, E> {
    /// The turn, and the items that there were before it.
    #[inline(always)]
    fn parts(&mut self) -> (ManuallyDrop<Turn<F, Moves>>, &mut Given) {
        // SAFETY: made of a reference that lives as long as this, and of which `each` alone was borrowed
        // meanwhile.
        let (turns, given) = unsafe { (&raw mut (*self.items).turns, &mut (*self.items).given) };
        (ManuallyDrop::new(Turn::entered(turns, self.outer)), given)
    }

    /// As [`Self::parts`], where the turn ends.
    #[inline(always)]
    fn end(self) -> (Turn<F, Moves>, Given) {
        let mut whole = ManuallyDrop::new(self);
        let (turn, given) = whole.parts();
        (ManuallyDrop::into_inner(turn), *given)
    }
}

impl<F: Function, E: Each<F>> Drop for Whole<'_, F, E> {
    #[cfg_attr(debug_assertions, inline)]
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn drop(&mut self) {
        let outer = self.outer;
        // SAFETY: as in `parts`.
        let items = unsafe { &mut *self.items };
        items.turns.unwound(outer, items.given.told());
    }
}

impl<F: Function, E: Each<F>> ItemTurn<'_, F, E> {
    /// Runs one poll, as [`poll::watched`] does.
    #[cfg(feature = "stream")]
    #[inline(always)]
    pub(crate) fn watched<R>(
        turn: Option<&mut Self>,
        context: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> R,
    ) -> R {
        let Some(Self { item, whole }) = turn else {
            return poll(context);
        };
        let (whole, _) = whole.parts();
        poll::watched(&*whole, context, |context| item.watched(context, poll))
    }

    /// Nothing came yet.
    #[cfg(feature = "stream")]
    #[cfg_attr(debug_assertions, inline)]
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn suspend(self) {
        self.item.suspend();
        self.whole.end().0.suspend();
    }

    /// An item came, or the end.
    #[cfg_attr(debug_assertions, inline)]
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn came<T, I: Inspect<T>>(self, came: Option<&T>) {
        let Self { item, mut whole } = self;
        match came {
            Some(came) => {
                item.came::<T, I>(came);
                let (turn, given) = whole.parts();
                let failed = I::failed(came);
                given.add(failed);
                if failed && F::detail_wanted() {
                    tell::<F, T, I>(turn.call(), came);
                }
                whole.end().0.suspend();
            }
            None => {
                item.ended();
                let (turn, given) = whole.end();
                if given.last_failed() {
                    turn.fail(given.told());
                } else {
                    turn.exit(Outcome::Ok, given.told());
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
