//! The hot path: rows of `call`.

use std::sync::LazyLock;

use anyhow::Result;
use exoscope_abi::figures::{ALL, CPU, FAULTS, MEMORY, SWITCHES};
use rusqlite::{Connection, Statement, params};

use super::{Session, integer};
use crate::event::{Call, Figures, Outcome};

/// Rows that one statement inserts. More cost more to bind than they save.
const ROWS: usize = 64;
/// Parameters of one row, without those of its figures.
const COLUMNS: usize = 8;
/// Columns of its figures.
const FIGURES: usize = 5;

const INSERT: &str = "INSERT INTO call (call_id, parent_step, function_id, tid, start, duration_ns, \
                      self_ns, outcome, runqueue_ns, blocked_ns, faults, switches, \
                      rss_delta_bytes) VALUES ";

/// What the rows of one statement have in common. While many calls are made, hardly any of them is
/// interrupted: binding zeros for all of them takes longer than having them in the statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rows {
    /// Figures of any kind.
    Any,
    /// All figures that are known, which are these, are 0.
    Quiet(u32),
}

impl Rows {
    fn of(calls: &[&Call]) -> Self {
        let known = calls[0].figures.known & ALL;
        let all_are = |call: &&Call| call.figures.known == known && is_quiet(&call.figures);
        if calls.iter().all(all_are) {
            Self::Quiet(known)
        } else {
            Self::Any
        }
    }

    /// The statement for as many rows as there are in a group, or for one.
    fn statement(self, whole_group: bool) -> &'static str {
        let index = match self {
            Self::Quiet(known) => known as usize,
            Self::Any => ALL as usize + 1,
        };
        &STATEMENTS[index][usize::from(whole_group)]
    }

    fn sql(self, rows: usize) -> String {
        let figures = match self {
            Self::Any => ["?"; FIGURES],
            Self::Quiet(known) => [CPU, CPU, FAULTS, SWITCHES, MEMORY]
                .map(|flag| if known & flag == 0 { "NULL" } else { "0" }),
        };
        let row = format!("({},{})", ["?"; COLUMNS].join(","), figures.join(","));
        format!("{INSERT}{}", vec![row; rows].join(","))
    }
}

/// Of each kind of rows, the statement for one row and that for a group.
static STATEMENTS: LazyLock<Vec<[String; 2]>> = LazyLock::new(|| {
    let kinds = (0..=ALL).map(Rows::Quiet).chain([Rows::Any]);
    kinds.map(|kind| [kind.sql(1), kind.sql(ROWS)]).collect()
});

/// Nothing happened but that time went by on a CPU.
const fn is_quiet(figures: &Figures) -> bool {
    figures.runqueue_ns | figures.blocked_ns | figures.rss_delta_bytes as u64 == 0
        && figures.minor_faults | figures.major_faults == 0
        && figures.voluntary_switches | figures.involuntary_switches == 0
}

/// Inserts calls, in the order of their numbers, and those that failed once more into `failed`.
///
/// # Errors
/// Where SQLite can't write, a number is there already, or a function is not the session's.
pub fn insert(connection: &Connection, session: &Session, calls: &[Call]) -> Result<()> {
    let mut calls: Vec<&Call> = calls.iter().collect();
    // Nearly all of them then go to the end of the table.
    calls.sort_unstable_by_key(|call| call.id);
    let (groups, rest) = calls.as_chunks::<ROWS>();
    for group in groups {
        insert_group(connection, session, group)?;
    }
    for call in rest {
        insert_group(connection, session, &[call])?;
    }
    insert_items(connection, session, &calls)?;
    insert_failed(connection, session, &calls)
}

/// Inserts a whole group, or one row.
fn insert_group(connection: &Connection, session: &Session, calls: &[&Call]) -> Result<()> {
    let rows = Rows::of(calls);
    let mut insert = connection.prepare_cached(rows.statement(calls.len() == ROWS))?;
    let columns = match rows {
        Rows::Any => COLUMNS + FIGURES,
        Rows::Quiet(_) => COLUMNS,
    };
    for (row, call) in calls.iter().enumerate() {
        bind(&mut insert, row * columns, session, call)?;
        if rows == Rows::Any {
            bind_figures(&mut insert, row * columns + COLUMNS, &call.figures)?;
        }
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

/// Likewise the figures of a row.
fn bind_figures(insert: &mut Statement<'_>, before: usize, figures: &Figures) -> Result<()> {
    let known = |flag, figure: i64| (figures.known & flag != 0).then_some(figure);
    let both = |low: u32, high: u32| i64::from(high.min(i32::MAX as u32)) << 32 | i64::from(low);
    let faults = both(figures.minor_faults, figures.major_faults);
    let switches = both(figures.voluntary_switches, figures.involuntary_switches);
    insert.raw_bind_parameter(before + 1, known(CPU, integer(figures.runqueue_ns)))?;
    insert.raw_bind_parameter(before + 2, known(CPU, integer(figures.blocked_ns)))?;
    insert.raw_bind_parameter(before + 3, known(FAULTS, faults))?;
    insert.raw_bind_parameter(before + 4, known(SWITCHES, switches))?;
    insert.raw_bind_parameter(before + 5, known(MEMORY, figures.rss_delta_bytes))?;
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
