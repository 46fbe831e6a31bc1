//! The probes: their names, and the arguments that lie in registers when a marker fires.
//!
//! | probe | arg0 | arg1 | arg2 | arg3 | arg4 | arg5 |
//! |---|---|---|---|---|---|---|
//! | `entry` | function | call | parent | | | |
//! | `exit` | function | call | outcome (`ok`, `cancelled`), items | parent | start | |
//! | `error` | function | call | outcome (`err`, `panic`), items | parent | start | detail |
//! | `fields` | function | call | fields | size | | |
//! | `poll_begin` | function | call | waker | | | |
//! | `poll_end` | function | call | | | | |
//! | `wake` | 0 | waker | | | | |
//! | `link` | 0 | call | token | | | |
//! | `panic` | 0 | call | detail | | | |
//! | `item_error` | function | call | detail | | | |
//! | `fork_guard` | | | | | | |
//!
//! - `function`: address of the function's NUL-terminated path ([`crate::note::FunctionText`]).
//! - `call`: what identifies the call while it is open: the address of its guard or pinned future,
//!   or a token (see [`TOKEN`]) where its state may move. In `link` and `panic` it is the call that
//!   is innermost on this thread, or 0.
//! - `parent`: the call that was innermost on this thread when this one began, a token of a `link`,
//!   or 0; [`UNSEEN`] where this call began while nobody looked at its function, at its end too. Where an
//!   end has the `start` of a future, stream or iterator, it is the one that is innermost outside of it at
//!   its end instead: that one is still open.
//! - `outcome`: an [`crate::Outcome`] in the low 32 bits; `items` in the high 32 bits: 1 more than the
//!   number of items that a stream or iterator gave, at most `u32::MAX`; 0 for every other call.
//! - `start`: `CLOCK_MONOTONIC` nanoseconds at which the call began, or 0. Read in the target, and
//!   only while the function's `start` semaphore is raised.
//! - `detail`: address of an [`ErrorDetail`], or 0. Prepared only while the function's `detail`
//!   semaphore is raised. `panic` fires while the panic hook runs, before anything unwinds.
//!   `item_error` fires where a stream or iterator hands on an `Err`, which is the call's error if no
//!   item comes after it: the end has no detail then. Both fire only while their semaphore is raised.
//! - `fields`: address of encoded fields ([`crate::field`]); `size`: their length in the low 32 bits,
//!   [`crate::field::TRUNCATED`] and [`crate::field::RETURNED`] in the high ones. Fires after `entry`
//!   for fields and arguments, and before `exit` for the value that is returned; only while the
//!   marker's semaphore is raised.
//! - `poll_begin`, `poll_end`: a poll of the call begins, or ends without ending the call; `exit` and
//!   `error` end a poll too. `waker` is the data pointer of the waker that the poll got. Both fire
//!   only while the function's semaphore for them is raised.
//! - `wake`: a waker with that data pointer, which a poll got while the semaphore was raised, wakes
//!   its task.
//! - `link`: whatever names `token` as its parent is a child of `call`, also once that has ended. The
//!   token has [`LINK`] set, and is the thread's innermost call for as long as its task is polled.
//!
//! `entry`, `exit` and `error` fire where the call began, or ends, while the function's `entry` or `start`
//! semaphore was raised, or one of those that the SystemTap notes name: they are for other tools, and
//! the same for all functions of a binary.
//!
//! An address that `call` or `parent` holds is that of the call's state, by which the chain of open
//! calls can be followed from outside. Calls are in the chain that began while their function's `entry`
//! or `start` semaphore was raised. Its first two words are the next outer call (an address, a
//! `link`'s token, or 0) and the `start` of this one. Where a call's state may move, its first three
//! words are the token that identifies it, the next outer call, and its `start`.

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
    /// Fields, arguments or the returned value of a call.
    Fields = 4,
    /// A poll of a call begins.
    PollBegin = 5,
    /// A poll of a call ends and the call does not.
    PollEnd = 6,
    /// A waker wakes its task.
    Wake = 7,
    /// A token stands for a call.
    Link = 8,
    /// A panic begins.
    Panic = 9,
    /// A stream or iterator hands on an error.
    ItemError = 10,
}

impl Probe {
    /// Every probe, in the order of its number.
    pub const ALL: [Self; 11] = [
        Self::Entry,
        Self::Exit,
        Self::Error,
        Self::ForkGuard,
        Self::Fields,
        Self::PollBegin,
        Self::PollEnd,
        Self::Wake,
        Self::Link,
        Self::Panic,
        Self::ItemError,
    ];

    /// The name in the SystemTap note.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Entry => "entry",
            Self::Exit => "exit",
            Self::Error => "error",
            Self::ForkGuard => "fork_guard",
            Self::Fields => "fields",
            Self::PollBegin => "poll_begin",
            Self::PollEnd => "poll_end",
            Self::Wake => "wake",
            Self::Link => "link",
            Self::Panic => "panic",
            Self::ItemError => "item_error",
        }
    }

    /// Whether its markers belong to one function each; the others serve all functions of a binary.
    pub const fn has_function(self) -> bool {
        !matches!(
            self,
            Self::ForkGuard | Self::Wake | Self::Link | Self::Panic
        )
    }

    /// The probe with this number, or `None` where no such probe exists.
    pub const fn from_number(number: u32) -> Option<Self> {
        if (number as usize) < Self::ALL.len() {
            Some(Self::ALL[number as usize])
        } else {
            None
        }
    }
}

/// Bit that tells a token from an address, which is a multiple of 8: a call that has no address of
/// its own, or the parent that a `link` announced, is the number `token << 3 | TOKEN`.
pub const TOKEN: u64 = 4;
/// The parent of a call that began while nobody looked at its function: it was not put into the
/// thread's chain, so neither its parent nor its children could be told. Neither an address nor a token.
pub const UNSEEN: u64 = 3;
/// Bit that is set in the tokens that a `link` announces, and in no others: the tokens of calls and
/// those of links may then both be the first word of a state without being mistaken.
pub const LINK: u64 = 1 << 63;

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
