//! The rows of sessions: how one begins, how one that was cut short goes on, and how one ends.

use std::hash::{BuildHasher as _, RandomState};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

use super::{SessionInfo, integer};
use crate::event::Function;
use crate::spool::Place;

/// Distance of the numbers at which sessions begin: a session's first call is number 1 above a
/// multiple of this.
pub(super) const CALL_BASE_STEP: u64 = 1_000_000;

/// What turns the events' session-local numbers into those of the file.
pub(super) struct Session {
    pub id: i64,
    /// Added to every call number.
    pub call_base: i64,
    /// `CLOCK_MONOTONIC` nanoseconds at which the session began.
    pub started_ns: i64,
    /// `function_id` of each index.
    pub functions: Vec<i64>,
    /// Number of the last message that is in the file.
    pub message: i64,
    /// What was in the file before.
    pub before: Before,
    /// Where what waits for the file goes.
    pub spool: Place,
}

/// The largest numbers of rows that are none of the session's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before {
    pub functions: i64,
    pub frames: i64,
    pub stacks: i64,
    pub threads: i64,
}

impl Session {
    pub fn call(&self, number: u64) -> i64 {
        self.call_base.saturating_add(integer(number))
    }

    pub fn function(&self, index: u32) -> Result<i64> {
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

    /// Adds a session to the file.
    ///
    /// # Errors
    /// Where SQLite can't write, or no numbers are left.
    pub fn begin(connection: &mut Connection, info: &SessionInfo, file: &Path) -> Result<Self> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let call_base = call_base(&transaction)?;
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
        let before = Before::of(&transaction)?;
        let folder = info.spool_folder.as_deref();
        // Different in every process and call; nobody has to be unable to guess it.
        let key = RandomState::new().hash_one(info.started_unix_ns);
        let spool = Place::new(file, folder, key);
        transaction.execute(
            "INSERT INTO writing (session_id, message, frames, stacks, threads, spool_key, spool_folder)
             VALUES (?1, 0, ?2, ?3, ?4, ?5, ?6)",
            params![
                id,
                before.frames,
                before.stacks,
                before.threads,
                key.cast_signed(),
                folder.map(|folder| folder.to_string_lossy())
            ],
        )?;
        transaction.commit()?;
        Ok(Self {
            id,
            call_base,
            started_ns,
            functions: Vec::new(),
            message: 0,
            before,
            spool,
        })
    }

    /// A session that was cut short, and has not got an end yet; the functions are not known here.
    ///
    /// # Errors
    /// Where SQLite can't read.
    pub fn interrupted(connection: &Connection, file: &Path) -> Result<Option<Self>> {
        let mut select = connection.prepare(
            "SELECT session_id, call_base, started_ns, message, frames, stacks, threads, spool_key,
               spool_folder
             FROM writing JOIN session USING (session_id)
             WHERE end_reason IS NULL ORDER BY session_id",
        )?;
        let session = select.query_row([], |row| {
            let folder: Option<String> = row.get(8)?;
            let folder = folder.map(PathBuf::from);
            let key: i64 = row.get(7)?;
            Ok(Self {
                id: row.get(0)?,
                call_base: row.get(1)?,
                started_ns: row.get(2)?,
                functions: Vec::new(),
                message: row.get(3)?,
                before: Before {
                    functions: 0,
                    frames: row.get(4)?,
                    stacks: row.get(5)?,
                    threads: row.get(6)?,
                },
                spool: Place::new(file, folder.as_deref(), key.cast_unsigned()),
            })
        });
        Ok(session.optional()?)
    }
}

impl Before {
    fn of(connection: &Connection) -> Result<Self> {
        let last = |column: &str, table: &str| {
            let sql = format!("SELECT coalesce(max({column}), 0) FROM {table}");
            connection.query_row(&sql, [], |row| row.get(0))
        };
        Ok(Self {
            functions: last("function_id", "function")?,
            frames: last("frame_id", "frame")?,
            stacks: last("stack_id", "stack")?,
            threads: last("thread_id", "thread")?,
        })
    }
}

/// Where the numbers of a new session's calls begin.
fn call_base(connection: &Connection) -> Result<i64> {
    let largest = "SELECT coalesce(max(call_id), 0) FROM";
    let last: i64 = connection.query_row(
        &format!("SELECT max(({largest} call), ({largest} open_call), ({largest} error_detail))"),
        [],
        |row| row.get(0),
    )?;
    if last > i64::MAX / 2 {
        bail!("its call numbers are used up");
    }
    Ok(integer(
        last.unsigned_abs().next_multiple_of(CALL_BASE_STEP),
    ))
}

/// Makes sure that functions are in the file, and gives back their numbers.
///
/// # Errors
/// Where SQLite can't write.
pub(super) fn insert_functions(
    connection: &Connection,
    functions: &[Function],
) -> Result<Vec<i64>> {
    let mut ids = Vec::with_capacity(functions.len());
    // The update changes nothing; without it, RETURNING would be silent about a known function.
    let mut insert = connection.prepare_cached(
        "INSERT INTO function (path, file, line) VALUES (?1, ?2, ?3)
         ON CONFLICT (path, file, line) DO UPDATE SET line = line RETURNING function_id",
    )?;
    for function in functions {
        let values = params![function.path, function.file, function.line];
        ids.push(insert.query_row(values, |row| row.get(0))?);
    }
    Ok(ids)
}
