//! What waits in the queue, in memory and in segments, and what is to be told of it.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::mem;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytesize::ByteSize;

use super::Place;
use super::pushing::Spooled;
use super::queue::{Entry, SPOOL};
use super::segment::Unreadable;
use crate::capture::steps::Room;
use crate::event::{AgentEvent, Level, Message};

/// [`Message::weight`] that waits in memory at most: about 20 MB.
const MEMORY: usize = 1 << 18;
/// Steps of the spool that come sooner than this after the last one are the same step.
const SAME_STEP: Duration = Duration::from_secs(1);

/// What waits, and what is to be told of it.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) memory: VecDeque<Arc<Entry>>,
    /// What was taken from `memory` and is not done.
    pub(super) taken: Option<Arc<Entry>>,
    /// Number of the last batch that is done.
    pub(super) done: u64,
    /// Weight that `memory` holds at most.
    pub(super) capacity: usize,
    /// Of `memory`, and of what was taken from it and is not done.
    pub(super) weight: usize,
    pub(super) segments: VecDeque<Segment>,
    /// Messages in the segments that are not done.
    pub(super) unread: u64,
    /// Bytes of the segments.
    pub(super) bytes: u64,
    /// The last segment was removed before it was full: the next message begins another one.
    pub(super) abandoned: bool,
    pub(super) closed: bool,
    /// Nothing waits for room any longer after this moment.
    pub(super) deadline: Option<Instant>,
    step: Step,
    pub(super) events: Vec<AgentEvent>,
    /// Calls that are lost, with the reason.
    pub(super) lost: Vec<(u64, &'static str)>,
}

/// A segment that is not read to its end.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    pub(super) file: Arc<File>,
    /// Messages and calls in it that are not taken.
    pub(super) messages: u64,
    pub(super) calls: u64,
}

/// The last time that the spool was used.
#[derive(Debug, Default)]
struct Step {
    began: Option<Instant>,
    ended: Option<Instant>,
    messages: u64,
    calls: u64,
    bytes: u64,
    failed: bool,
}

/// The first segment: more of it can be read, or all of it was.
pub(super) enum Front {
    Unread(Arc<File>),
    Read,
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            capacity: MEMORY,
            ..Self::default()
        }
    }

    /// Nothing waits for room any longer.
    pub(super) fn is_over(&self) -> bool {
        self.deadline
            .is_some_and(|deadline| Instant::now() >= deadline)
    }

    pub(super) fn has_room(&self) -> bool {
        self.unread == 0 && self.weight < self.capacity
    }

    /// What is left of the room, where segments may take `limit` bytes.
    pub(super) fn room(&self, limit: u64) -> Room {
        let is_spooling = limit > 0 && !self.step.failed;
        Room {
            spooled: self.bytes,
            limit,
            none: !self.has_room() && !is_spooling,
        }
    }

    /// Keeps a message in memory, where it may be.
    pub(super) fn keep(&mut self, entry: Entry) -> Result<(), Entry> {
        if !self.has_room() {
            return Err(entry);
        }
        self.put(entry);
        Ok(())
    }

    pub(super) fn put(&mut self, entry: Entry) {
        self.weight += entry.message.weight();
        self.memory.push_back(Arc::new(entry));
    }

    /// Batches in memory, or taken from there and not done, oldest first.
    pub(super) fn waiting(&self) -> Vec<Arc<Entry>> {
        let all = self.taken.iter().chain(&self.memory);
        all.filter(|entry| entry.is_batch()).cloned().collect()
    }

    /// Bytes that those take in a segment, about.
    pub(super) fn bytes_waiting(&self) -> u64 {
        const BYTES: u64 = 64;
        self.weight as u64 * BYTES
    }

    /// A message was put into the spool.
    pub(super) fn spooled(&mut self, spooled: Spooled, message: &Message, place: &Place) {
        self.segments.extend(spooled.segment);
        if let Some(segment) = self.segments.back_mut() {
            segment.messages += 1;
            segment.calls += message.calls();
        }
        self.unread += 1;
        self.bytes += spooled.bytes;
        if self.step.began.is_none() {
            self.begin_step(place);
        }
        self.step.failed = false;
        self.step.messages += 1;
        self.step.calls += message.calls();
        self.step.bytes += spooled.bytes;
    }

    fn begin_step(&mut self, place: &Place) {
        let again = self
            .step
            .ended
            .is_some_and(|ended| ended.elapsed() < SAME_STEP);
        self.step = Step {
            began: Some(Instant::now()),
            ..Step::default()
        };
        if !again {
            let text = format!(
                "the file does not keep up with the target: calls go through the spool in {}",
                place.folder.display()
            );
            self.event(Level::Warning, "spool", text);
        }
    }

    /// Everything that was in the spool is in the file.
    pub(super) fn emptied(&mut self, place: &Place) {
        let step = &self.step;
        let Some(began) = step.began else { return };
        let text = format!(
            "the file keeps up again: in {:.1} s {} calls ({}) went through the spool in {}",
            began.elapsed().as_secs_f64(),
            step.calls,
            ByteSize(step.bytes),
            place.folder.display()
        );
        self.event(Level::Info, "spool", text);
        self.step = Step {
            ended: Some(Instant::now()),
            ..Step::default()
        };
    }

    pub(super) fn spool_failed(&mut self, place: &Place, error: &io::Error) {
        if !mem::replace(&mut self.step.failed, true) {
            let text = format!(
                "the spool in {} can't be written ({error}): calls are counted and not recorded where \
                 memory is full; choose another folder with --spool-dir",
                place.folder.display()
            );
            self.event(Level::Error, "spool", text);
        }
    }

    pub(super) fn lose(&mut self, calls: u64, why: &'static str) {
        match self.lost.last_mut() {
            Some((lost, same)) if *same == why => *lost += calls,
            _ if calls > 0 => self.lost.push((calls, why)),
            _ => {}
        }
    }

    fn event(&mut self, level: Level, kind: &'static str, text: String) {
        /// More than that say nothing new.
        const EVENTS: usize = 100;
        if self.events.len() < EVENTS {
            self.events.push(AgentEvent::now(level, kind, text));
        }
    }

    pub(super) fn front(&self) -> Option<Front> {
        let segment = self.segments.front()?;
        if segment.messages > 0 {
            return Some(Front::Unread(Arc::clone(&segment.file)));
        }
        (self.segments.len() > 1).then_some(Front::Read)
    }

    pub(super) fn taken(&mut self, message: &Message) {
        if let Some(segment) = self.segments.front_mut() {
            segment.messages = segment.messages.saturating_sub(1);
            segment.calls = segment.calls.saturating_sub(message.calls());
        }
    }

    /// Removes the segment that was read; where it could not be, with what was left in it.
    pub(super) fn remove_front(&mut self, error: Option<&Unreadable>) {
        let Some(segment) = self.segments.pop_front() else {
            return;
        };
        self.abandoned |= self.segments.is_empty();
        let len = segment.file.metadata().map_or(0, |metadata| metadata.len());
        self.bytes = self.bytes.saturating_sub(len);
        self.unread = self.unread.saturating_sub(segment.messages);
        if let Some(error) = error {
            let Segment { path, calls, .. } = &segment;
            let path = path.display();
            let text =
                format!("{calls} calls are lost with a segment of the spool, {path}: {error}");
            self.event(Level::Error, "lost", text);
            self.lose(segment.calls, SPOOL);
        }
        // One that stays is refused by its numbers, should anybody read it.
        let _ = fs::remove_file(&segment.path);
    }
}
