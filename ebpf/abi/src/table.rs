//! The table of open calls: written by the BPF programs, mapped and read by the agent.
//!
//! A call is found by the address of its guard or future. The table is an array of buckets, each
//! with its keys on one cache line. A call whose home bucket is full goes to one of the next
//! [`PROBES`] − 1 buckets, and its home counts it as displaced; a look-up leaves the home bucket
//! only while that count is not 0, so a miss costs one bucket.

/// Calls in one bucket.
pub const WAYS: usize = 7;
/// Buckets that are tried for one call, its home included.
pub const PROBES: u32 = 8;
/// Buckets of the table unless the agent is told otherwise: room for 229,376 open calls.
pub const DEFAULT_BUCKETS: u32 = 1 << 15;

/// An open call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct OpenCall {
    /// Number of the call; 0 while the slot is being written.
    pub id: u64,
    /// Number of its parent, or 0.
    pub parent: u64,
    /// `CLOCK_MONOTONIC` nanoseconds at which it began.
    pub start_ns: u64,
    /// Nanoseconds spent so far in calls made directly by it that have ended.
    pub child_ns: u64,
    /// Address of the parent, by which it is found again, or 0.
    pub parent_call: u64,
    /// Index of its function.
    pub function: u32,
    /// Thread that began it.
    pub tid: u32,
}
const _: () = assert!(size_of::<OpenCall>() == 48);

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
const _: () = assert!(size_of::<Bucket>() == 64 + WAYS * 48);

/// Home bucket of a call's address in a table of `mask + 1` buckets (a power of two).
#[inline(always)]
pub const fn home(call: u64, mask: u32) -> u32 {
    // Fibonacci hashing: the high half of the product depends on all low bits of the address.
    ((call >> 3).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32 & mask
}
