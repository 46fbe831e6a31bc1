//! What a return value says about its call, found out at compile time from its type alone.
//!
//! [`inspect!`](crate::__inspect) asks a [`Kind`] behind four references for its inspector. Method
//! look-up takes the implementation with the most references that applies: `Result` with an error
//! that has `Display`, with `Debug`, with neither, and at last any type at all. No bound is added
//! to the user's function, and an alias of `Result` is a `Result`.

use core::fmt::{self, Debug, Display};
use core::future::Future;
use core::marker::PhantomData;

use crate::call::Open;
use crate::marker::Function;

/// How to read the outcome from a return value of type `R`.
pub trait Inspect<R> {
    /// The value is an `Err`.
    fn failed(returned: &R) -> bool;
    /// As [`Self::failed`], where the inspector's type has no name.
    #[inline(always)]
    fn is_failure(&self, returned: &R) -> bool {
        Self::failed(returned)
    }
    /// The type of the error, or an empty string.
    fn kind() -> &'static str;
    /// Writes what the error says.
    ///
    /// # Errors
    /// Those of `to` and of the error's own formatting.
    fn describe(returned: &R, to: &mut dyn fmt::Write) -> fmt::Result;

    /// Whether `returned` does anything.
    const HANDS_ON: bool = false;

    /// Hands on the value that the call returned, before it ends, where `ret` asks for that.
    #[inline(always)]
    fn returned<F: Function>(_call: usize, _returned: &R) {}

    /// Whether somebody who looks at a call that `failed`, or did not, needs what it returned.
    #[inline(always)]
    fn is_needed(&self, failed: bool, _returned: &R) -> bool {
        failed || Self::HANDS_ON
    }

    /// Ends a call while somebody looks at what it returned, and gives that back.
    ///
    /// It is moved here and back, because a reference to it would keep it in memory, and in another
    /// place than where the caller wants it, also where nobody looks.
    #[cold]
    #[inline(never)]
    fn tell<F: Function>(self, open: Open<'_, F>, returned: R) -> R
    where
        Self: Sized,
    {
        open.tell::<R, Self>(&returned);
        returned
    }

    /// Ends a call where the compiler does not optimize.
    fn end<F: Function>(self, open: Open<'_, F>, returned: &mut R)
    where
        Self: Sized,
    {
        if !open.is_wanted() {
            return open.forget();
        }
        let failed = Self::failed(returned);
        if self.is_needed(failed, returned) && open.is_seen() {
            open.tell::<R, Self>(returned);
        } else {
            open.end(failed);
        }
    }
}

/// The type of a value, without a value.
pub struct Kind<R: ?Sized>(PhantomData<fn() -> *const R>);

impl<R: ?Sized> Kind<R> {
    /// The type `R`.
    #[inline(always)]
    pub(crate) const fn new() -> Self {
        Self(PhantomData)
    }

    /// The type of what `_value` points at.
    #[cfg_attr(debug_assertions, inline)]
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub fn of(_value: &R) -> Self {
        Self::new()
    }
}

/// Tells the compiler what a future comes to.
#[inline(always)]
pub fn with_output<T, F: Future<Output = T>>(future: F) -> F {
    future
}

/// Tells the compiler that a future comes to what futures of type `B` come to.
#[inline(always)]
pub fn with_output_of<B: Future, F: Future<Output = B::Output>>(future: F) -> F {
    future
}

/// The type of what a future comes to.
#[inline(always)]
pub fn kind_of_output<F: Future>(_future: &F) -> Kind<F::Output> {
    Kind::new()
}

/// Inspector of a `Result` whose error has `Display`.
#[derive(Clone, Copy)]
pub struct Displayed;
/// Inspector of a `Result` whose error has `Debug` only.
#[derive(Clone, Copy)]
pub struct Debugged;
/// Inspector of a `Result` whose error has neither.
#[derive(Clone, Copy)]
pub struct Opaque;
/// Inspector of everything else: it is never an error.
#[derive(Clone, Copy)]
pub struct Anything;

impl<T, E: Display> Inspect<Result<T, E>> for Displayed {
    #[inline(always)]
    fn failed(returned: &Result<T, E>) -> bool {
        returned.is_err()
    }
    fn kind() -> &'static str {
        core::any::type_name::<E>()
    }
    fn describe(returned: &Result<T, E>, to: &mut dyn fmt::Write) -> fmt::Result {
        returned
            .as_ref()
            .map_or_else(|error| write!(to, "{error}"), |_| Ok(()))
    }
}

impl<T, E: Debug> Inspect<Result<T, E>> for Debugged {
    #[inline(always)]
    fn failed(returned: &Result<T, E>) -> bool {
        returned.is_err()
    }
    fn kind() -> &'static str {
        core::any::type_name::<E>()
    }
    fn describe(returned: &Result<T, E>, to: &mut dyn fmt::Write) -> fmt::Result {
        returned
            .as_ref()
            .map_or_else(|error| write!(to, "{error:?}"), |_| Ok(()))
    }
}

impl<T, E> Inspect<Result<T, E>> for Opaque {
    #[inline(always)]
    fn failed(returned: &Result<T, E>) -> bool {
        returned.is_err()
    }
    fn kind() -> &'static str {
        core::any::type_name::<E>()
    }
    fn describe(_: &Result<T, E>, _: &mut dyn fmt::Write) -> fmt::Result {
        Ok(())
    }
}

impl<R> Inspect<R> for Anything {
    #[inline(always)]
    fn failed(_: &R) -> bool {
        false
    }
    fn kind() -> &'static str {
        ""
    }
    fn describe(_: &R, _: &mut dyn fmt::Write) -> fmt::Result {
        Ok(())
    }
}

/// Gives `Debugged`, before `InspectDisplayed`: for `err(Debug)`.
pub trait InspectDebuggedFirst {
    /// The inspector.
    #[cfg_attr(debug_assertions, inline)]
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn inspector(&self) -> Debugged {
        Debugged
    }
}
impl<T, E: Debug> InspectDebuggedFirst for &&&&Kind<Result<T, E>> {}

/// Gives `Displayed`, before the others.
pub trait InspectDisplayed {
    /// The inspector.
    #[cfg_attr(debug_assertions, inline)]
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn inspector(&self) -> Displayed {
        Displayed
    }
}
impl<T, E: Display> InspectDisplayed for &&&Kind<Result<T, E>> {}

/// Gives `Debugged`, after `InspectDisplayed`.
pub trait InspectDebugged {
    /// The inspector.
    #[cfg_attr(debug_assertions, inline)]
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn inspector(&self) -> Debugged {
        Debugged
    }
}
impl<T, E: Debug> InspectDebugged for &&Kind<Result<T, E>> {}

/// Gives `Opaque`, after `InspectDebugged`.
pub trait InspectOpaque {
    /// The inspector.
    #[cfg_attr(debug_assertions, inline)]
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn inspector(&self) -> Opaque {
        Opaque
    }
}
impl<T, E> InspectOpaque for &Kind<Result<T, E>> {}

/// Gives [`Anything`], where nothing else fits.
pub trait InspectAnything {
    /// The inspector.
    #[cfg_attr(debug_assertions, inline)]
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn inspector(&self) -> Anything {
        Anything
    }
}
impl<R> InspectAnything for Kind<R> {}

/// The inspector for a [`Kind`]. After a comma: whether the message is what `Debug` writes, if there is
/// that, and the returned value's recorder.
#[doc(hidden)]
#[macro_export]
macro_rules! __inspect {
    ($kind:expr, Debug) => {{
        use $crate::__private::InspectDebuggedFirst as _;
        $crate::__inspect!(&$kind)
    }};
    ($kind:expr) => {{
        use $crate::__private::{
            InspectAnything as _, InspectDebugged as _, InspectDisplayed as _, InspectOpaque as _,
        };
        (&&&&$kind).inspector()
    }};
}

/// The same, as something that the compiler can't know: it would make two ways through the function of
/// it, for calls at which nobody looks too.
#[inline(always)]
pub fn unknown(failed: bool) -> bool {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    {
        let mut known = u64::from(failed);
        // SAFETY: no instruction at all.
        unsafe {
            core::arch::asm!(
                "/* {known} */",
                known = inout(reg) known,
                options(nomem, nostack, preserves_flags),
            );
        }
        known != 0
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    failed
}

/// Ends the call `$open` with `$result`, of which `$inspector` tells. The result is moved where somebody
/// looks at it, and else stays where it was made.
#[cfg(not(debug_assertions))]
#[doc(hidden)]
#[macro_export]
macro_rules! __end {
    ($open:ident, $result:ident, $inspector:ident) => {
        if $open.is_wanted() {
            let failed = $crate::__private::Inspect::is_failure(&$inspector, &$result);
            let failed = $crate::__private::unknown(failed);
            if $crate::__private::Inspect::is_needed(&$inspector, failed, &$result)
                && $open.is_seen()
            {
                $result = $crate::__private::Inspect::tell($inspector, $open, $result);
            } else {
                $open.end(failed);
            }
        } else {
            $open.forget();
        }
    };
}

/// Ends the call `$open` with `$result`, of which `$inspector` tells. Every copy of the result would have a
/// place of its own in the user's frame, without optimization.
#[cfg(debug_assertions)]
#[doc(hidden)]
#[macro_export]
macro_rules! __end {
    ($open:ident, $result:ident, $inspector:ident) => {
        $crate::__private::Inspect::end($inspector, $open, &mut $result);
    };
}
