//! The store: the one writer of a session's file.
//!
//! A file is one SQLite database ([`schema`]); any current SQLite can read it while it is written.
//! Every [`Batch`](crate::event::Batch) is one transaction ([`write`]): all of it is in the file or
//! none, and whoever gets an error may hand in the same batch again. A file may hold several
//! sessions: their calls keep apart because each session's numbers begin above those of the last.
//!
//! [`mod@file`] guards what is there before SQLite touches it; [`session`] describes a session.

pub mod file;
pub mod schema;
pub mod session;

mod calls;
mod counts;
mod details;
mod died;
mod durations;
mod fields;
mod open_calls;
mod polls;
mod samples;
mod stats;
mod tally;
#[cfg(test)]
pub(crate) mod tests;
mod write;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior, params};

use crate::event::Function;
use file::Claim;
pub use session::{ProcessInfo, SessionEnd, SessionInfo};

/// Distance of the numbers at which sessions begin: a session's first call is number 1 above a
/// multiple of this.
const CALL_BASE_STEP: u64 = 1_000_000;
/// How long a statement waits for the lock of another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Prepared statements that are kept.
const STATEMENTS: usize = 32;
/// How often, and at what distance, the end of a session tries to leave a single file behind while
/// others read it.
const SINGLE_FILE_TRIES: (u32, Duration) = (5, Duration::from_millis(100));

/// Pages of 8 KiB: larger ones save little and cost more log for every small commit. The log goes
/// into the file every 32 MiB.
const PRAGMAS: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    PRAGMA wal_autocheckpoint = 4096;
    PRAGMA journal_size_limit = 67108864;
    PRAGMA cache_size = -16384;
    PRAGMA temp_store = MEMORY;
";

/// The writer of one session.
pub struct Store {
    // Closed before `claim` gives up its descriptor: fields drop in this order.
    connection: Connection,
    claim: Claim,
    session: Session,
    memory: write::Memory,
    /// Something of the session besides its functions and process is in the file.
    written: bool,
}

/// What turns the events' session-local numbers into those of the file.
struct Session {
    id: i64,
    /// Added to every call number.
    call_base: i64,
    /// `CLOCK_MONOTONIC` nanoseconds at which the session began.
    started_ns: i64,
    /// `function_id` of each index.
    functions: Vec<i64>,
    /// Rows of `function` above this were added by this session.
    functions_before: i64,
}

impl Session {
    fn call(&self, number: u64) -> i64 {
        self.call_base.saturating_add(integer(number))
    }

    fn function(&self, index: u32) -> Result<i64> {
        self.functions
            .get(index as usize)
            .copied()
            .with_context(|| {
                format!(
                    "an event names function {index}, but the session has {}",
                    self.functions.len()
                )
            })
    }
}

/// SQLite's integers are signed: what is larger becomes the largest.
fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

impl Store {
    /// Creates the file with a session in it or, where `path` is a file of ours, adds a session.
    ///
    /// # Errors
    /// One sentence, where the path holds anything else, a file of a newer version, or one that is
    /// being written, or where it can't be written. Nothing is touched then.
    pub fn open(path: &Path, info: SessionInfo) -> Result<Self> {
        let claim = Claim::new(path)?;
        match prepare(&claim).and_then(|mut connection| {
            let session = begin(&mut connection, &info)?;
            Ok((connection, session))
        }) {
            Ok((connection, session)) => Ok(Self {
                connection,
                claim,
                session,
                memory: write::Memory::default(),
                written: false,
            }),
            Err(error) => {
                if claim.created {
                    claim.remove();
                }
                Err(error).with_context(|| {
                    format!(
                        "can't write '{}': choose another file with --output",
                        path.display()
                    )
                })
            }
        }
    }

    /// Describes the session's target; a second call replaces what the first said.
    ///
    /// # Errors
    /// Where the file can't be written.
    pub fn add_process(&mut self, process: &ProcessInfo) -> Result<()> {
        self.connection
            .execute(
                "INSERT OR REPLACE INTO process (session_id, pid, command, executable, build_id)
             VALUES (?1, ?2, ?3, ?4, ?5)",
                params![
                    self.session.id,
                    process.pid,
                    process.command,
                    process.executable,
                    process.build_id
                ],
            )
            .with_context(|| {
                format!("can't write the target to '{}'", self.claim.path.display())
            })?;
        Ok(())
    }

    /// Adds functions to the session: the first one gets the index after the last one there is.
    ///
    /// # Errors
    /// Where the file can't be written; then none is added.
    pub fn add_functions(&mut self, functions: &[Function]) -> Result<()> {
        let added = insert_functions(&mut self.connection, functions)
            .with_context(|| format!("can't write functions to '{}'", self.claim.path.display()))?;
        self.session.functions.extend(added);
        Ok(())
    }

    /// Bytes of the file with its write-ahead log.
    pub fn size_bytes(&self) -> u64 {
        self.claim.size_bytes()
    }

    /// Ends the session and, unless others are reading it, leaves a single file behind.
    ///
    /// # Errors
    /// Where the end can't be written; it may be tried again. Readers are no reason to fail.
    pub fn finish(&mut self, end: &SessionEnd) -> Result<()> {
        self.end(end)
            .with_context(|| format!("can't write the end to '{}'", self.claim.path.display()))?;
        self.leave_single_file();
        Ok(())
    }

    /// Takes the session back, where attaching failed: a file that it created is removed, and a
    /// file that was there holds what it held before. Where calls have been written, they stay, and
    /// the session ends.
    ///
    /// # Errors
    /// Where the file that was there can't be written.
    pub fn abandon(mut self) -> Result<()> {
        if self.written {
            let ended_unix_ns = session::unix_ns();
            let reason = "attaching failed".to_owned();
            return self.finish(&SessionEnd {
                ended_unix_ns,
                reason,
                exit_status: None,
            });
        }
        if self.claim.created {
            // Closed first: SQLite would write its log back to the file that is removed.
            drop(self.connection);
            self.claim.remove();
            return Ok(());
        }
        self.take_back().with_context(|| {
            format!(
                "can't remove the session from '{}'",
                self.claim.path.display()
            )
        })?;
        self.leave_single_file();
        Ok(())
    }

    fn end(&mut self, end: &SessionEnd) -> Result<()> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        self.memory.durations.write(&transaction, &self.session)?;
        transaction.execute(
            "UPDATE session SET ended_unix_ns = ?2, end_reason = ?3 WHERE session_id = ?1",
            params![self.session.id, end.ended_unix_ns, end.reason],
        )?;
        transaction.execute(
            "UPDATE process SET exit_status = ?2 WHERE session_id = ?1",
            params![self.session.id, end.exit_status],
        )?;
        transaction.execute("DELETE FROM open_call", [])?;
        transaction.commit()?;
        self.memory.durations.written();
        Ok(())
    }

    fn take_back(&mut self) -> rusqlite::Result<()> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        for table in ["session", "process"] {
            let sql = format!("DELETE FROM {table} WHERE session_id = ?1");
            transaction.execute(&sql, [self.session.id])?;
        }
        let before = self.session.functions_before;
        transaction.execute("DELETE FROM function WHERE function_id > ?1", [before])?;
        transaction.commit()
    }

    /// Brings the log into the file and removes it. Readers prevent that; then they, or whoever
    /// opens the file next, do it.
    fn leave_single_file(&self) {
        self.connection.flush_prepared_statement_cache();
        let _ = self.connection.busy_timeout(Duration::ZERO);
        let (tries, pause) = SINGLE_FILE_TRIES;
        for attempt in 0..tries {
            if attempt > 0 {
                std::thread::sleep(pause);
            }
            match self
                .connection
                .pragma_update(None, "journal_mode", "DELETE")
            {
                Err(error) if is_busy(&error) => {}
                // Any other failure leaves a complete file with its log beside it.
                _ => break,
            }
        }
        let _ = self.connection.busy_timeout(BUSY_TIMEOUT);
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}

/// A connection to a file of this version.
fn prepare(claim: &Claim) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(&claim.path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    if claim.created {
        connection.pragma_update(None, "page_size", 8192)?;
    }
    // Before the log is switched on, so that the first bytes of the file itself say what it is.
    schema::migrate(&mut connection)?;
    connection.execute_batch(PRAGMAS)?;
    Ok(connection)
}

/// Adds the session's row, and closes sessions whose agent was killed.
fn begin(connection: &mut Connection, info: &SessionInfo) -> Result<Session> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let largest = "SELECT coalesce(max(call_id), 0) FROM";
    let last: i64 = transaction.query_row(
        &format!("SELECT max(({largest} call), ({largest} open_call), ({largest} error_detail))"),
        [],
        |row| row.get(0),
    )?;
    if last > i64::MAX / 2 {
        bail!("its call numbers are used up");
    }
    let call_base = integer(last.unsigned_abs().next_multiple_of(CALL_BASE_STEP));
    transaction.execute_batch(
        "UPDATE session SET end_reason = 'interrupted' WHERE end_reason IS NULL;
         DELETE FROM open_call;",
    )?;
    transaction.execute(
        "UPDATE session SET call_last = ?1 WHERE call_last > ?1",
        [call_base],
    )?;
    let started_ns = integer(info.started_ns);
    transaction.execute(
        "INSERT INTO session (started_unix_ns, started_ns, host, kernel, agent_version, options,
           sample_hertz, call_base)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            info.started_unix_ns,
            started_ns,
            info.host,
            info.kernel,
            info.agent_version,
            info.options,
            (info.sample_hertz > 0).then_some(info.sample_hertz),
            call_base
        ],
    )?;
    let id = transaction.last_insert_rowid();
    let functions_before = transaction.query_row(
        "SELECT coalesce(max(function_id), 0) FROM function",
        [],
        |row| row.get(0),
    )?;
    transaction.commit()?;
    Ok(Session {
        id,
        call_base,
        started_ns,
        functions: Vec::new(),
        functions_before,
    })
}

fn insert_functions(connection: &mut Connection, functions: &[Function]) -> Result<Vec<i64>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut ids = Vec::with_capacity(functions.len());
    {
        // The update changes nothing; without it, RETURNING would be silent about a known function.
        let mut insert = transaction.prepare_cached(
            "INSERT INTO function (path, file, line) VALUES (?1, ?2, ?3)
             ON CONFLICT (path, file, line) DO UPDATE SET line = line RETURNING function_id",
        )?;
        for function in functions {
            let values = params![function.path, function.file, function.line];
            ids.push(insert.query_row(values, |row| row.get(0))?);
        }
    }
    transaction.commit()?;
    Ok(ids)
}
