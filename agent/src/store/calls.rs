//! The hot path: rows of `call`.

use std::sync::LazyLock;

use anyhow::Result;
use rusqlite::{Connection, Statement, params};

use super::{Session, integer};
use crate::event::{Call, Outcome};

/// Rows that one statement inserts. More cost more to bind than they save.
const ROWS: usize = 64;
/// Parameters of one row.
const COLUMNS: usize = 8;

const INSERT: &str = "INSERT INTO call (call_id, parent_step, function_id, tid, start, duration_ns, \
                      self_ns, outcome) VALUES ";
const ROW: &str = "(?,?,?,?,?,?,?,?)";

static INSERT_ONE: LazyLock<String> = LazyLock::new(|| format!("{INSERT}{ROW}"));
static INSERT_ROWS: LazyLock<String> =
    LazyLock::new(|| format!("{INSERT}{}", [ROW; ROWS].join(",")));

/// Inserts calls, in the order of their numbers, and those that failed once more into `failed`.
///
/// # Errors
/// Where SQLite can't write, a number is there already, or a function is not the session's.
pub fn insert(connection: &Connection, session: &Session, calls: &[Call]) -> Result<()> {
    let mut calls: Vec<&Call> = calls.iter().collect();
    // Nearly all of them then go to the end of the table.
    calls.sort_unstable_by_key(|call| call.id);
    let (groups, rest) = calls.as_chunks::<ROWS>();
    let mut insert = connection.prepare_cached(&INSERT_ROWS)?;
    for group in groups {
        insert_group(&mut insert, session, group)?;
    }
    let mut insert = connection.prepare_cached(&INSERT_ONE)?;
    for call in rest {
        insert_group(&mut insert, session, &[call])?;
    }
    insert_items(connection, session, &calls)?;
    insert_failed(connection, session, &calls)
}

fn insert_group(insert: &mut Statement<'_>, session: &Session, calls: &[&Call]) -> Result<()> {
    for (row, call) in calls.iter().enumerate() {
        bind(insert, row * COLUMNS, session, call)?;
    }
    insert.raw_execute()?;
    Ok(())
}

/// Binds one row to the parameters after `before`.
#[inline]
fn bind(insert: &mut Statement<'_>, before: usize, session: &Session, call: &Call) -> Result<()> {
    let step = call
        .parent
        .map(|parent| integer(call.id).wrapping_sub(integer(parent)));
    let inner = (call.self_ns != call.duration_ns).then(|| integer(call.self_ns));
    let start = integer(call.start_ns) - session.started_ns;
    insert.raw_bind_parameter(before + 1, session.call(call.id))?;
    insert.raw_bind_parameter(before + 2, step)?;
    insert.raw_bind_parameter(before + 3, session.function(call.function)?)?;
    insert.raw_bind_parameter(before + 4, call.tid)?;
    insert.raw_bind_parameter(before + 5, start)?;
    insert.raw_bind_parameter(before + 6, integer(call.duration_ns))?;
    insert.raw_bind_parameter(before + 7, inner)?;
    insert.raw_bind_parameter(before + 8, call.outcome as u8)?;
    Ok(())
}

fn insert_items(connection: &Connection, session: &Session, calls: &[&Call]) -> Result<()> {
    let mut insert =
        connection.prepare_cached("INSERT INTO call_items (call_id, items) VALUES (?1, ?2)")?;
    for call in calls {
        if let Some(items) = call.items {
            insert.execute(params![session.call(call.id), items])?;
        }
    }
    Ok(())
}

fn insert_failed(connection: &Connection, session: &Session, calls: &[&Call]) -> Result<()> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO failed (call_id, parent_id, function_id, end_ns) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for call in calls {
        if matches!(call.outcome, Outcome::Err | Outcome::Panic) {
            let end_ns = integer(call.start_ns.saturating_add(call.duration_ns));
            let parent = call.parent.map(|parent| session.call(parent));
            let function = session.function(call.function)?;
            insert.execute(params![session.call(call.id), parent, function, end_ns])?;
        }
    }
    Ok(())
}
