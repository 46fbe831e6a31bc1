//! How much was sampled.

use anyhow::Result;

use super::Database;
use super::rows::SamplingRow;

impl Database {
    /// What was sampled of running threads, over all sessions.
    ///
    /// # Errors
    /// Where the file can't be read.
    pub fn sampling(&self) -> Result<SamplingRow> {
        self.sampling_of(false)
    }

    /// As [`Database::sampling`], of threads that were off the CPU; the time is what they were off it.
    ///
    /// # Errors
    /// Where the file can't be read.
    pub fn off_cpu_sampling(&self) -> Result<SamplingRow> {
        self.sampling_of(true)
    }

    fn sampling_of(&self, off_cpu: bool) -> Result<SamplingRow> {
        let sql = format!(
            "SELECT {} FROM (
               SELECT (SELECT max(sample_hertz) FROM session) AS hertz,
                 count(*) AS samples,
                 count(a.call_id) AS with_call,
                 coalesce(sum(k.cut), 0) AS cut,
                 coalesce(sum(coalesce(a.off_ns, 1000000000 / s.sample_hertz)), 0) AS cpu_ns
               FROM sample a JOIN session s ON s.session_id = a.session_id
               JOIN stack k ON k.stack_id = a.stack_id WHERE (a.off_ns IS NOT NULL) = ?1)",
            SamplingRow::COLUMNS
        );
        let rows = self.select(&sql, [off_cpu], SamplingRow::read)?;
        Ok(rows.into_iter().next().unwrap_or_default())
    }
}
