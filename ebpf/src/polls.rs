//! Polls and wake-ups, on request: [`exoscope_abi::polls`] says how they split a call's time.

use aya_ebpf::{
    btf_maps::{Array, LruHashMap},
    macros::{btf_map, uprobe},
    programs::ProbeContext,
};
use exoscope_abi::{
    polls::{CallPolls, OpenPolls, Wakes},
    table::OpenCall,
};

use crate::{
    config,
    figures::{self, Clock},
    maps::MMAPABLE,
    marker::{Site, argument, now},
    table::{self, Slot},
};

/// Polls for each slot of the table of open calls, or one in all where nobody asks.
#[btf_map]
pub static POLLS: Array<OpenPolls, 1, MMAPABLE> = Array::new();

/// Wake-ups by the data pointer of the waker; the least recently used are forgotten.
#[btf_map]
pub static WAKERS: LruHashMap<u64, Wakes, 1> = LruHashMap::new();

/// A poll of a call begins.
#[uprobe]
pub fn poll_begin(ctx: ProbeContext) -> u32 {
    begin(&ctx);
    0
}

/// A poll of a call ends, and the call does not.
#[uprobe]
pub fn poll_end(ctx: ProbeContext) -> u32 {
    end(&ctx);
    0
}

/// A waker wakes its task.
#[uprobe]
pub fn wake(ctx: ProbeContext) -> u32 {
    let at_ns = now();
    if let Some(wakes) = WAKERS.get_ptr_mut(argument(&ctx, 1)) {
        // SAFETY: the wake-ups lie in the map. Two threads that wake at one moment may leave one of
        // them, which is all that is wanted.
        unsafe { (*wakes).wake(at_ns) };
    }
    0
}

#[inline(always)]
fn begin(ctx: &ProbeContext) -> Option<()> {
    let slot = table::find(argument(ctx, 1))?;
    let polls = POLLS.get_ptr_mut(slot.index)?;
    let waker = argument(ctx, 2);
    let wakes = wakes_of(waker);
    if let Some(wakes) = wakes {
        // SAFETY: the wake-ups lie in the map.
        unsafe { (&raw mut (*wakes).polled_ns).write_volatile(Wakes::ANY) };
    }
    // SAFETY: the slot and its polls lie in maps, and whoever polls the call is alone with them.
    let at_ns = unsafe {
        let (id, start_ns) = ((*slot.call).id, (*slot.call).start_ns);
        if (*polls).id == id {
            let mut at = Clock::read();
            figures::poll_begins(Site::of(ctx), slot, &mut at);
            let woken_ns = first_wake(&*polls);
            (*polls).begin(waker, at.ns, woken_ns);
            at.ns
        } else {
            *polls = OpenPolls::first(id, waker, start_ns);
            start_ns
        }
    };
    if let Some(wakes) = wakes {
        // SAFETY: the wake-ups lie in the map.
        unsafe { (&raw mut (*wakes).polled_ns).write_volatile(at_ns) };
    }
    Some(())
}

#[inline(always)]
fn end(ctx: &ProbeContext) -> Option<()> {
    let mut at = Clock::read();
    let slot = table::find(argument(ctx, 1))?;
    let polls = POLLS.get_ptr_mut(slot.index)?;
    // SAFETY: as in `begin`.
    unsafe {
        if (*polls).id == (*slot.call).id {
            figures::poll_ends(Site::of(ctx), slot, &mut at);
            (*polls).end(at.ns);
        }
    }
    Some(())
}

/// What is known of the polls of a call that ends and still has its slot: nothing of one that is not
/// polled, and where nobody asks. No `Option`: the compiler would keep in a register what it does not
/// hold, and the verifier wants to know what that is.
#[inline(always)]
pub fn ended(slot: Slot, call: &OpenCall, end_ns: u64) -> CallPolls {
    if !config::polls() {
        return CallPolls::NONE;
    }
    let Some(polls) = POLLS.get_ptr_mut(slot.index) else {
        return CallPolls::NONE;
    };
    // SAFETY: as in `begin`.
    unsafe {
        if (*polls).id != call.id {
            return CallPolls::NONE;
        }
        let woken_ns = first_wake(&*polls);
        (*polls).finish(end_ns, woken_ns)
    }
}

/// The first wake-up since the latest poll began, or 0.
#[inline(always)]
fn first_wake(polls: &OpenPolls) -> u64 {
    match WAKERS.get_ptr(polls.waker) {
        // SAFETY: the wake-ups lie in the map.
        Some(wakes) => unsafe { (*wakes).first_since(polls.begun_ns) },
        None => 0,
    }
}

/// The wake-ups by a waker, which is remembered from now on.
#[inline(always)]
fn wakes_of(waker: u64) -> Option<*mut Wakes> {
    if let Some(wakes) = WAKERS.get_ptr_mut(waker) {
        return Some(wakes);
    }
    // Where another thread was faster, or memory is short, the look-up tells.
    let _ = WAKERS.insert(waker, Wakes::NONE, 1);
    WAKERS.get_ptr_mut(waker)
}
