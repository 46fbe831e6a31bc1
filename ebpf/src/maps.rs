//! The maps. The agent sets their numbers of entries before it loads the object.

use aya_ebpf::{
    btf_maps::{Array, LruHashMap},
    macros::btf_map,
};
use exoscope_abi::{
    ring::RingHead,
    table::Bucket,
    totals::{FunctionTotals, SessionLosses},
};

/// `BPF_F_MMAPABLE`: the agent maps the array instead of asking for each value.
pub const MMAPABLE: usize = 1 << 10;

/// A counter alone on its cache line.
#[repr(C, align(64))]
pub struct Counter {
    /// The count.
    pub value: u64,
    padding: [u64; 7],
}

/// The table of open calls: [`crate::table`].
#[btf_map]
pub static TABLE: Array<Bucket, 1, MMAPABLE> = Array::new();

/// The totals, `shards × functions`: [`crate::totals`].
#[btf_map]
pub static TOTALS: Array<FunctionTotals, 1, MMAPABLE> = Array::new();

/// One entry: what was lost of which no function is known.
#[btf_map]
pub static LOSSES: Array<SessionLosses, 1, MMAPABLE> = Array::new();

/// Calls numbered so far, per CPU.
#[btf_map]
pub static NUMBERS: Array<Counter, 1> = Array::new();

/// One ring of records per CPU: one shared by several busy threads collapses. The agent puts an array
/// in this one's place whose values are as long as a ring: [`crate::ring`].
#[btf_map]
pub static RINGS: Array<RingHead, 1, MMAPABLE> = Array::new();

/// What tokens stand for: the numbers of calls. The oldest ones are forgotten where there are more.
#[btf_map]
pub static LINKS: LruHashMap<u64, u64, 1> = LruHashMap::new();
