//! Whether the rows of a file are all the calls that the kernel counted.

use serde::Serialize;

use super::human::{count, counted, total};
use crate::query::rows::CompletenessRow;

/// Why it is not known whether calls are missing.
pub const UNKNOWN: &str = "the kernel's counts are not in this file";

/// What `completeness` says of all functions together.
#[derive(Debug, Serialize)]
pub struct Counts {
    /// It is known what the kernel counted, and no call of that is missing.
    complete: bool,
    pub calls_counted: i64,
    pub calls_stored: i64,
    pub calls_missing: i64,
    /// Those of them that were counted and not recorded.
    pub calls_only_counted: i64,
}

impl Counts {
    pub fn of(completeness: &[CompletenessRow]) -> Self {
        let sum = |column: fn(&CompletenessRow) -> i64| total(completeness.iter().map(column));
        let mut counts = Self {
            complete: false,
            calls_counted: sum(|row| row.calls_counted),
            calls_stored: sum(|row| row.calls_stored),
            calls_missing: sum(|row| row.calls_missing),
            calls_only_counted: sum(|row| row.calls_only_counted),
        };
        counts.complete = counts.calls_missing == 0 && !counts.are_unknown();
        counts
    }

    /// There are calls, and no count to compare them with: it was damaged, or is not written yet.
    pub fn are_unknown(&self) -> bool {
        self.calls_counted == 0 && self.calls_stored > 0
    }

    /// How many calls are missing, in words.
    pub fn missing(&self) -> String {
        format!(
            "{} of {} counted in the kernel {} not in this file",
            count(self.calls_missing),
            counted(self.calls_counted, "call", "calls"),
            if self.calls_missing == 1 { "is" } else { "are" },
        )
    }
}
