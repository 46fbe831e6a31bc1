//! The time that intervals cover together: children of one call overlap where they are joined.

/// Stretches that are remembered apart; where there are more, old ones become one with their
/// neighbours.
const STRETCHES: usize = 256;

/// The time covered by intervals that come in the order of their ends.
#[derive(Debug, Default)]
pub struct Covered {
    /// Stretches that do not touch, in order.
    stretches: Vec<Stretch>,
}

/// A time of which some is covered: all of it, unless it was several that became one.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    start_ns: u64,
    end_ns: u64,
    covered_ns: u64,
}

impl Covered {
    /// Adds an interval. One that ends before another that has been added counts as ending with it.
    pub fn add(&mut self, start_ns: u64, end_ns: u64) {
        let last_ns = self.stretches.last().map_or(0, |last| last.end_ns);
        let end_ns = end_ns.max(last_ns);
        let start_ns = start_ns.min(end_ns);
        let mut new = Stretch::whole(start_ns, end_ns);
        while let Some(last) = self.stretches.pop_if(|last| last.end_ns >= start_ns) {
            if last.start_ns < start_ns {
                new.start_ns = last.start_ns;
                new.covered_ns += last.covered_before(start_ns);
            }
        }
        self.stretches.push(new);
        if self.stretches.len() > STRETCHES {
            self.join_old();
        }
    }

    /// Nanoseconds that are covered from `start_ns` on.
    pub fn ns_since(&self, start_ns: u64) -> u64 {
        self.stretches
            .iter()
            .map(|stretch| stretch.covered_ns - stretch.covered_before(start_ns))
            .sum()
    }

    /// Makes each two neighbours of the older half one. The sum stays exact, and so does what an
    /// interval adds to it that begins outside of them.
    fn join_old(&mut self) {
        let mut old = self.stretches.drain(..STRETCHES / 2);
        let mut joined = Vec::with_capacity(STRETCHES + 1);
        while let (Some(first), Some(second)) = (old.next(), old.next()) {
            joined.push(Stretch {
                start_ns: first.start_ns,
                end_ns: second.end_ns,
                covered_ns: first.covered_ns + second.covered_ns,
            });
        }
        drop(old);
        joined.append(&mut self.stretches);
        self.stretches = joined;
    }
}

impl Stretch {
    fn whole(start_ns: u64, end_ns: u64) -> Self {
        Self {
            start_ns,
            end_ns,
            covered_ns: end_ns - start_ns,
        }
    }

    /// Nanoseconds that are covered before `until_ns`; where not all are, as if they were spread
    /// evenly.
    fn covered_before(&self, until_ns: u64) -> u64 {
        let length = self.end_ns - self.start_ns;
        let before = until_ns.saturating_sub(self.start_ns).min(length);
        if self.covered_ns == length {
            return before;
        }
        let share = u128::from(self.covered_ns) * u128::from(before) / u128::from(length);
        // Not more than what is covered, as `before` is not more than the length.
        share as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covered(intervals: &[(u64, u64)]) -> u64 {
        let mut covered = Covered::default();
        for &(start, end) in intervals {
            covered.add(start, end);
        }
        covered.ns_since(0)
    }

    #[test]
    fn what_overlaps_counts_once() {
        assert_eq!(covered(&[]), 0);
        assert_eq!(covered(&[(10, 20), (30, 45)]), 25);
        assert_eq!(covered(&[(10, 20), (20, 30)]), 20);
        assert_eq!(covered(&[(10, 20), (15, 30)]), 20);
        assert_eq!(covered(&[(12, 14), (16, 18), (10, 20)]), 10);
        assert_eq!(covered(&[(10, 20), (30, 40), (15, 50), (60, 61)]), 41);
    }

    #[test]
    fn what_began_too_early_counts_in_part() {
        let mut some = Covered::default();
        some.add(10, 30);
        some.add(40, 50);
        assert_eq!(
            [20, 30, 45, 60].map(|since| some.ns_since(since)),
            [20, 10, 5, 0]
        );
    }

    #[test]
    fn many_need_little_memory_and_are_exact_in_a_row_or_covered() {
        let row: Vec<(u64, u64)> = (1..=10_000).map(|n| (n * 10, n * 10 + 4)).collect();
        assert_eq!(covered(&row), 40_000);
        assert_eq!(covered(&[&row[..], &[(5, 200_000)]].concat()), 199_995);
        let mut many = Covered::default();
        for (start, end) in row {
            many.add(start, end);
            assert!(many.stretches.len() <= STRETCHES);
        }
    }

    #[test]
    fn one_that_begins_among_very_many_is_nearly_exact() {
        let row: Vec<(u64, u64)> = (1..=10_000).map(|n| (n * 10, n * 10 + 4)).collect();
        for first in [2, 50, 5_000, 9_999] {
            let with_long = [&row[..], &[(first * 10, 200_000)]].concat();
            let exact = (first - 1) * 4 + 200_000 - first * 10;
            assert!(covered(&with_long).abs_diff(exact) < exact / 100, "{first}");
        }
    }

    #[test]
    fn nonsense_does_not_panic() {
        let mut some = Covered::default();
        for (start, end) in [(50, 20), (u64::MAX, 0), (0, u64::MAX), (10, 5), (7, 7)] {
            some.add(start, end);
        }
        for n in 0..10_000_u64 {
            let scattered = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            some.add(scattered, scattered.rotate_left(17));
        }
        some.ns_since(0);
        some.ns_since(u64::MAX);
    }
}
