//! Markers.
mod marker;
mod call;
#[doc(hidden)]
pub mod __private {
    pub use crate::marker::Function;
    pub use crate::call::call;
}
