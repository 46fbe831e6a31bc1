//! From bytes to records: the only place that looks at raw bytes of a ring.

use exoscope_abi::record::{CallRecord, ErrorRecord, KIND_LEN, MESSAGE_LEN, RecordKind};

/// A record whose length and kind have been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A call that was seen whole.
    Call(CallRecord),
    /// A call of which the end was seen, and the start taken by the target.
    Exit(CallRecord),
    /// An end without a beginning.
    Unmatched(CallRecord),
    /// What an error said.
    Error(Box<ErrorText>),
}

/// What an error said, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorText {
    /// Number or address of the call.
    pub id: u64,
    /// When the call ended.
    pub end_ns: u64,
    /// Type of the error.
    pub kind: String,
    /// Message.
    pub message: String,
    /// The message was longer.
    pub truncated: bool,
}

/// Decodes one record; `None` where length and kind do not fit together.
pub fn decode(bytes: &[u8]) -> Option<Record> {
    let kind = u32::from_ne_bytes(*bytes.first_chunk()?);
    if kind == RecordKind::Error as u32 {
        return decode_error(bytes);
    }
    let record = decode_call(bytes)?;
    if kind == RecordKind::Call as u32 {
        Some(Record::Call(record))
    } else if kind == RecordKind::Exit as u32 {
        Some(Record::Exit(record))
    } else if kind == RecordKind::Unmatched as u32 {
        Some(Record::Unmatched(record))
    } else {
        None
    }
}

fn decode_call(bytes: &[u8]) -> Option<CallRecord> {
    let bytes: &[u8; size_of::<CallRecord>()] = bytes.try_into().ok()?;
    // SAFETY: the length is that of the type, every field is an integer, and the read does not
    // need alignment.
    Some(unsafe { bytes.as_ptr().cast::<CallRecord>().read_unaligned() })
}

fn decode_error(bytes: &[u8]) -> Option<Record> {
    let bytes: &[u8; size_of::<ErrorRecord>()] = bytes.try_into().ok()?;
    // SAFETY: as in `decode_call`; the arrays are of bytes.
    let record = unsafe { bytes.as_ptr().cast::<ErrorRecord>().read_unaligned() };
    let kind = record
        .type_name
        .get(..(record.type_name_len as usize).min(KIND_LEN))?;
    let message = record
        .message
        .get(..(record.message_len as usize).min(MESSAGE_LEN))?;
    Some(Record::Error(Box::new(ErrorText {
        id: record.id,
        end_ns: record.end_ns,
        kind: String::from_utf8_lossy(kind).into_owned(),
        message: String::from_utf8_lossy(message).into_owned(),
        truncated: record.truncated != 0,
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_lengths_and_kinds_are_refused() {
        for len in 0..200 {
            for kind in 0..6_u32 {
                let mut bytes = vec![0; len];
                bytes
                    .iter_mut()
                    .zip(kind.to_ne_bytes())
                    .for_each(|(to, from)| *to = from);
                let fits = len == size_of::<CallRecord>() && (1..=3).contains(&kind);
                assert_eq!(decode(&bytes).is_some(), fits, "{len} bytes of kind {kind}");
            }
        }
    }

    #[test]
    fn hostile_lengths_in_an_error_stay_inside() {
        let mut bytes = vec![0xff; size_of::<ErrorRecord>()];
        bytes[..4].copy_from_slice(&(RecordKind::Error as u32).to_ne_bytes());
        let Some(Record::Error(text)) = decode(&bytes) else {
            panic!("not decoded")
        };
        assert_eq!(text.message.chars().count(), MESSAGE_LEN);
        assert!(text.truncated);
    }
}
