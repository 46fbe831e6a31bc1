//! From records to calls. Pure: it asks nobody, never fails, and counts what does not match.
//!
//! In `full` mode the programs have numbered the calls and their parents, and a record is a call. Only
//! what errors and panics said waits for its turn: of two texts of one call the later one counts, and
//! they may come from two CPUs.
//!
//! In `exits` mode a record names calls by address. A child ends before its parent, so the first
//! child that names an address gives the parent its number in advance, and the parent takes it when
//! it ends; so do fields, links and panics of a call that is still open. A call that never ends has no row,
//! and the numbers of those are told to the store: whose parent it would be has none. All that needs the records in the
//! order of their times; [`Assembler::release`] sorts them and keeps back those that a slower CPU's
//! ring might still precede.

use std::collections::HashMap;

use exoscope_abi as abi;
use exoscope_abi::figures::{CPU, FAULTS, MEMORY, SWITCHES};
use exoscope_abi::record::{
    CallRecord, LinkRecord, MeasuredRecord, PolledMeasuredRecord, PolledRecord, Said,
};

use super::decode::{ErrorText, FieldsText, Record};
use super::expected::Expected;
use crate::event::{Batch, Call, CallPolls, ErrorDetail, Fields, Figures, Outcome, UnmatchedExit};

/// Makes events of records.
#[derive(Debug, Default)]
pub struct Assembler {
    /// Records name calls by address, and wait for their turn.
    exits_only: bool,
    /// Records that wait: in `full` mode those of errors.
    held: Vec<Record>,
    /// Calls of `exits` mode of which something is known, but not their end.
    expected: Expected,
    /// Numbers of failed calls by address and end, for their error texts.
    failed: HashMap<(u64, u64), u64>,
    /// Records whose fields made no sense.
    malformed: u64,
}

/// How long a failed call waits for the text of its error, in nanoseconds.
const TEXT_WAIT_NS: u64 = 1_000_000_000;

impl Assembler {
    /// An assembler for records of `full` or of `exits` mode.
    pub fn new(exits_only: bool) -> Self {
        Self {
            exits_only,
            ..Self::default()
        }
    }

    /// Takes one record; its events go to `batch` now or at a later [`Assembler::release`].
    #[inline]
    pub fn push(&mut self, record: Record, batch: &mut Batch) {
        match record {
            Record::Call(record) => self.call(&record, None, None, batch),
            Record::Polled(PolledRecord { call, polls }) => {
                self.call(&call, Some(&polls), None, batch);
            }
            Record::Measured(MeasuredRecord { call, figures }) => {
                self.call(&call, None, Some(&figures), batch);
            }
            Record::PolledMeasured(PolledMeasuredRecord {
                call,
                polls,
                figures,
            }) => self.call(&call, Some(&polls), Some(&figures), batch),
            Record::Unmatched(record) => self.unmatched(&record, batch),
            Record::Exit(_) | Record::Link(_) | Record::Error(_) => self.held.push(record),
            Record::Fields(_) if self.exits_only => self.held.push(record),
            Record::Fields(text) => batch.fields.push(fields(text.id, *text)),
        }
    }

    /// Turns records that ended before `complete_until` (`CLOCK_MONOTONIC` nanoseconds) into events
    /// of `batch`; no record that ended earlier may come after this.
    pub fn release(&mut self, complete_until: u64, batch: &mut Batch) {
        if self.held.is_empty() {
            return;
        }
        self.held.sort_by_key(turn_of);
        let ready = self
            .held
            .partition_point(|record| turn_of(record).0 < complete_until);
        let waiting = self.held.split_off(ready);
        for record in std::mem::replace(&mut self.held, waiting) {
            match record {
                Record::Exit(record) => self.exit(&record, batch),
                Record::Error(text) if !self.exits_only => {
                    batch.errors.push(detail(text.id, *text));
                }
                Record::Error(text) => {
                    let id = match text.said {
                        Said::AtEnd => self.failed.remove(&(text.id, text.at_ns)),
                        Said::InItem | Said::InPanic => self.expected.open(text.id, text.at_ns),
                    };
                    batch.errors.extend(id.map(|id| detail(id, *text)));
                }
                Record::Fields(text) => {
                    let id = self.expected.open(text.id, text.at_ns);
                    batch.fields.extend(id.map(|id| fields(id, *text)));
                }
                Record::Link(LinkRecord {
                    token, call, at_ns, ..
                }) => self.expected.link(token, call, at_ns),
                Record::Call(_)
                | Record::Polled(_)
                | Record::Measured(_)
                | Record::PolledMeasured(_)
                | Record::Unmatched(_) => {}
            }
        }
        self.failed
            .retain(|(_, end_ns), _| end_ns.saturating_add(TEXT_WAIT_NS) > complete_until);
        batch.unended.extend(self.expected.take_unended());
    }

    /// As [`Assembler::release`] of everything: no record comes after this. What is expected to end has
    /// not.
    pub fn finish(&mut self, batch: &mut Batch) {
        self.release(u64::MAX, batch);
        self.expected.give_up();
        batch.unended.extend(self.expected.take_unended());
    }

    /// Records that made no sense so far.
    pub fn malformed(&self) -> u64 {
        self.malformed
    }

    fn outcome(&mut self, number: u8) -> Option<Outcome> {
        let outcome = Outcome::from_number(number);
        if outcome.is_none() {
            self.malformed += 1;
        }
        outcome
    }

    fn call(
        &mut self,
        record: &CallRecord,
        polls: Option<&abi::polls::CallPolls>,
        figures: Option<&abi::figures::Figures>,
        batch: &mut Batch,
    ) {
        let Some(outcome) = self.outcome(record.outcome) else {
            return;
        };
        let parent = Some(record.parent).filter(|&parent| parent != 0);
        let mut call = call(record, record.id, parent, record.child_ns, outcome);
        let mut measured_ns = call.duration_ns;
        if let Some(polls) = polls {
            let polls = call_polls(call.id, call.duration_ns, *polls);
            measured_ns = polls.polled_ns;
            batch.polls.push(polls);
        }
        call.figures = match figures {
            Some(figures) => measured(figures, measured_ns),
            None => quiet(record.quiet, measured_ns),
        };
        batch.calls.push(call);
    }

    fn unmatched(&mut self, record: &CallRecord, batch: &mut Batch) {
        let Some(outcome) = self.outcome(record.outcome) else {
            return;
        };
        batch.unmatched.push(UnmatchedExit {
            function: record.function,
            tid: record.tid,
            at_ns: record.end_ns,
            outcome,
        });
    }

    fn exit(&mut self, record: &CallRecord, batch: &mut Batch) {
        let Some(outcome) = self.outcome(record.outcome) else {
            return;
        };
        let (id, child_ns) = self.expected.end(record.id, record.start_ns);
        let parent = match record.parent {
            0 => None,
            call => self.expected.parent(call, record.start_ns, record.end_ns),
        };
        if outcome != Outcome::Ok {
            self.failed.insert((record.id, record.end_ns), id);
        }
        batch
            .calls
            .push(call(record, id, parent, child_ns, outcome));
    }
}

/// Order of records in `exits` mode: by time. At the same one, what is told of an open call comes
/// before its end, and what it ended with after.
fn turn_of(record: &Record) -> (u64, u8) {
    match record {
        Record::Fields(text) => (text.at_ns, 0),
        Record::Link(record) => (record.at_ns, 0),
        Record::Error(text) if text.said != Said::AtEnd => (text.at_ns, 0),
        Record::Call(call)
        | Record::Exit(call)
        | Record::Unmatched(call)
        | Record::Polled(PolledRecord { call, .. })
        | Record::Measured(MeasuredRecord { call, .. })
        | Record::PolledMeasured(PolledMeasuredRecord { call, .. }) => (call.end_ns, 1),
        Record::Error(text) => (text.at_ns, 2),
    }
}

fn call(
    record: &CallRecord,
    id: u64,
    parent: Option<u64>,
    child_ns: u64,
    outcome: Outcome,
) -> Call {
    let duration_ns = record.end_ns.saturating_sub(record.start_ns);
    Call {
        id,
        parent,
        function: record.function,
        tid: record.tid,
        start_ns: record.start_ns,
        duration_ns,
        self_ns: duration_ns.saturating_sub(child_ns),
        outcome,
        items: record.items.checked_sub(1),
        figures: Figures::default(),
    }
}

/// The polls of a call, within its duration.
pub fn call_polls(call: u64, duration_ns: u64, polls: abi::polls::CallPolls) -> CallPolls {
    let polled_ns = polls.polled_ns.min(duration_ns);
    CallPolls {
        call,
        polls: polls.polls,
        polled_ns,
        ready_ns: polls.ready_ns.min(duration_ns - polled_ns),
    }
}

/// The figures of a call during which nothing happened: it was on a CPU for all of `measured_ns`.
fn quiet(known: u8, measured_ns: u64) -> Figures {
    let known = u32::from(known);
    Figures {
        known,
        cpu_ns: if known & CPU != 0 { measured_ns } else { 0 },
        ..Figures::default()
    }
}

/// The figures of a call of `measured_ns`.
///
/// Two clocks tell of the time off the CPU: how much there was, and how much of it the thread waited for
/// a CPU. A thread that never waited for anything else has spent all of it so.
fn measured(figures: &abi::figures::Figures, measured_ns: u64) -> Figures {
    let known = |flag, figure| {
        if figures.known & flag == flag {
            figure
        } else {
            0
        }
    };
    let off_ns = known(CPU, figures.off_ns).min(measured_ns);
    let runqueue_ns = if figures.voluntary_switches == 0 {
        off_ns
    } else {
        figures.runqueue_ns.min(off_ns)
    };
    let count = |flag, count| known(flag, u64::from(count)) as u32;
    Figures {
        known: figures.known,
        cpu_ns: if figures.known & CPU != 0 {
            measured_ns - off_ns
        } else {
            0
        },
        runqueue_ns,
        blocked_ns: off_ns - runqueue_ns,
        minor_faults: count(FAULTS, figures.minor_faults),
        major_faults: count(FAULTS, figures.major_faults),
        voluntary_switches: count(SWITCHES, figures.voluntary_switches),
        involuntary_switches: count(SWITCHES, figures.involuntary_switches),
        rss_delta_bytes: if figures.known & MEMORY != 0 {
            i64::from(figures.rss_pages) * rustix::param::page_size() as i64
        } else {
            0
        },
    }
}

fn fields(call: u64, text: FieldsText) -> Fields {
    Fields {
        call,
        json: text.json,
        truncated: text.truncated,
    }
}

fn detail(call: u64, text: ErrorText) -> ErrorDetail {
    ErrorDetail {
        call,
        panic: text.said == Said::InPanic,
        kind: text.kind,
        message: text.message,
        truncated: text.truncated,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use exoscope_abi::probe::{LINK, TOKEN};
    use exoscope_abi::record::RecordKind;

    fn exit(address: u64, parent: u64, start_ns: u64, end_ns: u64) -> Record {
        Record::Exit(CallRecord {
            kind: RecordKind::Exit as u16,
            outcome: 0,
            quiet: 0,
            function: 0,
            id: address,
            parent,
            start_ns,
            end_ns,
            child_ns: 0,
            tid: 1,
            items: 0,
        })
    }

    #[test]
    fn the_time_of_a_call_is_split_without_a_rest() {
        let split = |off_ns, runqueue_ns, voluntary_switches| {
            let figures = abi::figures::Figures {
                off_ns,
                runqueue_ns,
                voluntary_switches,
                ..abi::figures::Figures::none(CPU)
            };
            let of_call = measured(&figures, 100);
            assert_eq!(of_call.known, CPU);
            (of_call.cpu_ns, of_call.runqueue_ns, of_call.blocked_ns)
        };
        assert_eq!(split(0, 0, 0), (100, 0, 0));
        assert_eq!(split(30, 10, 1), (70, 10, 20));
        assert_eq!(split(30, 10, 0), (70, 30, 0), "it waited for a CPU only");
        assert_eq!(split(120, 130, 1), (0, 100, 0), "the clocks differ");
    }

    fn assemble(records: Vec<Record>) -> Batch {
        let mut batch = Batch::default();
        let mut assembler = Assembler::new(true);
        records
            .into_iter()
            .for_each(|record| assembler.push(record, &mut batch));
        assembler.release(u64::MAX, &mut batch);
        batch
    }

    #[test]
    fn exits_find_their_parents_whatever_ring_they_came_through() {
        let batch = assemble(vec![
            exit(0x10, 0, 1, 100),
            exit(0x30, 0x20, 10, 20),
            exit(0x20, 0x10, 5, 50),
        ]);
        let [inner, middle, outer] = &batch.calls[..] else {
            panic!("three calls")
        };
        assert_eq!(inner.parent, Some(middle.id));
        assert_eq!(middle.parent, Some(outer.id));
        assert_eq!(outer.parent, None);
        assert_eq!((middle.self_ns, outer.self_ns), (35, 54));
    }

    #[test]
    fn time_of_children_that_overlap_counts_once() {
        let batch = assemble(vec![
            exit(0x20, 0x10, 20, 60),
            exit(0x30, 0x10, 30, 50),
            exit(0x40, 0x10, 70, 80),
            exit(0x10, 0, 10, 100),
        ]);
        let parent = batch.calls.last().expect("four calls");
        assert_eq!((parent.duration_ns, parent.self_ns), (90, 40));
    }

    #[test]
    fn a_later_call_at_a_parents_address_is_not_the_parent() {
        // The parent at 0x10 never ends; another call takes its place.
        let batch = assemble(vec![exit(0x20, 0x10, 5, 50), exit(0x10, 0, 60, 70)]);
        assert_ne!(batch.calls[0].parent, Some(batch.calls[1].id));
    }

    #[test]
    fn what_may_be_preceded_waits() {
        let mut batch = Batch::default();
        let mut assembler = Assembler::new(true);
        assembler.push(exit(0x10, 0, 1, 100), &mut batch);
        assembler.release(100, &mut batch);
        assert!(batch.calls.is_empty());
        assembler.push(exit(0x20, 0x10, 5, 50), &mut batch);
        assembler.release(101, &mut batch);
        assert_eq!(batch.calls.len(), 2);
        assert_eq!(batch.calls[0].parent, Some(batch.calls[1].id));
    }

    #[test]
    fn texts_of_a_call_that_moved_come_in_their_order() {
        let text = |at_ns, message: &str| {
            Record::Error(Box::new(ErrorText {
                id: 7,
                at_ns,
                said: if at_ns < 100 {
                    Said::InPanic
                } else {
                    Said::AtEnd
                },
                kind: "E".to_owned(),
                message: message.to_owned(),
                truncated: false,
            }))
        };
        let mut batch = Batch::default();
        let mut assembler = Assembler::new(false);
        assembler.push(text(100, "at its end"), &mut batch);
        assembler.push(text(90, "caught"), &mut batch);
        assembler.release(100, &mut batch);
        assert_eq!(batch.errors.len(), 1);
        assembler.release(101, &mut batch);
        let messages = batch.errors.iter().map(|error| &error.message[..]);
        assert!(messages.eq(["caught", "at its end"]));
    }

    #[test]
    fn an_errors_text_finds_its_call_even_a_turn_later() {
        let Record::Exit(record) = exit(0x10, 0, 1, 100) else {
            unreachable!()
        };
        let text = ErrorText {
            id: 0x10,
            at_ns: 100,
            said: Said::AtEnd,
            kind: "E".to_owned(),
            message: "m".to_owned(),
            truncated: false,
        };
        let mut batch = Batch::default();
        let mut assembler = Assembler::new(true);
        assembler.push(
            Record::Exit(CallRecord {
                outcome: 1,
                ..record
            }),
            &mut batch,
        );
        assembler.release(200, &mut batch);
        assembler.push(Record::Error(Box::new(text)), &mut batch);
        assembler.release(300, &mut batch);
        assert_eq!(batch.errors[0].call, batch.calls[0].id);
    }

    #[test]
    fn fields_links_and_panics_find_the_open_call_at_their_address() {
        let token = LINK | 3 << 3 | TOKEN;
        let fields = |at_ns, json: &str| {
            Record::Fields(Box::new(FieldsText {
                id: 0x10,
                at_ns,
                json: json.to_owned(),
                truncated: false,
            }))
        };
        let link = Record::Link(LinkRecord {
            kind: RecordKind::Link as u16,
            reserved: [0; 3],
            token,
            call: 0x10,
            at_ns: 130,
        });
        let panic = Record::Error(Box::new(ErrorText {
            id: 0x10,
            at_ns: 140,
            said: Said::InPanic,
            kind: "panic".to_owned(),
            message: "m".to_owned(),
            truncated: false,
        }));
        let batch = assemble(vec![
            fields(20, "{}"),
            exit(0x10, 0, 10, 100),
            fields(125, "{\"a\":1}"),
            link,
            panic,
            exit(0x10, 0, 120, 150),
            exit(0x40, token, 160, 170),
        ]);
        let [first, second, linked] = &batch.calls[..] else {
            panic!("three calls")
        };
        let of: Vec<u64> = batch.fields.iter().map(|fields| fields.call).collect();
        assert_eq!(of, [first.id, second.id]);
        assert_eq!(batch.errors[0].call, second.id);
        assert_eq!(linked.parent, Some(second.id));
    }

    #[test]
    fn nonsense_is_counted() {
        let mut batch = Batch::default();
        let mut assembler = Assembler::new(false);
        let Record::Exit(record) = exit(1, 0, 1, 2) else {
            unreachable!()
        };
        assembler.push(
            Record::Call(CallRecord {
                outcome: 99,
                ..record
            }),
            &mut batch,
        );
        assert!(batch.calls.is_empty());
        assert_eq!(assembler.malformed(), 1);
    }
}
