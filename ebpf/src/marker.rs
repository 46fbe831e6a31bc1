//! The programs at the markers. What lies in which argument: [`exoscope_abi::probe`].
//!
//! `entry`, `exit` and `error` do the work; `empty_entry` and `empty_end` do nothing, and measure
//! what a marker costs in the best case.

use aya_ebpf::{
    helpers::{
        bpf_get_attach_cookie, bpf_get_current_pid_tgid, bpf_get_smp_processor_id,
        bpf_ktime_get_ns, bpf_probe_read_user,
    },
    macros::uprobe,
    programs::ProbeContext,
};
use exoscope_abi::{
    Outcome, Phase,
    probe::{LINK, TOKEN, UNSEEN},
    record::{CallRecord, RecordKind},
    table::OpenCall,
};

use crate::{
    atomic, config, emit,
    log::debug,
    maps::{LINKS, NUMBERS, PHASE},
    table::{self, Slot},
    totals::Totals,
};

/// How many outer calls are looked through for one that is captured.
const ANCESTORS: u32 = 8;

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

#[inline(always)]
pub fn site_function(ctx: &ProbeContext) -> u32 {
    // SAFETY: the context is the one this program was called with.
    unsafe { bpf_get_attach_cookie(ctx.regs.cast()) as u32 }
}

/// The phase of the session, as a number.
#[inline(always)]
pub fn phase() -> u64 {
    match PHASE.get_ptr(0) {
        // SAFETY: the word lies in the map; the agent changes it at any time.
        Some(phase) => unsafe { phase.read_volatile() },
        None => Phase::Attaching as u64,
    }
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
    let function = site_function(ctx);
    let call = argument(ctx, 1);
    let totals = Totals::of(function)?;
    totals.calls();
    let (parent_call, parent) = captured_parent(outer);
    let slot = match table::find(call) {
        Some(stale) => {
            debug!(
                ctx,
                "function {}: a call begins at the address of an open one", function
            );
            replace(stale);
            Some(stale)
        }
        None => table::claim(call),
    };
    let Some(slot) = slot else {
        debug!(
            ctx,
            "function {}: the table of open calls is full", function
        );
        totals.lost_table();
        return None;
    };
    let id = next_number();
    // SAFETY: the slot lies in the map, and this program has claimed it. The number is written
    // last: until then a reader takes the slot for empty.
    unsafe {
        (*slot.call).parent = parent;
        (*slot.call).child_ns = 0;
        (*slot.call).parent_call = parent_call;
        (*slot.call).function = function;
        (*slot.call).tid = thread();
        (*slot.call).start_ns = now();
        (&raw mut (*slot.call).id).write_volatile(id);
    }
    Some(())
}

/// Address and number of the innermost captured call at or outside of `call`, or zeros: calls whose
/// function was not chosen, or that began before the session, are passed over. A call that a link
/// leads to has a number only.
#[inline(always)]
pub fn captured_parent(mut call: u64) -> (u64, u64) {
    // Where the word was read that names `call`; 0 where it lay in a register.
    let mut state = 0;
    for _ in 0..ANCESTORS {
        if call == 0 {
            break;
        }
        if call & TOKEN != 0 && call & LINK != 0 {
            // SAFETY: the number is read at once; the map may give its place to another token.
            return (0, unsafe { LINKS.get(call) }.copied().unwrap_or(0));
        }
        if let Some(slot) = table::find(call) {
            // SAFETY: the slot lies in the map.
            return (call, unsafe { (*slot.call).id });
        }
        // A call's state begins with the next outer call, unless it may move: then with the call's
        // token, and the next outer call comes after it.
        let next = if call & TOKEN == 0 {
            state = call;
            call
        } else if state != 0 {
            core::mem::take(&mut state) + 8
        } else {
            break;
        };
        // SAFETY: the helper checks the target's address.
        call = unsafe { bpf_probe_read_user(next as *const u64) }.unwrap_or(0);
    }
    (0, 0)
}

/// A call begins at the address of one that never ended: the old one ends unfinished.
#[inline(always)]
fn replace(stale: Slot) {
    // SAFETY: the slot lies in the map.
    let old = unsafe { stale.call.read() };
    if let Some(totals) = Totals::of(old.function) {
        totals.replaced();
        let record = record_of(&old, now(), Outcome::Unfinished as u32, 0);
        emit::call(record, totals);
    }
}

#[inline(always)]
fn record_of(call: &OpenCall, end_ns: u64, outcome: u32, items: u32) -> CallRecord {
    CallRecord {
        kind: RecordKind::Call as u16,
        outcome: outcome as u16,
        function: call.function,
        id: call.id,
        parent: call.parent,
        start_ns: call.start_ns,
        end_ns,
        child_ns: call.child_ns,
        tid: thread(),
        items,
    }
}

#[inline(always)]
fn end(ctx: &ProbeContext, detail: u64) -> Option<()> {
    let end_ns = now();
    let phase = phase();
    if phase == Phase::Attaching as u64 {
        return None;
    }
    let capturing = phase == Phase::Capturing as u64;
    let function = site_function(ctx);
    let ended = argument(ctx, 2);
    let (outcome, items) = (ended as u32, (ended >> 32) as u32);
    let totals = Totals::of(function)?;
    let seen = if config::exits_only() {
        if capturing {
            end_only(ctx, function, (outcome, items), end_ns, totals)
        } else {
            Some(0)
        }
    } else {
        end_open(ctx, (outcome, items), end_ns, totals)
    };
    let id = match seen {
        Some(id) => id,
        None => {
            // The call began before the session, unless the session is ending: then its beginning
            // was passed over.
            if capturing {
                debug!(ctx, "function {}: an end without a beginning", function);
                totals.unmatched();
                emit::call(without_start(function, outcome, end_ns), totals);
            }
            0
        }
    };
    if detail != 0 && id != 0 {
        emit::error(detail, id, end_ns, false, Some(totals));
    }
    Some(())
}

/// Ends a call that is in the table and gives back its number; `None` for one that is not.
#[inline(always)]
fn end_open(
    ctx: &ProbeContext,
    (outcome, items): (u32, u32),
    end_ns: u64,
    totals: Totals,
) -> Option<u64> {
    if argument(ctx, 3) == UNSEEN {
        return None;
    }
    let slot = table::find(argument(ctx, 1))?;
    // SAFETY: the slot lies in the map.
    let call = unsafe { slot.call.read() };
    slot.release();
    let duration = end_ns.saturating_sub(call.start_ns);
    totals.ended(outcome, duration);
    if call.parent_call != 0
        && let Some(parent) = table::find(call.parent_call)
    {
        // SAFETY: the slot lies in the map. Where another call has taken the parent's place, the
        // parent has ended and wants no more.
        unsafe {
            if (*parent.call).id == call.parent {
                atomic::add(&raw mut (*parent.call).child_ns, duration);
            }
        }
    }
    emit::call(record_of(&call, end_ns, outcome, items), totals);
    Some(call.id)
}

/// Ends a call of which only this end is seen and gives back its address; `None` where the target
/// took no start.
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
    let record = CallRecord {
        kind: RecordKind::Exit as u16,
        outcome: outcome as u16,
        function,
        id: argument(ctx, 1),
        parent: identity(argument(ctx, 3)),
        start_ns,
        end_ns,
        child_ns: 0,
        tid: thread(),
        items,
    };
    emit::call(record, totals);
    Some(record.id)
}

/// What identifies the call whose state lies at `parent`: a state that may move begins with its
/// call's token.
#[inline(always)]
fn identity(parent: u64) -> u64 {
    if parent == 0 || parent & TOKEN != 0 {
        return parent;
    }
    // SAFETY: the helper checks the target's address.
    let first = unsafe { bpf_probe_read_user(parent as *const u64) }.unwrap_or(0);
    if first & TOKEN != 0 && first & LINK == 0 {
        first
    } else {
        parent
    }
}

#[inline(always)]
fn without_start(function: u32, outcome: u32, end_ns: u64) -> CallRecord {
    CallRecord {
        kind: RecordKind::Unmatched as u16,
        outcome: outcome as u16,
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
