//! The attributes of exoscope. Use them through the `exoscope` crate, which documents them.
//!
//! Without the feature `enabled` this crate has no dependency and gives back what it gets.

#[cfg(feature = "enabled")]
mod arguments;
#[cfg(feature = "enabled")]
mod async_fn;
#[cfg(feature = "enabled")]
mod block;
#[cfg(feature = "enabled")]
mod boxed;
#[cfg(feature = "enabled")]
mod expand;
#[cfg(feature = "enabled")]
mod fields;
#[cfg(feature = "enabled")]
mod function;
#[cfg(feature = "enabled")]
mod in_place;
#[cfg(feature = "enabled")]
mod options;
#[cfg(feature = "enabled")]
mod returns;
#[cfg(feature = "enabled")]
mod target;
#[cfg(feature = "enabled")]
mod unsupported;
#[cfg(feature = "enabled")]
mod wrapper;

use proc_macro::TokenStream;

/// Makes every execution of a function one call that exoscope can see. See the crate's page for
/// what it can stand on and for its options.
#[cfg(feature = "enabled")]
#[proc_macro_attribute]
pub fn instrument(options: TokenStream, item: TokenStream) -> TokenStream {
    target::instrument(options.into(), item.into()).into()
}

/// Gives back the item: the feature `enabled` is off.
#[cfg(not(feature = "enabled"))]
#[proc_macro_attribute]
pub fn instrument(_options: TokenStream, item: TokenStream) -> TokenStream {
    item
}

/// Leaves one function out of an instrumented `impl` block, trait or module. Alone it does nothing.
#[proc_macro_attribute]
pub fn skip(_options: TokenStream, item: TokenStream) -> TokenStream {
    item
}
