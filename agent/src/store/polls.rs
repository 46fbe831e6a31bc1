//! Polls of the calls that have any.

use anyhow::Result;
use rusqlite::{Connection, params};

use super::{Session, integer};
use crate::event::CallPolls;

/// Inserts polls.
///
/// # Errors
/// Where SQLite can't write, or a call has some already.
pub fn insert(connection: &Connection, session: &Session, polls: &[CallPolls]) -> Result<()> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO call_polls (call_id, polls, polled_ns, ready_ns) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for polls in polls {
        insert.execute(params![
            session.call(polls.call),
            integer(polls.polls),
            integer(polls.polled_ns),
            integer(polls.ready_ns)
        ])?;
    }
    Ok(())
}
