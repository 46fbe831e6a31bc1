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

/// Bytes after which the next segment begins: where the file is always behind, one is done after the other.
const SEGMENT: u64 = 16 << 20;
/// As many at least are as large as the spool may be.
const SEGMENTS: u64 = 8;

/// The copies.
#[derive(Debug)]
pub(super) struct Copies {
    place: Place,
    /// Bytes after which the next segment begins.
    enough: u64,
    /// Appends to the last segment.
    writer: Option<Writer>,
    /// How many functions the header of that has.
    functions: usize,
    segments: VecDeque<Segment>,
    /// Number of the last message that was copied.
    last: u64,
    /// Number of the newest message that waited, at each of the last looks.
    seen: VecDeque<u64>,
}

#[derive(Debug)]
struct Segment {
    path: PathBuf,
    bytes: u64,
    /// Number of its last message.
    last: u64,
}

impl Copies {
    /// None yet, of a spool that takes `limit` bytes.
    pub(super) fn new(place: Place, limit: u64) -> Self {
        Self {
            place,
            enough: SEGMENT.min(limit / SEGMENTS),
            writer: None,
            functions: 0,
            segments: VecDeque::new(),
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

    /// Bytes of all of them.
    pub(super) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Copies messages; `functions` are all that these may name.
    ///
    /// # Errors
    /// Where there is no room for all. The rest may be handed in again.
    pub(super) fn add(&mut self, entries: &[Arc<Entry>], functions: &[Function]) -> io::Result<()> {
        let fits =
            |writer: &Writer| writer.size() < self.enough && self.functions == functions.len();
        if self.writer.as_ref().is_some_and(|writer| !fits(writer)) {
            self.writer = None;
        }
        for entry in entries {
            let mut writer = match self.writer.take() {
                Some(writer) => writer,
                None => self.begin_segment(entry.number, functions)?,
            };
            let pushed = writer.push(entry.number, &entry.message);
            if let Some(segment) = self.segments.back_mut() {
                segment.bytes = writer.size();
                segment.last = entry.number;
            }
            self.writer = Some(writer);
            pushed?;
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
        self.segments.push_back(Segment {
            path,
            bytes: writer.size(),
            last: number,
        });
        Ok(writer)
    }

    /// All messages up to this number are done: segments that hold no others go.
    pub(super) fn are_done(&mut self, done: u64) {
        while self.segments.front().is_some_and(|one| one.last <= done) {
            let segment = self.segments.pop_front();
            // One that stays is refused by its numbers, should anybody read it.
            let _ = segment.map(|segment| fs::remove_file(segment.path));
        }
        if self.segments.is_empty() {
            self.writer = None;
        }
    }
}
