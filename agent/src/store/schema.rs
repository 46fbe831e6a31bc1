//! The tables and views, and how a file of an older version becomes one of this version.

use anyhow::{Context as _, Result};
use rusqlite::Connection;

/// `application_id` of every file of ours: `exos` in ASCII.
pub const APPLICATION_ID: i32 = 0x6578_6f73;

/// What leads from each version (`user_version`) to the next, beginning with an empty file.
const MIGRATIONS: &[&str] = &[concat!(
    include_str!("tables.sql"),
    include_str!("views.sql")
)];

/// Version of the files that this program writes; it reads them and all older ones.
pub const VERSION: i32 = MIGRATIONS.len() as i32;

/// Brings the file up to [`VERSION`], all of it or nothing.
///
/// # Errors
/// Where SQLite can't read or write the file.
pub fn migrate(connection: &mut Connection) -> Result<()> {
    let version: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let done = usize::try_from(version).context("the file's version is negative")?;
    let transaction = connection.transaction()?;
    for migration in MIGRATIONS.iter().skip(done) {
        transaction.execute_batch(migration)?;
    }
    if done < MIGRATIONS.len() {
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    transaction.commit()?;
    Ok(())
}
