//! Where the attribute stands: on a function, or on a block of functions.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote};
use syn::{Attribute, TraitItemFn, parse_quote};

use crate::block::Block;
use crate::function::Function;
use crate::options::{MOVED, Options};
use crate::{expand, unsupported};

/// Expands the attribute, or says why it can not.
pub fn instrument(options: TokenStream, item: TokenStream) -> TokenStream {
    let expanded = syn::parse2(options).and_then(|options| target(&options, &item));
    expanded.unwrap_or_else(|error| {
        let error = error.to_compile_error();
        // The item stays, so that its users do not get errors of their own.
        let item = unsupported::is_item(&item).then_some(item);
        quote!(#error #item)
    })
}

fn target(options: &Options, item: &TokenStream) -> syn::Result<TokenStream> {
    if let Ok(function) = syn::parse2::<Function>(item.clone()) {
        return match unsupported::function(&function)
            .or_else(|| unsupported::stream(&function.signature))
        {
            Some(error) => Err(error),
            None => one(function, options),
        };
    }
    if let Some(block) = Block::of(item) {
        return options.for_block().and_then(|()| block.expand(options));
    }
    if is_required_method(item) {
        return Ok(item.clone());
    }
    Err(unsupported::item(item))
}

/// A method of a trait without a default: there is nothing to run. Without a receiver it may as well be
/// a function of an `extern` block.
fn is_required_method(item: &TokenStream) -> bool {
    syn::parse2::<TraitItemFn>(item.clone()).is_ok_and(|item| item.sig.receiver().is_some())
}

/// One function. Where other attribute macros stand on an `async fn`, ours goes behind them: they
/// want to see an `async fn`, and we want to see what they make of it.
pub fn one(function: Function, options: &Options) -> syn::Result<TokenStream> {
    let others = is_rewritten(&function.attributes);
    if function.signature.asyncness.is_none() || options.moved || !others {
        return expand::function(function, options);
    }
    Ok(behind_others(function, options))
}

/// The function with our attribute as its last.
pub fn behind_others(mut function: Function, options: &Options) -> TokenStream {
    let owner = options.owner.as_deref().unwrap_or_default();
    let moved = Ident::new(MOVED, Span::mixed_site());
    let written = &options.written;
    let comma = (!written.is_empty()).then(|| quote!(,));
    function
        .attributes
        .push(parse_quote!(#[::exoscope::instrument(#moved = #owner #comma #written)]));
    function.into_token_stream()
}

/// Whether other attribute macros will see the item after us.
pub fn is_rewritten(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| !is_builtin(attribute))
}

/// The compiler's own attributes, which run no macro. Tool attributes have two segments.
fn is_builtin(attribute: &Attribute) -> bool {
    const BUILTIN: &[&str] = &[
        "allow",
        "cfg",
        "cfg_attr",
        "cold",
        "deny",
        "deprecated",
        "diagnostic",
        "doc",
        "expect",
        "export_name",
        "forbid",
        "ignore",
        "inline",
        "link_section",
        "must_use",
        "no_mangle",
        "should_panic",
        "target_feature",
        "test",
        "track_caller",
        "unsafe",
        "warn",
    ];
    let path = attribute.path();
    path.get_ident()
        .is_some_and(|name| BUILTIN.iter().any(|builtin| name == builtin))
        || path.segments.len() > 1
            && ["clippy", "rustfmt", "diagnostic", "rust_analyzer", "miri"]
                .iter()
                .any(|tool| path.segments[0].ident == tool)
}
