//! The functions with their percentiles.
//!
//! They are those of the view `functions`, whose window over all buckets takes SQLite several times as
//! long as reading the buckets does, of which there are up to some thousand a function.

use std::collections::HashMap;

use anyhow::Result;
use rusqlite::Row;

use super::Database;
use super::rows::{FunctionRow, TotalsRow};

/// Calls whose duration is in a bucket.
struct Bucket {
    function: i64,
    middle_ns: i64,
    calls: i64,
}

/// Half, 90 % and 99 % of a function's calls took no longer.
type Percentiles = [Option<i64>; 3];

impl Database {
    /// The functions, those with the most time of their own first.
    ///
    /// # Errors
    /// Where the file can't be read.
    pub fn functions(&self) -> Result<Vec<FunctionRow>> {
        let percentiles = self.percentiles()?;
        let sql = format!(
            "SELECT {}, function_id FROM (
               SELECT *, NULL AS p50_ns, NULL AS p90_ns, NULL AS p99_ns FROM function_sums)
             ORDER BY self_ns DESC, calls DESC, function",
            FunctionRow::COLUMNS
        );
        self.select(&sql, [], |row| {
            let mut function = FunctionRow::read(row)?;
            let of_function = percentiles.get(&row.get("function_id")?);
            function.set_percentiles(of_function.copied().unwrap_or_default());
            Ok(function)
        })
    }

    /// What the kernel counted of the functions of which calls were only counted, those with the most such
    /// calls first.
    ///
    /// # Errors
    /// Where the file can't be read.
    pub fn totals(&self) -> Result<Vec<TotalsRow>> {
        let sql = "SELECT function_id, coalesce(to_ns, 9223372036854775807), calls FROM histograms
                   WHERE function_id IN (SELECT function_id FROM totals WHERE only_counted > 0)
                   ORDER BY function_id, from_ns";
        let percentiles = self.percentiles_of(sql)?;
        let sql = format!(
            "SELECT {}, function_id FROM (
               SELECT *, NULL AS p50_ns, NULL AS p90_ns, NULL AS p99_ns FROM totals)
             WHERE only_counted > 0 ORDER BY only_counted DESC, function",
            TotalsRow::COLUMNS
        );
        self.select(&sql, [], |row| {
            let mut totals = TotalsRow::read(row)?;
            let of_function = percentiles.get(&row.get("function_id")?).copied();
            let bounded = of_function
                .unwrap_or_default()
                .map(|ns| ns.filter(|ns| *ns < i64::MAX));
            [totals.p50_ns, totals.p90_ns, totals.p99_ns] = bounded;
            Ok(totals)
        })
    }

    /// By number of the function.
    fn percentiles(&self) -> Result<HashMap<i64, Percentiles>> {
        let sql = "SELECT function_id, middle_ns, calls FROM duration_bucket
                   ORDER BY function_id, middle_ns";
        self.percentiles_of(sql)
    }

    /// Those of the buckets that a query gives: function, duration and calls, in this order.
    fn percentiles_of(&self, sql: &str) -> Result<HashMap<i64, Percentiles>> {
        let read = |row: &Row<'_>| {
            Ok(Bucket {
                function: row.get(0)?,
                middle_ns: row.get(1)?,
                calls: row.get(2)?,
            })
        };
        let buckets = self.select(sql, [], read)?;
        let of_functions = buckets.chunk_by(|one, other| one.function == other.function);
        Ok(of_functions
            .map(|buckets| (buckets[0].function, percentiles(buckets)))
            .collect())
    }
}

impl FunctionRow {
    /// No percentile is beyond the shortest or the longest call, as the middle of a bucket may be.
    fn set_percentiles(&mut self, percentiles: Percentiles) {
        let (shortest, longest) = (self.min_ns, self.max_ns);
        let within = |ns: Option<i64>| Some(ns?.min(longest?).max(shortest?));
        [self.p50_ns, self.p90_ns, self.p99_ns] = percentiles.map(within);
    }
}

/// The percentiles of a function, whose buckets are in the order of their durations.
fn percentiles(buckets: &[Bucket]) -> Percentiles {
    let all: i128 = buckets.iter().map(|bucket| i128::from(bucket.calls)).sum();
    [50, 90, 99].map(|per_cent| {
        let mut reached = 0;
        let reaches = |bucket: &&Bucket| {
            reached += i128::from(bucket.calls);
            100 * reached >= per_cent * all
        };
        buckets.iter().find(reaches).map(|bucket| bucket.middle_ns)
    })
}
