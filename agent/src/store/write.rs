//! One batch, one transaction.

use std::collections::HashMap;

use anyhow::{Context as _, Result};
use rusqlite::{Connection, TransactionBehavior, params};

use super::details::{self, Texts};
use super::durations::Durations;
use super::open_calls::OpenCalls;
use super::tally::Tally;
use super::{
    Session, Store, calls, counts, died, fields, integer, open_calls, polls, samples, session,
    stats,
};
use crate::event::{AgentEvent, Batch, Level, SessionLosses, UnmatchedExit};

/// What the store remembers of earlier batches. Only a commit changes it.
#[derive(Default)]
pub(super) struct Memory {
    texts: Texts,
    pub(super) durations: Durations,
    open: OpenCalls,
    samples: samples::Numbers,
    /// Sum of all kernel counts by `function_id`: they only grow, so an equal sum means no change.
    counted: HashMap<i64, u64>,
    stats: Option<stats::Numbers>,
}

impl Store {
    /// Writes a batch: all of it or nothing.
    ///
    /// # Errors
    /// Where SQLite can't write, or where an event names a function that the session does not have.
    /// The same batch may be handed in again.
    pub fn write(&mut self, batch: &Batch) -> Result<()> {
        let written = self.write_transaction(batch);
        if written.is_err() {
            // Their rows have been rolled back.
            self.memory.texts.forget();
        }
        written.with_context(|| {
            format!(
                "can't write {} calls to '{}'",
                batch.calls.len(),
                self.claim.path.display()
            )
        })
    }

    fn write_transaction(&mut self, batch: &Batch) -> Result<()> {
        let Self {
            connection,
            session,
            memory,
            ..
        } = self;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        calls::insert(&transaction, session, &batch.calls)?;
        died::insert(&transaction, session, &batch.calls)?;
        Tally::of(&batch.calls).add_to(&transaction, session)?;
        details::insert(&transaction, session, &mut memory.texts, &batch.errors)?;
        polls::insert(&transaction, session, &batch.polls)?;
        fields::insert(&transaction, session, &batch.fields)?;
        insert_unended(&transaction, session, &batch.unended)?;
        insert_unmatched(&transaction, session, &batch.unmatched)?;
        insert_events(&transaction, session, &batch.events)?;
        let stats = stats::insert(&transaction, session, memory.stats, &batch.stats)?;
        let sampled = samples::insert(&transaction, session, &memory.samples, &batch.samples)?;
        let open = match &batch.open {
            Some(open) => {
                let looked_ns = integer(session::monotonic_ns());
                Some(open_calls::replace(
                    &transaction,
                    session,
                    &memory.open,
                    open,
                    looked_ns,
                )?)
            }
            None => None,
        };
        let counted = match &batch.counts {
            Some(counts) => counts::replace(&transaction, session, &memory.counted, counts)?,
            None => Vec::new(),
        };
        if let Some(losses) = batch.losses {
            replace_losses(&transaction, session, losses)?;
        }
        let durations_due = memory.durations.are_due();
        if durations_due {
            memory.durations.write(&transaction, session)?;
        }
        transaction.commit()?;
        if durations_due {
            memory.durations.written();
        }
        memory.durations.add(&batch.calls);
        memory.samples.extend(sampled);
        if let Some(open) = open {
            memory.open = open;
        }
        memory.counted.extend(counted);
        memory.stats = stats;
        self.written = true;
        Ok(())
    }
}

fn insert_unmatched(
    connection: &Connection,
    session: &Session,
    unmatched: &[UnmatchedExit],
) -> Result<()> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO unmatched_exit (session_id, function_id, tid, at_ns, outcome)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for exit in unmatched {
        let function = session.function(exit.function)?;
        let outcome = exit.outcome as u8;
        insert.execute(params![
            session.id,
            function,
            exit.tid,
            integer(exit.at_ns),
            outcome
        ])?;
    }
    Ok(())
}

fn insert_unended(connection: &Connection, session: &Session, unended: &[u64]) -> Result<()> {
    let mut insert = connection.prepare_cached("INSERT INTO unended (call_id) VALUES (?1)")?;
    for call in unended {
        insert.execute([session.call(*call)])?;
    }
    Ok(())
}

fn replace_losses(connection: &Connection, session: &Session, losses: SessionLosses) -> Result<()> {
    let (links, panics) = (integer(losses.links), integer(losses.panics));
    connection
        .prepare_cached(
            "UPDATE session SET lost_links = ?2, lost_panics = ?3
             WHERE session_id = ?1 AND (lost_links, lost_panics) <> (?2, ?3)",
        )?
        .execute([session.id, links, panics])?;
    Ok(())
}

fn insert_events(connection: &Connection, session: &Session, events: &[AgentEvent]) -> Result<()> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO agent_event (session_id, at_unix_ns, level, kind, message)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for event in events {
        let level = match event.level {
            Level::Info => "info",
            Level::Warning => "warning",
            Level::Error => "error",
        };
        insert.execute(params![
            session.id,
            event.at_unix_ns,
            level,
            event.kind,
            event.message
        ])?;
    }
    Ok(())
}
