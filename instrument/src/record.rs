//! How the value of a field is written, found out at compile time from its type alone.
//!
//! [`recorder!`](crate::__recorder) asks a [`Kind`] behind four references for its recorder. Method
//! look-up takes the one with the most references that applies: `Typed` for what has a [`Value`],
//! [`AsDebug`], [`AsDisplay`], and at last `LeftOut` for any type at all. No bound is added to the
//! user's function.

use core::any::type_name;
use core::error::Error;
use core::ffi::CStr;
use core::fmt::{self, Arguments, Debug, Display};
use core::num::{NonZero, Saturating, Wrapping};
use std::borrow::Cow;
use std::ffi::{CString, OsStr, OsString};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use crate::fields::Entry;
use crate::inspect::Kind;

/// How to write values of type `T`.
pub trait Record<T: ?Sized> {
    /// Gives the entry its value, or leaves it out.
    fn record(value: &T, entry: Entry<'_>);
}

/// A value with a type of its own in the encoding: a number, a truth value, text or bytes.
pub trait Value {
    /// Gives the entry its value, or leaves it out.
    fn record(&self, entry: Entry<'_>);
}

/// Recorder of what has a [`Value`].
#[derive(Clone, Copy)]
pub struct Typed;
/// Recorder of what has `Debug`.
#[derive(Clone, Copy)]
pub struct AsDebug;
/// Recorder of what has `Display`.
#[derive(Clone, Copy)]
pub struct AsDisplay;
/// Recorder of everything else: it is left out.
#[derive(Clone, Copy)]
pub struct LeftOut;

/// What `Display` writes, where `Debug` is asked for.
pub struct Shown<T>(T);

impl<T: Display> Debug for Shown<T> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(&self.0, to)
    }
}

/// What `Debug` writes.
pub struct Debugged<T>(T);

impl<T: Debug> Debug for Debugged<T> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(to)
    }
}

/// A field's value as `Display` writes it: `tracing` has such a function in scope where fields are.
pub fn display<T: Display>(value: T) -> Shown<T> {
    Shown(value)
}

/// A field's value as `Debug` writes it, as [`display`].
pub fn debug<T: Debug>(value: T) -> Debugged<T> {
    Debugged(value)
}

/// Name of the type that stands in `tracing` for a value that is recorded later.
const EMPTY: &str = "tracing_core::field::Empty";

impl<T: Value + ?Sized> Record<T> for Typed {
    fn record(value: &T, entry: Entry<'_>) {
        value.record(entry);
    }
}

impl<T: Debug + ?Sized> Record<T> for AsDebug {
    fn record(value: &T, entry: Entry<'_>) {
        if type_name::<T>() != EMPTY {
            entry.formatted(format_args!("{value:?}"));
        }
    }
}

impl<T: Display + ?Sized> Record<T> for AsDisplay {
    fn record(value: &T, entry: Entry<'_>) {
        entry.formatted(format_args!("{value}"));
    }
}

impl<T: ?Sized> Record<T> for LeftOut {
    fn record(_: &T, _: Entry<'_>) {}
}

/// Gives `Typed`, before the others.
pub trait RecordTyped {
    /// The recorder.
    #[inline(always)]
    fn recorder(&self) -> Typed {
        Typed
    }
}
impl<T: Value + ?Sized> RecordTyped for &&&Kind<T> {}

/// Gives [`AsDebug`], after [`RecordTyped`].
pub trait RecordAsDebug {
    /// The recorder.
    #[inline(always)]
    fn recorder(&self) -> AsDebug {
        AsDebug
    }
}
impl<T: Debug + ?Sized> RecordAsDebug for &&Kind<T> {}

/// Gives [`AsDisplay`], after [`RecordAsDebug`].
pub trait RecordAsDisplay {
    /// The recorder.
    #[inline(always)]
    fn recorder(&self) -> AsDisplay {
        AsDisplay
    }
}
impl<T: Display + ?Sized> RecordAsDisplay for &Kind<T> {}

/// Gives `LeftOut`, where nothing else fits.
pub trait RecordNothing {
    /// The recorder.
    #[inline(always)]
    fn recorder(&self) -> LeftOut {
        LeftOut
    }
}
impl<T: ?Sized> RecordNothing for Kind<T> {}

/// The recorder for a [`Kind`].
#[doc(hidden)]
#[macro_export]
macro_rules! __recorder {
    ($kind:expr) => {{
        use $crate::__private::{
            RecordAsDebug as _, RecordAsDisplay as _, RecordNothing as _, RecordTyped as _,
        };
        (&&&&$kind).recorder()
    }};
}

/// Values that are written by one method after a conversion.
macro_rules! values {
    ($($method:ident as $wide:ty: $($narrow:ty),+;)+) => {$($(
        impl Value for $narrow {
            fn record(&self, entry: Entry<'_>) {
                entry.$method(<$wide>::from(*self));
            }
        }
    )+)+};
}
values! {
    signed as i64: i8, i16, i32, i64;
    unsigned as u64: u8, u16, u32, u64;
    signed_wide as i128: i128;
    unsigned_wide as u128: u128;
    float as f64: f32, f64;
    bool as bool: bool;
}

impl Value for isize {
    fn record(&self, entry: Entry<'_>) {
        entry.signed(*self as i64);
    }
}

impl Value for usize {
    fn record(&self, entry: Entry<'_>) {
        entry.unsigned(*self as u64);
    }
}

impl Value for char {
    fn record(&self, entry: Entry<'_>) {
        entry.text(self.encode_utf8(&mut [0; 4]));
    }
}

impl Value for str {
    fn record(&self, entry: Entry<'_>) {
        entry.text(self);
    }
}

impl Value for [u8] {
    fn record(&self, entry: Entry<'_>) {
        entry.bytes(self);
    }
}

impl<const N: usize> Value for [u8; N] {
    fn record(&self, entry: Entry<'_>) {
        entry.bytes(self);
    }
}

impl Value for OsStr {
    fn record(&self, entry: Entry<'_>) {
        match self.to_str() {
            Some(text) => entry.text(text),
            None => entry.bytes(self.as_encoded_bytes()),
        }
    }
}

impl Value for CStr {
    fn record(&self, entry: Entry<'_>) {
        match self.to_str() {
            Ok(text) => entry.text(text),
            Err(_) => entry.bytes(self.to_bytes()),
        }
    }
}

impl Value for Arguments<'_> {
    fn record(&self, entry: Entry<'_>) {
        entry.formatted(*self);
    }
}

/// Values that are written as what they deref to.
macro_rules! deref {
    ($($owner:ty: $borrowed:ty),+ $(,)?) => {$(
        impl Value for $owner {
            fn record(&self, entry: Entry<'_>) {
                <$borrowed>::record(self.as_ref(), entry);
            }
        }
    )+};
}
deref!(String: str, Vec<u8>: [u8], OsString: OsStr, Path: OsStr, PathBuf: OsStr, CString: CStr);

/// Values that are written as what they point at.
macro_rules! pointers {
    ($($pointer:ty),+) => {$(
        impl<T: Value + ?Sized> Value for $pointer {
            fn record(&self, entry: Entry<'_>) {
                T::record(self, entry);
            }
        }
    )+};
}
pointers!(&T, &mut T, Box<T>, Rc<T>, Arc<T>);

impl<B: Value + ToOwned + ?Sized> Value for Cow<'_, B> {
    fn record(&self, entry: Entry<'_>) {
        B::record(self, entry);
    }
}

/// `None` is left out.
impl<T: Value> Value for Option<T> {
    fn record(&self, entry: Entry<'_>) {
        if let Some(value) = self {
            value.record(entry);
        }
    }
}

impl<T: Value> Value for Wrapping<T> {
    fn record(&self, entry: Entry<'_>) {
        self.0.record(entry);
    }
}

impl<T: Value> Value for Saturating<T> {
    fn record(&self, entry: Entry<'_>) {
        self.0.record(entry);
    }
}

/// Numbers that are not zero. A generic implementation would need their sealed trait.
macro_rules! non_zero {
    ($($number:ty),+) => {$(
        impl Value for NonZero<$number> {
            fn record(&self, entry: Entry<'_>) {
                self.get().record(entry);
            }
        }
    )+};
}
non_zero!(
    i8, i16, i32, i64, i128, isize, u8, u16, u32, u64, u128, usize
);

/// Errors behind a pointer, as `Display` writes them.
macro_rules! errors {
    ($($error:ty),+) => {$(
        impl Value for $error {
            fn record(&self, entry: Entry<'_>) {
                entry.formatted(format_args!("{self}"));
            }
        }
    )+};
}
errors!(
    dyn Error + '_,
    dyn Error + Send + '_,
    dyn Error + Send + Sync + '_
);
