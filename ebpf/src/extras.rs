//! What some calls have besides their entry and end: fields, links, the errors among the items of a
//! stream, and the message of a panic.
//!
//! In `full` mode a record names its call by number, in `exits` mode by address or token. Where calls
//! are only counted ([`Recorded`]), the fields of none are recorded: which of them will fail is not
//! known yet.

use aya_ebpf::{macros::uprobe, programs::ProbeContext};
use exoscope_abi::{Phase, record::Said, totals::Recorded};

use crate::{
    chain, config, emit,
    maps::LINKS,
    marker::{Site, argument, now, phase},
    table,
    totals::{self, Totals},
};

/// The fields of a call that has begun, or what it returns.
#[uprobe]
pub fn fields(ctx: ProbeContext) -> u32 {
    take_fields(&ctx);
    0
}

/// A stream or iterator hands on an error.
#[uprobe]
pub fn item_error(ctx: ProbeContext) -> u32 {
    take_item_error(&ctx);
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

/// The number or, in `exits` mode, the address or token of the open call that a marker of its own
/// function names; `None` where it began before the session: what is innermost then is another one.
#[inline(always)]
fn followed(call: u64, function: u32) -> Option<u64> {
    if config::exits_only() {
        return (phase() == Phase::Capturing as u64 && chain::is_timed(call)).then_some(call);
    }
    let slot = table::find(call)?;
    // SAFETY: the slot lies in the map.
    unsafe { ((*slot.call).function == function).then_some((*slot.call).id) }
}

#[inline(always)]
fn take_fields(ctx: &ProbeContext) -> Option<()> {
    let at_ns = now();
    let function = Site::of(ctx).function();
    let call = followed(argument(ctx, 1), function)?;
    let totals = Totals::of(function)?;
    if totals.recorded() != Recorded::All as u64 {
        return None;
    }
    emit::fields(argument(ctx, 2), argument(ctx, 3), call, at_ns, totals);
    Some(())
}

#[inline(always)]
fn take_item_error(ctx: &ProbeContext) -> Option<()> {
    let at_ns = now();
    let function = Site::of(ctx).function();
    let call = followed(argument(ctx, 1), function)?;
    let totals = Totals::of(function)?;
    if totals.recorded() == Recorded::Nothing as u64 {
        return None;
    }
    if emit::error(argument(ctx, 2), call, at_ns, Said::InItem).is_none() {
        totals.lost_detail();
    }
    Some(())
}

#[inline(always)]
fn take_link(ctx: &ProbeContext) -> Option<()> {
    let at_ns = now();
    let (call, token) = (argument(ctx, 1), argument(ctx, 2));
    if !chain::is_link(token) || phase() != Phase::Capturing as u64 {
        return None;
    }
    if config::exits_only() {
        let call = chain::innermost_timed(call);
        if call != 0 {
            emit::link(token, call, at_ns);
        }
        return Some(());
    }
    let number = chain::innermost(call).id();
    if number != 0 && LINKS.insert(token, number, 0).is_err() {
        totals::lost_link();
    }
    Some(())
}

#[inline(always)]
fn take_panic(ctx: &ProbeContext) -> Option<()> {
    let at_ns = now();
    let (call, detail) = (argument(ctx, 1), argument(ctx, 2));
    if phase() == Phase::Attaching as u64 {
        return None;
    }
    if config::exits_only() {
        let call = chain::innermost_timed(call);
        if call != 0
            && !chain::is_link(call)
            && emit::error(detail, call, at_ns, Said::InPanic).is_none()
        {
            totals::lost_panic();
        }
        return Some(());
    }
    // What a link leads to is open elsewhere, if at all: the panic is not its own.
    let open = chain::innermost(call).open;
    if !open.is_null() {
        // SAFETY: the open call lies in the map.
        let (function, number) = unsafe { ((*open).function, (*open).id) };
        let totals = Totals::of(function)?;
        if totals.recorded() != Recorded::Nothing as u64
            && emit::error(detail, number, at_ns, Said::InPanic).is_none()
        {
            totals.lost_detail();
        }
    }
    Some(())
}
