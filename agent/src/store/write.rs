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
use crate::event::{
    AgentEvent, Batch, CountedCalls, Level, Message, OpenCall, SessionLosses, UnmatchedExit,
    unix_ns,
};

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

impl Memory {
    /// Of a session that was cut short: what its rows say.
    ///
    /// # Errors
    /// Where the file can't be read.
    pub(super) fn of(connection: &Connection, session: &Session) -> Result<Self> {
        Ok(Self {
            open: open_calls::all(connection)?,
            samples: samples::Numbers::of(connection, &session.before)?,
            ..Self::default()
        })
    }
}

impl Memory {
    /// Reads again what another file may hold otherwise. Where the file is a `copy`, the durations that
    /// wait are still to be written; where it was salvaged, they have been counted.
    ///
    /// # Errors
    /// Where the file can't be read.
    pub(super) fn reread(
        &mut self,
        connection: &Connection,
        session: &Session,
        copy: bool,
    ) -> Result<()> {
        let durations = std::mem::take(&mut self.durations);
        let durations = if copy {
            durations
        } else {
            Durations::default()
        };
        *self = Self {
            durations,
            stats: self.stats,
            ..Self::of(connection, session)?
        };
        Ok(())
    }

    /// Forgets rows of a transaction that was rolled back.
    pub(super) fn forget(&mut self) {
        self.texts.forget();
    }
}

/// What is new for [`Memory`] once the transaction is committed.
struct Pending {
    samples: samples::Numbers,
    open: Option<OpenCalls>,
    counted: Vec<(i64, u64)>,
    stats: Option<stats::Numbers>,
    durations_due: bool,
}

impl Store {
    /// Writes a message, all of it or nothing. A batch is passed over where it, or one with a higher
    /// number, is in the file already. Says whether it was written now.
    ///
    /// # Errors
    /// Where SQLite can't write, or where an event names a function that the session does not have.
    /// The same message may be handed in again.
    pub fn write_message(&mut self, number: u64, message: &Message) -> Result<bool> {
        let number = integer(number);
        match message {
            // Those that are in the file get no second row, and their numbers are needed.
            Message::Functions(functions) => self.add_functions(functions)?,
            Message::Batch(_) if number <= self.session.message => return Ok(false),
            Message::Batch(batch) => self.write_numbered(number, batch)?,
        }
        Ok(true)
    }

    /// Writes a batch as the next message.
    ///
    /// # Errors
    /// As [`Self::write_message`].
    pub fn write(&mut self, batch: &Batch) -> Result<()> {
        self.write_numbered(self.session.message + 1, batch)
    }

    fn write_numbered(&mut self, number: i64, batch: &Batch) -> Result<()> {
        let written = self.write_transaction(number, batch);
        if written.is_err() {
            // Their rows have been rolled back.
            self.memory.forget();
        }
        written.with_context(|| {
            format!(
                "can't write {} calls to '{}'",
                batch.calls.len(),
                self.file_path().display()
            )
        })
    }

    fn write_transaction(&mut self, number: i64, batch: &Batch) -> Result<()> {
        let Self {
            opened,
            session,
            memory,
            ..
        } = self;
        let transaction = opened
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        calls::insert(&transaction, session, &batch.calls)?;
        let pending = insert_rest(&transaction, session, memory, batch)?;
        transaction
            .prepare_cached("UPDATE writing SET message = ?2 WHERE session_id = ?1")?
            .execute([session.id, number])?;
        transaction.commit()?;
        if pending.durations_due {
            memory.durations.written();
        }
        memory.durations.add(&batch.calls);
        memory.samples = pending.samples;
        if let Some(open) = pending.open {
            memory.open = open;
        }
        memory.counted.extend(pending.counted);
        memory.stats = pending.stats;
        session.message = number;
        self.written = true;
        self.stored += integer(batch.calls.len() as u64);
        Ok(())
    }

    /// Records what the agent met, and calls that it lost for a reason.
    ///
    /// # Errors
    /// Where SQLite can't write; then nothing is recorded.
    pub fn record(&mut self, events: &[AgentEvent], lost: &[(u64, String)]) -> Result<()> {
        let session = &self.session;
        let connection = &mut self.opened.connection;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        insert_events(&transaction, session, events)?;
        for (calls, reason) in lost {
            transaction.execute(
                "INSERT INTO lost_call (session_id, at_unix_ns, calls, reason) VALUES (?1, ?2, ?3, ?4)",
                params![session.id, unix_ns(), integer(*calls), reason],
            )?;
        }
        transaction.commit()?;
        Ok(())
    }
}

/// Inserts all of a batch but the rows of `call`.
fn insert_rest(
    transaction: &Connection,
    session: &Session,
    memory: &mut Memory,
    batch: &Batch,
) -> Result<Pending> {
    died::insert(transaction, session, &batch.calls)?;
    Tally::of(&batch.calls).add_to(transaction, session)?;
    details::insert(transaction, session, &mut memory.texts, &batch.errors)?;
    polls::insert(transaction, session, &batch.calls, &batch.polls)?;
    fields::insert(transaction, session, &batch.fields)?;
    insert_unended(transaction, session, &batch.unended)?;
    insert_unmatched(transaction, session, &batch.unmatched)?;
    insert_counted(transaction, session, &batch.counted)?;
    insert_events(transaction, session, &batch.events)?;
    let stats = stats::insert(transaction, session, memory.stats, &batch.stats)?;
    let samples = samples::insert(transaction, session, memory.samples, &batch.samples)?;
    let replace = |open: &Vec<OpenCall>| {
        let looked_ns = integer(session::monotonic_ns());
        open_calls::replace(transaction, session, &memory.open, open, looked_ns)
    };
    let open = batch.open.as_ref().map(replace).transpose()?;
    let counted = match &batch.counts {
        Some(counts) => counts::replace(transaction, session, &memory.counted, counts)?,
        None => Vec::new(),
    };
    if let Some(losses) = batch.losses {
        replace_losses(transaction, session, losses)?;
    }
    let durations_due = memory.durations.are_due();
    if durations_due {
        memory.durations.write(transaction, session)?;
    }
    Ok(Pending {
        samples,
        open,
        counted,
        stats,
        durations_due,
    })
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

fn insert_counted(
    connection: &Connection,
    session: &Session,
    counted: &[CountedCalls],
) -> Result<()> {
    let mut insert =
        connection.prepare_cached("INSERT INTO counted_call VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    for counted in counted {
        insert.execute(params![
            session.id,
            session.function(counted.function)?,
            counted.from_unix_ns,
            counted.until_unix_ns,
            integer(counted.calls),
            counted.reason
        ])?;
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
