//! Fields, arguments and results of a call, written to the stack while somebody wants them.
//!
//! The encoding is that of `exoscope_abi::field`. Nothing here runs before the semaphore of a
//! function's `fields` marker is raised, and nothing is kept after the marker has fired.

use core::fmt;
use core::mem::MaybeUninit;

use exoscope_abi::field::{CUT, ENTRY_HEADER_LEN, FIELDS_LEN, Kind, RETURNED, TRUNCATED};

use crate::contain::contain;
use crate::marker::Function;
use crate::record::Record;
use crate::{SUPPORTED, turns};

/// Name of the field that holds what a function returned.
const RETURN: &str = "return";

/// Longest name: its length is one byte.
const NAME_MAX: usize = u8::MAX as usize;

/// The encoded fields of one marker.
pub struct Fields {
    bytes: [MaybeUninit<u8>; FIELDS_LEN],
    len: usize,
    /// Something did not fit, or could not be had.
    truncated: bool,
}

impl Fields {
    const fn new() -> Self {
        Self {
            bytes: [const { MaybeUninit::uninit() }; FIELDS_LEN],
            len: 0,
            truncated: false,
        }
    }

    /// Adds a field the way its type asks for.
    pub fn record<T: ?Sized, R: Record<T>>(&mut self, name: &str, _recorder: R, value: &T) {
        R::record(value, Entry { fields: self, name });
    }

    /// Adds a field as `Display` writes it.
    pub fn display<T: fmt::Display + ?Sized>(&mut self, name: &str, value: &T) {
        Entry { fields: self, name }.formatted(format_args!("{value}"));
    }

    /// Adds a field as `Debug` writes it.
    pub fn debug<T: fmt::Debug + ?Sized>(&mut self, name: &str, value: &T) {
        Entry { fields: self, name }.formatted(format_args!("{value:?}"));
    }

    /// Begins an entry with room for at least `least` bytes of value, or notes that it does not fit.
    fn begin(&mut self, name: &str, least: usize) -> Option<Begun> {
        let name_len = name.len().min(NAME_MAX);
        self.truncated |= name_len < name.len();
        if FIELDS_LEN - self.len < ENTRY_HEADER_LEN + name_len + least {
            self.truncated = true;
            return None;
        }
        let header = self.len;
        self.append(&[0; ENTRY_HEADER_LEN]);
        self.append(&name.as_bytes()[..name_len]);
        Some(Begun {
            header,
            name_len: name_len as u8,
            value: self.len,
        })
    }

    /// Ends an entry after its value.
    fn end(&mut self, begun: &Begun, kind: Kind, whole: bool) {
        self.truncated |= !whole;
        let [low, high] = ((self.len - begun.value) as u16).to_le_bytes();
        let kind = kind as u8 | if whole { 0 } else { CUT };
        let header = [kind, begun.name_len, low, high];
        for (to, from) in self.bytes[begun.header..].iter_mut().zip(header) {
            to.write(from);
        }
    }

    /// Appends as many of the bytes as fit; gives whether these were all.
    fn append(&mut self, bytes: &[u8]) -> bool {
        let free = &mut self.bytes[self.len..];
        for (to, from) in free.iter_mut().zip(bytes) {
            to.write(*from);
        }
        let taken = bytes.len().min(free.len());
        self.len += taken;
        taken == bytes.len()
    }

    /// Runs what adds fields and fires the marker, unless no field came of it.
    fn fire<F: Function>(&mut self, call: usize, flags: u64, write: impl FnOnce(&mut Self)) {
        if !contain(|| write(self)) {
            self.truncated = true;
        }
        if self.len == 0 && !self.truncated {
            return;
        }
        let truncated = if self.truncated { TRUNCATED } else { 0 };
        F::fields(
            call,
            self.bytes.as_ptr() as usize,
            self.len as u64 | truncated | flags,
        );
    }
}

/// Fires the marker of the thread's innermost call for the fields that `write` adds.
#[cold]
#[inline(never)]
pub fn capture<F: Function>(_function: F, write: impl FnOnce(&mut Fields)) {
    if SUPPORTED {
        Fields::new().fire::<F>(turns::innermost(), 0, write);
    }
}

/// Fires the marker for what a call returned.
#[cold]
#[inline(never)]
pub(crate) fn returned<F: Function>(call: usize, record: impl FnOnce(Entry<'_>)) {
    Fields::new().fire::<F>(call, RETURNED, |fields| {
        record(Entry {
            fields,
            name: RETURN,
        });
    });
}

/// A field that has its name and gets its value by one of the methods, or by none to be left out.
pub struct Entry<'a> {
    fields: &'a mut Fields,
    name: &'a str,
}

impl Entry<'_> {
    /// A signed integer.
    pub(crate) fn signed(self, value: i64) {
        self.whole(Kind::Signed, &value.to_le_bytes());
    }

    /// An unsigned integer.
    pub(crate) fn unsigned(self, value: u64) {
        self.whole(Kind::Unsigned, &value.to_le_bytes());
    }

    /// A signed integer of 16 bytes.
    pub(crate) fn signed_wide(self, value: i128) {
        self.whole(Kind::SignedWide, &value.to_le_bytes());
    }

    /// An unsigned integer of 16 bytes.
    pub(crate) fn unsigned_wide(self, value: u128) {
        self.whole(Kind::UnsignedWide, &value.to_le_bytes());
    }

    /// A floating-point number.
    pub(crate) fn float(self, value: f64) {
        self.whole(Kind::Float, &value.to_le_bytes());
    }

    /// A truth value.
    pub(crate) fn bool(self, value: bool) {
        self.whole(Kind::Bool, &[u8::from(value)]);
    }

    /// A string of the program.
    pub(crate) fn text(self, value: &str) {
        self.cut_to_fit(Kind::Text, value.as_bytes());
    }

    /// Bytes of the program.
    pub(crate) fn bytes(self, value: &[u8]) {
        self.cut_to_fit(Kind::Bytes, value);
    }

    /// What the user's formatting writes, as far as it comes without panicking.
    pub(crate) fn formatted(self, value: fmt::Arguments<'_>) {
        let fields = self.fields;
        if let Some(begun) = fields.begin(self.name, 0) {
            let mut written = Err(fmt::Error);
            contain(|| written = fmt::write(fields, value));
            fields.end(&begun, Kind::Formatted, written.is_ok());
        }
    }

    /// A value that is there as a whole or not at all.
    fn whole(self, kind: Kind, value: &[u8]) {
        self.add(kind, value, value.len());
    }

    /// A value of which the beginning is better than nothing.
    fn cut_to_fit(self, kind: Kind, value: &[u8]) {
        self.add(kind, value, value.len().min(1));
    }

    fn add(self, kind: Kind, value: &[u8], least: usize) {
        if let Some(begun) = self.fields.begin(self.name, least) {
            let whole = self.fields.append(value);
            self.fields.end(&begun, kind, whole);
        }
    }
}

impl fmt::Write for Fields {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // Formatting ends early where nothing more would fit.
        if self.append(text.as_bytes()) {
            Ok(())
        } else {
            Err(fmt::Error)
        }
    }
}

/// An entry without its value, and where its parts are.
struct Begun {
    header: usize,
    name_len: u8,
    value: usize,
}
