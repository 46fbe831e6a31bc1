//! The rows of a file, as far as the trees are compared with them.

use crate::database::Database;

/// One row of the view `calls`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its number.
    pub id: i64,
    /// That of its parent.
    pub parent: Option<i64>,
    /// The thread that ended the call, or began it where it did not end.
    pub tid: u32,
    /// Full path.
    pub function: String,
    /// `CLOCK_MONOTONIC` nanoseconds.
    pub start_ns: i64,
    /// `CLOCK_MONOTONIC` nanoseconds.
    pub end_ns: i64,
    /// Nanoseconds outside of the calls that it made.
    pub self_ns: i64,
    /// How it ended.
    pub outcome: String,
    /// The message of its error.
    pub error: Option<String>,
    /// Its fields, as a JSON object.
    pub fields: Option<String>,
    /// Items that a stream or iterator gave.
    pub items: Option<u32>,
    /// How its time was split, where it is polled.
    pub polls: Option<Polls>,
}

/// How the time of a call was split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Polls {
    /// Polls.
    pub polls: i64,
    /// Nanoseconds in them.
    pub polled_ns: i64,
    /// Nanoseconds in which it had been woken and was not polled.
    pub ready_ns: i64,
    /// The other nanoseconds.
    pub suspended_ns: i64,
}

impl Row {
    /// Whether the call ended in the session.
    pub fn ended(&self) -> bool {
        !matches!(self.outcome.as_str(), "unfinished" | "target_died")
    }
}

/// All rows of a file.
///
/// # Panics
/// Where it holds none of that form.
pub fn rows(database: &Database) -> Vec<Row> {
    database.map(
        "SELECT call_id, parent_id, tid, function, start_ns, duration_ns, self_ns, outcome, error,
           fields, items, polls, polled_ns, ready_ns, suspended_ns
         FROM calls",
        |row| {
            let start_ns: i64 = row.get(4)?;
            Ok(Row {
                id: row.get(0)?,
                parent: row.get(1)?,
                tid: row.get(2)?,
                function: row.get(3)?,
                start_ns,
                end_ns: start_ns + row.get::<_, i64>(5)?,
                self_ns: row.get(6)?,
                outcome: row.get(7)?,
                error: row.get(8)?,
                fields: row.get(9)?,
                items: row.get(10)?,
                polls: match row.get(11)? {
                    Some(polls) => Some(Polls {
                        polls,
                        polled_ns: row.get(12)?,
                        ready_ns: row.get(13)?,
                        suspended_ns: row.get(14)?,
                    }),
                    None => None,
                },
            })
        },
    )
}
