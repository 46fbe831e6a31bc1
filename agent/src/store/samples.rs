//! Samples, their stacks and the frames of those.

use anyhow::{Context as _, Result};
use rusqlite::{Connection, params};

use super::{Session, integer};
use crate::event::{Frame, Sample, Samples, Stack};

/// `frame_id` and `stack_id` of the session's frames and stacks, by index.
#[derive(Debug, Default)]
pub struct Numbers {
    frames: Vec<i64>,
    stacks: Vec<i64>,
}

impl Numbers {
    /// Adds those of a batch that has been committed.
    pub fn extend(&mut self, new: Self) {
        self.frames.extend(new.frames);
        self.stacks.extend(new.stacks);
    }
}

/// Inserts what is new of `samples`; `known` are the numbers of earlier batches. Gives those of this
/// one, which count once it is committed.
///
/// # Errors
/// Where SQLite can't write, or a stack or a sample names what the session does not have.
pub fn insert(
    connection: &Connection,
    session: &Session,
    known: &Numbers,
    samples: &Samples,
) -> Result<Numbers> {
    let frames = insert_frames(connection, &samples.frames)?;
    let number = |index: u32| find(&known.frames, &frames, index).context("a stack of no frames");
    let stacks = insert_stacks(connection, &samples.stacks, number)?;
    let number = |index: u32| find(&known.stacks, &stacks, index).context("a sample of no stack");
    insert_samples(connection, session, &samples.samples, number)?;
    Ok(Numbers { frames, stacks })
}

/// The number at `index` of two lists that follow each other.
fn find(known: &[i64], new: &[i64], index: u32) -> Option<i64> {
    let index = index as usize;
    let number = match index.checked_sub(known.len()) {
        Some(index) => new.get(index),
        None => known.get(index),
    };
    number.copied()
}

fn insert_frames(connection: &Connection, frames: &[Frame]) -> Result<Vec<i64>> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO frame (function, file, line, module, inlined) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    let insert = |frame: &Frame| {
        let values = params![
            frame.function,
            frame.file,
            frame.line,
            frame.module,
            frame.inlined
        ];
        Ok(insert.insert(values)?)
    };
    frames.iter().map(insert).collect()
}

fn insert_stacks(
    connection: &Connection,
    stacks: &[Stack],
    number: impl Fn(u32) -> Result<i64>,
) -> Result<Vec<i64>> {
    let mut insert =
        connection.prepare_cached("INSERT INTO stack (frames, cut) VALUES (?1, ?2)")?;
    let insert = |stack: &Stack| {
        let frames = stack.frames.iter().map(|index| number(*index));
        let frames = serde_json::to_string(&frames.collect::<Result<Vec<_>>>()?)?;
        Ok(insert.insert(params![frames, stack.cut])?)
    };
    stacks.iter().map(insert).collect()
}

fn insert_samples(
    connection: &Connection,
    session: &Session,
    samples: &[Sample],
    number: impl Fn(u32) -> Result<i64>,
) -> Result<()> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO sample (session_id, at_ns, tid, call_id, stack_id, off_ns)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for sample in samples {
        insert.execute(params![
            session.id,
            integer(sample.at_ns),
            sample.tid,
            sample.call.map(|call| session.call(call)),
            number(sample.stack)?,
            sample.off_ns.map(integer)
        ])?;
    }
    Ok(())
}
