//! Segments of the spool: read, and written into the file.

use std::fs::{self, File};
use std::sync::Arc;

use exoscope_agent::spool::segment::Reader;
use exoscope_agent::store::recover::recover;

use super::reading::{assert_readable, assert_sound};
use super::recovery::Cut;
use crate::{pieces, scratch, seeds};

/// A segment of the spool: as it is, and as the payloads of records whose checksums are right.
pub fn spool(bytes: &[u8]) {
    let folder = scratch();
    let path = folder.path().join("segment");
    for segment in [bytes, &framed(0, bytes)] {
        fs::write(&path, segment).expect("there is room");
        let file = File::open(&path).expect("it was written");
        read(file, segment.len());
    }
}

fn read(file: File, len: usize) {
    let Ok((mut reader, _)) = Reader::new(Arc::new(file)) else {
        return;
    };
    let mut messages = 0;
    while let Ok(Some(_)) = reader.message() {
        messages += 1;
        assert!(messages <= len, "a message takes a byte at least");
    }
}

/// A segment of a session, in which each piece of `bytes` is a record.
fn framed(key: u64, bytes: &[u8]) -> Vec<u8> {
    let mut segment = seeds::segment_with(key, &[]);
    for piece in pieces(bytes) {
        segment.extend((piece.len() as u32).to_le_bytes());
        segment.extend(crc32fast::hash(piece).to_le_bytes());
        segment.extend(piece);
    }
    segment
}

/// Messages in the spool of a session that was cut short: they go into its file.
pub fn replay(bytes: &[u8]) {
    let cut = Cut::new();
    let segment = framed(cut.spool.key, bytes);
    fs::write(cut.spool.segment(1), segment).expect("there is room");
    recover(&cut.path).expect("whatever a spool holds, its session gets an end");
    assert_sound(&cut.path);
    assert_readable(&cut.path);
}
