//! How much was sampled.

use anyhow::Result;

use super::Database;
use super::rows::SamplingRow;

impl Database {
    /// What was sampled, over all sessions.
    ///
    /// # Errors
    /// Where the file can't be read.
    pub fn sampling(&self) -> Result<SamplingRow> {
        let sql = format!(
            "SELECT {} FROM (
               SELECT (SELECT max(sample_hertz) FROM session) AS hertz,
                 count(*) AS samples,
                 count(a.call_id) AS with_call,
                 coalesce(sum(k.cut), 0) AS cut,
                 coalesce(sum(1000000000 / s.sample_hertz), 0) AS cpu_ns
               FROM sample a JOIN session s ON s.session_id = a.session_id
               JOIN stack k ON k.stack_id = a.stack_id WHERE a.off_ns IS NULL)",
            SamplingRow::COLUMNS
        );
        let rows = self.select(&sql, [], SamplingRow::read)?;
        Ok(rows.into_iter().next().unwrap_or_default())
    }
}
