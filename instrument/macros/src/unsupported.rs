//! What can not be instrumented, and what to do instead.

use proc_macro2::{Delimiter, Group, Span, TokenStream, TokenTree};
use syn::{Attribute, Error, Item, Signature, spanned::Spanned};

use crate::function::Function;
use crate::returns::Returns;

/// Why the function can not be instrumented, at the tokens that make it so; `None` where it can.
pub fn function(function: &Function) -> Option<Error> {
    let signature = &function.signature;
    if let Some(token) = &signature.constness {
        return Some(Error::new(
            token.span,
            "a `const fn` can not be instrumented, for it also runs in the compiler: \
             instrument the functions that call it",
        ));
    }
    if let Some(naked) = function
        .attributes
        .iter()
        .find(|attribute| is_naked(attribute))
    {
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
    generator(&function.body).map(|token| Error::new(token, GENERATOR))
}

const GENERATOR: &str = "a generator can not be instrumented: instrument the functions that use it";

/// Where the `gen` of a body stands that ends in a `gen` block.
fn generator(body: &Group) -> Option<Span> {
    let tokens: Vec<_> = body.stream().into_iter().collect();
    let (block, before) = tokens.split_last()?;
    let before = match before.split_last() {
        Some((TokenTree::Ident(name), before)) if name == "move" => before,
        _ => before,
    };
    match (block, before.last()) {
        (TokenTree::Group(block), Some(TokenTree::Ident(name)))
            if block.delimiter() == Delimiter::Brace && name == "gen" =>
        {
            Some(name.span())
        }
        _ => None,
    }
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
    let (span, what): (Span, &str) = match syn::parse2::<Item>(item.clone()) {
        Ok(Item::ForeignMod(block)) => {
            return Error::new(
                block.abi.span(),
                "functions of an `extern` block have no body here: instrument the functions that \
                 call them, or use `exoscope::call!` there",
            );
        }
        Ok(Item::Mod(item)) => {
            return Error::new(
                item.mod_token.span,
                "a module in a file of its own can not be instrumented from outside it: put the \
                 attribute on the functions and blocks in it",
            );
        }
        Ok(Item::Macro(item)) => {
            return Error::new(
                item.mac.path.span(),
                "what a macro expands to can not be seen here: put the attribute into the macro",
            );
        }
        Ok(Item::Const(item)) => (item.const_token.span, "a constant"),
        Ok(Item::Static(item)) => (item.static_token.span, "a static"),
        Ok(Item::Struct(item)) => (item.struct_token.span, "a struct"),
        Ok(Item::Enum(item)) => (item.enum_token.span, "an enum"),
        Ok(Item::Union(item)) => (item.union_token.span, "a union"),
        Ok(Item::Type(item)) => (item.type_token.span, "a type"),
        Ok(Item::Use(item)) => (item.use_token.span, "an import"),
        Ok(Item::ExternCrate(item)) => (item.extern_token.span, "an import"),
        _ => return unparsed(item),
    };
    let hint = "put `#[exoscope::instrument]` on a function, an `impl` block, a trait or an \
                inline module";
    Error::new(span, format!("{what} is no function: {hint}"))
}

const NO_BODY: &str = "a function without a body can not be instrumented: put the attribute on those \
                       that implement it, or on those that call it";

/// The error for what the parser does not know: a function without a body, or no item at all.
fn unparsed(item: &TokenStream) -> Error {
    let tokens: Vec<_> = item.clone().into_iter().collect();
    let is = |token: &TokenTree, word: &str| token.to_string() == word;
    let Some(function) = tokens.iter().position(|token| is(token, "fn")) else {
        return expression(&tokens);
    };
    if let Some(token) = tokens[..function].iter().find(|token| is(token, "gen")) {
        return Error::new(token.span(), GENERATOR);
    }
    let name = tokens.get(function + 1).unwrap_or(&tokens[function]);
    if tokens.last().is_some_and(|last| is(last, ";")) {
        return Error::new(name.span(), NO_BODY);
    }
    let error = syn::parse2::<Function>(item.clone()).err();
    error.unwrap_or_else(|| Error::new(name.span(), "this function can not be instrumented"))
}

/// The error for an expression or a statement.
fn expression(tokens: &[TokenTree]) -> Error {
    let hint = match tokens {
        [TokenTree::Ident(first), TokenTree::Group(_), ..] if first == "async" => {
            "an `async` block can not be instrumented by an attribute: use `exoscope::future!`"
        }
        [TokenTree::Ident(first), ..] if first == "move" || first == "async" => CLOSURE,
        [TokenTree::Punct(first), ..] if first.as_char() == '|' => CLOSURE,
        _ => "this can not be instrumented by an attribute: use `exoscope::call!`",
    };
    let first = tokens.first().map_or_else(Span::call_site, TokenTree::span);
    Error::new(first, hint)
}

const CLOSURE: &str = "a closure can not be instrumented by an attribute: put `exoscope::call!` or \
                       `exoscope::future!` into it";

/// Whether it is an item, which can stand beside an error.
pub fn is_item(tokens: &TokenStream) -> bool {
    syn::parse2::<Item>(tokens.clone()).is_ok()
        || tokens
            .clone()
            .into_iter()
            .any(|token| token.to_string() == "fn")
}
