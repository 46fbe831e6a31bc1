//! Counting tests in what `cargo test` prints.

use std::fmt;
use std::ops::AddAssign;

/// How many tests ended how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed.
    pub failed: u64,
    /// Tests that were not run.
    pub ignored: u64,
    /// Names of those that failed.
    pub failures: Vec<String>,
}

impl Tally {
    /// Takes a line of output into account: the result of a test binary, or of one failed test.
    pub fn read(&mut self, line: &str) {
        if let Some(counts) = line.strip_prefix("test result: ") {
            self.read_result(counts);
        } else if let Some(name) = failed_test(line) {
            self.failures.push(name.to_owned());
        }
    }

    /// Reads `ok. 15 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.02s`.
    fn read_result(&mut self, counts: &str) {
        for part in counts.split(['.', ';']) {
            let mut words = part.split_whitespace();
            let count = words.next().and_then(|count| count.parse::<u64>().ok());
            match (count, words.next()) {
                (Some(count), Some("passed")) => self.passed += count,
                (Some(count), Some("failed")) => self.failed += count,
                (Some(count), Some("ignored")) => self.ignored += count,
                _ => {}
            }
        }
    }
}

/// The name in `test NAME ... FAILED`.
fn failed_test(line: &str) -> Option<&str> {
    line.strip_prefix("test ")?.strip_suffix(" ... FAILED")
}

impl AddAssign<&Tally> for Tally {
    fn add_assign(&mut self, other: &Tally) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
        self.failures.extend_from_slice(&other.failures);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "
running 3 tests
test toolchain::tests::linkers_in_order ... ok
test emit::tests::a test: with words ... FAILED
test slow ... ignored
test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 4 filtered out; finished in 0.02s

   Doc-tests exoscope
test instrument/src/lib.rs - (line 12) ... ok
test result: ok. 15 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s
";

    #[test]
    fn results_are_summed_and_failures_named() {
        let mut tally = Tally::default();
        OUTPUT.lines().for_each(|line| tally.read(line));
        assert_eq!(
            tally,
            Tally {
                passed: 16,
                failed: 1,
                ignored: 1,
                failures: vec!["emit::tests::a test: with words".to_owned()],
            }
        );
        assert_eq!(tally.to_string(), "16 passed, 1 failed");
    }

    #[test]
    fn tallies_add_up() {
        let mut sum = Tally::default();
        let mut one = Tally::default();
        OUTPUT.lines().for_each(|line| one.read(line));
        sum += &one;
        sum += &one;
        assert_eq!((sum.passed, sum.failed, sum.ignored), (32, 2, 2));
        assert_eq!(sum.failures.len(), 2);
    }

    #[test]
    fn other_lines_count_for_nothing() {
        let mut tally = Tally::default();
        for line in [
            "5 passed; 3 failed",
            "testing 7 passed",
            "test x ... ok",
            "",
        ] {
            tally.read(line);
        }
        assert_eq!(tally, Tally::default());
    }
}
