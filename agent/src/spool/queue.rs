//! The queue before the writer: first in, first out, a little in memory and the rest in segments.
//!
//! Whoever pushes decides where a message goes: into memory while nothing is spooled and there is
//! room, else into the spool, and where that has no room either it waits. Whoever takes from the rings
//! sees the room shrink, and has calls counted that are not recorded. The writer takes from memory first: what is there is older.
//!
//! What waits in memory for long is copied into the spool: see `copies.rs`.
//!
//! What concerns the session and not its calls, functions that are new and events, goes past all that.
//!
//! Two locks keep a slow disk of the spool from holding up the writer: `pushing` is held while a
//! message is pushed, `state` only for a moment. `pushing` is always locked first.

use std::io;
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Place;
use super::copies::Copies;
use super::pushing::Pushing;
use super::segment::{Reader, Unreadable};
use super::state::{Front, State};
use crate::capture::consumer::Offered;
use crate::capture::steps::Room;
use crate::event::{AgentEvent, Message};

/// Pause after which a failed write to the spool is tried again.
const RETRY: Duration = Duration::from_millis(100);
/// How often a segment is read again that can't be read, and the pause before.
const READS: (u32, Duration) = (10, Duration::from_millis(50));
/// How often copies are tried to be removed that somebody looks after, and the pause before the next try.
const REMOVALS: (u32, Duration) = (100, Duration::from_millis(10));
/// Why calls are lost on their way.
pub(super) const SPOOL: &str = "the spool had no room, or could not be read";

/// A message that was taken.
#[derive(Debug)]
pub struct Entry {
    /// Its number: each message has that of the one before and 1.
    pub number: u64,
    /// It.
    pub message: Message,
    spooled: bool,
}

impl Entry {
    pub(super) fn is_batch(&self) -> bool {
        matches!(self.message, Message::Batch(_))
    }
}

/// What the writer gets.
#[derive(Debug)]
pub enum Next {
    /// A message; [`Queue::done`] says that it is in the file.
    Message(Arc<Entry>),
    /// None came in time.
    Nothing,
    /// None will come any more.
    Closed,
}

/// The queue.
#[derive(Debug)]
pub struct Queue {
    /// Bytes of all segments at most.
    limit: u64,
    pushing: Mutex<Pushing>,
    state: Mutex<State>,
    /// Something can be taken, or never will be.
    filled: Condvar,
    /// Something was taken.
    emptied: Condvar,
    reading: Mutex<Option<Reader>>,
    copies: Mutex<Copies>,
}

impl Queue {
    /// An empty queue whose segments take at most `limit` bytes.
    pub fn new(place: Place, limit: u64) -> Self {
        Self {
            limit,
            copies: Mutex::new(Copies::new(place.clone(), limit)),
            pushing: Mutex::new(Pushing::new(place, limit)),
            state: Mutex::new(State::new()),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            reading: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change of the state is made in one go: a thread that panicked left it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a message, or waits until it can. Says whether it was taken: not after the deadline
    /// that was given to [`Self::end_at`].
    pub fn push(&self, mut message: Message) -> bool {
        loop {
            match self.offer(message, RETRY) {
                Offered::Taken => return true,
                Offered::Never => return false,
                Offered::NotYet(back) => message = back,
            }
        }
    }

    /// Takes a message, or gives it back where there is no room for it after `patience`. Functions
    /// always have room.
    pub fn offer(&self, mut message: Message, patience: Duration) -> Offered<Message> {
        let until = Instant::now() + patience;
        loop {
            match self.try_push(message) {
                Ok(()) => {
                    self.filled.notify_one();
                    return Offered::Taken;
                }
                Err(back) => message = back,
            }
            // Nothing is locked while this waits: others may have what always has room.
            let mut state = self.state();
            if state.is_over() {
                state.lose(message.calls(), SPOOL);
                return Offered::Never;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Offered::NotYet(message);
            }
            if !state.has_room() {
                // Woken or not, what is there decides.
                let _ = self.emptied.wait_timeout(state, left.min(RETRY));
            }
        }
    }

    /// Takes a message if there is room now.
    fn try_push(&self, message: Message) -> Result<(), Message> {
        let mut pushing = self.pushing.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = Entry {
            number: pushing.next_number,
            message,
            spooled: false,
        };
        match &entry.message {
            Message::Functions(functions) => {
                // They may come before older messages, none of which names them. The header of the next
                // segment has them, too.
                pushing.functions.extend(functions.clone());
                pushing.writer = None;
                self.state().put(entry);
            }
            Message::Batch(_) => self.push_batch(&mut pushing, entry)?,
        }
        pushing.next_number += 1;
        Ok(())
    }

    fn push_batch(&self, pushing: &mut Pushing, entry: Entry) -> Result<(), Message> {
        let Err(entry) = self.state().keep(entry) else {
            return Ok(());
        };
        if !pushing.may_spool(self.state().bytes) {
            return Err(entry.message);
        }
        if mem::take(&mut self.state().abandoned) {
            pushing.writer = None;
        }
        match pushing.spool(&entry) {
            Ok(spooled) => {
                self.state()
                    .spooled(spooled, &entry.message, &pushing.place);
                Ok(())
            }
            Err(error) => {
                pushing.retry_at = Some(Instant::now() + RETRY);
                self.state().spool_failed(&pushing.place, &error);
                Err(entry.message)
            }
        }
    }

    /// What is left of the room before the writer.
    pub fn room(&self) -> Room {
        self.state().room(self.limit)
    }

    /// The next message, waited for at most so long. One thread takes, and calls [`Self::done`]
    /// before it takes the next one.
    pub fn next(&self, patience: Duration) -> Next {
        let until = Instant::now() + patience;
        let mut state = self.state();
        loop {
            if let Some(entry) = state.memory.pop_front() {
                state.taken = Some(Arc::clone(&entry));
                return Next::Message(entry);
            }
            if state.unread > 0 {
                drop(state);
                if let Some(entry) = self.next_spooled() {
                    return Next::Message(Arc::new(entry));
                }
                state = self.state();
                // What could not be read is no longer waited for.
                if state.front().is_none() {
                    state.unread = 0;
                }
                continue;
            }
            let left = until.saturating_duration_since(Instant::now());
            if state.closed || left.is_zero() {
                let closed = state.closed;
                drop(state);
                self.remove_read();
                return if closed { Next::Closed } else { Next::Nothing };
            }
            let woken = self.filled.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The message that was taken last is in the file, or never will be.
    pub fn done(&self, entry: &Entry) {
        let mut state = self.state();
        if entry.is_batch() {
            state.done = entry.number;
        }
        if entry.spooled {
            state.unread -= 1;
        } else {
            state.weight -= entry.message.weight();
            state.taken = None;
        }
        let empty = state.unread == 0;
        drop(state);
        if empty {
            self.remove_read();
        }
        self.emptied.notify_all();
    }

    /// The next message of the segments; `None` where there is none after all.
    fn next_spooled(&self) -> Option<Entry> {
        let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let mut tries = 0;
        loop {
            let Some(file) = self.state().front() else {
                *reading = None;
                return None;
            };
            let read = match (&mut *reading, file) {
                (_, Front::Read) => {
                    *reading = None;
                    self.state().remove_front(None);
                    continue;
                }
                (Some(reader), Front::Unread(_)) => reader.message(),
                (None, Front::Unread(file)) => match Reader::new(file) {
                    Ok((reader, _)) => {
                        *reading = Some(reader);
                        continue;
                    }
                    Err(error) => Err(error),
                },
            };
            match read {
                Ok(Some((number, message))) => {
                    self.state().taken(&message);
                    return Some(Entry {
                        number,
                        message,
                        spooled: true,
                    });
                }
                Err(Unreadable::Io(_)) if tries < READS.0 => {
                    tries += 1;
                    std::thread::sleep(READS.1);
                }
                Ok(None) => {
                    *reading = None;
                    self.state().remove_front(Some(&Unreadable::Foreign));
                }
                Err(error) => {
                    *reading = None;
                    self.state().remove_front(Some(&error));
                }
            }
        }
    }

    /// Removes the segments when nothing is left in them, unless somebody pushes just now.
    fn remove_read(&self) {
        if self.state().segments.is_empty() {
            return;
        }
        let Ok(mut pushing) = self.pushing.try_lock() else {
            return;
        };
        let mut state = self.state();
        if state.unread > 0 {
            return;
        }
        pushing.writer = None;
        *self.reading.lock().unwrap_or_else(PoisonError::into_inner) = None;
        while !state.segments.is_empty() {
            state.remove_front(None);
        }
        state.emptied(&pushing.place);
    }

    /// Nothing is pushed any more.
    pub fn close(&self) {
        self.state().closed = true;
        self.filled.notify_all();
    }

    /// From `deadline` on nothing waits for room: what has none is lost, and counted.
    pub fn end_at(&self, deadline: Instant) {
        self.state().deadline = Some(deadline);
        self.emptied.notify_all();
    }

    /// The moment that [`Self::end_at`] was told.
    pub fn deadline(&self) -> Option<Instant> {
        self.state().deadline
    }

    /// Has events recorded that are part of no batch, whatever waits. It never waits itself.
    pub fn tell(&self, events: Vec<AgentEvent>) {
        self.state().events.extend(events);
        self.filled.notify_one();
    }

    /// What happened since the last time.
    pub fn take_events(&self) -> Vec<AgentEvent> {
        mem::take(&mut self.state().events)
    }

    /// Records a panic of a thread that pushes, and counts the calls that it took along.
    pub fn panicked(&self, event: AgentEvent, calls: u64) {
        let mut state = self.state();
        state.events.push(event);
        state.lose(calls, "the thread that held them panicked");
    }

    /// Calls that were lost since the last time, with the reason.
    pub fn take_lost_calls(&self) -> Vec<(u64, &'static str)> {
        mem::take(&mut self.state().lost)
    }

    /// Puts what waits in memory into a segment, with what was taken from there and is not done. Then all
    /// that is not in the file is in segments. Gives back how many calls they hold.
    ///
    /// # Errors
    /// Where it can't be written; those calls count as lost.
    pub fn spill(&self) -> io::Result<u64> {
        let mut pushing = self.pushing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.state();
        // A spooled one is in its segment still.
        let taken = state.taken.take();
        let entries: Vec<Arc<Entry>> = taken.into_iter().chain(state.memory.drain(..)).collect();
        let spooled: u64 = state.segments.iter().map(|segment| segment.calls).sum();
        let calls: u64 = entries.iter().map(|entry| entry.message.calls()).sum();
        let Some(number) = entries.first().map(|entry| entry.number) else {
            return Ok(spooled);
        };
        let written = pushing.begin_segment(number).and_then(|_| {
            let writer = pushing.writer.as_mut().ok_or(io::ErrorKind::NotFound)?;
            entries
                .iter()
                .try_for_each(|entry| writer.push(entry.number, &entry.message).map(drop))
        });
        match written {
            Ok(()) => Ok(spooled + calls),
            Err(error) => {
                state.lose(calls, SPOOL);
                Err(error)
            }
        }
    }

    /// Looks at what waits in memory: copies into the spool what was there at some looks before, and removes
    /// copies of what is done.
    pub fn keep_copies(&self) {
        let mut copies = self.copies.lock().unwrap_or_else(PoisonError::into_inner);
        let (waiting, done, bytes) = {
            let state = self.state();
            (
                state.waiting(),
                state.done,
                state.bytes + state.bytes_waiting(),
            )
        };
        copies.are_done(done);
        let chosen = copies.choose(waiting);
        if chosen.is_empty() || bytes + copies.bytes() > self.limit {
            return;
        }
        let pushing = self.pushing.lock().unwrap_or_else(PoisonError::into_inner);
        let functions = pushing.functions.clone();
        drop(pushing);
        // A spool that takes nothing is told of where it is needed.
        let _ = copies.add(&chosen, &functions);
    }

    /// Nothing waits any more of which there may be copies.
    pub fn remove_copies(&self) {
        let (tries, pause) = REMOVALS;
        for _ in 0..tries {
            if let Ok(mut copies) = self.copies.try_lock() {
                return copies.are_done(u64::MAX);
            }
            // Whoever looks is about to end, unless the disk hangs.
            std::thread::sleep(pause);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;
    use crate::event::{Level, Outcome};
    use crate::spool::copies::LOOKS;
    use crate::spool::segment::Header;
    use crate::store::tests::{call, calls, function};

    /// A queue with room for ten messages of one call in memory.
    fn queue(folder: &std::path::Path, limit: u64) -> Queue {
        let queue = Queue::new(Place::new(&folder.join("out.db"), None, 7), limit);
        queue.state().capacity = 20;
        queue
    }

    fn message(id: u64) -> Message {
        Message::Batch(Box::new(calls(vec![call(id, None, 0, Outcome::Ok)])))
    }

    /// Takes the next message, and expects it to be this one.
    fn take(queue: &Queue, number: u64) {
        match queue.next(Duration::ZERO) {
            Next::Message(entry) => {
                assert_eq!((entry.number, &entry.message), (number, &message(number)));
                queue.done(&entry);
            }
            other => panic!("{other:?}"),
        }
    }

    fn files(folder: &std::path::Path) -> usize {
        folder.read_dir().unwrap().count()
    }

    #[test]
    fn messages_come_in_order_through_memory_and_spool() {
        let folder = tempfile::tempdir().unwrap();
        let queue = queue(folder.path(), 1 << 20);
        for id in 1..=10 {
            assert!(queue.push(message(id)));
        }
        assert_eq!(files(folder.path()), 0);
        for id in 11..=50 {
            assert!(queue.push(message(id)));
        }
        assert_eq!(files(folder.path()), 1);
        for id in 1..=20 {
            take(&queue, id);
        }
        // There is room in memory, but what is spooled comes first.
        for id in 51..=60 {
            assert!(queue.push(message(id)));
        }
        for id in 21..=60 {
            take(&queue, id);
        }
        assert_eq!(files(folder.path()), 0);
        for id in 61..=90 {
            assert!(queue.push(message(id)));
        }
        for id in 61..=90 {
            take(&queue, id);
        }
        queue.close();
        assert!(matches!(queue.next(Duration::ZERO), Next::Closed));
        assert_eq!(files(folder.path()), 0);
        let kinds: Vec<_> = queue
            .take_events()
            .iter()
            .map(|event| event.level)
            .collect();
        assert_eq!(kinds, [Level::Warning, Level::Info, Level::Info]);
    }

    /// Segments of a queue, as recovery reads them.
    fn segments(folder: &std::path::Path) -> impl Iterator<Item = (Reader, Header)> {
        let place = Place::new(&folder.join("out.db"), None, 7);
        let segments = place.segments().unwrap().into_iter();
        segments.map(|path| Reader::new(Arc::new(File::open(path).unwrap())).unwrap())
    }

    fn functions_of_segments(folder: &std::path::Path) -> Vec<usize> {
        let headers = segments(folder).map(|(_, header)| header);
        headers.map(|header| header.functions.len()).collect()
    }

    fn numbers_in_segments(folder: &std::path::Path) -> Vec<u64> {
        let mut numbers = Vec::new();
        for (mut reader, _) in segments(folder) {
            while let Some((number, _)) = reader.message().unwrap() {
                numbers.push(number);
            }
        }
        numbers
    }

    /// Takes the next message, and does not write it yet.
    fn hold(queue: &Queue) -> Arc<Entry> {
        match queue.next(Duration::ZERO) {
            Next::Message(entry) => entry,
            other => panic!("{other:?}"),
        }
    }

    fn look(queue: &Queue, times: usize) {
        for _ in 0..times {
            queue.keep_copies();
        }
    }

    #[test]
    fn what_waits_for_long_is_copied_until_it_is_done() {
        let folder = tempfile::tempdir().unwrap();
        let queue = queue(folder.path(), 1 << 20);
        for id in 1..=3 {
            assert!(queue.push(message(id)));
        }
        let first = hold(&queue);
        look(&queue, LOOKS);
        assert_eq!(files(folder.path()), 0, "it has not waited for long");
        assert!(queue.push(Message::Functions(vec![function("app::new")])));
        assert!(queue.push(message(5)));
        look(&queue, 1);
        assert_eq!(numbers_in_segments(folder.path()), [1, 2, 3, 5]);
        assert!(queue.push(message(6)));
        look(&queue, 2);
        assert_eq!(numbers_in_segments(folder.path()), [1, 2, 3, 5, 6]);
        queue.done(&first);
        for id in 2..=3 {
            take(&queue, id);
        }
        queue.done(&hold(&queue));
        take(&queue, 5);
        let last = hold(&queue);
        look(&queue, 1);
        assert_eq!(files(folder.path()), 1, "6 is not done");
        queue.done(&last);
        look(&queue, 1);
        assert_eq!(files(folder.path()), 0);
        assert!(matches!(queue.next(Duration::ZERO), Next::Nothing));
    }

    #[test]
    fn what_is_spooled_needs_no_copy_and_what_goes_on_neither() {
        let folder = tempfile::tempdir().unwrap();
        let queue = queue(folder.path(), 1 << 20);
        for id in 1..=20 {
            assert!(queue.push(message(id)));
            look(&queue, 1);
            take(&queue, id);
        }
        assert_eq!(files(folder.path()), 0);
        for id in 21..=40 {
            assert!(queue.push(message(id)));
        }
        let spooled = numbers_in_segments(folder.path());
        assert!(!spooled.is_empty() && spooled.len() < 20);
        look(&queue, LOOKS + 1);
        let all: Vec<_> = (21..=40).collect();
        assert_eq!(numbers_in_segments(folder.path()), all);
        for id in 21..=40 {
            take(&queue, id);
        }
    }

    #[test]
    fn copies_of_a_file_that_is_always_behind_go_one_after_the_other() {
        let folder = tempfile::tempdir().unwrap();
        let queue = queue(folder.path(), 4096);
        let behind = LOOKS as u64 + 2;
        for id in 1..=200 {
            assert!(queue.push(message(id)));
            look(&queue, 1);
            if id > behind {
                take(&queue, id - behind);
                let copied = numbers_in_segments(folder.path());
                assert!(copied.ends_with(&[id - 1, id]), "{id}: {copied:?}");
            }
        }
        assert!(files(folder.path()) <= 3);
        assert!(numbers_in_segments(folder.path()).len() < 50);
    }

    #[test]
    fn copies_keep_to_the_limit_and_new_functions_have_new_ones() {
        let folder = tempfile::tempdir().unwrap();
        let small = queue(folder.path(), 100);
        assert!(small.push(message(1)));
        look(&small, LOOKS + 1);
        assert_eq!(files(folder.path()), 0, "there is no room");
        let queue = queue(folder.path(), 1 << 20);
        assert!(queue.push(message(1)));
        look(&queue, LOOKS + 1);
        assert!(queue.push(Message::Functions(vec![function("app::new")])));
        assert!(queue.push(message(3)));
        look(&queue, 1);
        assert_eq!(functions_of_segments(folder.path()), [0, 1]);
        assert_eq!(queue.spill().unwrap(), 2);
        queue.remove_copies();
        assert_eq!(numbers_in_segments(folder.path()), [1, 2, 3]);
    }

    #[test]
    fn the_spool_is_bounded_and_its_read_segments_make_room() {
        let folder = tempfile::tempdir().unwrap();
        let queue = queue(folder.path(), 4096);
        let mut pushed = 0;
        while queue.state().bytes < 4096 {
            pushed += 1;
            assert!(queue.push(message(pushed)));
        }
        assert!(files(folder.path()) > 4);
        let on_disk = |entry: io::Result<fs::DirEntry>| entry.unwrap().metadata().unwrap().len();
        let bytes: u64 = folder.path().read_dir().unwrap().map(on_disk).sum();
        assert!((4096..4096 + 200).contains(&bytes), "{bytes}");
        std::thread::scope(|scope| {
            let more = scope.spawn(|| (1..=100).all(|id| queue.push(message(pushed + id))));
            for number in 1..=pushed + 100 {
                loop {
                    if let Next::Message(entry) = queue.next(Duration::from_secs(60)) {
                        assert_eq!(entry.message, message(number));
                        queue.done(&entry);
                        break;
                    }
                }
            }
            assert!(more.join().unwrap());
        });
        queue.close();
        assert!(matches!(queue.next(Duration::ZERO), Next::Closed));
        assert_eq!(files(folder.path()), 0);
    }

    #[test]
    fn what_has_no_room_by_the_deadline_is_lost_and_counted() {
        let folder = tempfile::tempdir().unwrap();
        let queue = queue(&folder.path().join("none"), 4096);
        for id in 1..=10 {
            assert!(queue.push(message(id)));
        }
        queue.end_at(Instant::now());
        assert!(!queue.push(message(11)));
        assert!(!queue.push(message(12)));
        assert_eq!(queue.take_lost_calls(), [(2, SPOOL)]);
        let [event] = &queue.take_events()[..] else {
            panic!("one event")
        };
        assert!(event.message.contains("can't be written"), "{event:?}");
        for id in 1..=10 {
            take(&queue, id);
        }
        assert!(queue.push(message(11)));
        take(&queue, 11);
    }

    #[test]
    fn functions_and_events_pass_what_waits() {
        let folder = tempfile::tempdir().unwrap();
        let queue = queue(folder.path(), 200);
        let mut pushed = 0;
        while matches!(
            queue.offer(message(pushed + 1), Duration::ZERO),
            Offered::Taken
        ) {
            pushed += 1;
        }
        assert!(pushed > 10, "{pushed}");
        assert!(queue.room().per_cent() >= 100);
        let new = Message::Functions(vec![function("app::new")]);
        assert!(matches!(
            queue.offer(new.clone(), Duration::ZERO),
            Offered::Taken
        ));
        queue.take_events();
        queue.tell(vec![AgentEvent::now(
            Level::Info,
            "attached",
            String::new(),
        )]);
        assert_eq!(queue.take_events()[0].kind, "attached");
        for id in 1..=10 {
            take(&queue, id);
        }
        let entry = hold(&queue);
        assert_eq!((entry.number, &entry.message), (pushed + 1, &new));
        queue.done(&entry);
        for id in 11..=pushed {
            take(&queue, id);
        }
        assert_eq!(
            queue.room(),
            Room {
                spooled: 0,
                limit: 200,
                none: false
            }
        );
    }

    #[test]
    fn segments_after_new_functions_have_them() {
        let folder = tempfile::tempdir().unwrap();
        let queue = queue(folder.path(), 1 << 20);
        for id in 1..=11 {
            assert!(queue.push(message(id)));
        }
        assert!(queue.push(Message::Functions(vec![function("app::new")])));
        assert!(queue.push(message(12)));
        assert_eq!(functions_of_segments(folder.path()), [0, 1]);
    }

    #[test]
    fn a_segment_that_was_damaged_is_passed_over_and_told() {
        let folder = tempfile::tempdir().unwrap();
        let queue = queue(folder.path(), 1 << 20);
        for id in 1..=30 {
            assert!(queue.push(message(id)));
        }
        let segment = folder.path().read_dir().unwrap().next().unwrap().unwrap();
        let segment = File::options().write(true).open(segment.path()).unwrap();
        segment
            .set_len(segment.metadata().unwrap().len() - 1)
            .unwrap();
        for id in 1..=29 {
            take(&queue, id);
        }
        assert!(matches!(queue.next(Duration::ZERO), Next::Nothing));
        assert_eq!(queue.take_lost_calls(), [(1, SPOOL)]);
        assert!(queue.push(Message::Functions(vec![function("app::new")])));
        assert!(matches!(queue.next(Duration::ZERO), Next::Message(_)));
    }

    #[test]
    fn what_waits_at_the_end_is_spilled_before_what_was_spooled() {
        let folder = tempfile::tempdir().unwrap();
        let queue = queue(folder.path(), 1 << 20);
        for id in 1..=30 {
            assert!(queue.push(message(id)));
        }
        let first = hold(&queue);
        assert_eq!(first.number, 1);
        assert_eq!(queue.spill().unwrap(), 30);
        let numbers = numbers_in_segments(folder.path());
        assert_eq!(numbers, (1..=30).collect::<Vec<_>>());
    }
}
