//! Polls of the calls that have any, and their sums per function.

use std::collections::HashMap;

use anyhow::Result;
use rusqlite::{Connection, params};

use super::{Session, integer};
use crate::event::{Call, CallPolls};

/// Sums over polled calls of one function.
#[derive(Debug, Default)]
pub struct Sums {
    calls: u64,
    polls: u64,
    polled_ns: u64,
    ready_ns: u64,
    suspended_ns: u64,
}

/// Inserts polls of some of `calls`, and adds them to the sums.
///
/// # Errors
/// Where SQLite can't write, or a call has some already.
pub fn insert(
    connection: &Connection,
    session: &Session,
    calls: &[Call],
    polls: &[CallPolls],
) -> Result<()> {
    if polls.is_empty() {
        return Ok(());
    }
    let mut insert = connection.prepare_cached(
        "INSERT INTO call_polls (call_id, polls, polled_ns, ready_ns) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for polls in polls {
        insert.execute(params![
            session.call(polls.call),
            integer(polls.polls),
            integer(polls.polled_ns),
            integer(polls.ready_ns)
        ])?;
    }
    for (function, sums) in &sums(calls, polls) {
        sums.add_to(connection, session.function(*function)?)?;
    }
    Ok(())
}

/// By index of the function.
fn sums(calls: &[Call], polls: &[CallPolls]) -> HashMap<u32, Sums> {
    let of_call: HashMap<u64, &CallPolls> = polls.iter().map(|polls| (polls.call, polls)).collect();
    let mut sums: HashMap<u32, Sums> = HashMap::new();
    for call in calls {
        if let Some(polls) = of_call.get(&call.id) {
            let sums = sums.entry(call.function).or_default();
            sums.add(
                call.duration_ns,
                polls.polls,
                polls.polled_ns,
                polls.ready_ns,
            );
        }
    }
    sums
}

impl Sums {
    /// A call and its polls.
    pub fn add(&mut self, duration_ns: u64, polls: u64, polled_ns: u64, ready_ns: u64) {
        let in_turns_ns = polled_ns.saturating_add(ready_ns);
        self.calls += 1;
        self.polls = self.polls.saturating_add(polls);
        self.polled_ns = self.polled_ns.saturating_add(polled_ns);
        self.ready_ns = self.ready_ns.saturating_add(ready_ns);
        let suspended_ns = duration_ns.saturating_sub(in_turns_ns);
        self.suspended_ns = self.suspended_ns.saturating_add(suspended_ns);
    }

    /// Adds the sums to those of a function.
    ///
    /// # Errors
    /// Where SQLite can't write.
    pub fn add_to(&self, connection: &Connection, function: i64) -> Result<()> {
        // A sum that would overflow stays at the largest number.
        let mut upsert = connection.prepare_cached(
            "INSERT INTO poll_stat VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT DO UPDATE SET
               calls = calls + excluded.calls,
               polls = min(polls + excluded.polls, 9223372036854775807),
               polled_ns = min(polled_ns + excluded.polled_ns, 9223372036854775807),
               ready_ns = min(ready_ns + excluded.ready_ns, 9223372036854775807),
               suspended_ns = min(suspended_ns + excluded.suspended_ns, 9223372036854775807)",
        )?;
        upsert.execute(params![
            function,
            integer(self.calls),
            integer(self.polls),
            integer(self.polled_ns),
            integer(self.ready_ns),
            integer(self.suspended_ns),
        ])?;
        Ok(())
    }
}
