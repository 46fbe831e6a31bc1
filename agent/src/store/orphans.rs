//! Sessions and functions that can't be read any more, though calls of theirs can: calls without them
//! would be in no view.

use anyhow::Result;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::integer;
use super::sessions::CALL_BASE_STEP;

/// What stands where something is not known any more.
const LOST: &str = "lost: the file was damaged";

/// Gives every call a session that tells that its own is lost.
///
/// # Errors
/// Where the file can't be read or written.
pub fn give_sessions(connection: &Connection) -> Result<()> {
    while let Some(first) = first_without_session(connection)? {
        add_session(connection, first)?;
    }
    Ok(())
}

/// Gives every call of which there are sums a function that tells that its own is lost.
///
/// # Errors
/// Where the file can't be read or written.
pub fn give_functions(connection: &Connection) -> Result<()> {
    connection.execute(
        "INSERT INTO function
         SELECT DISTINCT function_id, '(function ' || function_id || ', ' || ?1 || ')', '', 0
         FROM duration_bucket
         WHERE function_id NOT IN (SELECT function_id FROM function)",
        [LOST],
    )?;
    Ok(())
}

/// Looks into the gaps between sessions only.
fn first_without_session(connection: &Connection) -> Result<Option<i64>> {
    let mut sessions =
        connection.prepare("SELECT call_base, call_last FROM session ORDER BY call_base")?;
    let mut call = connection.prepare(
        "SELECT call_id FROM call WHERE call_id > ?1 AND call_id <= ?2 ORDER BY call_id LIMIT 1",
    )?;
    let mut first_between = |after: i64, last: i64| -> Result<Option<i64>> {
        Ok(call.query_row([after, last], |row| row.get(0)).optional()?)
    };
    let mut seen = 0;
    let mut rows = sessions.query([])?;
    while let Some(row) = rows.next()? {
        if let Some(first) = first_between(seen, row.get(0)?)? {
            return Ok(Some(first));
        }
        seen = seen.max(row.get(1)?);
    }
    first_between(seen, i64::MAX)
}

/// Adds a session whose calls begin with `first`, or a little before, and go on up to the next session.
/// Its number is the one that other tables know and the table of sessions does not.
fn add_session(connection: &Connection, first: i64) -> Result<()> {
    let step = integer(CALL_BASE_STEP);
    let base = (first - 1).max(0) / step * step;
    connection.execute(
        "INSERT INTO session (session_id, started_unix_ns, started_ns, host, kernel, agent_version,
           options, call_base, call_last)
         VALUES (
           coalesce(
             (SELECT min(session_id) FROM (
                SELECT session_id FROM function_stat UNION SELECT session_id FROM kernel_count
                UNION SELECT session_id FROM writing)
              WHERE session_id NOT IN (SELECT session_id FROM session)),
             (SELECT max(session_id) + 1 FROM session),
             1),
           0, 0, ?1, ?1, ?1, ?1,
           max(?2, coalesce((SELECT max(call_last) FROM session WHERE call_last < ?3), 0)),
           coalesce((SELECT min(call_base) FROM session WHERE call_base >= ?3), ?4))",
        params![LOST, base, first, i64::MAX],
    )?;
    Ok(())
}
