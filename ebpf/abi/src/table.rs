//! The table of open calls: written by the BPF programs, mapped and read by the agent.
//!
//! A call is found by the address of its guard or future. The table is an array of buckets, each
//! with its keys on one cache line. A call whose home bucket is full goes to one of the next
//! [`PROBES`] − 1 buckets, and its home counts it as displaced; a look-up leaves the home bucket
//! only while that count is not 0, so a miss costs one bucket.

/// Calls in one bucket.
pub const WAYS: usize = 7;
/// Buckets that are tried for one call, its home included.
pub const PROBES: u32 = 16;
/// Open calls that find room unless the agent is told otherwise.
pub const DEFAULT_OPEN_CALLS: u32 = 150_000;

/// The most that can be asked for: their table takes 2 GiB.
pub const MAX_OPEN_CALLS: u32 = 10_000_000;

/// Buckets of a table, a power of two, in which so many calls find room: at most two thirds of it are taken
/// then, so that none finds its buckets full before.
#[must_use]
pub const fn buckets_for(open_calls: u32) -> u32 {
    let slots = open_calls.div_ceil(2) * 3;
    slots.div_ceil(WAYS as u32).next_power_of_two()
}
const _: () = assert!(buckets_for(1) == 1);
const _: () = assert!(buckets_for(DEFAULT_OPEN_CALLS) == 1 << 15);
const _: () = assert!(buckets_for(MAX_OPEN_CALLS) == 1 << 22);

/// An open call, alone on its cache line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct OpenCall {
    /// Number of the call; 0 while the slot is being written.
    pub id: u64,
    /// Number of its parent, or 0.
    pub parent: u64,
    /// `CLOCK_MONOTONIC` nanoseconds at which it began.
    pub start_ns: u64,
    /// Nanoseconds in which calls made directly by it were open. While there are such calls, less
    /// the moment since which there are, modulo 2⁶⁴: the first one's beginning is subtracted, and
    /// the end of the last one added, so that what overlaps counts once.
    pub child_ns: u64,
    /// Calls made directly by it that are open.
    pub children: u64,
    /// Address of the parent, by which it is found again, or 0.
    pub parent_call: u64,
    /// Index of its function.
    pub function: u32,
    /// Thread that began it.
    pub tid: u32,
}
const _: () = assert!(size_of::<OpenCall>() == 64);

/// Nanoseconds in which calls made directly by an [`OpenCall`] were open, if it ended at `end_ns`.
#[inline(always)]
pub const fn child_ns_at(child_ns: u64, children: u64, end_ns: u64) -> u64 {
    if children == 0 {
        child_ns
    } else {
        child_ns.wrapping_add(end_ns)
    }
}

/// One bucket of the table.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Bucket {
    /// Addresses of the calls; 0 marks a free slot.
    pub keys: [u64; WAYS],
    /// Calls whose home this is but that lie in a later bucket.
    pub displaced: u64,
    /// The calls, in the order of `keys`.
    pub calls: [OpenCall; WAYS],
}
const _: () = assert!(size_of::<Bucket>() == 64 + WAYS * 64);

/// Home bucket of a call's address in a table of `mask + 1` buckets (a power of two).
#[inline(always)]
pub const fn home(call: u64, mask: u32) -> u32 {
    // The high half of a product depends on all low bits of the address. One product is not enough: calls
    // whose addresses lie in equal distances, as boxed futures do, would share a few buckets.
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let once = (call >> 3).wrapping_mul(ODD);
    ((once ^ (once >> 32)).wrapping_mul(ODD) >> 32) as u32 & mask
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec;

    use super::*;

    /// How many of `calls` at addresses in equal distances find no room.
    fn without_room(calls: u32, distance: u64) -> u32 {
        let buckets = buckets_for(calls);
        let mut taken = vec![0; buckets as usize];
        let mut without = 0;
        for call in 0..calls {
            let first = home(0x7f12_3456_7010 + u64::from(call) * distance, buckets - 1);
            let mut probes = (0..PROBES).map(|step| (first + step) & (buckets - 1));
            match probes.find(|bucket| taken[*bucket as usize] < WAYS) {
                Some(bucket) => taken[bucket as usize] += 1,
                None => without += 1,
            }
        }
        without
    }

    #[test]
    fn as_many_calls_as_are_asked_for_find_room_whatever_their_distance() {
        // Sizes of what allocators hand out, pages, and stacks of threads.
        let distances = (16..1200).step_by(16).chain([4096, 8192, 65_536, 2 << 20]);
        for distance in distances {
            assert_eq!(without_room(30_000, distance), 0, "{distance} bytes");
        }
        assert_eq!(without_room(DEFAULT_OPEN_CALLS, 496), 0);
        assert_eq!(without_room(1_000_000, 992), 0);
    }
}
