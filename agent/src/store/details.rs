//! What errors said. Most errors of a program say one of a few things, so texts are kept apart.

use std::collections::HashMap;

use anyhow::Result;
use rusqlite::{Connection, params};

use super::Session;
use crate::event::ErrorDetail;

/// Texts that are remembered. Programs with more than that write some of them again.
const REMEMBERED: usize = 4096;

/// The `text_id` of texts that are in the file.
#[derive(Debug, Default)]
pub struct Texts(HashMap<String, i64>);

impl Texts {
    /// Forgets all texts: rows of a transaction that was rolled back are no more.
    pub fn forget(&mut self) {
        self.0.clear();
    }

    /// The `text_id` of a text, written if need be; none for an empty text, which says nothing.
    fn id(&mut self, connection: &Connection, text: &str) -> Result<Option<i64>> {
        if text.is_empty() {
            return Ok(None);
        }
        if let Some(id) = self.0.get(text) {
            return Ok(Some(*id));
        }
        connection
            .prepare_cached("INSERT INTO text (text) VALUES (?1)")?
            .execute([text])?;
        let id = connection.last_insert_rowid();
        if self.0.len() == REMEMBERED {
            self.forget();
        }
        self.0.insert(text.to_owned(), id);
        Ok(Some(id))
    }
}

/// Inserts details; a second error of the same call replaces the first, and so does a panic.
///
/// # Errors
/// Where SQLite can't write.
pub fn insert(
    connection: &Connection,
    session: &Session,
    texts: &mut Texts,
    errors: &[ErrorDetail],
) -> Result<()> {
    let mut insert = connection.prepare_cached(
        "INSERT OR REPLACE INTO error_detail (call_id, panic, kind_id, message_id, truncated)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for error in errors {
        let kind = texts.id(connection, &error.kind)?;
        let message = texts.id(connection, &error.message)?;
        insert.execute(params![
            session.call(error.call),
            error.panic,
            kind,
            message,
            error.truncated
        ])?;
    }
    Ok(())
}
