//! How a call ended.

/// How a call ended, as the marker reports it and as a row stores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Outcome {
    /// It returned, and what it returned is no `Err`.
    Ok = 0,
    /// It returned `Err`.
    Err = 1,
    /// It unwound.
    Panic = 2,
    /// Its future or stream was dropped before it was complete.
    Cancelled = 3,
    /// It was still open when the session ended, or its end was never seen.
    Unfinished = 4,
    /// It was open when the target ended.
    TargetDied = 5,
}

impl Outcome {
    /// Every outcome, in the order of its number.
    pub const ALL: [Self; 6] = [
        Self::Ok,
        Self::Err,
        Self::Panic,
        Self::Cancelled,
        Self::Unfinished,
        Self::TargetDied,
    ];

    /// The outcome with this number, or `None` where no such outcome exists.
    pub const fn from_number(number: u8) -> Option<Self> {
        if (number as usize) < Self::ALL.len() {
            Some(Self::ALL[number as usize])
        } else {
            None
        }
    }

    /// The word that views and reports use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Err => "err",
            Self::Panic => "panic",
            Self::Cancelled => "cancelled",
            Self::Unfinished => "unfinished",
            Self::TargetDied => "target_died",
        }
    }
}
