//! The tables and views, and how a file of an older version becomes one of this version.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use anyhow::{Context as _, Result, bail, ensure};
use rusqlite::{Connection, OptionalExtension as _};

/// `application_id` of every file of ours: `exos` in ASCII.
pub const APPLICATION_ID: i32 = 0x6578_6f73;

/// What leads from each version (`user_version`) to the next, beginning with an empty file.
const MIGRATIONS: &[&str] = &[concat!(
    include_str!("tables.sql"),
    include_str!("views.sql")
)];

/// Version of the files that this program writes; it reads them and all older ones.
pub const VERSION: i32 = MIGRATIONS.len() as i32;

/// How each table and view is defined, by name.
pub type Definitions = BTreeMap<String, String>;

/// Fails where a table or view of ours is not as it is made: whoever wrote such a file could have us
/// compute whatever they like, for ever. What a user added stays what it is.
///
/// # Errors
/// One sentence, or where SQLite can't read.
pub fn check(connection: &Connection) -> Result<()> {
    let version: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let steps = usize::try_from(version).unwrap_or(0);
    ensure!(steps > 0, "no exoscope writes file version {version}");
    let found = definitions(connection)?;
    for (name, right) in of_version(steps)? {
        if found.get(name) != Some(right) {
            bail!("its table or view '{name}' is not as exoscope makes it");
        }
    }
    Ok(())
}

/// Whether a file has what this version makes, and nothing else.
///
/// # Errors
/// Where SQLite can't read.
pub fn is_current(connection: &Connection) -> Result<bool> {
    Ok(definitions(connection)? == *of_version(MIGRATIONS.len())?)
}

/// What a file has that was brought up to a version.
fn of_version(steps: usize) -> Result<&'static Definitions> {
    static RIGHT: [OnceLock<Definitions>; MIGRATIONS.len()] =
        [const { OnceLock::new() }; MIGRATIONS.len()];
    let place = &RIGHT[steps.min(MIGRATIONS.len()) - 1];
    if let Some(right) = place.get() {
        return Ok(right);
    }
    let connection = Connection::open_in_memory()?;
    for migration in MIGRATIONS.iter().take(steps) {
        connection.execute_batch(migration)?;
    }
    let right = definitions(&connection)?;
    Ok(place.get_or_init(|| right))
}

/// The tables of the current version, by name.
///
/// # Errors
/// Where SQLite has no memory.
pub fn tables() -> Result<impl Iterator<Item = &'static str>> {
    let all = of_version(MIGRATIONS.len())?.iter();
    Ok(all
        .filter_map(|(name, definition)| definition.starts_with("table ").then_some(name.as_str())))
}

/// Fails where writing would have something else done.
///
/// # Errors
/// One sentence, or where SQLite can't read.
pub fn check_no_triggers(connection: &Connection) -> Result<()> {
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'trigger'";
    let trigger = connection.query_row(sql, [], |row| row.get::<_, String>(0));
    if let Some(name) = trigger.optional()? {
        bail!("it has the trigger '{name}', which exoscope would set off: drop it first");
    }
    Ok(())
}

/// What a file has, defined in words with one space between them and without comments.
///
/// # Errors
/// Where SQLite can't read.
pub fn definitions(connection: &Connection) -> Result<Definitions> {
    let sql = "SELECT name, type || ' ' || sql FROM sqlite_schema WHERE sql IS NOT NULL";
    let mut select = connection.prepare(sql)?;
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))?;
    let plain = |(name, sql): (String, String)| {
        let lines = sql
            .lines()
            .map(|line| line.split_once("--").map_or(line, |(sql, _)| sql));
        let words = lines.flat_map(str::split_ascii_whitespace);
        (name, words.collect::<Vec<_>>().join(" "))
    };
    let all = rows.map(|row| Ok(plain(row?)));
    all.collect()
}

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
