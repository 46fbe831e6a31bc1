//! What can be read of a damaged file, as a new file.
//!
//! The tables are copied as far as they can be read ([`copy`](super::copy)). The sums are computed anew,
//! and what is missing then is counted as lost.
//!
//! The target goes on meanwhile, so it is done in haste: the new file is nobody's before it is complete,
//! and is brought to disk once, at the end. A crash before that leaves the damaged file as it was.

use std::fmt;
use std::path::Path;

use anyhow::Result;
use rusqlite::{Connection, params};

use super::copy::copy_tables;
use super::file::DAMAGED;
use super::{log, mend, opened, orphans, sums, texts};
use crate::event::unix_ns;

/// More calls than any session has: a thousand such sessions can still be added up.
const MOST_CALLS: i64 = 1 << 53;

/// What of a file could not be saved.
#[derive(Debug)]
pub struct Lost {
    /// Calls that are in the new file no more.
    calls: u64,
    /// Texts that have `�` where bytes were none.
    texts: u64,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "what could be read was copied, {} calls are lost",
            self.calls
        )?;
        match self.texts {
            0 => Ok(()),
            1 => write!(f, ", and 1 text was damaged"),
            texts => write!(f, ", and {texts} texts were damaged"),
        }
    }
}

/// Makes the file `to` of what can be read of the file `from`, which stays, but for a header or a schema
/// that is none, and a damaged log, of which it gets the pages.
///
/// # Errors
/// Where `to` can't be written.
pub fn salvage(from: &Path, to: &Path) -> Result<Lost> {
    // SQLite gives a meaning of its own to some names.
    let from = &std::path::absolute(from)?;
    let mut new = opened::create(to)?;
    if !log::is_sound(from)? {
        log::merge(from)?;
    }
    mend::header(from, to)?;
    mend::length(from)?;
    mend::schema(from, &new, to)?;
    copy_tables(from, &mut new)?;
    let transaction = new.transaction()?;
    let texts = texts::repair(&transaction)?;
    orphans::give_sessions(&transaction)?;
    let calls = correct_sums(&transaction)?;
    orphans::give_functions(&transaction)?;
    transaction.commit()?;
    opened::finish(new, to)?;
    Ok(Lost { calls, texts })
}

/// Computes sums from rows. What the old sums had more is lost, and recorded; gives back how much.
fn correct_sums(connection: &Connection) -> Result<u64> {
    // Damage makes sums larger than any number.
    connection.execute_batch(&format!(
        "CREATE TEMP TABLE old AS
           SELECT session_id, CAST(min(total(calls), {MOST_CALLS}) AS INTEGER) AS calls
           FROM function_stat GROUP BY 1"
    ))?;
    sums::compute(connection)?;
    connection.execute_batch(
        "CREATE TEMP TABLE missing AS
           SELECT session_id, calls - (SELECT coalesce(sum(calls), 0) FROM function_stat s
             WHERE s.session_id = old.session_id) AS calls
           FROM old",
    )?;
    connection.execute(
        "INSERT INTO lost_call SELECT session_id, ?1, calls, ?2 FROM missing WHERE calls > 0",
        params![unix_ns(), DAMAGED],
    )?;
    let lost: i64 = connection.query_row(
        "SELECT coalesce(sum(calls), 0) FROM missing WHERE calls > 0",
        [],
        |row| row.get(0),
    )?;
    connection.execute_batch("DROP TABLE old; DROP TABLE missing")?;
    Ok(lost.unsigned_abs())
}
