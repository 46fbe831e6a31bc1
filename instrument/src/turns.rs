//! A call that runs in turns: the polls of a future or stream, the `next`s of an iterator.
//!
//! Its state travels with the future, not with a thread.

use core::cell::Cell;
use core::marker::PhantomData;
use core::mem::{self, MaybeUninit};
use core::task::Poll;

use exoscope_abi::Outcome;
use exoscope_abi::probe::{self, TOKEN};

use crate::call::seldom;
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
/// drops the other, and ended by the drop of this state after it. While a turn runs, it is in the thread's
/// chain, as the state of a call on the stack is.
///
/// A call that began while nobody looked is in no chain, and has no token.
#[repr(C)]
pub(crate) struct Turns<F: Function, P: Place> {
    token: P::Token,
    /// What is next outside of the call in its latest turn. Written where the call is put into the chain.
    outer: MaybeUninit<usize>,
    /// When it began, or 0. Written where the call is given its place.
    start: MaybeUninit<u64>,
    /// 0 before the first turn, [`ENDED`] after the last; between, its parent with [`OPEN`] in the low
    /// bits that addresses and tokens leave free, or [`PASSED`].
    parent: usize,
    function: PhantomData<F>,
}

const OPEN: usize = 1;
pub(crate) const ENDED: usize = 2;
/// Beside [`OPEN`] in the last turn: the thread was unwinding before.
const UNWINDING: usize = 2;
const UNSEEN: usize = probe::UNSEEN as usize;
/// In the place of a parent: the call began while nobody looked. No token is 0, so no parent is this.
const PASSED: usize = TOKEN as usize | OPEN;
/// The same in the last turn, where the thread was unwinding before.
const PASSED_UNWINDING: usize = PASSED | UNWINDING;

impl<F: Function, P: Place> Turns<F, P> {
    #[inline(always)]
    pub(crate) const fn new() -> Self {
        Self {
            token: P::NONE,
            outer: MaybeUninit::uninit(),
            start: MaybeUninit::uninit(),
            parent: 0,
            function: PhantomData,
        }
    }

    #[inline(always)]
    pub(crate) fn is_open(&self) -> bool {
        SUPPORTED && self.parent & OPEN != 0
    }

    /// A turn of the call, which begins in the first. One after the last is no turn, and tells nothing.
    #[cfg_attr(debug_assertions, inline)]
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn enter(&mut self) -> Turn<F, P> {
        let outer = self.enter_chain();
        Turn { turns: self, outer }
    }

    /// Makes this the innermost call of the thread for one turn, and begins it in the first. Gives what is
    /// next outside of it, [`UNSEEN`] where it is in no chain, or [`ENDED`] after its last turn.
    #[cfg_attr(debug_assertions, inline)]
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn enter_chain(&mut self) -> usize {
        if !SUPPORTED {
            return ENDED;
        }
        if self.parent == 0 {
            self.parent = PASSED;
            if F::wanted() && seldom() {
                return self.begin();
            }
            return UNSEEN;
        }
        if self.parent == PASSED {
            return UNSEEN;
        }
        if self.parent == ENDED {
            return ENDED;
        }
        self.push()
    }

    /// The call begins while somebody wants to know; gives the next outer one.
    #[inline(always)]
    fn begin(&mut self) -> usize {
        let outer = self.place(F::seen());
        F::entry(self.call(), outer);
        outer
    }

    /// Gives a call that begins its place in the thread's chain, if it is `seen`; gives the next outer one.
    #[cold]
    #[inline(never)]
    fn place(&mut self, seen: bool) -> usize {
        if !seen {
            return UNSEEN;
        }
        let start = if F::start_wanted() { chain::now() } else { 0 };
        self.start.write(start);
        self.token = P::token();
        let outer = self.push();
        self.parent = outer | OPEN;
        outer
    }

    /// Puts the call into the thread's chain; gives the next outer one.
    #[cold]
    #[inline(never)]
    fn push(&mut self) -> usize {
        chain::push(&raw const *self as usize, |outer| {
            self.outer.write(outer);
        })
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
        let unwinding = std::thread::panicking();
        if self.parent != PASSED {
            self.push();
        }
        if unwinding {
            self.parent |= UNWINDING;
        }
    }

    /// Ends the last turn: the call was cancelled, unless what was dropped panicked.
    #[cold]
    #[inline(never)]
    #[allow(improper_ctypes_definitions, reason = "no other language calls it")]
    pub(crate) extern "C" fn end_last(&mut self, items: u32) {
        let outer = match self.parent {
            PASSED | PASSED_UNWINDING => UNSEEN,
            // SAFETY: the call is in the chain.
            _ => unsafe { self.outer.assume_init() },
        };
        if std::thread::panicking() && self.parent & UNWINDING == 0 {
            self.error(outer, Outcome::Panic, items, 0);
        } else {
            self.exit(outer, Outcome::Cancelled, items);
        }
    }

    /// Marks the call as ended, and takes it from the thread's chain, where `outer` is next. Gives what
    /// its end says of it: its parent, and when it began.
    #[cold]
    #[inline(never)]
    fn end(&mut self, outer: usize) -> (usize, u64) {
        let parent = mem::replace(&mut self.parent, ENDED);
        if outer == UNSEEN {
            return (UNSEEN, 0);
        }
        chain::pop(outer);
        // Where only ends are seen, a parent must be open for as long as its child: the call in which
        // this one began may have ended, and its place on the stack be another's.
        // SAFETY: the call is in the chain, and was not put there without being given its start.
        match unsafe { self.start.assume_init() } {
            0 => (parent & !(OPEN | UNWINDING), 0),
            start => (outer, start),
        }
    }

    /// Whether somebody wants to know that the call ends, which `outer` is next of: it began while
    /// somebody looked, or somebody looks now.
    #[inline(always)]
    fn is_wanted(outer: usize) -> bool {
        (outer != UNSEEN || F::wanted()) && seldom() && outer != ENDED
    }

    #[inline(always)]
    fn exit(&mut self, outer: usize, outcome: Outcome, items: u32) {
        if Self::is_wanted(outer) {
            let (parent, start) = self.end(outer);
            F::exit(self.call(), ended(outcome, items), parent, start);
        } else {
            self.parent = ENDED;
        }
    }

    #[inline(always)]
    fn error(&mut self, outer: usize, outcome: Outcome, items: u32, detail: usize) {
        if Self::is_wanted(outer) {
            let (parent, start) = self.end(outer);
            F::error(self.call(), ended(outcome, items), parent, start, detail);
        } else {
            self.parent = ENDED;
        }
    }

    /// The call ended with the error in `returned`.
    #[cold]
    #[inline(never)]
    fn fail<R, I: Inspect<R>>(&mut self, outer: usize, returned: &R) {
        detail::with::<F, R, I>(returned, |detail| {
            self.error(outer, Outcome::Err, 0, detail);
        });
    }

    /// A turn ended, the call did not.
    #[cold]
    #[inline(never)]
    fn suspend(&self, outer: usize) {
        if outer == ENDED {
            return;
        }
        if F::polls_wanted() {
            poll::end::<F>(self.call());
        }
        chain::pop(outer);
    }

    /// A turn was left by unwinding.
    #[cold]
    #[inline(never)]
    pub(crate) fn unwound(&mut self, outer: usize, items: u32) {
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
    /// What is next outside of the call, [`UNSEEN`] where the call is in no chain, or [`ENDED`] where this
    /// is none of its turns.
    outer: usize,
}

impl<F: Function, P: Place> Turn<F, P> {
    /// The turn of a call that has [entered the chain](Turns::enter_chain), where `outer` is next.
    #[inline(always)]
    pub(crate) fn entered(turns: *mut Turns<F, P>, outer: usize) -> Self {
        Self { turns, outer }
    }

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
        self.outer != UNSEEN && self.outer != ENDED
    }

    /// Whether somebody wants to know that the call ends.
    #[inline(always)]
    pub(crate) fn is_wanted(&self) -> bool {
        Turns::<F, P>::is_wanted(self.outer)
    }

    #[inline(always)]
    fn into_parts<'a>(self) -> (&'a mut Turns<F, P>, usize) {
        let Self { turns, outer } = self;
        mem::forget(self);
        // SAFETY: made from a mutable reference to a state that outlives the turn; what is beside it
        // was borrowed meanwhile, the state was not.
        (unsafe { &mut *turns }, outer)
    }

    /// The turn ended, the call did not.
    ///
    /// Has the ABI of C for the reason that [`Open::end`](crate::call::Open::end) has it.
    #[cfg_attr(debug_assertions, inline)]
    #[cfg_attr(not(debug_assertions), inline(always))]
    #[expect(improper_ctypes_definitions, reason = "no other language calls it")]
    pub(crate) extern "C" fn suspend(self) {
        let (turns, outer) = self.into_parts();
        if outer != UNSEEN {
            turns.suspend(outer);
        }
    }

    /// The call ended and is no error; `items` is what its end says of them.
    #[inline(always)]
    pub(crate) fn exit(self, outcome: Outcome, items: u32) {
        let (turns, outer) = self.into_parts();
        turns.exit(outer, outcome, items);
    }

    /// The call ended with an error that nobody asks about, or of which an `item_error` marker has told.
    #[inline(always)]
    pub(crate) fn fail(self, items: u32) {
        let (turns, outer) = self.into_parts();
        turns.error(outer, Outcome::Err, items, 0);
    }

    /// The call ended, and nobody wants to know.
    ///
    /// Has the ABI of C for the reason that [`Open::end`](crate::call::Open::end) has it.
    #[cfg_attr(debug_assertions, inline)]
    #[cfg_attr(not(debug_assertions), inline(always))]
    #[expect(improper_ctypes_definitions, reason = "no other language calls it")]
    pub(crate) extern "C" fn forget(self) {
        let (turns, _) = self.into_parts();
        turns.parent = ENDED;
    }

    /// The call ended, and nobody looks at what it returned, which `failed`.
    ///
    /// Has the ABI of C for the reason that [`Open::end`](crate::call::Open::end) has it.
    #[cfg_attr(debug_assertions, inline)]
    #[cfg_attr(not(debug_assertions), inline(always))]
    #[expect(improper_ctypes_definitions, reason = "no other language calls it")]
    pub(crate) extern "C" fn end(self, failed: bool) {
        if failed {
            self.fail(0);
        } else {
            self.exit(Outcome::Ok, 0);
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
            let (turns, outer) = self.into_parts();
            if outer == UNSEEN {
                turns.error(UNSEEN, Outcome::Err, 0, 0);
            } else {
                turns.fail::<R, I>(outer, returned);
            }
        } else {
            self.exit(Outcome::Ok, 0);
        }
    }
}

impl<F: Function, P: Place> Drop for Turn<F, P> {
    #[cfg_attr(debug_assertions, inline)]
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn drop(&mut self) {
        // SAFETY: as in `into_parts`; what is beside the state is no longer borrowed.
        unsafe { &mut *self.turns }.unwound(self.outer, 0);
    }
}
