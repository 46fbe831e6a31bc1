//! Sums of a batch per function, added to those in the file by the same commit.

use std::collections::HashMap;

use anyhow::Result;
use exoscope_abi::figures::{CPU, FAULTS};
use rusqlite::{Connection, params};

use super::{Session, integer};
use crate::event::{Call, Figures, Outcome};

/// Sums over the calls of one batch, by index of the function.
#[derive(Debug, Default)]
pub struct Tally(HashMap<u32, Sums>);

/// Sums over calls of one function.
#[derive(Debug)]
struct Sums {
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
        self.outcomes[call.outcome as usize] += 1;
        self.total_ns = self.total_ns.saturating_add(call.duration_ns);
        self.self_ns = self.self_ns.saturating_add(call.self_ns);
        self.min_ns = self.min_ns.min(call.duration_ns);
        self.max_ns = self.max_ns.max(call.duration_ns);
        self.add_figures(&call.figures);
    }

    /// What is not known is 0.
    fn add_figures(&mut self, figures: &Figures) {
        self.cpu_calls += u64::from(figures.known & CPU != 0);
        self.cpu_ns = self.cpu_ns.saturating_add(figures.cpu_ns);
        self.runqueue_ns = self.runqueue_ns.saturating_add(figures.runqueue_ns);
        self.blocked_ns = self.blocked_ns.saturating_add(figures.blocked_ns);
        self.fault_calls += u64::from(figures.known & FAULTS != 0);
        self.minor_faults += u64::from(figures.minor_faults);
        self.major_faults += u64::from(figures.major_faults);
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
        // A sum that would overflow stays at the largest number.
        let mut upsert = connection.prepare_cached(
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
               major_faults = major_faults + excluded.major_faults",
        )?;
        for (function, sums) in &self.0 {
            let [ok, err, panic, cancelled, unfinished, target_died] = sums.outcomes.map(integer);
            upsert.execute(params![
                session.function(*function)?,
                session.id,
                integer(sums.outcomes.iter().sum()),
                ok,
                err,
                panic,
                cancelled,
                unfinished,
                target_died,
                integer(sums.total_ns),
                integer(sums.self_ns),
                integer(sums.min_ns),
                integer(sums.max_ns),
                integer(sums.cpu_calls),
                integer(sums.cpu_ns),
                integer(sums.runqueue_ns),
                integer(sums.blocked_ns),
                integer(sums.fault_calls),
                integer(sums.minor_faults),
                integer(sums.major_faults),
            ])?;
        }
        Ok(())
    }
}
