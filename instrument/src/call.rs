//! A synchronous call: its state on the stack, from entry to its one end.
//!
//! What is inlined always here and in the other states of calls is so where the compiler optimizes. Where
//! it does not, each value of each inlined function has a place of its own in the frame of the user's
//! function for as long as that runs, which shortens how deep it can recurse.

use core::cell::Cell;
use core::marker::PhantomData;
use core::mem::{self, MaybeUninit};

use exoscope_abi::Outcome;
use exoscope_abi::probe::UNSEEN;

use crate::detail;
use crate::inspect::Inspect;
use crate::marker::Function;
use crate::{SUPPORTED, chain};

/// State of a call on the stack. Its address is the call's identity.
#[repr(C)]
pub struct State<F> {
    words: Words,
    function: PhantomData<F>,
}

/// What can be read from outside while the call is in the thread's chain.
#[repr(C)]
struct Words {
    /// The address of the next outer call or 0; [`UNSEEN`] where the call is not in the chain.
    outer: Cell<usize>,
    /// When the call began, or 0. Written where the call is put into the chain.
    start: Cell<MaybeUninit<u64>>,
}

/// A call that has begun. Dropped without being ended, it reports that it unwound.
pub struct Open<'a, F: Function>(&'a State<F>);

impl Words {
    /// Puts the call into the thread's chain, if it is `seen`. Gives the call's address and that of the
    /// next outer one, or 0.
    ///
    /// The caller has the address already, but to keep it meanwhile it would need a register that each
    /// call of the function had to save, wanted or not.
    #[cold]
    #[inline(never)]
    fn begin(&self, seen: bool, timed: bool) -> (usize, usize) {
        let call = &raw const *self as usize;
        if !seen {
            return (call, UNSEEN as usize);
        }
        let start = if timed { chain::now() } else { 0 };
        self.start.set(MaybeUninit::new(start));
        (call, chain::push(call, |outer| self.outer.set(outer)))
    }

    /// Takes the call off the thread's chain, where it is in it; gives what its end says of it: the
    /// next outer call, and when it began.
    #[cold]
    #[inline(never)]
    fn end(&self) -> (usize, u64) {
        if !self.is_seen() {
            return (UNSEEN as usize, 0);
        }
        let outer = self.outer.get();
        chain::pop(outer);
        // SAFETY: the call is in the chain, and was not put there without being written.
        (outer, unsafe { self.start.get().assume_init() })
    }

    /// Whether the call began while somebody looked, and so is in the chain.
    ///
    /// The compiler is not to know the answer: it would make two ways through the body of it, each with
    /// sites of its own.
    #[cfg_attr(debug_assertions, inline)]
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn is_seen(&self) -> bool {
        // SAFETY: a word of this state, which is initialized.
        unsafe { self.outer.as_ptr().read_volatile() != UNSEEN as usize }
    }
}

impl<F: Function> State<F> {
    /// State of a call that has not begun.
    #[cfg_attr(debug_assertions, inline)]
    #[cfg_attr(not(debug_assertions), inline(always))]
    #[expect(clippy::new_without_default, reason = "made by expansions only")]
    pub const fn new() -> Self {
        Self {
            words: Words {
                outer: Cell::new(UNSEEN as usize),
                start: Cell::new(MaybeUninit::uninit()),
            },
            function: PhantomData,
        }
    }

    /// Begins the call.
    #[cfg_attr(debug_assertions, inline)]
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub fn enter(&self) -> Open<'_, F> {
        if SUPPORTED && F::wanted() {
            let (call, outer) = self.words.begin(F::seen(), F::start_wanted());
            F::entry(call, outer);
        }
        Open(self)
    }

    #[inline(always)]
    fn address(&self) -> usize {
        &raw const *self as usize
    }
}

impl<F: Function> Open<'_, F> {
    /// Whether the call began while somebody looked.
    #[cfg_attr(debug_assertions, inline)]
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub fn is_seen(&self) -> bool {
        SUPPORTED && self.0.words.is_seen()
    }

    /// Whether somebody wants to know that the call ends: it began while somebody looked, or somebody
    /// looks now.
    #[cfg_attr(debug_assertions, inline)]
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub fn is_wanted(&self) -> bool {
        SUPPORTED && (self.0.words.is_seen() || F::wanted()) && seldom()
    }

    /// Ends a call while somebody looks at what it returned.
    #[inline(always)]
    pub(crate) fn tell<R, I: Inspect<R>>(self, returned: &R) {
        let state = self.0;
        I::returned::<F>(state.address(), returned);
        mem::forget(self);
        if I::failed(returned) {
            detail::with::<F, R, I>(returned, |detail| error(state, Outcome::Err, detail));
        } else {
            exit(state, Outcome::Ok);
        }
    }

    /// Ends a call of which nobody wants to know.
    ///
    /// Has the ABI of C for the reason that [`Self::end`] has it.
    #[cfg_attr(debug_assertions, inline)]
    #[cfg_attr(not(debug_assertions), inline(always))]
    #[expect(improper_ctypes_definitions, reason = "no other language calls it")]
    pub extern "C" fn forget(self) {
        mem::forget(self);
    }

    /// Ends a call of which nobody looks at what it returned, which `failed`.
    ///
    /// Of a function with the ABI of C the compiler knows early that it does not unwind, so that
    /// nothing has to be dropped then: it makes the returned value where the caller wants it, instead
    /// of copying it there.
    #[cfg_attr(debug_assertions, inline)]
    #[cfg_attr(not(debug_assertions), inline(always))]
    #[expect(improper_ctypes_definitions, reason = "no other language calls it")]
    pub extern "C" fn end(self, failed: bool) {
        let state = self.0;
        mem::forget(self);
        if failed {
            error(state, Outcome::Err, 0);
        } else {
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

/// `true`, said in a way that tells the compiler to lay out the code for the other case.
#[cold]
#[inline(never)]
pub(crate) fn seldom() -> bool {
    true
}

/// Runs a function's body. Its bound makes the closure one that may give away what it captured.
#[inline(always)]
pub fn body<R>(body: impl FnOnce() -> R) -> R {
    body()
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
    let (outer, start) = state.words.end();
    F::exit(state.address(), outcome as u64, outer, start);
}

/// Takes the call off the thread's chain and fires its error marker.
#[inline(always)]
fn error<F: Function>(state: &State<F>, outcome: Outcome, detail: usize) {
    let (outer, start) = state.words.end();
    F::error(state.address(), outcome as u64, outer, start, detail);
}
