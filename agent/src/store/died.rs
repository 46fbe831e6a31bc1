//! The calls in which the target died, once more: few among many, and the first that anybody asks for.

use anyhow::Result;
use rusqlite::Connection;

use super::Session;
use crate::event::{Call, Outcome};

/// Inserts those of `calls` in which the target died.
///
/// # Errors
/// Where SQLite can't write, or a number is there already.
pub fn insert(connection: &Connection, session: &Session, calls: &[Call]) -> Result<()> {
    let died = calls
        .iter()
        .filter(|call| call.outcome == Outcome::TargetDied);
    let mut insert = connection.prepare_cached("INSERT INTO died (call_id) VALUES (?1)")?;
    for call in died {
        insert.execute([session.call(call.id)])?;
    }
    Ok(())
}
