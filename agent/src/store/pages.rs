//! What is wrong with the pages and the indexes of a file, as SQLite finds it.

use rusqlite::Connection;

/// The first thing that is wrong, in SQLite's words; all pages are read. `None` where nothing is.
///
/// # Errors
/// Where they can't be read at all.
pub fn wrong(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let check = "PRAGMA integrity_check(1)";
    let said: String = connection.query_row(check, [], |row| row.get(0))?;
    // A line before it names the database.
    let what = said.lines().next_back().unwrap_or_default();
    Ok((said != "ok").then(|| what.to_owned()))
}
