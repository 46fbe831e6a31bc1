//! What can be read of a damaged file, as a new file.
//!
//! The tables are copied as far as they can be read ([`copy`](super::copy)). The sums are computed anew,
//! and what is missing then is counted as lost.
//!
//! The target goes on meanwhile, so it is done in haste: the new file is nobody's before it is complete,
//! and is brought to disk once, at the end. A crash before that leaves the damaged file as it was.

use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use anyhow::Result;
use rusqlite::{Connection, params};

use super::copy::copy_tables;
use super::file::DAMAGED;
use super::opened::PAGE_BYTES;
use super::{log, opened, orphans, sums, texts};
use crate::event::unix_ns;

/// Bytes of a SQLite file's header.
const HEADER: usize = 100;
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

/// Makes the file `to` of what can be read of the file `from`, which stays, but for a header that is
/// none, and a damaged log, of which it gets the pages.
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
    repair_header(from, to)?;
    correct_length(from)?;
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

/// Lets SQLite read a file that ends before the last page that it should have.
fn correct_length(file: &Path) -> Result<()> {
    let file = File::options().read(true).write(true).open(file)?;
    let mut header = [0; HEADER];
    let pages = file.metadata()?.len() / u64::from(PAGE_BYTES);
    let there = pages > 0 && file.read_exact_at(&mut header, 0).is_ok();
    let told = u32::from_be_bytes([header[28], header[29], header[30], header[31]]);
    if there && u64::from(told) > pages {
        log::tell_pages(&file, u32::try_from(pages)?)?;
    }
    Ok(())
}

/// Gives a file that does not begin as one of ours the first page of a new one: it holds the header and
/// the root of the schema, and these are the same in all files of a version.
fn repair_header(from: &Path, new: &Path) -> Result<()> {
    let damaged = File::options().read(true).write(true).open(from)?;
    let new = File::open(new)?;
    let (mut header, mut right) = ([0; HEADER], [0; HEADER]);
    new.read_exact_at(&mut right, 0)?;
    let read = damaged.read_exact_at(&mut header, 0);
    // Magic, page size, format; application and version.
    if read.is_ok() && header[..24] == right[..24] && header[56..72] == right[56..72] {
        return Ok(());
    }
    let page = usize::from(u16::from_be_bytes([right[16], right[17]]));
    let mut first = vec![0; page];
    new.read_exact_at(&mut first, 0)?;
    let pages = damaged.metadata()?.len() / page as u64;
    first[28..32].copy_from_slice(&u32::try_from(pages)?.to_be_bytes());
    // The number of pages counts where these two are equal.
    let (change, valid_for) = (24..28, 92..96);
    first.copy_within(change, valid_for.start);
    damaged.write_all_at(&first, 0)?;
    Ok(())
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
