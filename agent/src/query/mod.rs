//! Reading a file, finished or being written. Nothing here writes.
//!
//! A [`Database`] sees one state of the file from its first row to its last, whatever is written
//! meanwhile. [`rows`] holds what it gives.

pub mod filter;
pub mod flames;
mod functions;
pub mod rows;
pub mod sampling;
pub mod tree;

#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Error, Result, anyhow, bail};
use rusqlite::{Connection, ErrorCode, OpenFlags, Params, Row};

use crate::store::file::{check_version, damage};
use crate::store::schema::{self, APPLICATION_ID};
use crate::store::{pages, texts};
use filter::CallFilter;
use rows::{
    CallRow, CompletenessRow, DiedRow, ErrorRow, InFlightRow, LossRow, LostCallsRow, PollsRow,
    ProcessStatsRow, SessionRow, UnmatchedRow, WarningRow,
};

/// How long a read waits for a lock; readers wait only while a log is being recovered.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A file of ours, opened for reading.
#[derive(Debug)]
pub struct Database {
    connection: Connection,
    path: PathBuf,
}

/// Opens a file for reading.
///
/// # Errors
/// One sentence, where there is no such file, where it is no exoscope file or one of a newer
/// version, and where it can't be read.
pub fn open_readonly(path: &Path) -> Result<Database> {
    let shown = path.display();
    let metadata = fs::metadata(path).with_context(|| format!("can't read '{shown}'"))?;
    if !metadata.is_file() {
        bail!("can't read '{shown}': it is no regular file");
    }
    let path =
        std::path::absolute(path).with_context(|| format!("can't find the file '{shown}'"))?;
    let connection = connect(&path).map_err(|error| explain(&path, error))?;
    let application: i32 = connection
        .pragma_query_value(None, "application_id", |row| row.get(0))
        .map_err(|error| explain(&path, error))?;
    if application != APPLICATION_ID {
        bail!("'{shown}' is no exoscope file");
    }
    let version = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(|error| explain(&path, error))?;
    check_version(version)
        .and_then(|()| schema::check(&connection))
        .with_context(|| format!("can't read '{shown}'"))?;
    Ok(Database { connection, path })
}

/// A connection that holds one state of the file.
fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // What stands in a file that somebody sent must not run with side effects.
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema;")?;
    Ok(connection)
}

/// One sentence for what SQLite reports.
fn explain(path: &Path, error: rusqlite::Error) -> Error {
    let shown = path.display();
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => match damage(path) {
            Ok(Some(damage)) => anyhow!(
                "can't read '{shown}': {damage} (`exoscope recover {shown}` saves what can be read)"
            ),
            _ => anyhow!("'{shown}' is no exoscope file"),
        },
        _ if is_damage(&error) => Error::new(error).context(format!(
            "can't read '{shown}': it is damaged (`exoscope recover {shown}` saves what can be read)"
        )),
        _ => Error::new(error).context(format!("can't read '{shown}'")),
    }
}

/// SQLite finds damage, or a value is not of the type of its column.
fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::Error as Wrong;
    error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt)
        || matches!(error, Wrong::Utf8Error(..) | Wrong::InvalidColumnType(..))
}

impl Database {
    /// Path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is wrong with the pages of the file, all of which are read; `None` where nothing is.
    ///
    /// # Errors
    /// Where it can't be read at all; so for all that follow.
    pub fn damage(&self) -> Result<Option<String>> {
        let wrong = match pages::wrong(&self.connection) {
            Err(error) if is_damage(&error) => Some(error.to_string()),
            wrong => wrong.map_err(|error| explain(&self.path, error))?,
        };
        if let Some(what) = wrong {
            return Ok(Some(format!("it is damaged: {what}")));
        }
        let texts = texts::count_damaged(&self.connection)?;
        Ok((texts > 0).then(|| format!("it is damaged: texts that are no UTF-8: {texts}")))
    }

    /// The sessions, in the order of their beginnings.
    ///
    /// # Errors
    /// Where the file can't be read.
    pub fn sessions(&self) -> Result<Vec<SessionRow>> {
        let sql = format!(
            "SELECT {} FROM (
               SELECT *, (SELECT coalesce(sum(calls), 0) FROM function_stat stat
                          WHERE stat.session_id = sessions.session_id) AS calls
               FROM sessions LEFT JOIN processes USING (session_id))
             ORDER BY session_id",
            SessionRow::COLUMNS
        );
        self.select(&sql, [], SessionRow::read)
    }

    /// How the time of polled calls was split, by function, the longest ready first.
    pub fn polls(&self) -> Result<Vec<PollsRow>> {
        let sql = format!(
            "SELECT {} FROM (
               SELECT path AS function, sum(calls) AS calls, sum(polls) AS polls,
                 sum(polled_ns) AS polled_ns, sum(ready_ns) AS ready_ns,
                 sum(suspended_ns) AS suspended_ns
               FROM poll_stat JOIN function USING (function_id) GROUP BY path)
             ORDER BY ready_ns DESC, polled_ns DESC, function",
            PollsRow::COLUMNS
        );
        self.select(&sql, [], PollsRow::read)
    }

    /// What is complete and what is missing: of no known function first, then for every function.
    pub fn completeness(&self) -> Result<Vec<CompletenessRow>> {
        let sql = format!(
            "SELECT {} FROM completeness
             ORDER BY function IS NOT NULL, calls_missing DESC, function",
            CompletenessRow::COLUMNS
        );
        self.select(&sql, [], CompletenessRow::read)
    }

    /// What the kernel could not hand on.
    pub fn losses(&self) -> Result<LossRow> {
        let sql = format!(
            "SELECT {} FROM (
               SELECT coalesce(sum(lost_ring), 0) AS lost_ring, coalesce(sum(lost_table), 0) AS lost_table,
                 coalesce(sum(unmatched), 0) AS unmatched, coalesce(sum(replaced), 0) AS replaced,
                 coalesce(sum(lost_detail), 0) AS lost_detail, coalesce(sum(lost_fields), 0) AS lost_fields,
                 coalesce(sum(only_counted), 0) AS only_counted
               FROM kernel_count),
             (SELECT coalesce(sum(lost_links), 0) AS lost_links, coalesce(sum(lost_panics), 0) AS lost_panics
              FROM session)",
            LossRow::COLUMNS
        );
        let rows = self.select(&sql, [], LossRow::read)?;
        Ok(rows.into_iter().next().unwrap_or_default())
    }

    /// Calls that were lost within the agent, by the reason, the most first.
    pub fn lost_calls(&self) -> Result<Vec<LostCallsRow>> {
        self.calls_by_reason("lost_calls")
    }

    /// Calls that were counted and not recorded, by the reason, the most first.
    pub fn counted_calls(&self) -> Result<Vec<LostCallsRow>> {
        self.calls_by_reason("counted_calls")
    }

    fn calls_by_reason(&self, view: &str) -> Result<Vec<LostCallsRow>> {
        let sql = format!(
            "SELECT {} FROM (SELECT reason, sum(calls) AS calls FROM {view} GROUP BY reason)
             ORDER BY calls DESC, reason",
            LostCallsRow::COLUMNS
        );
        self.select(&sql, [], LostCallsRow::read)
    }

    /// What the agent warned of, in the order of the first of each kind.
    pub fn warnings(&self) -> Result<Vec<WarningRow>> {
        // Beside `min`, SQLite gives the columns of the row that has it.
        let sql = format!(
            "SELECT {} FROM (
               SELECT level, kind, message, count(*) AS count, min(at_unix_ns) AS first_unix_ns
               FROM agent_events WHERE level <> 'info' GROUP BY level, kind)
             ORDER BY first_unix_ns, level, kind",
            WarningRow::COLUMNS
        );
        self.select(&sql, [], WarningRow::read)
    }

    /// The errors by where they began, the most frequent first.
    pub fn errors(&self) -> Result<Vec<ErrorRow>> {
        let sql = format!(
            "SELECT {} FROM errors ORDER BY count DESC, origin_call_id",
            ErrorRow::COLUMNS
        );
        self.select(&sql, [], ErrorRow::read)
    }

    /// The calls begun and not ended, the oldest first.
    pub fn in_flight(&self) -> Result<Vec<InFlightRow>> {
        let sql = format!(
            "SELECT {} FROM in_flight ORDER BY start_ns, call_id",
            InFlightRow::COLUMNS
        );
        self.select(&sql, [], InFlightRow::read)
    }

    /// Ends of calls that began before their session, by function.
    pub fn unmatched_exits(&self) -> Result<Vec<UnmatchedRow>> {
        let sql = format!(
            "SELECT {} FROM (SELECT function, count(*) AS ends FROM unmatched_exits GROUP BY function)
             ORDER BY ends DESC, function",
            UnmatchedRow::COLUMNS
        );
        self.select(&sql, [], UnmatchedRow::read)
    }

    /// The calls in which the target died, those that were open longest first, `limit` at most; and
    /// how many there are.
    pub fn died(&self, limit: usize) -> Result<(Vec<DiedRow>, i64)> {
        let sql = format!(
            "SELECT {} FROM (
               SELECT *, (SELECT name FROM thread
                          WHERE thread.session_id = calls.session_id AND thread.tid = calls.tid
                          ORDER BY thread_id DESC LIMIT 1) AS thread
               FROM calls WHERE call_id IN (SELECT call_id FROM died)
               ORDER BY duration_ns DESC, call_id LIMIT {limit})",
            DiedRow::COLUMNS
        );
        let died = self.select(&sql, [], DiedRow::read)?;
        let all: Vec<i64> = self.select("SELECT count(*) FROM died", [], |row| row.get(0))?;
        Ok((died, all.into_iter().sum()))
    }

    /// What the samples say of the process of each session that has any.
    pub fn process_stats(&self) -> Result<Vec<ProcessStatsRow>> {
        let grown = [
            "cpu_user_ns",
            "cpu_system_ns",
            "runqueue_ns",
            "read_bytes",
            "written_bytes",
            "minor_faults",
            "major_faults",
        ]
        .map(|column| format!("max({column}) - min({column}) AS {column}"))
        .join(", ");
        let sql = format!(
            "SELECT {} FROM (
               SELECT session_id, count(*) AS samples,
                 iif(max(peak_rss_bytes) > min(peak_rss_bytes), max(peak_rss_bytes), max(rss_bytes))
                   AS peak_rss_bytes,
                 max(swap_bytes) AS swap_bytes, {grown}, max(threads) AS threads,
                 max(file_descriptors) AS file_descriptors,
                 min(cgroup_memory_limit_bytes) AS cgroup_memory_limit_bytes
               FROM process_stat GROUP BY session_id)
             ORDER BY session_id",
            ProcessStatsRow::COLUMNS
        );
        self.select(&sql, [], ProcessStatsRow::read)
    }

    /// Hands every call that passes the filter to `each`: in the order of their numbers or, with
    /// [`CallFilter::slowest`], the slowest first. No more than one is held in memory.
    ///
    /// # Errors
    /// Where the file can't be read, where a pattern can't be read or matches no function, and what
    /// `each` reports.
    pub fn calls(
        &self,
        filter: &CallFilter,
        mut each: impl FnMut(CallRow) -> Result<()>,
    ) -> Result<()> {
        let functions = filter.function_ids(&self.function_paths()?)?;
        let sql = filter.sql(CallRow::COLUMNS);
        let explained = |error| explain(&self.path, error);
        let mut statement = self.connection.prepare(&sql).map_err(explained)?;
        let mut rows = statement.query([functions]).map_err(explained)?;
        while let Some(row) = rows.next().map_err(explained)? {
            each(CallRow::read(row).map_err(explained)?)?;
        }
        Ok(())
    }

    /// Number and path of every function.
    fn function_paths(&self) -> Result<Vec<(i64, String)>> {
        let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
        self.select("SELECT function_id, path FROM function", [], read)
    }

    fn select<T>(
        &self,
        sql: &str,
        parameters: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        let rows = || -> rusqlite::Result<Vec<T>> {
            self.connection
                .prepare(sql)?
                .query_map(parameters, read)?
                .collect()
        };
        rows().map_err(|error| explain(&self.path, error))
    }
}
