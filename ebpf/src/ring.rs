//! Room in the ring of this CPU; its layout is described in [`exoscope_abi::ring`].

use core::marker::PhantomData;

use aya_ebpf::helpers::bpf_get_smp_processor_id;
use exoscope_abi::ring::{DATA, DISCARDED, HEADER, RingHead, SLACK, room};

use crate::{atomic, config, maps::RINGS};

/// How often a program that another one on this CPU gets ahead of tries to reserve.
const TRIES: u32 = 4;

/// Room for a record. It must be submitted or discarded: the agent waits for it.
#[must_use]
pub struct Entry<T> {
    header: *mut u64,
    /// Bytes of the record.
    len: u64,
    record: PhantomData<*mut T>,
}

/// Room for a record in the ring of this CPU; `None` where it is full.
#[inline(always)]
pub fn reserve<T>() -> Option<Entry<T>> {
    reserve_first(size_of::<T>())
}

/// As [`reserve`], for a record of which only the first `len` bytes are used: at most all.
#[inline(always)]
pub fn reserve_first<T>(len: usize) -> Option<Entry<T>> {
    const { assert!(room(size_of::<T>()) <= SLACK && align_of::<T>() <= align_of::<u64>()) };
    // SAFETY: the helper only reads the number of this CPU.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    let head = RINGS.get_ptr_mut(cpu)?;
    let at = claim(head, room(len) as u64)?;
    let offset = (at & u64::from(config::ring_mask())) as usize;
    // SAFETY: the map's values hold the data after the head, and slack for a whole record after
    // that; the verifier checks it.
    let header = unsafe { head.cast::<u8>().add(offset).add(DATA) };
    Some(Entry {
        header: header.cast(),
        len: len as u64,
        record: PhantomData,
    })
}

/// Moves the end of what is reserved by `bytes`, and gives back where it was.
#[inline(always)]
fn claim(head: *mut RingHead, bytes: u64) -> Option<u64> {
    for _ in 0..TRIES {
        // SAFETY: the head lies in the map; both words are read whole.
        let (at, taken) = unsafe {
            (
                (&raw const (*head).reserved).read_volatile(),
                (&raw const (*head).taken).read_volatile(),
            )
        };
        if at.wrapping_sub(taken) + bytes > u64::from(config::ring_mask()) + 1 {
            return None;
        }
        // SAFETY: as above. A program that was interrupted between reading and reserving finds the
        // word changed.
        if unsafe { atomic::compare_exchange(&raw mut (*head).reserved, at, at + bytes) } {
            return Some(at);
        }
    }
    None
}

impl<T> Entry<T> {
    /// Where the record lies. More than what was reserved is not to be written.
    #[inline(always)]
    pub fn record(&self) -> *mut T {
        // SAFETY: room for the header was reserved, and the record follows it.
        unsafe { self.header.cast::<u8>().add(HEADER).cast() }
    }

    /// Writes the whole record, for which [`reserve`] made room.
    #[inline(always)]
    pub fn write(&self, record: T) {
        // SAFETY: the room is this entry's until it is submitted, and aligned as headers are.
        unsafe { self.record().write(record) };
    }

    /// Gives the record to the agent.
    #[inline(always)]
    pub fn submit(self) {
        self.end(0);
    }

    /// Gives the room back unread.
    #[inline(always)]
    pub fn discard(self) {
        self.end(DISCARDED);
    }

    #[inline(always)]
    fn end(self, flags: u64) {
        // x86-64 keeps stores in their order, so only the compiler has to be told.
        core::sync::atomic::compiler_fence(core::sync::atomic::Ordering::Release);
        // SAFETY: the header lies in the map and is one aligned word.
        unsafe { self.header.write_volatile(self.len | flags) };
    }
}
