//! Fields: how the target writes them for a `fields` marker, and the agent reads them.
//!
//! One entry after the other, without padding: [`Kind`] as a byte, with [`CUT`] where the value is
//! not whole; the length of the name as a byte; the length of the value as two bytes, little-endian;
//! the name; the value. Nobody else reads them: the BPF programs copy bytes.

/// Bytes of all entries of one marker at most.
pub const FIELDS_LEN: usize = 2016;
/// Bytes before an entry's name.
pub const ENTRY_HEADER_LEN: usize = 4;

/// Set in `size` of the marker where something did not fit.
pub const TRUNCATED: u64 = 1 << 32;
/// Set in `size` of the marker where the fields are what the function returned.
pub const RETURNED: u64 = 1 << 33;

/// Set in an entry's first byte where its value did not fit.
pub const CUT: u8 = 0x80;

/// What the bytes of a value are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// What `Display` or `Debug` wrote: UTF-8, unless it was cut within a character.
    Formatted = 0,
    /// A string of the program: UTF-8, unless it was cut within a character.
    Text = 1,
    /// Bytes of the program.
    Bytes = 2,
    /// A signed integer of 8 bytes, little-endian.
    Signed = 3,
    /// An unsigned integer of 8 bytes, little-endian.
    Unsigned = 4,
    /// A floating-point number of 8 bytes, little-endian.
    Float = 5,
    /// One byte, 0 or 1.
    Bool = 6,
    /// A signed integer of 16 bytes, little-endian.
    SignedWide = 7,
    /// An unsigned integer of 16 bytes, little-endian.
    UnsignedWide = 8,
}

impl Kind {
    /// Every kind, in the order of its number.
    pub const ALL: [Self; 9] = [
        Self::Formatted,
        Self::Text,
        Self::Bytes,
        Self::Signed,
        Self::Unsigned,
        Self::Float,
        Self::Bool,
        Self::SignedWide,
        Self::UnsignedWide,
    ];

    /// The kind with this number, or `None` where no such kind exists.
    pub const fn from_number(number: u8) -> Option<Self> {
        if (number as usize) < Self::ALL.len() {
            Some(Self::ALL[number as usize])
        } else {
            None
        }
    }
}
