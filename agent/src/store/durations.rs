//! Durations per function in buckets: what percentiles are computed from.
//!
//! There are up to some thousand buckets a function, and a batch of a busy program touches most of
//! them. So they go to the file twice a second and at the end, not with every commit.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::time::{Duration, Instant};

use anyhow::Result;
use rusqlite::functions::FunctionFlags;
use rusqlite::{Connection, params};

use super::{Session, integer};
use crate::event::Call;

/// Durations below this have a bucket each.
const EXACT_NS: u64 = 256;
/// Binary logarithm of the buckets between two powers of two.
const SUB_BUCKETS_LOG: u32 = 7;
/// How long buckets wait.
const WAIT: Duration = Duration::from_millis(500);
/// Buckets that wait at most, about 10 MB of them.
const WAITING: usize = 1 << 18;

/// Buckets that wait to be written.
#[derive(Debug)]
pub struct Durations {
    /// Calls by index of the function and [`bucket_middle`].
    waiting: Map<(u32, u64), u64>,
    since: Instant,
}

impl Default for Durations {
    fn default() -> Self {
        Self {
            waiting: Map::default(),
            since: Instant::now(),
        }
    }
}

impl Durations {
    /// Takes the durations of calls that are in the file.
    pub fn add(&mut self, calls: &[Call]) {
        for call in calls {
            let bucket = (call.function, bucket_middle(call.duration_ns));
            *self.waiting.entry(bucket).or_default() += 1;
        }
    }

    /// They have waited long enough, or there are many.
    pub fn are_due(&self) -> bool {
        !self.waiting.is_empty() && (self.waiting.len() >= WAITING || self.since.elapsed() >= WAIT)
    }

    /// Adds them to those in the file; after the commit comes [`Durations::written`].
    ///
    /// # Errors
    /// Where SQLite can't write, or a function is not the session's.
    pub fn write(&self, connection: &Connection, session: &Session) -> Result<()> {
        let mut waiting: Vec<_> = self.waiting.iter().collect();
        waiting.sort_unstable();
        let mut buckets = Vec::with_capacity(waiting.len());
        for (&(function, middle), calls) in waiting {
            buckets.push(((session.function(function)?, middle), *calls));
        }
        add_to(connection, buckets)
    }

    /// What [`Durations::write`] wrote has been committed.
    pub fn written(&mut self) {
        self.waiting.clear();
        self.since = Instant::now();
    }
}

/// Adds calls by `function_id` and [`bucket_middle`] to those in the file.
///
/// # Errors
/// Where SQLite can't write.
pub fn add_to(connection: &Connection, buckets: Vec<((i64, u64), u64)>) -> Result<()> {
    let mut upsert = connection.prepare_cached(
        "INSERT INTO duration_bucket (function_id, middle_ns, calls) VALUES (?1, ?2, ?3)
         ON CONFLICT DO UPDATE SET calls = calls + excluded.calls",
    )?;
    for ((function, middle), calls) in buckets {
        upsert.execute(params![function, integer(middle), integer(calls)])?;
    }
    Ok(())
}

/// Middle of the bucket of a duration: at most 1/256 of it away, and exact below [`EXACT_NS`].
pub const fn bucket_middle(ns: u64) -> u64 {
    if ns < EXACT_NS {
        return ns;
    }
    let width_log = u64::BITS - 1 - ns.leading_zeros() - SUB_BUCKETS_LOG;
    (ns >> width_log << width_log) + (1 << width_log) / 2
}

/// Makes the buckets known to SQL, as the function `bucket_middle`.
///
/// # Errors
/// Where SQLite has no memory for it.
pub fn register(connection: &Connection) -> Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function("bucket_middle", 1, flags, |context| {
        let ns: i64 = context.get(0)?;
        Ok(integer(bucket_middle(ns.max(0).unsigned_abs())))
    })?;
    Ok(())
}

type Map<K, V> = HashMap<K, V, BuildHasherDefault<NumberHasher>>;

/// Hashes a few integers with one multiplication each. The keys are our own function indices and
/// durations in buckets: nobody gains by making them collide.
#[derive(Default)]
struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        let mixed = (self.0.rotate_left(32) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        // The map takes its bucket from the low bits, which a product leaves poor.
        self.0 = mixed ^ (mixed >> 32);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_exact_below_256_and_within_a_256th_above() {
        for ns in 0..EXACT_NS {
            assert_eq!(bucket_middle(ns), ns);
        }
        let mut ns = EXACT_NS;
        while ns < u64::MAX / 8 {
            for near in [ns - 1, ns, ns + 1, ns + ns / 3, ns + ns / 2] {
                let off = bucket_middle(near).abs_diff(near);
                assert!(
                    off <= near / 256 + 1,
                    "{near} is {off} away from its bucket"
                );
            }
            ns *= 2;
        }
    }

    #[test]
    fn buckets_keep_the_order_of_durations() {
        let mut before = 0;
        for ns in (0..1_000_000).step_by(7) {
            let middle = bucket_middle(ns);
            assert!(middle >= before, "{ns}");
            before = middle;
        }
    }

    #[test]
    fn durations_spread_over_the_hash_table() {
        let mut low_bits = std::collections::HashSet::new();
        for function in 0..8_u32 {
            for step in 0..128_u64 {
                let mut hasher = NumberHasher::default();
                hasher.write_u32(function);
                hasher.write_u64(bucket_middle(1_000_000 + step * 8192));
                low_bits.insert(hasher.finish() & 1023);
            }
        }
        // 1,024 keys thrown at random into 1,024 places hit about 647 of them.
        assert!(low_bits.len() > 500, "{}", low_bits.len());
    }
}
