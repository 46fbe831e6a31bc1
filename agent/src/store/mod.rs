//! The store: the one writer of a session's file.
//!
//! A file is one SQLite database ([`schema`]); any current SQLite can read it while it is written.
//! Every [`Batch`](crate::event::Batch) is one transaction ([`write`]): all of it is in the file or
//! none, and whoever gets an error may hand in the same batch again. A file may hold several
//! sessions: their calls keep apart because each session's numbers begin above those of the last.
//!
//! Every message has a number, and its transaction writes it down: one that comes again is passed
//! over. So whatever was cut short can be handed in once more, also from the spool of an agent that
//! is no more ([`recover`]).
//!
//! [`mod@file`] guards what is there before SQLite touches it; [`session`] describes a session.

pub mod fault;
pub mod file;
pub mod recover;
pub mod replace;
pub mod schema;
pub mod session;

mod calls;
mod copy;
mod counts;
mod details;
mod died;
mod durations;
mod fields;
pub mod log;
mod mend;
mod open_calls;
mod opened;
mod orphans;
pub mod pages;
mod polls;
mod salvage;
mod samples;
mod sessions;
mod stats;
mod sums;
mod tally;
#[cfg(test)]
pub(crate) mod tests;
pub mod texts;
mod write;

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use rusqlite::{TransactionBehavior, params};

use crate::event::{Function, unix_ns};
use crate::spool::Place;
use fault::Fault;
use file::Claim;
use opened::Opened;
pub use session::{ProcessInfo, SessionEnd, SessionInfo};
use sessions::{Before, Session, insert_functions};

/// The writer of one session.
pub struct Store {
    opened: Opened,
    session: Session,
    memory: write::Memory,
    /// Something of the session besides its functions and process is in the file.
    written: bool,
    /// What must be in the file whatever becomes of it.
    info: SessionInfo,
    functions: Vec<Function>,
    /// Calls of the session that were written.
    stored: i64,
    seen: replace::Seen,
    /// Sessions of the file that had been cut short and have got an end, in sentences.
    recovered: Vec<String>,
}

/// SQLite's integers are signed: what is larger becomes the largest.
fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

impl Store {
    /// Creates the file with a session in it or, where `path` is a file of ours, adds a session.
    /// Sessions in it that were cut short get what their spools hold, and an end.
    ///
    /// # Errors
    /// One sentence, where the path holds anything else, a file of a newer version, or one that is
    /// being written, or where it can't be written. Nothing is touched then.
    pub fn open(path: &Path, info: SessionInfo) -> Result<Self> {
        let claim = Arc::new(Claim::new(path)?);
        let shown = path.display();
        if !claim.created && !log::is_sound(&claim.path)? {
            bail!(
                "can't add a session to '{shown}': its log is damaged: `exoscope recover {shown}` saves what \
                 can be read"
            );
        }
        Self::begin(&claim, &info).map_err(|error| {
            if claim.created {
                claim.remove();
            }
            let damaged = !claim.created && fault::fault(&error) == Fault::Damaged;
            error.context(match damaged {
                true => format!(
                    "can't add a session to '{shown}', which is damaged (`exoscope recover {shown}` saves \
                     what can be read)"
                ),
                false => format!("can't write '{shown}': choose another file with --output"),
            })
        })
    }

    fn begin(claim: &Arc<Claim>, info: &SessionInfo) -> Result<Self> {
        let (mut opened, recovered) =
            recover::finish_interrupted(Opened::new(claim)?, recover::SpoolGone::Refuse)?;
        let session = Session::begin(&mut opened.connection, info, &claim.path)?;
        Ok(Self {
            opened,
            session,
            memory: write::Memory::default(),
            written: false,
            info: info.clone(),
            functions: Vec::new(),
            stored: 0,
            seen: replace::Seen::default(),
            recovered,
        })
    }

    /// What was done about sessions that had been cut short, in sentences.
    pub fn recovered(&self) -> &[String] {
        &self.recovered
    }

    /// Where what waits for the file may be spooled.
    pub fn spool(&self) -> &Place {
        &self.session.spool
    }

    /// Absolute path of the file.
    pub fn file_path(&self) -> &Path {
        &self.opened.claim.path
    }

    /// Forgets what a write may have left behind that was cut short within this process.
    pub fn forget(&mut self) {
        self.memory.forget();
    }

    /// Opens the file anew, where that may help against `error`.
    ///
    /// # Errors
    /// Where it can't be opened; then nothing has changed.
    pub fn reopen(&mut self, error: &anyhow::Error) -> Result<()> {
        if !fault::reopening_helps(error) {
            return Ok(());
        }
        let opened = Opened::new(&self.opened.claim)?;
        let message = opened.connection.query_row(
            "SELECT message FROM writing WHERE session_id = ?1",
            [self.session.id],
            |row| row.get(0),
        )?;
        self.opened = opened;
        // It may be that a commit failed only in its last step.
        self.session.message = message;
        self.memory.forget();
        Ok(())
    }

    /// Describes the session's target; a second call replaces what the first said.
    ///
    /// # Errors
    /// Where the file can't be written.
    pub fn add_process(&mut self, process: &ProcessInfo) -> Result<()> {
        self.opened
            .connection
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
                format!("can't write the target to '{}'", self.file_path().display())
            })?;
        Ok(())
    }

    /// Adds functions to the session: the first one gets the index after the last one there is.
    ///
    /// # Errors
    /// Where the file can't be written; then none is added.
    pub fn add_functions(&mut self, functions: &[Function]) -> Result<()> {
        let added = self.insert_functions(functions).with_context(|| {
            format!("can't write functions to '{}'", self.file_path().display())
        })?;
        self.session.functions.extend(added);
        self.functions.extend_from_slice(functions);
        Ok(())
    }

    fn insert_functions(&mut self, functions: &[Function]) -> Result<Vec<i64>> {
        let connection = &mut self.opened.connection;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let added = insert_functions(&transaction, functions)?;
        transaction.commit()?;
        Ok(added)
    }

    /// Bytes of the file with its write-ahead log.
    pub fn size_bytes(&self) -> u64 {
        self.opened.claim.size_bytes()
    }

    /// Ends the session and, unless others are reading it, leaves a single file behind.
    ///
    /// # Errors
    /// Where the end can't be written; it may be tried again. Readers are no reason to fail.
    pub fn finish(&mut self, end: &SessionEnd) -> Result<()> {
        self.end(end)
            .with_context(|| format!("can't write the end to '{}'", self.file_path().display()))?;
        self.opened.leave_single_file();
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
            let ended_unix_ns = unix_ns();
            let reason = "attaching failed".to_owned();
            return self.finish(&SessionEnd {
                ended_unix_ns,
                reason,
                exit_status: None,
            });
        }
        let claim = Arc::clone(&self.opened.claim);
        if claim.created {
            // Closed first: SQLite would write its log back to the file that is removed.
            drop(self.opened);
            claim.remove();
            return Ok(());
        }
        self.take_back()
            .with_context(|| format!("can't remove the session from '{}'", claim.path.display()))?;
        self.opened.leave_single_file();
        Ok(())
    }

    fn end(&mut self, end: &SessionEnd) -> Result<()> {
        let connection = &mut self.opened.connection;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        self.memory.durations.write(&transaction, &self.session)?;
        transaction.execute(
            "UPDATE session SET ended_unix_ns = ?2, end_reason = ?3 WHERE session_id = ?1",
            params![self.session.id, end.ended_unix_ns, end.reason],
        )?;
        transaction.execute(
            "UPDATE process SET exit_status = coalesce(?2, exit_status) WHERE session_id = ?1",
            params![self.session.id, end.exit_status],
        )?;
        transaction.execute("DELETE FROM open_call", [])?;
        transaction.execute(
            "DELETE FROM writing WHERE session_id = ?1",
            [self.session.id],
        )?;
        transaction.commit()?;
        self.memory.durations.written();
        Ok(())
    }

    fn take_back(&mut self) -> rusqlite::Result<()> {
        let connection = &mut self.opened.connection;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for table in ["session", "process", "writing"] {
            let sql = format!("DELETE FROM {table} WHERE session_id = ?1");
            transaction.execute(&sql, [self.session.id])?;
        }
        let before = self.session.before.functions;
        transaction.execute("DELETE FROM function WHERE function_id > ?1", [before])?;
        transaction.commit()
    }
}
