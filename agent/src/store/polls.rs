//! Polls of the calls that have any, and their sums per function.

use std::collections::HashMap;

use anyhow::Result;
use rusqlite::{Connection, params};

use super::{Session, integer};
use crate::event::{Call, CallPolls};

/// Sums over polled calls of one function.
#[derive(Debug, Default)]
struct Sums {
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
    add_sums(connection, session, &sums(calls, polls))
}

/// By index of the function.
fn sums(calls: &[Call], polls: &[CallPolls]) -> HashMap<u32, Sums> {
    let of_call: HashMap<u64, &CallPolls> = polls.iter().map(|polls| (polls.call, polls)).collect();
    let mut sums: HashMap<u32, Sums> = HashMap::new();
    for call in calls {
        if let Some(polls) = of_call.get(&call.id) {
            sums.entry(call.function).or_default().add(call, polls);
        }
    }
    sums
}

impl Sums {
    fn add(&mut self, call: &Call, polls: &CallPolls) {
        let in_turns_ns = polls.polled_ns.saturating_add(polls.ready_ns);
        self.calls += 1;
        self.polls = self.polls.saturating_add(polls.polls);
        self.polled_ns = self.polled_ns.saturating_add(polls.polled_ns);
        self.ready_ns = self.ready_ns.saturating_add(polls.ready_ns);
        let suspended_ns = call.duration_ns.saturating_sub(in_turns_ns);
        self.suspended_ns = self.suspended_ns.saturating_add(suspended_ns);
    }
}

fn add_sums(connection: &Connection, session: &Session, sums: &HashMap<u32, Sums>) -> Result<()> {
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
    for (function, sums) in sums {
        upsert.execute(params![
            session.function(*function)?,
            integer(sums.calls),
            integer(sums.polls),
            integer(sums.polled_ns),
            integer(sums.ready_ns),
            integer(sums.suspended_ns),
        ])?;
    }
    Ok(())
}
