//! Which calls to list.

use anyhow::{Result, bail};
use exoscope_abi::Outcome;
use globset::GlobMatcher;

use crate::target::select::{glob, nearest};

/// Which calls to list; by default all of them.
#[derive(Clone, Debug, Default)]
pub struct CallFilter {
    /// Patterns of full paths, of which one must match; none means every function.
    pub functions: Vec<String>,
    /// Only calls that ended so.
    pub outcome: Option<Outcome>,
    /// Only so many, the slowest first.
    pub slowest: Option<u32>,
}

impl CallFilter {
    /// The functions whose calls pass, as a JSON list; `null` where all do.
    pub(super) fn function_ids(&self, functions: &[(i64, String)]) -> Result<Option<String>> {
        if self.functions.is_empty() {
            return Ok(None);
        }
        let globs: Vec<GlobMatcher> = self
            .functions
            .iter()
            .map(|pattern| glob(pattern))
            .collect::<Result<_>>()?;
        for glob in &globs {
            if !functions.iter().any(|(_, path)| glob.is_match(path)) {
                let pattern = glob.glob().glob();
                bail!(
                    "no function matches '{pattern}'; near names: {}",
                    nearest(pattern, functions.iter().map(|(_, path)| path.as_str()))
                );
            }
        }
        let passes = |path: &str| globs.iter().any(|glob| glob.is_match(path));
        let ids = functions
            .iter()
            .filter(|(_, path)| passes(path))
            .map(|(id, _)| id.to_string());
        Ok(Some(format!("[{}]", ids.collect::<Vec<_>>().join(","))))
    }

    /// The statement; its parameter is what [`CallFilter::function_ids`] gives.
    pub(super) fn sql(&self, columns: &str) -> String {
        let functions = "(?1 IS NULL OR function_id IN (SELECT value FROM json_each(?1)))";
        let outcome = |column: &str, value: String| {
            self.outcome
                .map_or_else(String::new, |_| format!(" AND {column} = {value}"))
        };
        if let Some(slowest) = self.slowest {
            let number = self.outcome.map_or(0, |outcome| outcome as u8).to_string();
            let outcome = outcome("outcome", number);
            // The narrow table finds them; only they are looked up with all that belongs to them.
            return format!(
                "SELECT {columns} FROM calls WHERE call_id IN (
                   SELECT call_id FROM call WHERE {functions}{outcome}
                   ORDER BY duration_ns DESC, call_id LIMIT {slowest})
                 ORDER BY duration_ns DESC, call_id"
            );
        }
        let word = self.outcome.map_or("", Outcome::as_str);
        let outcome = outcome("outcome", format!("'{word}'"));
        // In this order the rows come as they lie, unsorted.
        format!(
            "SELECT {columns} FROM calls WHERE {functions}{outcome} ORDER BY session_id, call_id"
        )
    }
}
