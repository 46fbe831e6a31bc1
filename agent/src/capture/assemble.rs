//! From records to calls. Pure: it asks nobody, never fails, and counts what does not match.
//!
//! In `full` mode the programs have numbered the calls and their parents, and a record is a call.
//! In `exits` mode a record names calls by address. A child ends before its parent, so the first
//! child that names an address gives the parent its number in advance, and the parent takes it when
//! it ends. Fields, links and panics of a call that is still open do the same. That needs the records in the order of their ends; [`Assembler::release`] sorts them and
//! keeps back those that a slower CPU's ring might still precede.

use std::collections::HashMap;

use exoscope_abi::probe::{LINK, TOKEN};
use exoscope_abi::record::{CallRecord, LinkRecord};

use super::decode::{ErrorText, FieldsText, Record};
use crate::event::{Batch, Call, ErrorDetail, Fields, Outcome, UnmatchedExit};

/// Makes events of records.
#[derive(Debug, Default)]
pub struct Assembler {
    /// Records name calls by address, and wait for their turn.
    exits_only: bool,
    /// Records of `exits` mode that wait.
    held: Vec<Record>,
    /// Calls by address that a child has named as its parent.
    expected: HashMap<u64, Expected>,
    /// Numbers of the calls that tokens stand for in `exits` mode.
    links: HashMap<u64, u64>,
    /// Numbers given so far in `exits` mode.
    numbered: u64,
    /// Numbers of failed calls by address and end, for their error texts.
    failed: HashMap<(u64, u64), u64>,
    /// Records whose fields made no sense.
    malformed: u64,
}

/// A parent that has not ended yet.
#[derive(Debug)]
struct Expected {
    id: u64,
    /// Start of the first child: a call that began later is another one at the same address.
    first_start: u64,
    child_ns: u64,
}

/// Tokens that are remembered in `exits` mode; all are forgotten where there are more.
const LINKS: usize = 1 << 16;

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
            Record::Call(record) => self.call(&record, batch),
            Record::Unmatched(record) => self.unmatched(&record, batch),
            Record::Exit(_) | Record::Link(_) => self.held.push(record),
            Record::Error(_) | Record::Fields(_) if self.exits_only => self.held.push(record),
            Record::Error(text) => batch.errors.push(detail(text.id, *text)),
            Record::Fields(text) => batch.fields.push(fields(text.id, *text)),
        }
    }

    /// Turns records that ended before `complete_until` (`CLOCK_MONOTONIC` nanoseconds) into events
    /// of `batch`; no record that ended earlier may come after this.
    pub fn release(&mut self, complete_until: u64, batch: &mut Batch) {
        if self.held.is_empty() {
            return;
        }
        self.held.sort_by_key(end_of);
        let ready = self
            .held
            .partition_point(|record| end_of(record).0 < complete_until);
        let waiting = self.held.split_off(ready);
        for record in std::mem::replace(&mut self.held, waiting) {
            match record {
                Record::Exit(record) => self.exit(&record, batch),
                Record::Error(text) => {
                    let id = if text.open {
                        self.open_call(text.id, text.at_ns)
                    } else {
                        self.failed.remove(&(text.id, text.at_ns))
                    };
                    batch.errors.extend(id.map(|id| detail(id, *text)));
                }
                Record::Fields(text) => {
                    let id = self.open_call(text.id, text.at_ns);
                    batch.fields.extend(id.map(|id| fields(id, *text)));
                }
                Record::Link(record) => self.link(&record),
                Record::Call(_) | Record::Unmatched(_) => {}
            }
        }
        self.failed
            .retain(|(_, end_ns), _| end_ns.saturating_add(TEXT_WAIT_NS) > complete_until);
    }

    /// Records that made no sense so far.
    pub fn malformed(&self) -> u64 {
        self.malformed
    }

    fn outcome(&mut self, number: u16) -> Option<Outcome> {
        let outcome = u8::try_from(number).ok().and_then(Outcome::from_number);
        if outcome.is_none() {
            self.malformed += 1;
        }
        outcome
    }

    fn call(&mut self, record: &CallRecord, batch: &mut Batch) {
        let Some(outcome) = self.outcome(record.outcome) else {
            return;
        };
        batch.calls.push(call(
            record,
            record.id,
            record.parent,
            record.child_ns,
            outcome,
        ));
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
        let (id, child_ns) = match self.expected.remove(&record.id) {
            Some(expected) if expected.first_start >= record.start_ns => {
                (expected.id, expected.child_ns)
            }
            _ => (self.next_number(), 0),
        };
        let duration = record.end_ns.saturating_sub(record.start_ns);
        let parent = match record.parent {
            0 => 0,
            token if is_link(token) => self.links.get(&token).copied().unwrap_or(0),
            address => self.expect(address, record.start_ns, duration),
        };
        if outcome != Outcome::Ok {
            self.failed.insert((record.id, record.end_ns), id);
        }
        batch
            .calls
            .push(call(record, id, parent, child_ns, outcome));
    }

    /// The number of the call that `call` names, which is open at `at_ns`; `None` where it is not
    /// known.
    fn open_call(&mut self, call: u64, at_ns: u64) -> Option<u64> {
        if is_link(call) {
            return self.links.get(&call).copied();
        }
        Some(self.expect(call, at_ns, 0))
    }

    fn link(&mut self, record: &LinkRecord) {
        if let Some(id) = self.open_call(record.call, record.at_ns) {
            if self.links.len() == LINKS {
                self.links.clear();
            }
            self.links.insert(record.token, id);
        }
    }

    /// The number of the call at `address`, which is still open; adds a child to it.
    fn expect(&mut self, address: u64, start: u64, duration: u64) -> u64 {
        if !self.expected.contains_key(&address) {
            let id = self.next_number();
            self.expected.insert(
                address,
                Expected {
                    id,
                    first_start: start,
                    child_ns: 0,
                },
            );
        }
        let expected = self.expected.get_mut(&address).expect("inserted above");
        expected.first_start = expected.first_start.min(start);
        expected.child_ns += duration;
        expected.id
    }

    fn next_number(&mut self) -> u64 {
        self.numbered += 1;
        self.numbered
    }
}

/// Whether a parent is the token of a link.
fn is_link(call: u64) -> bool {
    call & TOKEN != 0 && call & LINK != 0
}

/// Order of records in `exits` mode: by end, an error's text after its call.
fn end_of(record: &Record) -> (u64, bool) {
    match record {
        Record::Call(record) | Record::Exit(record) | Record::Unmatched(record) => {
            (record.end_ns, false)
        }
        Record::Error(text) => (text.at_ns, true),
        Record::Fields(text) => (text.at_ns, false),
        Record::Link(record) => (record.at_ns, false),
    }
}

fn call(record: &CallRecord, id: u64, parent: u64, child_ns: u64, outcome: Outcome) -> Call {
    let duration_ns = record.end_ns.saturating_sub(record.start_ns);
    Call {
        id,
        parent: (parent != 0).then_some(parent),
        function: record.function,
        tid: record.tid,
        start_ns: record.start_ns,
        duration_ns,
        self_ns: duration_ns.saturating_sub(child_ns),
        outcome,
        items: record.items.checked_sub(1),
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
        kind: text.kind,
        message: text.message,
        truncated: text.truncated,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use exoscope_abi::record::RecordKind;

    fn exit(address: u64, parent: u64, start_ns: u64, end_ns: u64) -> Record {
        Record::Exit(CallRecord {
            kind: RecordKind::Exit as u16,
            outcome: 0,
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
    fn an_errors_text_finds_its_call_even_a_turn_later() {
        let Record::Exit(record) = exit(0x10, 0, 1, 100) else {
            unreachable!()
        };
        let text = ErrorText {
            id: 0x10,
            at_ns: 100,
            open: false,
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
            open: true,
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
