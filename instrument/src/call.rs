//! A synchronous call: its state on the stack, from entry to its one end.

use core::cell::Cell;
use core::marker::PhantomData;
use core::mem;

use exoscope_abi::Outcome;

use crate::detail;
use crate::inspect::Inspect;
use crate::marker::Function;
use crate::{SUPPORTED, aside, chain};

/// State of a call on the stack. Its address is the call's identity.
///
/// The first word is the address of the next outer call, so that the chain of open calls can be
/// followed from outside; the second the time at which the call began, or 0.
#[repr(C)]
pub struct State<F> {
    outer: Cell<usize>,
    start: Cell<u64>,
    function: PhantomData<F>,
}

/// A call that has begun. Dropped without [`Inspect::leave`], it reports that it unwound.
pub struct Open<'a, F: Function>(&'a State<F>);

impl<F: Function> State<F> {
    /// State of a call that has not begun.
    #[inline(always)]
    #[expect(clippy::new_without_default, reason = "made by expansions only")]
    pub const fn new() -> Self {
        Self {
            outer: Cell::new(0),
            start: Cell::new(0),
            function: PhantomData,
        }
    }

    /// Begins the call.
    #[inline(always)]
    pub fn enter(&self) -> Open<'_, F> {
        if SUPPORTED {
            let outer = chain::push(&self.outer, self.address());
            if F::start_wanted() {
                self.start.set(chain::now());
            }
            F::entry(self.address(), outer);
        }
        Open(self)
    }

    #[inline(always)]
    fn address(&self) -> usize {
        &raw const *self as usize
    }
}

impl<F: Function> Open<'_, F> {
    /// Ends the call with what it returned.
    #[inline(always)]
    pub(crate) fn leave<R, I: Inspect<R>>(self, returned: &mut R) {
        if SUPPORTED {
            I::returned::<F>(self.0.address(), returned);
        }
        if SUPPORTED && I::failed(returned) {
            let state = self.0;
            mem::forget(self);
            if F::detail_wanted() {
                aside::look(returned, |returned| failed::<F, R, I>(state, returned));
            } else {
                error(state, Outcome::Err, 0);
            }
        } else {
            self.exit();
        }
    }

    /// Ends the call without an error.
    #[inline(always)]
    pub(crate) fn exit(self) {
        let state = self.0;
        mem::forget(self);
        if SUPPORTED {
            exit(state, Outcome::Ok);
        }
    }
}

impl<F: Function> Drop for Open<'_, F> {
    #[inline(always)]
    fn drop(&mut self) {
        if SUPPORTED {
            unwound(self.0);
        }
    }
}

/// Runs a function's body. Its bound makes the closure one that may give away what it captured.
#[inline(always)]
pub fn body<R>(body: impl FnOnce() -> R) -> R {
    body()
}

#[cold]
#[inline(never)]
fn failed<F: Function, R, I: Inspect<R>>(state: &State<F>, returned: &R) {
    detail::with::<F, R, I>(returned, |detail| error(state, Outcome::Err, detail));
}

#[cold]
#[inline(never)]
fn unwound<F: Function>(state: &State<F>) {
    if std::thread::panicking() {
        error(state, Outcome::Panic, 0);
    } else {
        // Something else unwinds: `pthread_exit`, or an exception of another language.
        exit(state, Outcome::Cancelled);
    }
}

/// Takes the call off the thread's chain and fires its exit marker.
#[inline(always)]
fn exit<F: Function>(state: &State<F>, outcome: Outcome) {
    let outer = state.outer.get();
    chain::pop(outer);
    F::exit(state.address(), outcome as u64, outer, state.start.get());
}

/// Takes the call off the thread's chain and fires its error marker.
#[inline(always)]
fn error<F: Function>(state: &State<F>, outcome: Outcome, detail: usize) {
    let outer = state.outer.get();
    chain::pop(outer);
    F::error(
        state.address(),
        outcome as u64,
        outer,
        state.start.get(),
        detail,
    );
}
