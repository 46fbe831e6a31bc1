//! The chain of open calls in the target's memory: [`exoscope_abi::probe`] says what a state holds.

use core::ptr;

use aya_ebpf::helpers::bpf_probe_read_user;
use exoscope_abi::{
    probe::{LINK, TOKEN},
    table::OpenCall,
};

use crate::{maps::LINKS, table};

/// How many states are looked at for one of a captured call.
const STATES: u32 = 8;

/// What the state of a call says.
struct State {
    /// What identifies the call: the address of the state, or a token.
    call: u64,
    /// The next outer call.
    outer: u64,
    /// When the call began, or 0 where nobody asked the target to read its clock then.
    start_ns: u64,
}

impl State {
    /// Reads the state at an address; `None` where there is no memory.
    #[inline(always)]
    fn read(address: u64) -> Option<Self> {
        // SAFETY: the helper checks the target's address. A state of two words never ends where
        // readable memory does: it lies on a stack with its caller's frame after it, or in a future
        // that is longer.
        let words = unsafe { bpf_probe_read_user(address as *const [u64; 3]) }.ok()?;
        Some(if is_token(words[0]) {
            Self {
                call: words[0],
                outer: words[1],
                start_ns: words[2],
            }
        } else {
            Self {
                call: address,
                outer: words[0],
                start_ns: words[1],
            }
        })
    }
}

/// Whether this identifies a call whose state may move.
#[inline(always)]
fn is_token(word: u64) -> bool {
    word & (LINK | TOKEN) == TOKEN
}

/// Whether this is what a `link` announced.
#[inline(always)]
pub fn is_link(word: u64) -> bool {
    word & LINK != 0
}

/// Where the search for a captured call ended. A plain struct, for an enum would leave words
/// unwritten, which the verifier does not let a program pass on.
pub struct Found {
    /// What identifies the open call, the token of a link, or 0.
    pub call: u64,
    /// The open call, or null.
    pub open: *mut OpenCall,
}

impl Found {
    /// Number of the call, or 0 where there is none, or nobody knows any more what a link stands for.
    #[inline(always)]
    pub fn id(&self) -> u64 {
        if is_link(self.call) {
            // SAFETY: the number is read at once; the map may give its place to another token.
            return unsafe { LINKS.get(self.call) }.copied().unwrap_or(0);
        }
        if self.open.is_null() {
            return 0;
        }
        // SAFETY: the open call lies in the map.
        unsafe { (*self.open).id }
    }
}

/// The innermost captured call at or outside of `call`: those whose function was not chosen, or that
/// began before the session, are passed over.
#[inline(always)]
pub fn innermost(call: u64) -> Found {
    let found = open_at(call);
    if call == 0 || !found.open.is_null() {
        return found;
    }
    let call = captured_outside(call);
    if is_link(call) {
        return Found {
            call,
            open: ptr::null_mut(),
        };
    }
    open_at(call)
}

/// Number of [`innermost`], likewise a global function.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn innermost_number(call: u64) -> u64 {
    innermost(call).id()
}

/// The open call that is identified so, or nothing.
#[inline(always)]
fn open_at(call: u64) -> Found {
    if call != 0
        && let Some(slot) = table::find(call)
    {
        return Found {
            call,
            open: slot.call,
        };
    }
    Found {
        call: 0,
        open: ptr::null_mut(),
    }
}

/// What identifies the innermost captured call outside of `call`, or the token of a link, or 0.
///
/// A global function, as those of [`table`] are: the verifier would follow all that a program does
/// afterwards for each turn of the loop.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn captured_outside(mut call: u64) -> u64 {
    // The next outer call, where `call` is a token and has no state to ask.
    let mut outer = 0;
    for _ in 0..2 * STATES {
        if call == 0 || is_link(call) || table::find(call).is_some() {
            return call;
        }
        if is_token(call) {
            call = outer;
            continue;
        }
        let Some(state) = State::read(call) else {
            return 0;
        };
        if state.call == call {
            call = state.outer;
        } else {
            (call, outer) = (state.call, state.outer);
        }
    }
    0
}

/// As [`innermost`], where only ends are attached, and a captured call is one in which the target
/// was asked to read its clock: what identifies it, or the token of a link, or 0.
#[inline(always)]
pub fn innermost_timed(mut call: u64) -> u64 {
    for _ in 0..STATES {
        if call == 0 || is_link(call) {
            return call;
        }
        let Some(state) = State::read(call) else {
            return 0;
        };
        if state.start_ns != 0 {
            return state.call;
        }
        call = state.outer;
    }
    0
}

/// Whether the open call that is identified so was asked to read its clock when it began. Of one
/// whose state may move that is not known from outside, and taken for granted.
#[inline(always)]
pub fn is_timed(call: u64) -> bool {
    is_token(call) || State::read(call).is_some_and(|state| state.start_ns != 0)
}
