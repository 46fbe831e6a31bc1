//! The records in the ring buffers.
//!
//! Every record begins with a [`RecordKind`] as a `u32`; its length follows from the kind.

/// Longest error type name that a record carries, in bytes.
pub const KIND_LEN: usize = 96;
/// Longest error message that a record carries, in bytes.
pub const MESSAGE_LEN: usize = 512;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum RecordKind {
    /// [`CallRecord`]: a call whose entry and end were both seen.
    Call = 1,
    /// [`CallRecord`] in `exits` mode: `id` and `parent` are addresses, not numbers.
    Exit = 2,
    /// [`CallRecord`] whose entry was not seen: `start_ns`, `id` and `parent` are 0.
    Unmatched = 3,
    /// [`ErrorRecord`].
    Error = 4,
}

/// One ended call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct CallRecord {
    /// [`RecordKind`] as a number.
    pub kind: u32,
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
    /// [`crate::Outcome`] as a number.
    pub outcome: u32,
}
const _: () = assert!(size_of::<CallRecord>() == 56);

/// What an error said, submitted after the [`CallRecord`] of its call.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ErrorRecord {
    /// [`RecordKind::Error`] as a number.
    pub kind: u32,
    /// Index of the function.
    pub function: u32,
    /// Number (in `exits` mode: address) of the call.
    pub id: u64,
    /// `CLOCK_MONOTONIC` nanoseconds of the call's end, equal to that of its [`CallRecord`].
    pub end_ns: u64,
    /// Bytes used of `type_name`.
    pub type_name_len: u32,
    /// Bytes used of `message`.
    pub message_len: u32,
    /// 1 where the message was longer.
    pub truncated: u32,
    /// 0.
    pub reserved: u32,
    /// The error's type, as the compiler names it.
    pub type_name: [u8; KIND_LEN],
    /// The message: bytes of the target, perhaps not UTF-8.
    pub message: [u8; MESSAGE_LEN],
}
const _: () = assert!(size_of::<ErrorRecord>() == 40 + KIND_LEN + MESSAGE_LEN);
