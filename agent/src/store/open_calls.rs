//! The open calls: each look replaces the last one, and only the difference is written.

use anyhow::Result;
use rusqlite::{Connection, params};

use super::Session;
use crate::event::OpenCall;

/// Numbers in the file of the calls that are in `open_call`, ascending.
pub type OpenCalls = Vec<i64>;

/// What `open_call` holds.
///
/// # Errors
/// Where SQLite can't read.
pub fn all(connection: &Connection) -> Result<OpenCalls> {
    let mut select = connection.prepare("SELECT call_id FROM open_call ORDER BY call_id")?;
    let ids = select.query_map([], |row| row.get(0))?;
    Ok(ids.collect::<rusqlite::Result<_>>()?)
}

/// Makes `open_call` hold exactly `open`; `before` is what it holds. Gives back what it holds then.
///
/// # Errors
/// Where SQLite can't write, or a function is not the session's.
pub fn replace(
    connection: &Connection,
    session: &Session,
    before: &OpenCalls,
    open: &[OpenCall],
    looked_ns: i64,
) -> Result<OpenCalls> {
    let mut open: Vec<&OpenCall> = open.iter().collect();
    open.sort_unstable_by_key(|call| call.id);
    open.dedup_by_key(|call| call.id);
    let mut insert = connection.prepare_cached(
        "INSERT INTO open_call (call_id, parent_id, function_id, tid, start_ns)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    let mut delete = connection.prepare_cached("DELETE FROM open_call WHERE call_id = ?1")?;
    let mut before = before.iter().peekable();
    for call in &open {
        let id = session.call(call.id);
        while let Some(gone) = before.next_if(|old| **old < id) {
            delete.execute([gone])?;
        }
        if before.next_if(|old| **old == id).is_none() {
            let parent = call.parent.map(|parent| session.call(parent));
            let function = session.function(call.function)?;
            let start_ns = super::integer(call.start_ns);
            insert.execute(params![id, parent, function, call.tid, start_ns])?;
        }
    }
    for gone in before {
        delete.execute([gone])?;
    }
    connection
        .prepare_cached("UPDATE session SET looked_ns = ?2 WHERE session_id = ?1")?
        .execute([session.id, looked_ns])?;
    Ok(open.iter().map(|call| session.call(call.id)).collect())
}
