//! The probes: their names, and the arguments that lie in registers when a marker fires.
//!
//! | probe | arg0 | arg1 | arg2 | arg3 | arg4 | arg5 |
//! |---|---|---|---|---|---|---|
//! | `entry` | function | call | parent | | | |
//! | `exit` | function | call | outcome (`ok`, `cancelled`) | parent | start | |
//! | `error` | function | call | outcome (`err`, `panic`) | parent | start | detail |
//! | `fork_guard` | | | | | | |
//!
//! - `function`: address of the function's NUL-terminated path ([`crate::note::FunctionText`]).
//! - `call`: address of the call's guard or pinned future: its identity while it is open.
//! - `parent`: address of the call that was innermost on this thread when this one began, or 0.
//! - `start`: `CLOCK_MONOTONIC` nanoseconds at which the call began, or 0. Read in the target, and
//!   only while the function's `start` semaphore is raised.
//! - `detail`: address of an [`ErrorDetail`], or 0. Prepared only while the function's `detail`
//!   semaphore is raised.
//!
//! Whatever `call` and `parent` point at begins with the address of the next outer call (or 0), so
//! that the chain of open calls can be followed from outside.

/// Provider of every probe.
pub const PROVIDER: &str = "exoscope";

/// A probe, as its note numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u32)]
pub enum Probe {
    /// A call begins.
    Entry = 0,
    /// A call ends without an error.
    Exit = 1,
    /// A call ends with an error or a panic.
    Error = 2,
    /// Fires in the parent before `fork`, so that its child can be made safe; no call.
    ForkGuard = 3,
}

impl Probe {
    /// The name in the SystemTap note.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Entry => "entry",
            Self::Exit => "exit",
            Self::Error => "error",
            Self::ForkGuard => "fork_guard",
        }
    }

    /// The probe with this number, or `None` where no such probe exists.
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::Entry),
            1 => Some(Self::Exit),
            2 => Some(Self::Error),
            3 => Some(Self::ForkGuard),
            _ => None,
        }
    }
}

/// The instructions of a marker on x86-64: a nop of one byte, one of ten and one of five.
///
/// The note points at the first byte, where a breakpoint is safe for every tool. Kernels that
/// rewrite a nop into a call want the five or the ten bytes: see [`MARKER_TEN`], [`MARKER_FIVE`].
pub const MARKER_X86_64: [u8; 16] = [
    0x90, //
    0x66, 0x2e, 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00, //
    0x0f, 0x1f, 0x44, 0x00, 0x00,
];
/// Offset of the ten-byte nop in the marker.
pub const MARKER_TEN: u64 = 1;
/// Offset of the five-byte nop in the marker.
pub const MARKER_FIVE: u64 = 11;

/// What an `error` marker points at while somebody wants to know the message.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct ErrorDetail {
    /// Address of the error's type name: UTF-8, not NUL-terminated. 0 for none.
    pub kind: u64,
    /// Address of the message: the user's bytes, not NUL-terminated. 0 for none.
    pub message: u64,
    /// Bytes at `kind`.
    pub kind_len: u32,
    /// Bytes at `message`: at most [`crate::record::MESSAGE_LEN`].
    pub message_len: u32,
    /// 1 where the message was longer than `message_len`.
    pub truncated: u32,
    /// 0.
    pub reserved: u32,
}

const _: () = assert!(size_of::<ErrorDetail>() == 32);
