//! Totals per function, counted in the kernel apart from the records.
//!
//! An array of `shards × functions` entries; a program adds to the entry of its CPU's shard with
//! atomic adds, and the agent maps the array and sums over the shards.

/// Buckets of the time histogram.
pub const HISTOGRAM_BUCKETS: usize = 40;

/// What becomes of a function's calls beside being counted. The agent says it, while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Recorded {
    /// Every call is recorded.
    All = 0,
    /// Those that end with an error or in a panic are; of the others only the totals tell.
    Failures = 1,
    /// None is.
    Nothing = 2,
}

/// Counts of one function in one shard. Every one of them only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct FunctionTotals {
    /// Calls that began; 0 in `exits` mode, where only ends are seen and the histogram counts them.
    pub calls: u64,
    /// No count: a [`Recorded`], the same in all shards. It lies beside what every call touches.
    pub recorded: u64,
    /// Ended with an error.
    pub err: u64,
    /// Ended in a panic.
    pub panic: u64,
    /// Cancelled.
    pub cancelled: u64,
    /// Records lost because the ring was full.
    pub lost_ring: u64,
    /// Calls not followed because the table of open calls was full.
    pub lost_table: u64,
    /// Ends whose beginning was not seen.
    pub unmatched: u64,
    /// Calls whose end was never seen: another call began at the same address.
    pub replaced: u64,
    /// Error messages lost because the ring was full or the target's memory was not readable.
    pub lost_detail: u64,
    /// Fields or returned values lost, likewise.
    pub lost_fields: u64,
    /// Ends that were counted and not recorded, because `recorded` said so.
    pub only_counted: u64,
    /// Ended calls by duration: bucket 0 holds 0 and 1 ns, bucket `n` durations from 2ⁿ to
    /// 2ⁿ⁺¹ − 1 ns, the last one all longer ones.
    pub histogram: [u64; HISTOGRAM_BUCKETS],
}
const _: () = assert!(size_of::<FunctionTotals>() == (12 + HISTOGRAM_BUCKETS) * 8);

/// What was lost of which no function is known, for the whole session. Every field only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct SessionLosses {
    /// Links whose token stands for nothing, so that the calls which name it have no parent.
    pub links: u64,
    /// Messages of panics that began in a call of `exits` mode, which does not tell its function.
    pub panics: u64,
}
const _: () = assert!(size_of::<SessionLosses>() == 16);

/// Bucket of the histogram for a duration in nanoseconds.
#[inline(always)]
pub const fn histogram_bucket(ns: u64) -> usize {
    let bucket = log2(ns);
    if bucket < HISTOGRAM_BUCKETS {
        bucket
    } else {
        HISTOGRAM_BUCKETS - 1
    }
}

/// Number of the highest bit that is set, and 0 for 0. BPF has no instruction that counts zeros, and
/// what the compiler makes of `leading_zeros` there takes three times as long.
#[inline(always)]
const fn log2(mut value: u64) -> usize {
    let mut log = 0;
    let mut half = 32;
    while half > 0 {
        if value >> half != 0 {
            value >>= half;
            log += half;
        }
        half /= 2;
    }
    log
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_double() {
        assert_eq!((histogram_bucket(0), histogram_bucket(1)), (0, 0));
        for bit in 1..64 {
            let bucket = (bit as usize).min(HISTOGRAM_BUCKETS - 1);
            assert_eq!(histogram_bucket(1 << bit), bucket);
            assert_eq!(histogram_bucket((1 << bit) | ((1 << bit) - 1)), bucket);
        }
    }
}
