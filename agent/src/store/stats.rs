//! Samples of the target: a row of `process_stat` for each, and rows of `thread_stat` for the threads
//! that ran since the last one. What a thread that did not run would say again, the view computes.

use std::sync::LazyLock;

use anyhow::Result;
use rusqlite::types::Value;
use rusqlite::{Connection, params, params_from_iter};

use super::{Before, Session, integer};
use crate::stats::sample::{Figures, Snapshot, ThreadStep};

/// Numbers of the file that are taken.
#[derive(Clone, Copy, Debug)]
pub struct Numbers {
    /// Number of the last sample.
    sample: i64,
    /// Added to a thread's number in the session.
    thread_base: i64,
}

/// Writes samples. `before` is what the last call gave back; gives back what the next one needs.
///
/// # Errors
/// Where SQLite can't write.
pub fn insert(
    connection: &Connection,
    session: &Session,
    before: Option<Numbers>,
    samples: &[Snapshot],
) -> Result<Option<Numbers>> {
    if samples.is_empty() {
        return Ok(before);
    }
    let mut numbers = match before {
        Some(numbers) => numbers,
        None => Numbers::of(connection, &session.before)?,
    };
    for sample in samples {
        numbers.sample += 1;
        insert_process(connection, session, numbers.sample, sample)?;
        insert_names(connection, session, numbers, &sample.threads)?;
        insert_steps(connection, numbers, &sample.threads)?;
        let mut end = connection
            .prepare_cached("UPDATE thread SET end_sample_id = ?2 WHERE thread_id = ?1")?;
        for thread in &sample.ended {
            end.execute(params![numbers.thread(*thread), numbers.sample])?;
        }
    }
    Ok(Some(numbers))
}

impl Numbers {
    /// Those of a session that has written nothing yet, or was interrupted.
    fn of(connection: &Connection, before: &Before) -> Result<Self> {
        let last = "SELECT coalesce(max(sample_id), 0) FROM process_stat";
        Ok(Self {
            sample: connection.query_row(last, [], |row| row.get(0))?,
            thread_base: before.threads + 1,
        })
    }

    fn thread(self, number: u32) -> i64 {
        self.thread_base + i64::from(number)
    }
}

fn insert_process(
    connection: &Connection,
    session: &Session,
    id: i64,
    sample: &Snapshot,
) -> Result<()> {
    let columns = Figures::COLUMNS;
    let sql = format!(
        "INSERT INTO process_stat (sample_id, session_id, at_ns, source, {}) VALUES (?, ?, ?, ?{})",
        columns.join(", "),
        ", ?".repeat(columns.len())
    );
    let first = [
        Value::Integer(id),
        Value::Integer(session.id),
        Value::Integer(integer(sample.at_ns)),
        Value::Text(sample.source.clone()),
    ];
    let figures = sample.figures.values();
    let figures =
        figures.map(|value| value.map_or(Value::Null, |value| Value::Integer(integer(value))));
    connection
        .prepare_cached(&sql)?
        .execute(params_from_iter(first.into_iter().chain(figures)))?;
    Ok(())
}

/// Writes down the threads that are new, or have a new name.
fn insert_names(
    connection: &Connection,
    session: &Session,
    numbers: Numbers,
    steps: &[ThreadStep],
) -> Result<()> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO thread (thread_id, session_id, tid, name, start_ns)
         VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE SET name = excluded.name",
    )?;
    for step in steps {
        let Some(name) = &step.name else { continue };
        insert.execute(params![
            numbers.thread(step.number),
            session.id,
            step.tid,
            name.to_string(),
            integer(step.start_ns)
        ])?;
    }
    Ok(())
}

/// Steps that one statement inserts: a statement for each takes twice as long.
const STEPS: usize = 32;
/// Columns of a step.
const STEP: usize = 6;
/// The statement for so many steps.
static INSERT_STEPS: LazyLock<String> = LazyLock::new(|| {
    let row = format!("({})", ["?"; STEP].join(","));
    format!(
        "INSERT INTO thread_stat VALUES {}",
        [&*row; STEPS].join(",")
    )
});

/// Writes the steps of a sample.
fn insert_steps(connection: &Connection, numbers: Numbers, steps: &[ThreadStep]) -> Result<()> {
    let columns = |step: &ThreadStep| -> [i64; STEP] {
        [
            numbers.thread(step.number),
            numbers.sample,
            integer(step.cpu_ns),
            integer(step.runqueue_ns),
            integer(step.switches.voluntary),
            integer(step.switches.involuntary),
        ]
    };
    let (groups, rest) = steps.as_chunks::<STEPS>();
    if !groups.is_empty() {
        let mut insert = connection.prepare_cached(&INSERT_STEPS)?;
        for group in groups {
            let values = group.iter().flat_map(columns);
            for (index, value) in values.enumerate() {
                insert.raw_bind_parameter(index + 1, value)?;
            }
            insert.raw_execute()?;
        }
    }
    let mut insert =
        connection.prepare_cached("INSERT INTO thread_stat VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    for step in rest {
        insert.execute(columns(step))?;
    }
    Ok(())
}
