//! What the agent maps: rings with records, and the tables beside them.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsFd as _;

use exoscope_abi::ring::{DATA, LINE, SLACK, room, value_size};
use exoscope_abi::sample::OFF_CPU_WORDS;
use exoscope_abi::totals::Recorded;
use exoscope_agent::capture::assemble::Assembler;
use exoscope_agent::capture::ring::Ring;
use exoscope_agent::capture::shared::{Losses, OpenCalls, Totals};
use exoscope_agent::capture::{decode, fields as field};
use exoscope_agent::event::Batch;
use exoscope_agent::sample::decode as sample;
use rustix::fs::{MemfdFlags, memfd_create};
use serde_json::Value;

use crate::pieces;

/// Bytes of the ring's data.
const RING: usize = 1 << 13;
/// Bytes that are mapped at most, besides.
const TABLE: usize = 1 << 16;

/// A file in memory of `len` bytes, which begins with these.
fn memory(bytes: &[u8], len: usize) -> File {
    let mut file = File::from(memfd_create("hostile", MemfdFlags::CLOEXEC).expect("memory"));
    let begin = &bytes[..bytes.len().min(len)];
    file.write_all(begin).expect("there is memory");
    file.set_len(len as u64).expect("there is memory");
    file
}

/// The memory of a ring and of the tables beside it, which the programs write.
pub fn shared(bytes: &[u8]) {
    let (taken, data) = bytes.split_at(bytes.len().min(8));
    let mut head = vec![0; DATA];
    head[64..64 + taken.len()].copy_from_slice(taken);
    let file = memory(&[&head, data].concat(), value_size(RING as u32) as usize);
    if let Ok(mut rings) = Ring::map_all(file.as_fd(), RING as u32, 1) {
        let mut bytes = 0;
        while rings[0].drain(7 * LINE as u64, |record| bytes += room(record.len())) > 0 {}
        assert!(bytes <= RING + SLACK, "each line is taken once");
        assert_eq!(rings[0].drain(u64::MAX, |_| ()), 0);
    }
    let file = memory(data, TABLE);
    let calls = OpenCalls::new(file.as_fd(), 16).expect("it can be mapped");
    assert!(calls.snapshot().is_sorted_by_key(|(_, call)| call.start_ns));
    let totals = Totals::new(file.as_fd(), 5, 3, data.len().is_multiple_of(2));
    let totals = totals.expect("it can be mapped");
    totals.record(4, Recorded::Failures);
    assert!(totals.snapshot().len() <= 5);
    let losses = Losses::new(file.as_fd()).expect("it can be mapped");
    let _ = losses.snapshot();
}

/// The records of a ring, made into calls in both modes.
pub fn records(bytes: &[u8]) {
    for exits_only in [false, true] {
        let mut assembler = Assembler::new(exits_only);
        let mut batch = Batch::default();
        let mut until = 0_u64;
        let mut taken = 0;
        for record in pieces(bytes).filter_map(decode::decode) {
            taken += 1;
            let start_ns = record.call().map_or(1, |call| call.start_ns);
            until = until.wrapping_add(start_ns / 2);
            assembler.push(record, &mut batch);
            if taken % 4 == 0 {
                assembler.release(until, &mut batch);
            }
        }
        assembler.finish(&mut batch);
        assert!(batch.calls.len() <= taken && batch.errors.len() <= taken);
    }
}

/// The values of a call's fields.
pub fn fields(bytes: &[u8]) {
    let (json, _) = field::to_json(bytes);
    let value: Value = serde_json::from_str(&json).expect("it is JSON");
    assert!(value.is_object());
}

/// The records of the ring of samples, and the words about a thread that is off the CPU.
pub fn samples(bytes: &[u8]) {
    for piece in pieces(bytes) {
        let _ = sample::decode(piece);
        let mut words = [0; OFF_CPU_WORDS];
        for (word, bytes) in words.iter_mut().zip(piece.as_chunks().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        let absent = sample::absent(1, &words, words[0].wrapping_mul(3));
        assert!(absent.is_none_or(|sample| sample.off_ns > Some(0)));
    }
}
