//! Fields of calls: one JSON object a call, which a returned value may add to later.

use anyhow::Result;
use rusqlite::{Connection, params};

use super::Session;
use crate::event::Fields;

/// Inserts fields; what a call has already stays, and the new ones come after it.
///
/// # Errors
/// Where SQLite can't write.
pub fn insert(connection: &Connection, session: &Session, fields: &[Fields]) -> Result<()> {
    let mut upsert = connection.prepare_cached(
        "INSERT INTO call_fields (call_id, fields, truncated) VALUES (?1, ?2, ?3)
         ON CONFLICT DO UPDATE SET
           fields = CASE '{}' WHEN fields THEN excluded.fields WHEN excluded.fields THEN fields
             ELSE substr(fields, 1, length(fields) - 1) || ',' || substr(excluded.fields, 2) END,
           truncated = max(truncated, excluded.truncated)",
    )?;
    for fields in fields {
        upsert.execute(params![
            session.call(fields.call),
            fields.json,
            fields.truncated
        ])?;
    }
    Ok(())
}
