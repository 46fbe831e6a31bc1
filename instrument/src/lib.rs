//! Markers that exoscope reads from outside.
#![cfg_attr(not(feature = "enabled"), no_std)]

#[cfg(feature = "enabled")]
mod call;
#[cfg(feature = "enabled")]
mod chain;
#[cfg(feature = "enabled")]
mod detail;
#[cfg(all(feature = "enabled", target_os = "linux", target_arch = "x86_64"))]
mod fork_guard;
#[cfg(feature = "enabled")]
mod future;
#[cfg(all(feature = "enabled", target_os = "linux"))]
mod init;
#[cfg(feature = "enabled")]
mod inspect;
mod macros;
#[cfg(feature = "enabled")]
mod marker;
#[cfg(all(feature = "enabled", feature = "stream"))]
mod stream;

pub use exoscope_macros::{instrument, skip};

/// There are markers for this target; elsewhere a function runs its body and nothing else.
#[cfg(feature = "enabled")]
const SUPPORTED: bool = cfg!(all(
    target_os = "linux",
    any(
        all(target_arch = "x86_64", target_pointer_width = "64"),
        all(target_arch = "aarch64", target_endian = "little")
    )
));

/// What expansions use. Not part of the interface: it changes without notice.
#[cfg(feature = "enabled")]
#[doc(hidden)]
pub mod __private {
    pub use crate::call::{Open, State, body};
    pub use crate::future::FutureCall;
    pub use crate::inspect::{
        Anything, Inspect, InspectAnything, InspectDebugged, InspectDisplayed, InspectOpaque, Kind,
        kind_of_output,
    };
    pub use crate::marker::{Function, abi};
    #[cfg(feature = "stream")]
    pub use crate::stream::{StreamCall, kind_of_item};

    /// The type a function pointer returns.
    pub trait Returns {
        /// It.
        type Type;
    }
    impl<T> Returns for fn() -> T {
        type Type = T;
    }
    /// `!`, which can be written after an arrow only.
    pub type Never = <fn() -> ! as Returns>::Type;
}

/// What expansions use. Not part of the interface: it changes without notice.
#[cfg(not(feature = "enabled"))]
#[doc(hidden)]
pub mod __private {
    /// Runs a block as a closure, as it runs while markers are compiled in.
    #[inline(always)]
    pub fn body<R>(body: impl FnOnce() -> R) -> R {
        body()
    }
}
