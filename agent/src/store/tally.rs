//! Sums of a batch per function, added to those in the file by the same commit.

use std::collections::HashMap;

use anyhow::Result;
use exoscope_abi::figures::{CPU, FAULTS};
use rusqlite::{Connection, params};

use super::{Session, integer};
use crate::event::{Call, Outcome};

/// A sum that would overflow stays at the largest number.
const UPSERT: &str =
    "INSERT INTO function_stat VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13,
       ?14, ?15, ?16, ?17, ?18, ?19, ?20)
     ON CONFLICT DO UPDATE SET
       calls = calls + excluded.calls, ok = ok + excluded.ok, err = err + excluded.err,
       panic = panic + excluded.panic, cancelled = cancelled + excluded.cancelled,
       unfinished = unfinished + excluded.unfinished,
       target_died = target_died + excluded.target_died,
       total_ns = min(total_ns + excluded.total_ns, 9223372036854775807),
       self_ns = min(self_ns + excluded.self_ns, 9223372036854775807),
       min_ns = min(min_ns, excluded.min_ns), max_ns = max(max_ns, excluded.max_ns),
       cpu_calls = cpu_calls + excluded.cpu_calls,
       cpu_ns = min(cpu_ns + excluded.cpu_ns, 9223372036854775807),
       runqueue_ns = min(runqueue_ns + excluded.runqueue_ns, 9223372036854775807),
       blocked_ns = min(blocked_ns + excluded.blocked_ns, 9223372036854775807),
       fault_calls = fault_calls + excluded.fault_calls,
       minor_faults = minor_faults + excluded.minor_faults,
       major_faults = major_faults + excluded.major_faults";

/// Sums over the calls of one batch, by index of the function.
#[derive(Debug, Default)]
pub struct Tally(HashMap<u32, Sums>);

/// Sums over calls of one function.
#[derive(Debug)]
pub struct Sums {
    /// By the number of the outcome.
    outcomes: [u64; Outcome::ALL.len()],
    total_ns: u64,
    self_ns: u64,
    min_ns: u64,
    max_ns: u64,
    cpu_calls: u64,
    cpu_ns: u64,
    runqueue_ns: u64,
    blocked_ns: u64,
    fault_calls: u64,
    minor_faults: u64,
    major_faults: u64,
}

impl Default for Sums {
    fn default() -> Self {
        let outcomes = Default::default();
        Self {
            outcomes,
            total_ns: 0,
            self_ns: 0,
            min_ns: u64::MAX,
            max_ns: 0,
            cpu_calls: 0,
            cpu_ns: 0,
            runqueue_ns: 0,
            blocked_ns: 0,
            fault_calls: 0,
            minor_faults: 0,
            major_faults: 0,
        }
    }
}

impl Sums {
    fn add(&mut self, call: &Call) {
        self.add_call(call.outcome, call.duration_ns, call.self_ns);
        let figures = &call.figures;
        if figures.known & CPU != 0 {
            self.add_times(figures.cpu_ns, figures.runqueue_ns, figures.blocked_ns);
        }
        if figures.known & FAULTS != 0 {
            self.add_faults(figures.minor_faults.into(), figures.major_faults.into());
        }
    }

    /// A call.
    pub fn add_call(&mut self, outcome: Outcome, duration_ns: u64, self_ns: u64) {
        self.outcomes[outcome as usize] += 1;
        self.total_ns = self.total_ns.saturating_add(duration_ns);
        self.self_ns = self.self_ns.saturating_add(self_ns);
        self.min_ns = self.min_ns.min(duration_ns);
        self.max_ns = self.max_ns.max(duration_ns);
    }

    /// The times of a call of which they are known.
    pub fn add_times(&mut self, cpu_ns: u64, runqueue_ns: u64, blocked_ns: u64) {
        self.cpu_calls += 1;
        self.cpu_ns = self.cpu_ns.saturating_add(cpu_ns);
        self.runqueue_ns = self.runqueue_ns.saturating_add(runqueue_ns);
        self.blocked_ns = self.blocked_ns.saturating_add(blocked_ns);
    }

    /// The page faults of a call of which they are known.
    pub fn add_faults(&mut self, minor: u64, major: u64) {
        self.fault_calls += 1;
        self.minor_faults = self.minor_faults.saturating_add(minor);
        self.major_faults = self.major_faults.saturating_add(major);
    }

    /// Adds the sums to those of a function in a session.
    ///
    /// # Errors
    /// Where SQLite can't write.
    pub fn add_to(&self, connection: &Connection, function: i64, session: i64) -> Result<()> {
        let [ok, err, panic, cancelled, unfinished, target_died] = self.outcomes.map(integer);
        connection.prepare_cached(UPSERT)?.execute(params![
            function,
            session,
            integer(self.outcomes.iter().sum()),
            ok,
            err,
            panic,
            cancelled,
            unfinished,
            target_died,
            integer(self.total_ns),
            integer(self.self_ns),
            integer(self.min_ns),
            integer(self.max_ns),
            integer(self.cpu_calls),
            integer(self.cpu_ns),
            integer(self.runqueue_ns),
            integer(self.blocked_ns),
            integer(self.fault_calls),
            integer(self.minor_faults),
            integer(self.major_faults),
        ])?;
        Ok(())
    }
}

impl Tally {
    /// The sums of these calls.
    pub fn of(calls: &[Call]) -> Self {
        let mut tally = Self::default();
        for call in calls {
            tally.0.entry(call.function).or_default().add(call);
        }
        tally
    }

    /// Adds the sums to those in the file.
    ///
    /// # Errors
    /// Where SQLite can't write, or a function is not the session's.
    pub fn add_to(&self, connection: &Connection, session: &Session) -> Result<()> {
        for (function, sums) in &self.0 {
            sums.add_to(connection, session.function(*function)?, session.id)?;
        }
        Ok(())
    }
}
