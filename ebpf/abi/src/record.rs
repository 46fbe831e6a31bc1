//! The records in the ring buffers.
//!
//! Every record begins with a [`RecordKind`] as a `u16`. Its length follows from the kind; one that ends
//! with bytes of the target is as long as they make it.

use crate::{field::FIELDS_LEN, figures::Figures, polls::CallPolls};

/// Longest error type name that a record carries, in bytes.
pub const KIND_LEN: usize = 96;
/// Longest error message that a record carries, in bytes.
pub const MESSAGE_LEN: usize = 512;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum RecordKind {
    /// [`CallRecord`]: a call whose entry and end were both seen.
    Call = 1,
    /// [`CallRecord`] in `exits` mode: `id` and `parent` are addresses, not numbers.
    Exit = 2,
    /// [`CallRecord`] whose entry was not seen: `start_ns`, `id` and `parent` are 0.
    Unmatched = 3,
    /// [`ErrorRecord`].
    Error = 4,
    /// [`FieldsRecord`].
    Fields = 5,
    /// [`LinkRecord`]: in `exits` mode only.
    Link = 6,
    /// [`PolledRecord`]: as [`RecordKind::Call`], with what is known of its polls.
    Polled = 8,
    /// [`MeasuredRecord`]: as [`RecordKind::Call`], with figures of which some are not 0.
    Measured = 9,
    /// [`PolledMeasuredRecord`]: as both.
    PolledMeasured = 10,
}

/// One ended call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct CallRecord {
    /// [`RecordKind`] as a number.
    pub kind: u16,
    /// [`crate::Outcome`] as a number.
    pub outcome: u8,
    /// Which of the call's [figures](Figures) are known to be 0: [`crate::figures::CPU`] and the like.
    /// Of a call whose record has figures, none.
    pub quiet: u8,
    /// Index of the function, as the agent gave it to the site.
    pub function: u32,
    /// Number of the call; unique in the session.
    pub id: u64,
    /// Number of the call that was innermost when this one began, or 0.
    pub parent: u64,
    /// `CLOCK_MONOTONIC` nanoseconds.
    pub start_ns: u64,
    /// `CLOCK_MONOTONIC` nanoseconds.
    pub end_ns: u64,
    /// Nanoseconds spent in captured calls made directly by this one.
    pub child_ns: u64,
    /// Thread that ended the call.
    pub tid: u32,
    /// 1 more than the items that a stream gave; 0 for a call that is no stream.
    pub items: u32,
}
const _: () = assert!(size_of::<CallRecord>() == 56);

/// One ended call that was polled while somebody looked at polls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct PolledRecord {
    /// The call.
    pub call: CallRecord,
    /// What is known of its polls.
    pub polls: CallPolls,
}
const _: () = assert!(size_of::<PolledRecord>() == 80);

/// One ended call with its figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct MeasuredRecord {
    /// The call.
    pub call: CallRecord,
    /// What the kernel counted during the call.
    pub figures: Figures,
}
const _: () = assert!(size_of::<MeasuredRecord>() == 96);

/// One ended call with its polls and figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct PolledMeasuredRecord {
    /// The call.
    pub call: CallRecord,
    /// What is known of its polls.
    pub polls: CallPolls,
    /// What the kernel counted during the polls.
    pub figures: Figures,
}
const _: () = assert!(size_of::<PolledMeasuredRecord>() == 120);

/// When, and by what, an error was told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Said {
    /// Its call ended with it.
    AtEnd = 0,
    /// Its call, a stream or iterator that is still open, handed it on.
    InItem = 1,
    /// A panic began in its call, which is still open.
    InPanic = 2,
}

/// What an error or a panic said, but for the message.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ErrorHead {
    /// [`RecordKind::Error`] as a number.
    pub kind: u16,
    /// [`Said`] as a number.
    pub said: u16,
    /// 1 where the message was longer.
    pub truncated: u32,
    /// Number (in `exits` mode: address) of the call.
    pub id: u64,
    /// `CLOCK_MONOTONIC` nanoseconds; at the call's end those of its [`CallRecord`], which comes
    /// before this.
    pub at_ns: u64,
    /// Bytes used of `type_name`.
    pub type_name_len: u32,
    /// Bytes of the message.
    pub message_len: u32,
    /// The error's type, as the compiler names it.
    pub type_name: [u8; KIND_LEN],
}
const _: () = assert!(size_of::<ErrorHead>() == 32 + KIND_LEN);

/// What an error or a panic said.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ErrorRecord {
    /// All but the message.
    pub head: ErrorHead,
    /// The message: bytes of the target, perhaps not UTF-8. The record ends with the last one.
    pub message: [u8; MESSAGE_LEN],
}
const _: () = assert!(size_of::<ErrorRecord>() == size_of::<ErrorHead>() + MESSAGE_LEN);

/// Room for the fields of one marker. A power of two, so that the programs can show with a mask that
/// a length lies below it.
pub const FIELDS_ROOM: usize = 2048;
const _: () = assert!(FIELDS_LEN < FIELDS_ROOM && FIELDS_ROOM.is_power_of_two());

/// Of fields, what comes before them.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct FieldsHead {
    /// [`RecordKind::Fields`] as a number.
    pub kind: u16,
    /// 1 where something did not fit.
    pub truncated: u16,
    /// Bytes of the fields.
    pub len: u32,
    /// Number (in `exits` mode: address) of the call.
    pub id: u64,
    /// `CLOCK_MONOTONIC` nanoseconds.
    pub at_ns: u64,
}
const _: () = assert!(size_of::<FieldsHead>() == 24);

/// Fields of a call.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct FieldsRecord {
    /// What comes before them.
    pub head: FieldsHead,
    /// Encoded fields: [`crate::field`]. The record ends with the last byte of them.
    pub bytes: [u8; FIELDS_ROOM],
}
const _: () = assert!(size_of::<FieldsRecord>() == size_of::<FieldsHead>() + FIELDS_ROOM);

/// From now on a token stands for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct LinkRecord {
    /// [`RecordKind::Link`] as a number.
    pub kind: u16,
    /// 0.
    pub reserved: [u16; 3],
    /// The token.
    pub token: u64,
    /// Address of the call that is innermost, or the token of another link.
    pub call: u64,
    /// `CLOCK_MONOTONIC` nanoseconds.
    pub at_ns: u64,
}
const _: () = assert!(size_of::<LinkRecord>() == 32);
