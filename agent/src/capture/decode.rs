//! From bytes to records: the only place that looks at raw bytes of a ring.

use exoscope_abi::record::{
    CallRecord, ErrorHead, FieldsHead, KIND_LEN, LinkRecord, MeasuredRecord, PolledMeasuredRecord,
    PolledRecord, RecordKind, Said,
};

use super::fields;

/// A record whose length and kind have been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A call that was seen whole.
    Call(CallRecord),
    /// A call that was seen whole, with what is known of its polls.
    Polled(PolledRecord),
    /// A call that was seen whole, with figures.
    Measured(MeasuredRecord),
    /// Both.
    PolledMeasured(PolledMeasuredRecord),
    /// A call of which the end was seen, and the start taken by the target.
    Exit(CallRecord),
    /// An end without a beginning.
    Unmatched(CallRecord),
    /// What an error or a panic said.
    Error(Box<ErrorText>),
    /// Fields of a call.
    Fields(Box<FieldsText>),
    /// A token stands for a call.
    Link(LinkRecord),
}

impl Record {
    /// The call that ended with it.
    pub const fn call(&self) -> Option<&CallRecord> {
        match self {
            Self::Call(call)
            | Self::Polled(PolledRecord { call, .. })
            | Self::Measured(MeasuredRecord { call, .. })
            | Self::PolledMeasured(PolledMeasuredRecord { call, .. })
            | Self::Exit(call)
            | Self::Unmatched(call) => Some(call),
            Self::Error(_) | Self::Fields(_) | Self::Link(_) => None,
        }
    }
}

/// What an error said, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorText {
    /// Number or address of the call.
    pub id: u64,
    /// When it was told of; at its call's end, when that was.
    pub at_ns: u64,
    /// By what.
    pub said: Said,
    /// Type of the error.
    pub kind: String,
    /// Message.
    pub message: String,
    /// The message was longer.
    pub truncated: bool,
}

/// Fields, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldsText {
    /// Number or address of the call.
    pub id: u64,
    /// When they were taken.
    pub at_ns: u64,
    /// A JSON object.
    pub json: String,
    /// Something did not fit, or made no sense.
    pub truncated: bool,
}

/// Decodes one record; `None` where length and kind do not fit together.
pub fn decode(bytes: &[u8]) -> Option<Record> {
    const CALL: u16 = RecordKind::Call as u16;
    const POLLED: u16 = RecordKind::Polled as u16;
    const MEASURED: u16 = RecordKind::Measured as u16;
    const POLLED_MEASURED: u16 = RecordKind::PolledMeasured as u16;
    const EXIT: u16 = RecordKind::Exit as u16;
    const UNMATCHED: u16 = RecordKind::Unmatched as u16;
    const ERROR: u16 = RecordKind::Error as u16;
    const FIELDS: u16 = RecordKind::Fields as u16;
    const LINK: u16 = RecordKind::Link as u16;
    match u16::from_ne_bytes(*bytes.first_chunk()?) {
        CALL => decode_call(bytes).map(Record::Call),
        POLLED => decode_polled(bytes),
        MEASURED => decode_measured(bytes),
        POLLED_MEASURED => decode_polled_measured(bytes),
        EXIT => decode_call(bytes).map(Record::Exit),
        UNMATCHED => decode_call(bytes).map(Record::Unmatched),
        ERROR => decode_error(bytes),
        FIELDS => decode_fields(bytes),
        LINK => decode_link(bytes),
        _ => None,
    }
}

fn decode_call(bytes: &[u8]) -> Option<CallRecord> {
    let bytes: &[u8; size_of::<CallRecord>()] = bytes.try_into().ok()?;
    // SAFETY: the length is that of the type, every field is an integer, and the read does not
    // need alignment.
    Some(unsafe { bytes.as_ptr().cast::<CallRecord>().read_unaligned() })
}

fn decode_polled(bytes: &[u8]) -> Option<Record> {
    let bytes: &[u8; size_of::<PolledRecord>()] = bytes.try_into().ok()?;
    // SAFETY: as in `decode_call`.
    let record = unsafe { bytes.as_ptr().cast::<PolledRecord>().read_unaligned() };
    Some(Record::Polled(record))
}

fn decode_measured(bytes: &[u8]) -> Option<Record> {
    let bytes: &[u8; size_of::<MeasuredRecord>()] = bytes.try_into().ok()?;
    // SAFETY: as in `decode_call`.
    let record = unsafe { bytes.as_ptr().cast::<MeasuredRecord>().read_unaligned() };
    Some(Record::Measured(record))
}

fn decode_polled_measured(bytes: &[u8]) -> Option<Record> {
    let bytes: &[u8; size_of::<PolledMeasuredRecord>()] = bytes.try_into().ok()?;
    let record = bytes.as_ptr().cast::<PolledMeasuredRecord>();
    // SAFETY: as in `decode_call`.
    Some(Record::PolledMeasured(unsafe { record.read_unaligned() }))
}

fn decode_link(bytes: &[u8]) -> Option<Record> {
    let bytes: &[u8; size_of::<LinkRecord>()] = bytes.try_into().ok()?;
    // SAFETY: as in `decode_call`.
    let record = unsafe { bytes.as_ptr().cast::<LinkRecord>().read_unaligned() };
    Some(Record::Link(record))
}

fn decode_error(bytes: &[u8]) -> Option<Record> {
    let (head, message) = bytes.split_first_chunk::<{ size_of::<ErrorHead>() }>()?;
    // SAFETY: as in `decode_call`; the array is of bytes.
    let record = unsafe { head.as_ptr().cast::<ErrorHead>().read_unaligned() };
    let said = [Said::AtEnd, Said::InItem, Said::InPanic]
        .into_iter()
        .find(|said| *said as u16 == record.said)?;
    let kind = record
        .type_name
        .get(..(record.type_name_len as usize).min(KIND_LEN))?;
    let message = message.get(..record.message_len as usize)?;
    let message = if record.truncated == 0 {
        message
    } else {
        whole_characters(message)
    };
    Some(Record::Error(Box::new(ErrorText {
        id: record.id,
        at_ns: record.at_ns,
        said,
        kind: String::from_utf8_lossy(kind).into_owned(),
        message: String::from_utf8_lossy(message).into_owned(),
        truncated: record.truncated != 0,
    })))
}

/// A text that was cut, without the part of a character at its end.
pub(super) fn whole_characters(text: &[u8]) -> &[u8] {
    match std::str::from_utf8(text) {
        Err(error) if error.error_len().is_none() => &text[..error.valid_up_to()],
        _ => text,
    }
}

fn decode_fields(bytes: &[u8]) -> Option<Record> {
    let (head, encoded) = bytes.split_first_chunk::<{ size_of::<FieldsHead>() }>()?;
    // SAFETY: as in `decode_call`.
    let record = unsafe { head.as_ptr().cast::<FieldsHead>().read_unaligned() };
    if encoded.len() != record.len as usize {
        return None;
    }
    let (json, whole) = fields::to_json(encoded);
    Some(Record::Fields(Box::new(FieldsText {
        id: record.id,
        at_ns: record.at_ns,
        json,
        truncated: !whole || record.truncated != 0,
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_lengths_and_kinds_are_refused() {
        for len in 0..200 {
            for kind in 0..12_u16 {
                let mut bytes = vec![0; len];
                bytes
                    .iter_mut()
                    .zip(kind.to_ne_bytes())
                    .for_each(|(to, from)| *to = from);
                let fits = len == size_of::<CallRecord>() && (1..=3).contains(&kind)
                    || len == size_of::<PolledRecord>() && kind == RecordKind::Polled as u16
                    || len == size_of::<MeasuredRecord>() && kind == RecordKind::Measured as u16
                    || len == size_of::<PolledMeasuredRecord>()
                        && kind == RecordKind::PolledMeasured as u16
                    || len == size_of::<LinkRecord>() && kind == RecordKind::Link as u16
                    || len == size_of::<FieldsHead>() && kind == RecordKind::Fields as u16
                    || len >= size_of::<ErrorHead>() && kind == RecordKind::Error as u16;
                assert_eq!(decode(&bytes).is_some(), fits, "{len} bytes of kind {kind}");
            }
        }
    }

    /// A record as long as its head says, or one byte shorter.
    fn ending_with<const N: usize>(head: [u8; N], len: usize) -> [Vec<u8>; 2] {
        let mut whole = head.to_vec();
        whole.resize(N + len, b'x');
        [whole.clone(), whole[..whole.len() - 1].to_vec()]
    }

    #[test]
    fn an_error_is_as_long_as_its_message() {
        let head = |said: u16, type_name_len, message_len| {
            let head = ErrorHead {
                kind: RecordKind::Error as u16,
                said,
                truncated: 1,
                id: 7,
                at_ns: 8,
                type_name_len,
                message_len,
                type_name: [b't'; KIND_LEN],
            };
            // SAFETY: the struct has no padding.
            unsafe { std::mem::transmute::<ErrorHead, [u8; size_of::<ErrorHead>()]>(head) }
        };
        for len in [1, 40, 512] {
            let [whole, short] =
                ending_with(head(Said::InPanic as u16, u32::MAX, len), len as usize);
            let Some(Record::Error(text)) = decode(&whole) else {
                panic!("not decoded")
            };
            assert_eq!(text.message.len(), len as usize);
            assert_eq!(text.kind.len(), KIND_LEN);
            assert!(text.truncated);
            assert_eq!(decode(&short), None);
        }
        let [whole, _] = ending_with(head(u16::MAX, 0, 9), 9);
        assert_eq!(decode(&whole), None, "nothing says so");
        assert_eq!(decode(&head(Said::InPanic as u16, 0, u32::MAX)), None);
    }

    #[test]
    fn fields_are_as_long_as_they_say() {
        let head = |len| {
            let head = FieldsHead {
                kind: RecordKind::Fields as u16,
                truncated: 0,
                len,
                id: 7,
                at_ns: 8,
            };
            // SAFETY: the struct has no padding.
            unsafe { std::mem::transmute::<FieldsHead, [u8; size_of::<FieldsHead>()]>(head) }
        };
        for len in [1, 256, 2047] {
            let [whole, short] = ending_with(head(len), len as usize);
            let Some(Record::Fields(fields)) = decode(&whole) else {
                panic!("not decoded")
            };
            assert_eq!((fields.json.as_str(), fields.truncated), ("{}", true));
            assert_eq!(decode(&short), None);
        }
        assert_eq!(decode(&head(u32::MAX)), None);
    }
}
