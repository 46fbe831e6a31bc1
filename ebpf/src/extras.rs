//! What some calls have besides their entry and end: fields, links, and the message of a panic.
//!
//! In `full` mode a record names its call by number, in `exits` mode by address.

use aya_ebpf::{macros::uprobe, programs::ProbeContext};
use exoscope_abi::{
    Phase,
    probe::{LINK, TOKEN},
};

use crate::{
    config, emit,
    maps::LINKS,
    marker::{argument, captured_parent, now, phase, site_function},
    table,
    totals::Totals,
};

/// The fields of a call that has begun, or what it returns.
#[uprobe]
pub fn fields(ctx: ProbeContext) -> u32 {
    take_fields(&ctx);
    0
}

/// A token stands for the innermost call.
#[uprobe]
pub fn link(ctx: ProbeContext) -> u32 {
    take_link(&ctx);
    0
}

/// A panic begins in the innermost call.
#[uprobe]
pub fn panic_begins(ctx: ProbeContext) -> u32 {
    take_panic(&ctx);
    0
}

/// The number or, in `exits` mode, the address of the open call that a marker names; `None` where
/// it is not followed.
#[inline(always)]
fn followed(call: u64) -> Option<u64> {
    if config::exits_only() {
        return (phase() == Phase::Capturing as u64).then_some(call);
    }
    let slot = table::find(call)?;
    // SAFETY: the slot lies in the map.
    Some(unsafe { (*slot.call).id })
}

#[inline(always)]
fn take_fields(ctx: &ProbeContext) -> Option<()> {
    let call = followed(argument(ctx, 1))?;
    let totals = Totals::of(site_function(ctx))?;
    emit::fields(argument(ctx, 2), argument(ctx, 3), call, now(), totals);
    Some(())
}

#[inline(always)]
fn take_link(ctx: &ProbeContext) -> Option<()> {
    let (call, token) = (argument(ctx, 1), argument(ctx, 2));
    if token & TOKEN == 0 || token & LINK == 0 || call == 0 || phase() != Phase::Capturing as u64 {
        return None;
    }
    if config::exits_only() {
        emit::link(token, call, now());
        return Some(());
    }
    let (_, number) = captured_parent(call);
    if number != 0 {
        // Where the map refuses it, the calls that name the token have no parent.
        let _ = LINKS.insert(token, number, 0);
    }
    Some(())
}

#[inline(always)]
fn take_panic(ctx: &ProbeContext) -> Option<()> {
    let (call, detail) = (argument(ctx, 1), argument(ctx, 2));
    if call == 0 || detail == 0 || phase() == Phase::Attaching as u64 {
        return None;
    }
    if config::exits_only() {
        emit::error(detail, call, now(), true, None);
        return Some(());
    }
    let (address, number) = captured_parent(call);
    let slot = table::find(address)?;
    // SAFETY: the slot lies in the map.
    let function = unsafe { (*slot.call).function };
    emit::error(detail, number, now(), true, Totals::of(function));
    Some(())
}
