//! A call that gives items: a stream or an iterator.

use crate::detail;
use crate::inspect::Inspect;
use crate::marker::Function;
use crate::turns::{Frame, Turn, Turns};
use exoscope_abi::Outcome;

/// State of a call that gives items. It may move between two of them.
pub(crate) struct Items<F> {
    turns: Turns<F, true>,
    /// How many there were, at most `u32::MAX`.
    count: u32,
    /// The latest one was an `Err`.
    last_failed: bool,
}

impl<F: Function> Items<F> {
    #[inline(always)]
    pub(crate) const fn new() -> Self {
        Self {
            turns: Turns::new(),
            count: 0,
            last_failed: false,
        }
    }

    /// A turn of the call; `None` once it has ended.
    #[inline(always)]
    pub(crate) fn enter(&mut self, frame: &Frame) -> Option<Turn<F, true>> {
        // 0 is for calls that give no items.
        self.turns.enter(frame, self.count.saturating_add(1))
    }

    /// The last turn of a call that has begun and not ended: it is dropped.
    #[inline(always)]
    pub(crate) fn cancel(&mut self, frame: &Frame) -> Option<Turn<F, true>> {
        if self.turns.is_open() {
            self.enter(frame)
        } else {
            None
        }
    }

    /// An item came, or the end.
    #[inline(always)]
    pub(crate) fn came<T, I: Inspect<T>>(&mut self, turn: Turn<F, true>, item: Option<&T>) {
        match item {
            Some(item) => {
                self.count = self.count.saturating_add(1);
                self.last_failed = I::failed(item);
                if self.last_failed && F::detail_wanted() {
                    tell::<F, T, I>(turn.call(), item);
                }
                turn.suspend();
            }
            None if self.last_failed => turn.fail_with_item(),
            None => turn.exit(Outcome::Ok),
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
