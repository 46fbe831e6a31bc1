//! Submitting records.

use aya_ebpf::helpers::{bpf_probe_read_user, generated::bpf_probe_read_user as read_user_raw};
use exoscope_abi::{
    field::TRUNCATED,
    figures::Figures,
    polls::CallPolls,
    probe::ErrorDetail,
    record::{
        CallRecord, ErrorHead, ErrorRecord, FIELDS_ROOM, FieldsHead, FieldsRecord, KIND_LEN,
        LinkRecord, MESSAGE_LEN, MeasuredRecord, PolledMeasuredRecord, PolledRecord, RecordKind,
        Said,
    },
};

use crate::{
    ring::{reserve, reserve_first},
    totals::{self, Totals},
};

/// Submits the record of one call, or counts it as lost.
#[inline(always)]
pub fn call(record: CallRecord, totals: Totals) {
    submit(record, totals);
}

/// As [`call`], with what else is known of it.
#[inline(always)]
pub fn ended(mut call: CallRecord, polls: CallPolls, figures: Figures, totals: Totals) {
    let quiet = figures.is_quiet();
    if quiet {
        call.quiet = figures.known as u8;
    }
    match (polls.polls == 0, quiet) {
        (true, true) => submit(call, totals),
        (true, false) => {
            call.kind = RecordKind::Measured as u16;
            submit(MeasuredRecord { call, figures }, totals);
        }
        (false, true) => {
            call.kind = RecordKind::Polled as u16;
            submit(PolledRecord { call, polls }, totals);
        }
        (false, false) => {
            call.kind = RecordKind::PolledMeasured as u16;
            let record = PolledMeasuredRecord {
                call,
                polls,
                figures,
            };
            submit(record, totals);
        }
    }
}

#[inline(always)]
fn submit<T>(record: T, totals: Totals) {
    match reserve::<T>() {
        Some(entry) => {
            entry.write(record);
            entry.submit();
        }
        None => totals.lost_ring(),
    }
}

/// Submits what the target says of an error or a panic. `None` where something of it is lost: it did
/// not fit, or the target's memory was not readable.
#[inline(always)]
pub fn error(detail: u64, id: u64, at_ns: u64, said: Said) -> Option<()> {
    // SAFETY: the helper checks the target's address and fails where it is not readable.
    let detail = unsafe { bpf_probe_read_user(detail as *const ErrorDetail) }.ok()?;
    let message_len = at_most::<MESSAGE_LEN>(detail.message_len);
    let entry = reserve_first::<ErrorRecord>(size_of::<ErrorHead>() + message_len as usize)?;
    let record = entry.record();
    // SAFETY: the ring gave memory up to the end of the message; every field is written, the byte arrays
    // up to the lengths beside them.
    let whole = unsafe {
        let head = &raw mut (*record).head;
        (&raw mut (*head).kind).write(RecordKind::Error as u16);
        (&raw mut (*head).said).write(said as u16);
        (&raw mut (*head).truncated).write(detail.truncated);
        (&raw mut (*head).id).write(id);
        (&raw mut (*head).at_ns).write(at_ns);
        let kind_len = read_text::<KIND_LEN>(
            (&raw mut (*head).type_name).cast(),
            detail.kind,
            detail.kind_len,
        );
        let message_len = read_text::<MESSAGE_LEN>(
            (&raw mut (*record).message).cast(),
            detail.message,
            message_len,
        );
        (&raw mut (*head).type_name_len).write(kind_len.unwrap_or(0));
        (&raw mut (*head).message_len).write(message_len.unwrap_or(0));
        kind_len.and(message_len).is_some()
    };
    entry.submit();
    whole.then_some(())
}

/// Submits a call's encoded fields, or counts them as lost. `size` is that of the marker.
#[inline(always)]
pub fn fields(address: u64, size: u64, id: u64, at_ns: u64, totals: Totals) {
    if try_fields(address, size, id, at_ns).is_none() {
        totals.lost_fields();
    }
}

#[inline(always)]
fn try_fields(address: u64, size: u64, id: u64, at_ns: u64) -> Option<()> {
    // The mask shows the verifier that the length fits; no honest one is changed by it. Without the black
    // box the compiler would leave it out.
    let len = core::hint::black_box(size as u32) & (FIELDS_ROOM - 1) as u32;
    let entry = reserve_first::<FieldsRecord>(size_of::<FieldsHead>() + len as usize)?;
    let record = entry.record();
    // SAFETY: the ring gave memory up to the end of the bytes; every field is written.
    let failed = unsafe {
        (&raw mut (*record).head).write(FieldsHead {
            kind: RecordKind::Fields as u16,
            truncated: u16::from(size & TRUNCATED != 0),
            len,
            id,
            at_ns,
        });
        read_user_raw((&raw mut (*record).bytes).cast(), len, address as *const _)
    };
    if failed != 0 {
        entry.discard();
        return None;
    }
    entry.submit();
    Some(())
}

/// Submits what a token stands for, or counts it as lost.
#[inline(always)]
pub fn link(token: u64, call: u64, at_ns: u64) {
    match reserve::<LinkRecord>() {
        Some(entry) => {
            entry.write(LinkRecord {
                kind: RecordKind::Link as u16,
                reserved: [0; 3],
                token,
                call,
                at_ns,
            });
            entry.submit();
        }
        None => totals::lost_link(),
    }
}

#[inline(always)]
const fn at_most<const N: usize>(len: u32) -> u32 {
    if len as usize > N { N as u32 } else { len }
}

/// Copies at most `N` bytes of the target's memory; gives back how many, or `None` where it is not
/// readable.
///
/// # Safety
/// `to` is valid for writes of `N` bytes.
#[inline(always)]
unsafe fn read_text<const N: usize>(to: *mut u8, from: u64, len: u32) -> Option<u32> {
    if from == 0 || len == 0 {
        return Some(0);
    }
    let len = at_most::<N>(len);
    // SAFETY: `len` is at most `N`; the helper checks the target's address.
    let failed = unsafe { read_user_raw(to.cast(), len, from as *const _) } != 0;
    if failed { None } else { Some(len) }
}
