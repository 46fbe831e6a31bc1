//! Samples, their stacks and the frames of those.

use anyhow::{Context as _, Result};
use rusqlite::{Connection, params};

use super::{Before, Session, integer};
use crate::event::{Frame, Sample, Samples, Stack};

/// How many frames and stacks of the session are in the file.
#[derive(Clone, Copy, Debug, Default)]
pub struct Numbers {
    frames: u32,
    stacks: u32,
}

impl Numbers {
    /// Those of a session whose frames and stacks have the numbers above `before`.
    ///
    /// # Errors
    /// Where the file can't be read.
    pub fn of(connection: &Connection, before: &Before) -> Result<Self> {
        let count = |sql: &str, before: i64| {
            let last: i64 = connection.query_row(sql, [], |row| row.get(0))?;
            let count = u32::try_from(last - before);
            count.context("the numbers of frames or stacks make no sense")
        };
        Ok(Self {
            frames: count(
                "SELECT coalesce(max(frame_id), 0) FROM frame",
                before.frames,
            )?,
            stacks: count(
                "SELECT coalesce(max(stack_id), 0) FROM stack",
                before.stacks,
            )?,
        })
    }
}

/// Inserts what is new of `samples`; `known` are the numbers of earlier batches. Gives those with
/// this one, which count once it is committed.
///
/// # Errors
/// Where SQLite can't write, or a stack or a sample names what the session does not have.
pub fn insert(
    connection: &Connection,
    session: &Session,
    known: Numbers,
    samples: &Samples,
) -> Result<Numbers> {
    let before = &session.before;
    let with = |known: u32, new: usize| {
        let new = u32::try_from(new).ok();
        new.and_then(|new| known.checked_add(new))
            .context("too many frames or stacks")
    };
    let numbers = Numbers {
        frames: with(known.frames, samples.frames.len())?,
        stacks: with(known.stacks, samples.stacks.len())?,
    };
    insert_frames(
        connection,
        before.frames + i64::from(known.frames),
        &samples.frames,
    )?;
    let number =
        |index: u32| find(before.frames, numbers.frames, index).context("a stack of no frames");
    insert_stacks(
        connection,
        before.stacks + i64::from(known.stacks),
        &samples.stacks,
        number,
    )?;
    let number =
        |index: u32| find(before.stacks, numbers.stacks, index).context("a sample of no stack");
    insert_samples(connection, session, &samples.samples, number)?;
    Ok(numbers)
}

/// The number of what has this index, where there are so many.
fn find(before: i64, count: u32, index: u32) -> Option<i64> {
    (index < count).then(|| before + 1 + i64::from(index))
}

fn insert_frames(connection: &Connection, last: i64, frames: &[Frame]) -> Result<()> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO frame (frame_id, function, file, line, module, inlined)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for (id, frame) in (last + 1..).zip(frames) {
        insert.execute(params![
            id,
            frame.function,
            frame.file,
            frame.line,
            frame.module,
            frame.inlined
        ])?;
    }
    Ok(())
}

fn insert_stacks(
    connection: &Connection,
    last: i64,
    stacks: &[Stack],
    number: impl Fn(u32) -> Result<i64>,
) -> Result<()> {
    let mut insert = connection
        .prepare_cached("INSERT INTO stack (stack_id, frames, cut) VALUES (?1, ?2, ?3)")?;
    for (id, stack) in (last + 1..).zip(stacks) {
        let frames = stack.frames.iter().map(|index| number(*index));
        let frames = serde_json::to_string(&frames.collect::<Result<Vec<_>>>()?)?;
        insert.execute(params![id, frames, stack.cut])?;
    }
    Ok(())
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
