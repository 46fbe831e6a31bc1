//! Records of the rings, and the memory that they lie in.

use exoscope_abi::record::{
    CallRecord, ErrorHead, FieldsHead, LinkRecord, MeasuredRecord, PolledMeasuredRecord,
    PolledRecord, RecordKind,
};
use exoscope_abi::sample::SampleRecord;

use super::piece;

/// Values of fields: see `exoscope_abi::field`.
pub fn fields() -> Vec<Vec<u8>> {
    let all: Vec<u8> = (0..=255).collect();
    let mut seeds = vec![Vec::new(), all];
    // A name, a kind, and eight bytes of value, for every kind that there may be.
    seeds.extend((0..16).map(|kind| {
        let mut field = vec![kind, 1, 0, b'a'];
        field.extend([7, 0, 0, 0, 0, 0, 0, 0]);
        field.repeat(3)
    }));
    seeds
}

/// Records of every kind, of the lengths that they may have.
pub fn records() -> Vec<Vec<u8>> {
    let call = size_of::<CallRecord>();
    let lengths = [
        (RecordKind::Call, call),
        (RecordKind::Exit, call),
        (RecordKind::Unmatched, call),
        (RecordKind::Error, size_of::<ErrorHead>() + 40),
        (RecordKind::Fields, size_of::<FieldsHead>()),
        (RecordKind::Fields, size_of::<FieldsHead>() + 100),
        (RecordKind::Link, size_of::<LinkRecord>()),
        (RecordKind::Polled, size_of::<PolledRecord>()),
        (RecordKind::Measured, size_of::<MeasuredRecord>()),
        (
            RecordKind::PolledMeasured,
            size_of::<PolledMeasuredRecord>(),
        ),
    ];
    let mut seeds: Vec<Vec<u8>> = lengths
        .into_iter()
        .map(|(kind, len)| {
            let mut record = (kind as u16).to_ne_bytes().to_vec();
            record.resize(len, 0);
            if matches!(kind, RecordKind::Fields) {
                // How many bytes follow.
                let fields = (len - size_of::<FieldsHead>()) as u32;
                record[4..8].copy_from_slice(&fields.to_ne_bytes());
            }
            piece(&record).repeat(3)
        })
        .collect();
    seeds.push(seeds.concat());
    seeds
}

/// Records of samples.
pub fn samples() -> Vec<Vec<u8>> {
    let len = size_of::<SampleRecord>();
    let bytes: Vec<u8> = (0..len).map(|at| (at % 5) as u8).collect();
    vec![piece(&bytes), piece(&bytes[..64]).repeat(4)]
}

/// A ring with two records, of which the second one was discarded; the first word is what was taken.
pub fn shared() -> Vec<Vec<u8>> {
    let mut ring = vec![0; 8];
    for flags in [0, exoscope_abi::ring::DISCARDED] {
        ring.extend((56 | flags).to_ne_bytes());
        ring.extend([1; 56]);
    }
    vec![ring, (0..=255).collect::<Vec<u8>>().repeat(4)]
}
