//! The programs at the markers. What lies in which argument: [`exoscope_abi::probe`].
//!
//! `entry`, `exit` and `error` do the work; `empty_entry` and `empty_end` do nothing, and measure
//! what a marker costs in the best case.

use aya_ebpf::{
    helpers::{
        bpf_get_attach_cookie, bpf_get_current_pid_tgid, bpf_get_smp_processor_id, bpf_ktime_get_ns,
    },
    macros::uprobe,
    programs::ProbeContext,
};
use exoscope_abi::{
    Outcome, Phase,
    figures::Figures,
    probe::UNSEEN,
    record::{CallRecord, RecordKind, Said},
    table::{OpenCall, child_ns_at},
};

use crate::{
    atomic, chain, config, emit,
    figures::{self, Clock},
    log::debug,
    maps::NUMBERS,
    polls,
    table::{self, Begun, Slot},
    totals::Totals,
};

/// A call begins.
#[uprobe]
pub fn entry(ctx: ProbeContext) -> u32 {
    begin(&ctx);
    0
}

/// A call ends without an error.
#[uprobe]
pub fn exit(ctx: ProbeContext) -> u32 {
    end(&ctx, 0);
    0
}

/// A call ends with an error or a panic.
#[uprobe]
pub fn error(ctx: ProbeContext) -> u32 {
    end(&ctx, argument(&ctx, 5));
    0
}

/// Nothing: the floor of `entry`.
#[uprobe]
pub fn empty_entry(_ctx: ProbeContext) -> u32 {
    0
}

/// Nothing: the floor of `exit` and `error`.
#[uprobe]
pub fn empty_end(_ctx: ProbeContext) -> u32 {
    0
}

#[inline(always)]
pub fn argument(ctx: &ProbeContext, index: usize) -> u64 {
    ctx.arg(index).unwrap_or(0)
}

/// A site that was hit.
#[derive(Clone, Copy)]
pub struct Site(u64);

impl Site {
    #[inline(always)]
    pub fn of(ctx: &ProbeContext) -> Self {
        // SAFETY: the context is the one this program was called with.
        Self(unsafe { bpf_get_attach_cookie(ctx.regs.cast()) })
    }

    /// Index of its function.
    #[inline(always)]
    pub const fn function(self) -> u32 {
        self.0 as u32
    }

    /// What the agent says of the function: [`exoscope_abi::figures::IN_POLLS`] and the like.
    #[inline(always)]
    pub const fn says(self, flag: u64) -> bool {
        self.0 & flag != 0
    }
}

/// The [`Phase`] of the session, which the agent sets. A map by itself, and no array of one entry:
/// the programs know its address, and need no look-up.
#[unsafe(link_section = ".data.phase")]
#[unsafe(no_mangle)]
static mut PHASE: u64 = Phase::Attaching as u64;

/// The phase of the session, as a number.
#[inline(always)]
pub fn phase() -> u64 {
    // SAFETY: one aligned word, read whole; the agent changes it at any time.
    unsafe { (&raw const PHASE).read_volatile() }
}

/// This thread.
#[inline(always)]
pub fn thread() -> u32 {
    bpf_get_current_pid_tgid() as u32
}

/// `CLOCK_MONOTONIC` nanoseconds.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: the helper only reads the clock.
    unsafe { bpf_ktime_get_ns() }
}

/// A number that no other call of the session has.
#[inline(always)]
fn next_number() -> u64 {
    // SAFETY: the helper only reads the number of this CPU.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    let Some(counter) = NUMBERS.get_ptr_mut(cpu) else {
        return 0;
    };
    // SAFETY: the counter lies in the map.
    let count = unsafe { atomic::fetch_add(&raw mut (*counter).value, 1) };
    count * u64::from(config::cpus()) + u64::from(cpu) + 1
}

#[inline(always)]
fn begin(ctx: &ProbeContext) -> Option<()> {
    if phase() != Phase::Capturing as u64 {
        return None;
    }
    let outer = argument(ctx, 2);
    if outer == UNSEEN {
        // It passed the semaphore before that was raised: as good as begun before the session.
        return None;
    }
    let site = Site::of(ctx);
    let function = site.function();
    let call = argument(ctx, 1);
    let totals = Totals::of(function)?;
    totals.calls();
    let parent = Parent::of(outer);
    let slot = match table::begin(call) {
        Some(Begun::New(slot)) => slot,
        Some(Begun::Stale(slot)) => {
            debug!(
                ctx,
                "function {}: a call begins at the address of an open one", function
            );
            replace(slot);
            slot
        }
        None => {
            debug!(
                ctx,
                "function {}: the table of open calls is full", function
            );
            totals.lost_table();
            return None;
        }
    };
    let id = next_number();
    let mut start = Clock::read();
    figures::begin(site, slot, &mut start);
    let start_ns = start.ns;
    // SAFETY: the slot lies in the map, and this program has claimed it. The number is written
    // last: until then a reader takes the slot for empty.
    unsafe {
        (*slot.call).parent = parent.id;
        // One by one: the compiler would call a loop over sixteen bytes for both.
        (&raw mut (*slot.call).child_ns).write_volatile(0);
        (&raw mut (*slot.call).children).write_volatile(0);
        (*slot.call).parent_call = parent.call;
        (*slot.call).function = function;
        (*slot.call).tid = thread();
        (*slot.call).start_ns = start_ns;
        (&raw mut (*slot.call).id).write_volatile(id);
    }
    if !parent.open.is_null() {
        // SAFETY: it lies in the map.
        unsafe { table::child_begins(parent.open, start_ns) };
    }
    Some(())
}

/// The innermost captured call outside of one that begins.
struct Parent {
    /// What identifies it, or 0.
    call: u64,
    /// Its number, or 0.
    id: u64,
    /// Where it lies; null where there is none, or a link led to it.
    open: *mut OpenCall,
}

impl Parent {
    #[inline(always)]
    fn of(call: u64) -> Self {
        let found = chain::innermost(call);
        Self {
            call: if found.open.is_null() { 0 } else { found.call },
            id: found.id(),
            open: found.open,
        }
    }
}

/// A call begins at the address of one that never ended: the old one ends unfinished.
#[inline(always)]
fn replace(stale: Slot) {
    // SAFETY: the slot lies in the map.
    let old = unsafe { stale.call.read() };
    let end_ns = now();
    let polls = polls::ended(stale, &old, end_ns);
    tell_parent(&old, end_ns);
    if let Some(totals) = Totals::of(old.function) {
        totals.replaced();
        if totals.only_counts(Outcome::Unfinished as u32) {
            return;
        }
        let record = record_of(&old, end_ns, Outcome::Unfinished as u32, 0);
        emit::ended(record, polls, Figures::none(0), totals);
    }
}

/// Tells the parent of a call that has ended, where it is still open.
#[inline(always)]
fn tell_parent(call: &OpenCall, end_ns: u64) {
    if call.parent_call != 0
        && let Some(parent) = table::find(call.parent_call)
    {
        parent.child_ends(call.parent, end_ns);
    }
}

#[inline(always)]
fn record_of(call: &OpenCall, end_ns: u64, outcome: u32, items: u32) -> CallRecord {
    CallRecord {
        kind: RecordKind::Call as u16,
        outcome: outcome as u8,
        quiet: 0,
        function: call.function,
        id: call.id,
        parent: call.parent,
        start_ns: call.start_ns,
        end_ns,
        child_ns: child_ns_at(call.child_ns, call.children, end_ns),
        tid: thread(),
        items,
    }
}

#[inline(always)]
fn end(ctx: &ProbeContext, detail: u64) -> Option<()> {
    let mut end = Clock::read();
    let phase = phase();
    if phase == Phase::Attaching as u64 {
        return None;
    }
    let capturing = phase == Phase::Capturing as u64;
    let site = Site::of(ctx);
    let function = site.function();
    let ended = argument(ctx, 2);
    let (outcome, items) = (ended as u32, (ended >> 32) as u32);
    let totals = Totals::of(function)?;
    let seen = if config::exits_only() {
        if capturing {
            end_only(ctx, function, (outcome, items), end.ns, totals)
        } else {
            Some(0)
        }
    } else {
        end_open(ctx, site, (outcome, items), &mut end, totals)
    };
    let id = match seen {
        Some(id) => id,
        None => {
            // The call began before the session, unless the session is ending: then its beginning
            // was passed over.
            if capturing {
                debug!(ctx, "function {}: an end without a beginning", function);
                totals.unmatched();
                emit::call(without_start(function, outcome, end.ns), totals);
            }
            0
        }
    };
    if detail != 0 && id != 0 && emit::error(detail, id, end.ns, Said::AtEnd).is_none() {
        totals.lost_detail();
    }
    Some(())
}

/// Ends a call that is in the table and gives back its number, or 0 where it is only counted; `None`
/// for one that is not there.
#[inline(always)]
fn end_open(
    ctx: &ProbeContext,
    site: Site,
    (outcome, items): (u32, u32),
    end: &mut Clock,
    totals: Totals,
) -> Option<u64> {
    if argument(ctx, 3) == UNSEEN {
        return None;
    }
    let slot = table::find(argument(ctx, 1))?;
    // SAFETY: the slot lies in the map.
    let call = unsafe { slot.call.read() };
    let figures = figures::ended(site, slot, items, end);
    let end_ns = end.ns;
    let polls = polls::ended(slot, &call, end_ns);
    slot.release();
    let duration = end_ns.saturating_sub(call.start_ns);
    totals.ended(outcome, duration);
    tell_parent(&call, end_ns);
    if totals.only_counts(outcome) {
        return Some(0);
    }
    let record = record_of(&call, end_ns, outcome, items);
    emit::ended(record, polls, figures, totals);
    Some(call.id)
}

/// Ends a call of which only this end is seen and gives back its address, or 0 where it is only
/// counted; `None` where the target took no start.
#[inline(always)]
fn end_only(
    ctx: &ProbeContext,
    function: u32,
    (outcome, items): (u32, u32),
    end_ns: u64,
    totals: Totals,
) -> Option<u64> {
    let start_ns = argument(ctx, 4);
    if start_ns == 0 {
        return None;
    }
    totals.ended(outcome, end_ns.saturating_sub(start_ns));
    if totals.only_counts(outcome) {
        return Some(0);
    }
    let record = CallRecord {
        kind: RecordKind::Exit as u16,
        outcome: outcome as u8,
        quiet: 0,
        function,
        id: argument(ctx, 1),
        parent: chain::innermost_timed(argument(ctx, 3)),
        start_ns,
        end_ns,
        child_ns: 0,
        tid: thread(),
        items,
    };
    emit::call(record, totals);
    Some(record.id)
}

#[inline(always)]
fn without_start(function: u32, outcome: u32, end_ns: u64) -> CallRecord {
    CallRecord {
        kind: RecordKind::Unmatched as u16,
        outcome: outcome as u8,
        quiet: 0,
        function,
        id: 0,
        parent: 0,
        start_ns: 0,
        end_ns,
        child_ns: 0,
        tid: thread(),
        items: 0,
    }
}
