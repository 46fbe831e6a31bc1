//! Counting, apart from the records.

use aya_ebpf::helpers::bpf_get_smp_processor_id;
use exoscope_abi::{
    Outcome,
    totals::{FunctionTotals, Recorded, SessionLosses, histogram_bucket},
};

use crate::{
    atomic, config,
    maps::{LOSSES, TOTALS},
};

/// The totals of one function in this CPU's shard.
#[derive(Clone, Copy)]
pub struct Totals(*mut FunctionTotals);

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[inline(always)]
        pub fn $name(self) {
            // SAFETY: `of` got the pointer from the map, whose values outlive the program.
            unsafe { atomic::add(&raw mut (*self.0).$name, 1) };
        }
    };
}

impl Totals {
    /// The totals of `function`, or `None` where the agent gave a site a wrong number.
    #[inline(always)]
    pub fn of(function: u32) -> Option<Self> {
        // SAFETY: the helper only reads the number of this CPU.
        let cpu = unsafe { bpf_get_smp_processor_id() };
        let shard = cpu & config::shard_mask();
        TOTALS
            .get_ptr_mut(shard * config::functions() + function)
            .map(Self)
    }

    counter!(/// A call began.
        calls);
    counter!(/// A record did not fit into the ring.
        lost_ring);
    counter!(/// A call did not fit into the table.
        lost_table);
    counter!(/// An end without a beginning.
        unmatched);
    counter!(/// A call whose end was never seen.
        replaced);
    counter!(/// A message that could not be read or submitted.
        lost_detail);
    counter!(/// Fields that could not be read or submitted.
        lost_fields);

    /// What is recorded of the function's calls: a [`Recorded`] as a number.
    #[inline(always)]
    pub fn recorded(self) -> u64 {
        // SAFETY: as in `counter!`; one aligned word, which the agent changes at any time.
        unsafe { (&raw const (*self.0).recorded).read_volatile() }
    }

    /// Whether the end of a call with this outcome is to be counted only. Then it has been.
    #[inline(always)]
    pub fn only_counts(self, outcome: u32) -> bool {
        let recorded = self.recorded();
        if recorded == Recorded::All as u64 {
            return false;
        }
        let failed = outcome == Outcome::Err as u32 || outcome == Outcome::Panic as u32;
        if failed && recorded == Recorded::Failures as u64 {
            return false;
        }
        // SAFETY: as in `counter!`.
        unsafe { atomic::add(&raw mut (*self.0).only_counted, 1) };
        true
    }

    /// A call ended.
    #[inline(always)]
    pub fn ended(self, outcome: u32, duration_ns: u64) {
        let totals = self.0;
        // SAFETY: as in `counter!`; the bucket is below the histogram's length.
        unsafe {
            let histogram = (&raw mut (*totals).histogram).cast::<u64>();
            atomic::add(histogram.add(histogram_bucket(duration_ns)), 1);
            if outcome == Outcome::Ok as u32 {
                return;
            }
            if outcome == Outcome::Err as u32 {
                atomic::add(&raw mut (*totals).err, 1);
            } else if outcome == Outcome::Panic as u32 {
                atomic::add(&raw mut (*totals).panic, 1);
            } else {
                atomic::add(&raw mut (*totals).cancelled, 1);
            }
        }
    }
}

/// A link was lost.
#[inline(always)]
pub fn lost_link() {
    if let Some(losses) = losses() {
        // SAFETY: the pointer comes from the map, whose value outlives the program.
        unsafe { atomic::add(&raw mut (*losses).links, 1) };
    }
}

/// The message of a panic in a call whose function is not known was lost.
#[inline(always)]
pub fn lost_panic() {
    if let Some(losses) = losses() {
        // SAFETY: as in `lost_link`.
        unsafe { atomic::add(&raw mut (*losses).panics, 1) };
    }
}

#[inline(always)]
fn losses() -> Option<*mut SessionLosses> {
    LOSSES.get_ptr_mut(0)
}
