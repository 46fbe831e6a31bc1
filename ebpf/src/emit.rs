//! Submitting records.

use aya_ebpf::{
    bindings::BPF_RB_NO_WAKEUP,
    helpers::{
        bpf_get_smp_processor_id, bpf_probe_read_user,
        generated::bpf_probe_read_user as read_user_raw,
    },
    maps::ring_buf::RingBufEntry,
};
use exoscope_abi::{
    probe::ErrorDetail,
    record::{CallRecord, ErrorRecord, KIND_LEN, MESSAGE_LEN, RecordKind},
};

use crate::{maps::RINGS, totals::Totals};

/// The agent polls on a timer: a wake-up costs more than all the rest of a marker.
const FLAGS: u64 = BPF_RB_NO_WAKEUP as u64;

#[inline(always)]
fn reserve<T: 'static>() -> Option<RingBufEntry<T>> {
    // SAFETY: the helper only reads the number of this CPU.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    RINGS.get(cpu)?.reserve_untyped::<T>(0)
}

/// Submits the record of one call, or counts it as lost.
#[inline(always)]
pub fn call(record: CallRecord, totals: Totals) {
    match reserve::<CallRecord>() {
        Some(mut entry) => {
            entry.write(record);
            entry.submit(FLAGS);
        }
        None => totals.lost_ring(),
    }
}

/// Submits what the target says of an error, or counts it as lost.
#[inline(always)]
pub fn error(detail: u64, function: u32, id: u64, end_ns: u64, totals: Totals) {
    // SAFETY: the helper checks the target's address and fails where it is not readable.
    let Ok(detail) = (unsafe { bpf_probe_read_user(detail as *const ErrorDetail) }) else {
        totals.lost_detail();
        return;
    };
    let Some(mut entry) = reserve::<ErrorRecord>() else {
        totals.lost_detail();
        return;
    };
    let record = entry.as_mut_ptr();
    // SAFETY: the ring gave memory for a whole record; every field is written, the byte arrays up
    // to the lengths beside them.
    unsafe {
        (&raw mut (*record).kind).write(RecordKind::Error as u32);
        (&raw mut (*record).function).write(function);
        (&raw mut (*record).id).write(id);
        (&raw mut (*record).end_ns).write(end_ns);
        (&raw mut (*record).truncated).write(detail.truncated);
        (&raw mut (*record).reserved).write(0);
        let kind_len = read_text::<KIND_LEN>(
            (&raw mut (*record).type_name).cast(),
            detail.kind,
            detail.kind_len,
        );
        let message_len = read_text::<MESSAGE_LEN>(
            (&raw mut (*record).message).cast(),
            detail.message,
            detail.message_len,
        );
        (&raw mut (*record).type_name_len).write(kind_len);
        (&raw mut (*record).message_len).write(message_len);
    }
    entry.submit(FLAGS);
}

/// Copies at most `N` bytes of the target's memory; gives back how many.
///
/// # Safety
/// `to` is valid for writes of `N` bytes.
#[inline(always)]
unsafe fn read_text<const N: usize>(to: *mut u8, from: u64, len: u32) -> u32 {
    if from == 0 || len == 0 {
        return 0;
    }
    let len = if len as usize > N { N as u32 } else { len };
    // SAFETY: `len` is at most `N`; the helper checks the target's address.
    let failed = unsafe { read_user_raw(to.cast(), len, from as *const _) } != 0;
    if failed { 0 } else { len }
}
