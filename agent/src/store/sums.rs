//! The sums over the rows of a file, computed anew in one pass over its calls.

use std::collections::HashMap;

use anyhow::Result;
use rusqlite::{Connection, Row};

use super::durations::bucket_middle;
use super::{durations, polls, tally};
use crate::event::Outcome;

/// Sums that are held in memory at most, before they are added to those in the file.
const WAITING: usize = 1 << 17;

/// All that is summed up of a call.
const CALLS: &str = "
    SELECT call_id, function_id, duration_ns, self_ns, outcome, runqueue_ns, blocked_ns, faults,
      polls, polled_ns, ready_ns
    FROM call LEFT JOIN call_polls USING (call_id)";

/// Computes the sums by function, and the buckets of durations.
///
/// # Errors
/// Where the file can't be read or written.
pub fn compute(connection: &Connection) -> Result<()> {
    connection.execute_batch(
        "DELETE FROM function_stat; DELETE FROM poll_stat; DELETE FROM duration_bucket;",
    )?;
    let sessions = Sessions::of(connection)?;
    let mut sums = Sums::default();
    let mut select = connection.prepare(CALLS)?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        sums.add(&Call::read(row)?, &sessions);
        if sums.are_many() {
            std::mem::take(&mut sums).add_to(connection)?;
        }
    }
    sums.add_to(connection)
}

/// The numbers of calls that belong to each session.
struct Sessions(Vec<(i64, i64, i64)>);

impl Sessions {
    fn of(connection: &Connection) -> Result<Self> {
        let sql = "SELECT call_base, call_last, session_id FROM session ORDER BY call_base";
        let mut select = connection.prepare(sql)?;
        let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        Ok(Self(rows.collect::<rusqlite::Result<_>>()?))
    }

    fn session(&self, call: i64) -> Option<i64> {
        let after = self.0.partition_point(|(base, ..)| *base < call);
        let (_, last, session) = self.0.get(after.checked_sub(1)?)?;
        (call <= *last).then_some(*session)
    }
}

/// A row of [`CALLS`]. What only damage makes negative is 0, and an outcome that there is not is
/// `unfinished`.
struct Call {
    id: i64,
    function: i64,
    duration_ns: u64,
    self_ns: u64,
    outcome: Outcome,
    /// Waiting for a CPU, and blocked.
    waited_ns: Option<(u64, u64)>,
    faults: Option<u64>,
    polls: Option<Polls>,
}

struct Polls {
    polls: u64,
    polled_ns: u64,
    ready_ns: u64,
}

impl Call {
    fn read(row: &Row<'_>) -> Result<Self> {
        let number = |column: usize| -> rusqlite::Result<Option<u64>> {
            let number: Option<i64> = row.get(column)?;
            Ok(number.map(|number| number.max(0).unsigned_abs()))
        };
        let duration_ns = number(2)?.unwrap_or(0);
        let polls = number(8)?.map(|polls| -> Result<Polls> {
            Ok(Polls {
                polls,
                polled_ns: number(9)?.unwrap_or(0),
                ready_ns: number(10)?.unwrap_or(0),
            })
        });
        let runqueue_ns = number(5)?.unwrap_or(0);
        let outcome: i64 = row.get(4)?;
        let outcome = usize::try_from(outcome).map_or(None, |at| Outcome::ALL.get(at));
        Ok(Self {
            id: row.get(0)?,
            function: row.get(1)?,
            duration_ns,
            self_ns: number(3)?.unwrap_or(duration_ns),
            outcome: outcome.copied().unwrap_or(Outcome::Unfinished),
            waited_ns: number(6)?.map(|blocked| (runqueue_ns, blocked)),
            faults: number(7)?,
            polls: polls.transpose()?,
        })
    }

    /// Nanoseconds of which the kernel's figures tell.
    fn told_ns(&self) -> u64 {
        self.polls
            .as_ref()
            .map_or(self.duration_ns, |polls| polls.polled_ns)
    }

    fn add_to(&self, sums: &mut tally::Sums) {
        sums.add_call(self.outcome, self.duration_ns, self.self_ns);
        if let Some((runqueue_ns, blocked_ns)) = self.waited_ns {
            let cpu_ns = self
                .told_ns()
                .saturating_sub(runqueue_ns.saturating_add(blocked_ns));
            sums.add_times(cpu_ns, runqueue_ns, blocked_ns);
        }
        if let Some(faults) = self.faults {
            sums.add_faults(faults & u64::from(u32::MAX), faults >> 32);
        }
    }
}

#[derive(Default)]
struct Sums {
    /// By function and session.
    of_functions: HashMap<(i64, i64), tally::Sums>,
    /// By function.
    of_polls: HashMap<i64, polls::Sums>,
    /// Calls by function and [`bucket_middle`].
    buckets: HashMap<(i64, u64), u64>,
}

impl Sums {
    fn add(&mut self, call: &Call, sessions: &Sessions) {
        if let Some(session) = sessions.session(call.id) {
            let sums = self.of_functions.entry((call.function, session));
            call.add_to(sums.or_default());
        }
        if let Some(polls) = &call.polls {
            let sums = self.of_polls.entry(call.function).or_default();
            sums.add(
                call.duration_ns,
                polls.polls,
                polls.polled_ns,
                polls.ready_ns,
            );
        }
        let bucket = (call.function, bucket_middle(call.duration_ns));
        *self.buckets.entry(bucket).or_default() += 1;
    }

    fn are_many(&self) -> bool {
        self.of_functions.len() + self.of_polls.len() + self.buckets.len() >= WAITING
    }

    fn add_to(self, connection: &Connection) -> Result<()> {
        for ((function, session), sums) in &self.of_functions {
            sums.add_to(connection, *function, *session)?;
        }
        for (function, sums) in &self.of_polls {
            sums.add_to(connection, *function)?;
        }
        let mut buckets: Vec<_> = self.buckets.into_iter().collect();
        buckets.sort_unstable();
        durations::add_to(connection, buckets)
    }
}
