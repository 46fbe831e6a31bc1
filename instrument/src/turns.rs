//! A call that runs in turns: the polls of a future or stream, the `next`s of an iterator.
//!
//! Its state travels with the future, not with a thread.

use core::cell::Cell;
use core::marker::PhantomData;
use core::mem::{self, MaybeUninit};

use exoscope_abi::Outcome;
use exoscope_abi::probe::{self, TOKEN};

use crate::inspect::Inspect;
use crate::marker::Function;
use crate::{SUPPORTED, chain, detail, poll, token};

/// State of a call that runs in turns.
///
/// A call that stays in place is identified by the address of its state, whose first two words are
/// those of a call on the stack. One that `MOVES` is identified by a token, and has a [`Frame`] on the
/// stack during each turn.
///
/// A call that began while nobody looked is in no chain, and has no token.
#[repr(C)]
pub(crate) struct Turns<F, const MOVES: bool> {
    /// What is next outside of the call in its latest turn; or its token.
    word: usize,
    /// When it began, or 0.
    start: u64,
    /// 0 before the first turn, [`ENDED`] after the last; between, its parent with [`OPEN`] in the low
    /// bits that addresses and tokens leave free, or [`UNSEEN`].
    parent: usize,
    function: PhantomData<F>,
}

const OPEN: usize = 1;
const ENDED: usize = 2;
const UNSEEN: usize = probe::UNSEEN as usize;
const _: () = assert!(UNSEEN & OPEN != 0);

/// What a call that moves has on the stack during a turn, in place of a state that stays.
#[repr(C)]
pub struct Frame(Cell<MaybeUninit<[usize; 3]>>);

impl Frame {
    /// One that no turn uses yet.
    #[inline(always)]
    pub(crate) const fn new() -> Self {
        Self(Cell::new(MaybeUninit::uninit()))
    }
}

impl<F: Function, const MOVES: bool> Turns<F, MOVES> {
    #[inline(always)]
    pub(crate) const fn new() -> Self {
        Self {
            word: 0,
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
    #[inline(always)]
    pub(crate) fn enter(&mut self, frame: &Frame, items: u32) -> Option<Turn<F, MOVES>> {
        if !SUPPORTED || self.parent == ENDED {
            return None;
        }
        let outer = if self.parent == 0 {
            let outer = if F::seen() {
                self.begin(frame)
            } else {
                self.parent = UNSEEN;
                UNSEEN
            };
            F::entry(self.call(), outer);
            outer
        } else if self.parent == UNSEEN {
            UNSEEN
        } else {
            self.push(frame)
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
    fn begin(&mut self, frame: &Frame) -> usize {
        if F::start_wanted() {
            self.start = chain::now();
        }
        if MOVES {
            self.word = token::of_call();
        }
        let outer = self.push(frame);
        self.parent = outer | OPEN;
        outer
    }

    /// Puts the call into the thread's chain; gives the next outer one.
    #[cold]
    #[inline(never)]
    fn push(&mut self, frame: &Frame) -> usize {
        if MOVES {
            chain::push(&raw const *frame as usize, |outer| {
                let words = [self.word, outer, self.start as usize];
                frame.0.set(MaybeUninit::new(words));
            })
        } else {
            chain::push(self.call(), |outer| self.word = outer)
        }
    }

    /// What identifies the call.
    #[inline(always)]
    fn call(&self) -> usize {
        if MOVES {
            self.word
        } else {
            &raw const *self as usize
        }
    }

    /// Marks the call as ended, and takes it from the thread's chain, where `outer` is next. Gives what
    /// its end says of it: its parent, and when it began.
    #[inline(always)]
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
            (self.parent & !OPEN, 0)
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
    // SAFETY: the state or frame of a call that is running now.
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

/// One turn, or the drop, of an open call. Dropped without being ended, it reports that it unwound.
pub struct Turn<F: Function, const MOVES: bool> {
    turns: *mut Turns<F, MOVES>,
    /// What is next outside of the call, or [`UNSEEN`] where the call is in no chain.
    outer: usize,
    /// Items that the call has given.
    pub(crate) items: u32,
}

impl<F: Function, const MOVES: bool> Turn<F, MOVES> {
    /// What identifies the call.
    #[inline(always)]
    pub(crate) fn call(&self) -> usize {
        // SAFETY: as in `into_parts`.
        unsafe { &*self.turns }.call()
    }

    /// Whether the call began while somebody looked.
    #[inline(always)]
    pub(crate) fn is_seen(&self) -> bool {
        self.outer != UNSEEN
    }

    #[inline(always)]
    fn into_parts<'a>(self) -> (&'a mut Turns<F, MOVES>, usize, u32) {
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
    #[inline(always)]
    pub(crate) fn suspend(self) {
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

    /// The call ended with what it returned.
    #[inline(always)]
    pub(crate) fn leave<R, I: Inspect<R>>(self, returned: &mut R) {
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

impl<F: Function, const MOVES: bool> Drop for Turn<F, MOVES> {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: as in `into_parts`; what is beside the state is no longer borrowed.
        unsafe { &mut *self.turns }.unwound(self.outer, self.items);
    }
}
