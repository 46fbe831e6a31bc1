//! Text that damage has made no UTF-8. To SQLite any bytes are text; whoever reads the file wants letters.

use anyhow::Result;
use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;
use rusqlite::types::ValueRef;

use super::schema;

/// How many texts of a file are no UTF-8; all of them are read.
///
/// # Errors
/// Where the file can't be read.
pub fn count_damaged(connection: &Connection) -> Result<u64> {
    register(connection)?;
    let mut damaged = 0_i64;
    for (table, column) in columns(connection)? {
        let sql = format!("SELECT count(*) FROM {table} WHERE is_damaged({column})");
        let count: i64 = connection.query_row(&sql, [], |row| row.get(0))?;
        damaged += count;
    }
    Ok(damaged.unsigned_abs())
}

/// Puts `�` in the place of bytes that are no text. Gives back of how many texts; a row that would then
/// be there twice goes.
///
/// # Errors
/// Where the file can't be read or written.
pub fn repair(connection: &Connection) -> Result<u64> {
    register(connection)?;
    let mut damaged = 0;
    for (table, column) in columns(connection)? {
        let update = format!(
            "UPDATE OR IGNORE {table} SET {column} = as_text({column}) WHERE is_damaged({column})"
        );
        let delete = format!("DELETE FROM {table} WHERE is_damaged({column})");
        damaged += connection.execute(&update, [])? + connection.execute(&delete, [])?;
    }
    Ok(damaged as u64)
}

/// Every column of our tables that holds text, with its table.
fn columns(connection: &Connection) -> Result<Vec<(&'static str, String)>> {
    let sql = "SELECT name FROM pragma_table_info(?1) WHERE type = 'TEXT'";
    let mut select = connection.prepare(sql)?;
    let mut columns = Vec::new();
    for table in schema::tables()? {
        for column in select.query_map([table], |row| row.get(0))? {
            columns.push((table, column?));
        }
    }
    Ok(columns)
}

/// Makes `is_damaged` and `as_text` known to SQL.
fn register(connection: &Connection) -> Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function("is_damaged", 1, flags, |context| {
        Ok(matches!(context.get_raw(0), ValueRef::Text(bytes) if str::from_utf8(bytes).is_err()))
    })?;
    connection.create_scalar_function("as_text", 1, flags, |context| {
        Ok(match context.get_raw(0) {
            ValueRef::Text(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            _ => None,
        })
    })?;
    Ok(())
}
