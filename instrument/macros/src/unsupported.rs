//! What can not be instrumented, and what to do instead.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Attribute, Error, Item, Signature, spanned::Spanned};

use crate::returns::Returns;

/// Why the function can not be instrumented, at the tokens that make it so; `None` where it can.
pub fn function(signature: &Signature, attributes: &[Attribute]) -> Option<Error> {
    if let Some(token) = &signature.constness {
        return Some(Error::new(
            token.span,
            "a `const fn` can not be instrumented, for it also runs in the compiler: \
             instrument the functions that call it",
        ));
    }
    if let Some(naked) = attributes.iter().find(|attribute| is_naked(attribute)) {
        return Some(Error::new_spanned(
            naked,
            "a naked function can not be instrumented, for its body is assembly only: \
             instrument the functions that call it",
        ));
    }
    if let Some(dots) = &signature.variadic {
        return Some(Error::new_spanned(
            dots,
            "a variadic function can not be instrumented, for its arguments can not be handed on: \
             use `exoscope::call!` in its body",
        ));
    }
    None
}

/// The stream feature is off, and the function returns a stream.
pub fn stream(signature: &Signature) -> Option<Error> {
    let stream = matches!(
        Returns::of(&signature.output),
        Returns::Stream | Returns::BoxedStream
    );
    (stream && !cfg!(feature = "stream")).then(|| {
        Error::new_spanned(
            &signature.output,
            "to instrument a function that returns a stream, turn on the feature `stream` of \
             `exoscope`, or leave the function out with `#[exoscope::skip]`",
        )
    })
}

fn is_naked(attribute: &Attribute) -> bool {
    let path = attribute.path();
    path.is_ident("naked")
        || path.is_ident("unsafe")
            && attribute.meta.require_list().is_ok_and(|list| {
                list.tokens
                    .clone()
                    .into_iter()
                    .next()
                    .is_some_and(|token| matches!(token, TokenTree::Ident(name) if name == "naked"))
            })
}

/// The error for an item that is neither a function nor a block of functions.
pub fn item(item: &TokenStream) -> Error {
    let hint = "put `#[exoscope::instrument]` on a function, an `impl` block, a trait or an \
                inline module";
    let (span, what): (Span, &str) = match syn::parse2::<Item>(item.clone()) {
        Ok(Item::ForeignMod(block)) => (
            block.abi.span(),
            "functions of an `extern` block have no body here: instrument the functions that call \
             them, or use `exoscope::call!` there",
        ),
        Ok(Item::Const(item)) => (item.const_token.span, "a constant is no function"),
        Ok(Item::Static(item)) => (item.static_token.span, "a static is no function"),
        Ok(Item::Struct(item)) => (item.struct_token.span, "a struct is no function"),
        Ok(Item::Enum(item)) => (item.enum_token.span, "an enum is no function"),
        Ok(Item::Union(item)) => (item.union_token.span, "a union is no function"),
        Ok(Item::Type(item)) => (item.type_token.span, "a type is no function"),
        Ok(Item::Use(item)) => (item.use_token.span, "an import is no function"),
        Ok(Item::Mod(item)) => (
            item.mod_token.span,
            "a module in a file of its own can not be instrumented from outside it",
        ),
        Ok(Item::Macro(item)) => (
            item.mac.path.span(),
            "what a macro expands to can not be seen here: put the attribute into the macro",
        ),
        Ok(other) => (
            first(&other.to_token_stream()),
            "this can not be instrumented",
        ),
        // A function that the parser did not take has its own error; this is for expressions.
        Err(_) => (first(item), "this can not be instrumented"),
    };
    let message = if what.contains(':') {
        what.to_owned()
    } else {
        format!("{what}: {hint}")
    };
    Error::new(span, message)
}

fn first(tokens: &TokenStream) -> Span {
    tokens
        .clone()
        .into_iter()
        .next()
        .map_or_else(Span::call_site, |token| token.span())
}
