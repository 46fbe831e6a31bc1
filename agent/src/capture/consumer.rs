//! The consumer: drains the rings on a timer and hands batches to the writer.
//!
//! The rings wake nobody, because a wake-up costs the target more than all the rest of a marker. So
//! the consumer polls: often while there is much, seldom while there is little. Where the writer
//! is slower and the spool fills, calls are counted and no longer recorded, in steps ([`Governor`]). What
//! still finds no room waits in the rings, and what does not fit there is counted by the programs as
//! lost: memory stays bounded and nothing is lost unseen.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::assemble::{Assembler, call_polls};
use super::decode::decode;
use super::governor::Governor;
use super::looks::Looks;
use super::ring::Ring;
use super::shared::Shared;
use super::steps::Room;
use crate::event::{Batch, Call, Figures, FunctionCounts, OpenCall, Outcome, SessionLosses};
use crate::panics::point;

/// Bytes of the rings in one batch, about: 65,536 calls without anything beside them.
const BATCH: u64 = 4 << 20;
/// Shortest and longest pause between two turns.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(20));
/// Pause after a turn that found next to nothing: each one wakes a CPU that may be asleep. Of what one
/// core can make of calls in that time, a ring of the usual size holds seven times as much.
const IDLE_PAUSE: Duration = Duration::from_millis(50);
/// Bytes in a turn up to which that is so: a few calls.
const IDLE: u64 = 1 << 10;
/// Bytes in a turn above which the next one comes sooner.
const BUSY: u64 = 512 << 10;
/// How often open calls and counts are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(400);
/// Where order counts: how much older than the turn a record is before nothing can precede it.
const SETTLE_NS: u64 = 5_000_000;

/// What the person who waits is told; written by the consumer, read by anyone.
#[derive(Debug, Default)]
pub struct Progress {
    /// Calls taken from the rings.
    pub calls: AtomicU64,
    /// Calls and records that the programs counted as lost.
    pub lost: AtomicU64,
    /// Calls that were counted and not recorded.
    pub only_counted: AtomicU64,
    /// Calls open at the last look.
    pub open: AtomicU64,
}

impl Progress {
    fn took(&self, calls: usize) {
        self.calls.fetch_add(calls as u64, Ordering::Relaxed);
    }
}

/// Where batches go.
pub trait Outlet {
    /// Takes a batch, or gives it back after a moment.
    fn offer(&self, batch: Box<Batch>) -> Offered<Box<Batch>>;
    /// What is left of its room.
    fn room(&self) -> Room;
}

/// What became of something that was offered.
#[derive(Debug)]
pub enum Offered<T> {
    /// It was taken.
    Taken,
    /// There is no room for it now.
    NotYet(T),
    /// It is lost, and counted: nobody takes anything any more.
    Never,
}

/// Takes records from the rings.
pub struct Consumer {
    rings: Vec<Ring>,
    shared: Shared,
    assembler: Assembler,
    looks: Looks,
    governor: Governor,
    malformed: u64,
    progress: Arc<Progress>,
    /// What the turn has assembled.
    batch: Batch,
    /// Calls that are in nobody's hands but those of the code that runs.
    held: u64,
}

/// What a turn met.
struct Drained {
    /// Bytes that were taken from the rings.
    bytes: u64,
    /// Nothing that ended earlier is left in a ring.
    complete_until: u64,
    /// A ring had more than one batch holds.
    more: bool,
}

impl Consumer {
    /// A consumer of these rings and arrays.
    pub fn new(
        rings: Vec<Ring>,
        shared: Shared,
        exits_only: bool,
        progress: Arc<Progress>,
        governor: Governor,
    ) -> Self {
        let assembler = Assembler::new(exits_only);
        Self {
            rings,
            shared,
            assembler,
            looks: Looks::default(),
            governor,
            malformed: 0,
            progress,
            batch: Batch::default(),
            held: 0,
        }
    }

    /// Takes turns until `stop`, or until `outlet` takes no batches any more. After a panic it may be run
    /// again: what was assembled is still there.
    pub fn run(&mut self, stop: &AtomicBool, outlet: &impl Outlet) {
        let mut pause = PAUSES.0;
        let mut looked = Instant::now();
        while !stop.load(Ordering::Acquire) {
            let look = looked.elapsed() >= LOOK_EVERY;
            if look {
                looked = Instant::now();
            }
            self.govern(outlet.room());
            let drained = self.turn(look);
            point("consumer");
            if self.batch != Batch::default() && !self.offer(outlet) {
                break;
            }
            if drained.more {
                continue;
            }
            pause = if drained.bytes > BUSY {
                pause / 2
            } else {
                pause * 2
            };
            pause = pause.clamp(PAUSES.0, PAUSES.1);
            std::thread::sleep(if drained.bytes <= IDLE {
                IDLE_PAUSE
            } else {
                pause
            });
        }
    }

    /// Takes a step where the room that is left asks for one.
    fn govern(&mut self, room: Room) {
        self.governor
            .turn(room, &self.shared.totals, &mut self.batch);
    }

    /// Hands over what was assembled, however long that takes; says whether it was taken.
    fn offer(&mut self, outlet: &impl Outlet) -> bool {
        loop {
            let calls = self.batch.calls.len();
            match self.hand_over(|batch| outlet.offer(Box::new(batch))) {
                Offered::Taken => {
                    self.progress.took(calls);
                    return true;
                }
                Offered::Never => return false,
                Offered::NotYet(batch) => {
                    self.batch = *batch;
                    self.govern(outlet.room());
                }
            }
        }
    }

    /// Hands over what was assembled.
    fn hand_over<T>(&mut self, send: impl FnOnce(Batch) -> T) -> T {
        let batch = std::mem::take(&mut self.batch);
        self.held = batch.calls.len() as u64;
        let sent = send(batch);
        self.held = 0;
        sent
    }

    /// Calls that a panic took along.
    pub fn take_held(&mut self) -> u64 {
        std::mem::take(&mut self.held)
    }

    /// After everything is detached: takes what is left. Each batch goes to `write`. After a panic it
    /// may be called again.
    pub fn drain_rest(&mut self, mut write: impl FnMut(Batch)) {
        loop {
            let drained = self.drain();
            if !drained.more {
                self.assembler.finish(&mut self.batch);
            }
            self.progress.took(self.batch.calls.len());
            self.hand_over(&mut write);
            if !drained.more {
                return;
            }
        }
    }

    /// Ends the calls that are still open with `outcome` at `end_ns`, and gives the last counts.
    pub fn finish(&mut self, outcome: Outcome, end_ns: u64, write: impl FnOnce(Batch)) {
        let counts = self.shared.totals.snapshot();
        self.tell_lost(&counts);
        let mut batch = Batch {
            open: Some(Vec::new()),
            losses: self.losses(),
            ..Batch::default()
        };
        self.governor.finish(&counts, &mut batch);
        batch.counts = Some(counts);
        for (slot, call) in self.shared.open_calls.snapshot() {
            let call = ended(&call, outcome, end_ns);
            let polls = self.shared.polls.as_ref();
            let polls = polls.and_then(|polls| polls.ended(slot, call.id, end_ns));
            let polls = polls.map(|polls| call_polls(call.id, call.duration_ns, polls));
            batch.polls.extend(polls);
            batch.calls.push(call);
        }
        self.progress.took(batch.calls.len());
        write(batch);
        self.progress.open.store(0, Ordering::Relaxed);
    }

    /// One turn. A look comes before draining, counts first, so that a call that is counted is
    /// found open, in a ring, or in an earlier batch.
    fn turn(&mut self, look: bool) -> Drained {
        let seen = look.then(|| {
            let counts = self.shared.totals.snapshot();
            self.tell_lost(&counts);
            self.governor.look(&counts, &mut self.batch);
            let mut looks = std::mem::take(&mut self.looks);
            let open = looks.open(&counts, || self.scan());
            self.looks = looks;
            (counts, open)
        });
        let drained = self.drain();
        if let Some((counts, mut open)) = seen {
            let ended: HashSet<u64> = self.batch.calls.iter().map(|call| call.id).collect();
            open.retain(|call| !ended.contains(&call.id));
            self.progress
                .open
                .store(open.len() as u64, Ordering::Relaxed);
            self.batch.counts = Some(counts);
            self.batch.losses = self.losses();
            self.batch.open = Some(open);
        }
        drained
    }

    /// The open calls, in no order. A large table takes so long that the rings would fill meanwhile, so they
    /// are drained in between.
    fn scan(&mut self) -> Vec<OpenCall> {
        let mut open = Vec::new();
        for part in self.shared.open_calls.parts() {
            open.extend(self.shared.open_calls.slots(part).map(|(_, call)| call));
            self.drain();
        }
        open
    }

    fn drain(&mut self) -> Drained {
        let mut drained = Drained {
            bytes: 0,
            complete_until: monotonic_ns().saturating_sub(SETTLE_NS),
            more: false,
        };
        let share = BATCH / self.rings.len().max(1) as u64;
        for ring in &mut self.rings {
            let mut last_end = 0;
            let taken = ring.drain(share, |bytes| {
                self.held = 1;
                point("record");
                match decode(bytes) {
                    Some(record) => {
                        let call = record.call();
                        self.held = u64::from(call.is_some());
                        last_end = call.map_or(last_end, |call| call.end_ns);
                        self.assembler.push(record, &mut self.batch);
                    }
                    None => self.malformed += 1,
                }
                self.held = 0;
            });
            drained.bytes += taken;
            if taken >= share {
                drained.more = true;
                drained.complete_until = drained.complete_until.min(last_end);
            }
        }
        self.assembler
            .release(drained.complete_until, &mut self.batch);
        drained
    }

    fn losses(&self) -> Option<SessionLosses> {
        let losses = self.shared.losses.snapshot();
        (losses.links + losses.panics > 0).then_some(losses)
    }

    fn tell_lost(&self, counts: &[FunctionCounts]) {
        let lost = counts
            .iter()
            .map(|count| count.lost_ring + count.lost_table);
        self.progress.lost.store(lost.sum(), Ordering::Relaxed);
        let only_counted = counts.iter().map(|count| count.only_counted);
        self.progress
            .only_counted
            .store(only_counted.sum(), Ordering::Relaxed);
    }

    /// Records that made no sense.
    pub fn malformed(&self) -> u64 {
        self.malformed + self.assembler.malformed()
    }
}

fn ended(call: &OpenCall, outcome: Outcome, end_ns: u64) -> Call {
    let duration_ns = end_ns.saturating_sub(call.start_ns);
    Call {
        id: call.id,
        parent: call.parent,
        function: call.function,
        tid: call.tid,
        start_ns: call.start_ns,
        duration_ns,
        self_ns: duration_ns.saturating_sub(call.child_ns_at(end_ns)),
        outcome,
        items: None,
        figures: Figures::default(),
    }
}

/// `CLOCK_MONOTONIC` in nanoseconds.
pub fn monotonic_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
