//! `ret`: what a function returned, as a field.

use core::fmt::{self, Debug};
use core::marker::PhantomData;

use crate::fields;
use crate::inspect::{Inspect, Kind};
use crate::marker::Function;
use crate::record::{AsDebug, Record};

/// The part of a return value of type `R` that `ret` is about.
pub trait Part<R> {
    /// Its type.
    type Value;
    /// The part, where there is one.
    fn of(returned: &R) -> Option<&Self::Value>;
}

/// All of it.
#[derive(Clone, Copy)]
pub struct Whole;
/// What is in an `Ok`: the error is the business of `err`.
#[derive(Clone, Copy)]
pub struct InOk;

impl<R> Part<R> for Whole {
    type Value = R;
    fn of(returned: &R) -> Option<&R> {
        Some(returned)
    }
}

impl<T, E> Part<Result<T, E>> for InOk {
    type Value = T;
    fn of(returned: &Result<T, E>) -> Option<&T> {
        returned.as_ref().ok()
    }
}

/// An inspector that hands on a part `P` of the return value by the recorder `W`, and leaves the
/// outcome to the inspector `I`.
#[derive(Clone, Copy)]
pub struct Returned<I, P, W>(PhantomData<(I, P, W)>);

impl<I, P, W> Returned<I, P, W> {
    /// The inspector.
    #[inline(always)]
    pub fn new<R, V>(
        _inspector: I,
        _returned: Kind<R>,
        (_part, _kind): (P, Kind<V>),
        _recorder: W,
    ) -> Self
    where
        P: Part<R, Value = V>,
        W: Record<V>,
    {
        Self(PhantomData)
    }
}

impl<R, I: Inspect<R>, P: Part<R>, W: Record<P::Value>> Inspect<R> for Returned<I, P, W> {
    const HANDS_ON: bool = true;
    #[inline(always)]
    fn failed(returned: &R) -> bool {
        I::failed(returned)
    }
    fn kind() -> &'static str {
        I::kind()
    }
    fn describe(returned: &R, to: &mut dyn fmt::Write) -> fmt::Result {
        I::describe(returned, to)
    }
    #[inline(always)]
    fn returned<F: Function>(call: usize, returned: &R) {
        if F::fields_wanted()
            && let Some(value) = P::of(returned)
        {
            fields::returned::<F>(call, |entry| W::record(value, entry));
        }
    }
}

/// Gives `InOk` for a `Result`, before `PartWhole`.
pub trait PartInOk {
    /// What an `Ok` holds.
    type Value;
    /// The part and its type.
    #[inline(always)]
    fn part(&self) -> (InOk, Kind<Self::Value>) {
        (InOk, Kind::new())
    }
}
impl<T, E> PartInOk for &Kind<Result<T, E>> {
    type Value = T;
}

/// Gives `Whole`.
pub trait PartWhole {
    /// What was returned.
    type Value;
    /// The part and its type.
    #[inline(always)]
    fn part(&self) -> (Whole, Kind<Self::Value>) {
        (Whole, Kind::new())
    }
}
impl<R> PartWhole for Kind<R> {
    type Value = R;
}

/// Gives [`AsDebug`] for an `Option`, before all other recorders: that nothing was returned is worth
/// knowing.
pub trait RecordOption {
    /// The recorder.
    #[inline(always)]
    fn recorder(&self) -> AsDebug {
        AsDebug
    }
}
impl<T: Debug> RecordOption for &&&&Kind<Option<T>> {}

/// The inspector of a [`Kind`] that hands on what was returned: its `Ok` or `Whole`, as its type asks
/// for (`Auto`), or as `Debug` or `Display` writes it.
#[doc(hidden)]
#[macro_export]
macro_rules! __inspect_returned {
    ($inspector:expr, $kind:expr, $part:ident, $format:ident) => {{
        let part = $crate::__part!($part, $kind);
        let recorder = $crate::__format!($format, part.1);
        $crate::__private::Returned::new($inspector, $kind, part, recorder)
    }};
}

/// The part of a returned value.
#[doc(hidden)]
#[macro_export]
macro_rules! __part {
    (Ok, $kind:expr) => {{
        use $crate::__private::{PartInOk as _, PartWhole as _};
        (&&$kind).part()
    }};
    (Whole, $kind:expr) => {
        $crate::__private::PartWhole::part(&$kind)
    };
}

/// The recorder of a returned value.
#[doc(hidden)]
#[macro_export]
macro_rules! __format {
    (Auto, $kind:expr) => {{
        use $crate::__private::RecordOption as _;
        $crate::__recorder!(&$kind)
    }};
    (Debug, $kind:expr) => {
        $crate::__private::AsDebug
    };
    (Display, $kind:expr) => {
        $crate::__private::AsDisplay
    };
}
