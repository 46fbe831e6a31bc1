//! A call that runs in turns: the polls of a future or stream, the `next`s of an iterator.
//!
//! Its state travels with the future, not with a thread.

use core::cell::Cell;
use core::marker::PhantomData;
use core::mem;
use core::task::Poll;

use exoscope_abi::Outcome;
use exoscope_abi::probe::{self, TOKEN};

use crate::inspect::Inspect;
use crate::marker::Function;
use crate::{SUPPORTED, chain, detail, poll, token};

/// How a call that runs in turns is identified.
pub trait Place {
    /// What its state begins with.
    type Token: Copy;
    /// Before the call is seen.
    const NONE: Self::Token;
    /// One for a call that is seen.
    fn token() -> Self::Token;
    /// What identifies a call with this token, whose state is here now.
    fn call(token: Self::Token, state: usize) -> usize;
}

/// The state stays where it is from the first turn on: its address identifies the call.
pub struct Stays;

/// The state may move between two turns: a number identifies the call.
pub struct Moves;

impl Place for Stays {
    type Token = ();
    const NONE: () = ();
    #[inline(always)]
    fn token() {}
    #[inline(always)]
    fn call((): (), state: usize) -> usize {
        state
    }
}

impl Place for Moves {
    type Token = usize;
    const NONE: usize = 0;
    #[inline(always)]
    fn token() -> usize {
        token::of_call()
    }
    #[inline(always)]
    fn call(token: usize, _state: usize) -> usize {
        token
    }
}

/// State of a call that runs in turns: [`Self::enter`] begins each of them but the last, in which what
/// runs in turns is dropped. That one is begun by whoever owns both, by [`Self::begin_last`], before it
/// drops the other, and ended by the drop of this state after it. While a turn runs, it is in the thread's chain, as the state of a
/// call on the stack is.
///
/// A call that began while nobody looked is in no chain, and has no token.
#[repr(C)]
pub(crate) struct Turns<F: Function, P: Place> {
    token: P::Token,
    /// What is next outside of the call in its latest turn.
    outer: usize,
    /// When it began, or 0.
    start: u64,
    /// 0 before the first turn, [`ENDED`] after the last; between, its parent with [`OPEN`] in the low
    /// bits that addresses and tokens leave free, or [`UNSEEN`].
    parent: usize,
    function: PhantomData<F>,
}

const OPEN: usize = 1;
const ENDED: usize = 2;
/// Beside [`OPEN`] in the last turn: the thread was unwinding before.
const UNWINDING: usize = 2;
const UNSEEN: usize = probe::UNSEEN as usize;
const _: () = assert!(UNSEEN & OPEN != 0);

impl<F: Function, P: Place> Turns<F, P> {
    #[inline(always)]
    pub(crate) const fn new() -> Self {
        Self {
            token: P::NONE,
            outer: 0,
            start: 0,
            parent: 0,
            function: PhantomData,
        }
    }

    #[inline(always)]
    pub(crate) fn is_open(&self) -> bool {
        SUPPORTED && self.parent & OPEN != 0
    }

    /// Makes this the innermost call of the thread for one turn, and begins it in the first. `None`
    /// once it has ended. `items` is what its end says of them.
    #[cfg_attr(debug_assertions, inline)]
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn enter(&mut self, items: u32) -> Option<Turn<F, P>> {
        if !SUPPORTED {
            return None;
        }
        // Most turns are those of calls at which nobody looks, so that is asked first.
        let outer = if self.parent == UNSEEN {
            UNSEEN
        } else if self.parent == 0 {
            let outer = if F::seen() {
                self.begin()
            } else {
                self.parent = UNSEEN;
                UNSEEN
            };
            F::entry(self.call(), outer);
            outer
        } else if self.parent == ENDED {
            return None;
        } else {
            self.push()
        };
        Some(Turn {
            turns: self,
            outer,
            items,
        })
    }

    /// The call begins while somebody looks.
    #[cold]
    #[inline(never)]
    fn begin(&mut self) -> usize {
        if F::start_wanted() {
            self.start = chain::now();
        }
        self.token = P::token();
        let outer = self.push();
        self.parent = outer | OPEN;
        outer
    }

    /// Puts the call into the thread's chain; gives the next outer one.
    #[cold]
    #[inline(never)]
    fn push(&mut self) -> usize {
        chain::push(&raw const *self as usize, |outer| self.outer = outer)
    }

    /// What identifies the call.
    #[inline(always)]
    fn call(&self) -> usize {
        P::call(self.token, &raw const *self as usize)
    }

    /// Begins the last turn of a call that is open.
    ///
    /// Has the ABI of C because that does not unwind: the drop of a future is short then, and inlined.
    #[cold]
    #[inline(never)]
    #[allow(improper_ctypes_definitions, reason = "no other language calls it")]
    pub(crate) extern "C" fn begin_last(&mut self) {
        let unwinding = if std::thread::panicking() {
            UNWINDING
        } else {
            0
        };
        if self.parent == UNSEEN {
            // Its place in the chain is free.
            self.outer = OPEN | unwinding;
        } else {
            self.push();
            self.parent |= unwinding;
        }
    }

    /// Ends the last turn: the call was cancelled, unless what was dropped panicked.
    #[cold]
    #[inline(never)]
    #[allow(improper_ctypes_definitions, reason = "no other language calls it")]
    pub(crate) extern "C" fn end_last(&mut self, items: u32) {
        let (outer, flags) = if self.outer & OPEN == 0 {
            (self.outer, self.parent)
        } else {
            (UNSEEN, self.outer)
        };
        if std::thread::panicking() && flags & UNWINDING == 0 {
            self.error(outer, Outcome::Panic, items, 0);
        } else {
            self.exit(outer, Outcome::Cancelled, items);
        }
    }

    /// Marks the call as ended, and takes it from the thread's chain, where `outer` is next. Gives what
    /// its end says of it: its parent, and when it began.
    #[cfg_attr(debug_assertions, inline)]
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn end(&mut self, outer: usize) -> (usize, u64) {
        let said = if outer == UNSEEN {
            (UNSEEN, 0)
        } else {
            self.pop(outer)
        };
        self.parent = ENDED;
        said
    }

    #[cold]
    #[inline(never)]
    fn pop(&self, outer: usize) -> (usize, u64) {
        chain::pop(outer);
        // Where only ends are seen, a parent must be open for as long as its child: the call in which
        // this one began may have ended, and its place on the stack be another's.
        if self.start == 0 {
            (self.parent & !(OPEN | UNWINDING), 0)
        } else {
            (outer, self.start)
        }
    }

    #[inline(always)]
    fn exit(&mut self, outer: usize, outcome: Outcome, items: u32) {
        let (parent, start) = self.end(outer);
        F::exit(self.call(), ended(outcome, items), parent, start);
    }

    #[inline(always)]
    fn error(&mut self, outer: usize, outcome: Outcome, items: u32, detail: usize) {
        let (parent, start) = self.end(outer);
        F::error(self.call(), ended(outcome, items), parent, start, detail);
    }

    /// The call ended with the error in `returned`.
    #[cold]
    #[inline(never)]
    fn fail<R, I: Inspect<R>>(&mut self, outer: usize, items: u32, returned: &R) {
        detail::with::<F, R, I>(returned, |detail| {
            self.error(outer, Outcome::Err, items, detail);
        });
    }

    /// A turn ended, the call did not.
    #[cold]
    #[inline(never)]
    fn suspend(&self, outer: usize) {
        if F::polls_wanted() {
            poll::end::<F>(self.call());
        }
        chain::pop(outer);
    }

    #[cold]
    #[inline(never)]
    fn unwound(&mut self, outer: usize, items: u32) {
        if std::thread::panicking() {
            self.error(outer, Outcome::Panic, items, 0);
        } else {
            self.exit(outer, Outcome::Cancelled, items);
        }
    }
}

/// What identifies the thread's innermost call, which must be running now.
pub(crate) fn innermost() -> usize {
    let innermost = chain::innermost();
    if innermost == 0 || innermost & TOKEN as usize != 0 {
        return innermost;
    }
    // SAFETY: the state of a call that is running now.
    let word = unsafe { (*(innermost as *const Cell<usize>)).get() };
    if token::is_of_call(word) {
        word
    } else {
        innermost
    }
}

/// The outcome, with the number of items in the high half.
#[inline(always)]
fn ended(outcome: Outcome, items: u32) -> u64 {
    outcome as u64 | u64::from(items) << 32
}

impl<F: Function, P: Place> Drop for Turns<F, P> {
    #[cfg_attr(debug_assertions, inline)]
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn drop(&mut self) {
        if self.is_open() {
            self.end_last(0);
        }
    }
}

/// One turn of an open call. Dropped without being ended, it reports that it unwound.
pub struct Turn<F: Function, P: Place> {
    turns: *mut Turns<F, P>,
    /// What is next outside of the call, or [`UNSEEN`] where the call is in no chain.
    outer: usize,
    /// Items that the call has given.
    pub(crate) items: u32,
}

impl<F: Function, P: Place> Turn<F, P> {
    /// What identifies the call.
    #[inline(always)]
    pub(crate) fn call(&self) -> usize {
        // SAFETY: as in `into_parts`.
        unsafe { &*self.turns }.call()
    }

    /// Whether the call began while somebody looked.
    #[cfg_attr(debug_assertions, inline)]
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn is_seen(&self) -> bool {
        self.outer != UNSEEN
    }

    #[inline(always)]
    fn into_parts<'a>(self) -> (&'a mut Turns<F, P>, usize, u32) {
        let Self {
            turns,
            outer,
            items,
        } = self;
        mem::forget(self);
        // SAFETY: made from a mutable reference to a state that outlives the turn; what is beside it
        // was borrowed meanwhile, the state was not.
        (unsafe { &mut *turns }, outer, items)
    }

    /// The turn ended, the call did not.
    ///
    /// Has the ABI of C for the reason that [`Open::end`](crate::call::Open::end) has it.
    #[cfg_attr(debug_assertions, inline)]
    #[cfg_attr(not(debug_assertions), inline(always))]
    #[expect(improper_ctypes_definitions, reason = "no other language calls it")]
    pub(crate) extern "C" fn suspend(self) {
        let (turns, outer, _) = self.into_parts();
        if outer != UNSEEN {
            turns.suspend(outer);
        }
    }

    /// The call ended and is no error.
    #[inline(always)]
    pub(crate) fn exit(self, outcome: Outcome) {
        let (turns, outer, items) = self.into_parts();
        turns.exit(outer, outcome, items);
    }

    /// The call ended with an error of which an `item_error` marker has told.
    #[inline(always)]
    pub(crate) fn fail_with_item(self) {
        let (turns, outer, items) = self.into_parts();
        turns.error(outer, Outcome::Err, items, 0);
    }

    /// The call ended, and nobody looks at what it returned, which `failed`.
    ///
    /// Has the ABI of C for the reason that [`Open::end`](crate::call::Open::end) has it.
    #[cfg_attr(debug_assertions, inline)]
    #[cfg_attr(not(debug_assertions), inline(always))]
    #[expect(improper_ctypes_definitions, reason = "no other language calls it")]
    pub(crate) extern "C" fn end(self, failed: bool) {
        if failed {
            self.fail_with_item();
        } else {
            self.exit(Outcome::Ok);
        }
    }

    /// The call ended while somebody looks at what it returned, which is given back: see
    /// [`Open::tell`](crate::call::Open::tell).
    #[cold]
    #[inline(never)]
    pub(crate) fn tell<R, I: Inspect<R>>(self, returned: Poll<R>) -> Poll<R> {
        match &returned {
            Poll::Ready(returned) => self.leave::<R, I>(returned),
            Poll::Pending => self.suspend(),
        }
        returned
    }

    /// The call ended with what it returned.
    #[inline(always)]
    pub(crate) fn leave<R, I: Inspect<R>>(self, returned: &R) {
        if self.is_seen() {
            I::returned::<F>(self.call(), returned);
        }
        if I::failed(returned) {
            let (turns, outer, items) = self.into_parts();
            if outer == UNSEEN {
                turns.error(UNSEEN, Outcome::Err, items, 0);
            } else {
                turns.fail::<R, I>(outer, items, returned);
            }
        } else {
            self.exit(Outcome::Ok);
        }
    }
}

impl<F: Function, P: Place> Drop for Turn<F, P> {
    #[cfg_attr(debug_assertions, inline)]
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn drop(&mut self) {
        // SAFETY: as in `into_parts`; what is beside the state is no longer borrowed.
        unsafe { &mut *self.turns }.unwound(self.outer, self.items);
    }
}
