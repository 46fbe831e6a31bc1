//! Copies of what waits in memory: that is gone where the agent is killed, and a segment is not.
//!
//! Where the file can't be written, or is slow, messages wait in memory for long, and a few of them may wait there
//! as long as the session lasts. What waits at some looks in a row is copied into segments that nobody reads but
//! who recovers the file. They are removed once all that they hold is done. No thread that makes messages or writes
//! them waits for that.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::Place;
use super::queue::Entry;
use super::segment::{Header, Writer};
use crate::event::Function;

/// What waits still after so many looks is copied, and so is all that waits behind it.
pub(super) const LOOKS: usize = 3;

/// The copies.
#[derive(Debug)]
pub(super) struct Copies {
    place: Place,
    writer: Option<Writer>,
    /// How many functions the header of the last segment has.
    functions: usize,
    segments: Vec<PathBuf>,
    /// Bytes of the segments.
    pub(super) bytes: u64,
    /// Number of the last message that was copied.
    last: u64,
    /// Number of the newest message that waited, at each of the last looks.
    seen: VecDeque<u64>,
}

impl Copies {
    pub(super) fn new(place: Place) -> Self {
        Self {
            place,
            writer: None,
            functions: 0,
            segments: Vec::new(),
            bytes: 0,
            last: 0,
            seen: VecDeque::new(),
        }
    }

    /// Looks at what waits, oldest first; gives back what is to be copied of it.
    pub(super) fn choose(&mut self, mut waiting: Vec<Arc<Entry>>) -> Vec<Arc<Entry>> {
        self.seen
            .push_back(waiting.last().map_or(0, |newest| newest.number));
        let before = (self.seen.len() > LOOKS)
            .then(|| self.seen.pop_front())
            .flatten();
        let oldest = waiting.first().map(|oldest| oldest.number);
        let waits_long = oldest
            .zip(before)
            .is_some_and(|(oldest, before)| oldest <= before);
        waiting.retain(|entry| waits_long && entry.number > self.last);
        waiting
    }

    /// Copies messages; `functions` are all that these may name.
    ///
    /// # Errors
    /// Where there is no room for all. The rest may be handed in again.
    pub(super) fn add(&mut self, entries: &[Arc<Entry>], functions: &[Function]) -> io::Result<()> {
        if self.functions != functions.len() {
            self.writer = None;
        }
        for entry in entries {
            let mut writer = match self.writer.take() {
                Some(writer) => writer,
                None => self.begin_segment(entry.number, functions)?,
            };
            let pushed = writer.push(entry.number, &entry.message);
            self.writer = Some(writer);
            self.bytes += pushed?;
            self.last = entry.number;
        }
        Ok(())
    }

    fn begin_segment(&mut self, number: u64, functions: &[Function]) -> io::Result<Writer> {
        let path = self.place.copy(number);
        let header = Header {
            key: self.place.key,
            functions: functions.to_vec(),
        };
        let writer = Writer::create(&path, &header)?;
        self.functions = functions.len();
        self.bytes += writer.size();
        self.segments.push(path);
        Ok(writer)
    }

    /// Everything up to this number is done.
    pub(super) fn are_done(&mut self, done: u64) {
        if done >= self.last {
            self.remove();
        }
    }

    /// Nothing of what was copied waits any more.
    pub(super) fn remove(&mut self) {
        self.writer = None;
        self.bytes = 0;
        for segment in self.segments.drain(..) {
            // One that stays is refused by its numbers, should anybody read it.
            let _ = fs::remove_file(segment);
        }
    }
}
