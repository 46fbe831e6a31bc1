//! An `async fn`, as a function that returns a future: a wrapper around the whole body would otherwise
//! store every argument twice.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::punctuated::Punctuated;
use syn::{FnArg, Pat, PatType, ReturnType, Token, Type, parse_quote, parse_quote_spanned};

use crate::expand::Call;
use crate::function::{Function, braces_of};
use crate::returns::{self, Returns};
use crate::wrapper::Wrapper;

/// The function with its markers.
pub fn function(mut function: Function, call: &Call<'_>) -> TokenStream {
    let arguments = move_into_body(&mut function.signature.inputs);
    let returned = &function.signature.output;
    let output = returns::output(returned, function.body.span_open());
    let wrapped = if Returns::of(returned) == Returns::Never {
        never(&function, call, &arguments)
    } else {
        Wrapper::PINNED_FUTURE.wrap(&future(&function, call, &arguments), call)
    };
    function.signature.asyncness = None;
    // The tokens are of this crate's edition, in which `impl Trait` captures every generic
    // parameter and lifetime, as an `async fn` does in all editions.
    let here = call.at_returned();
    let future = quote_spanned!(here=> impl ::core::future::Future<Output = #output>);
    let future: Type = Type::Verbatim(future);
    let arrow = parse_quote_spanned!(here=> ->);
    function.signature.output = ReturnType::Type(arrow, Box::new(future));
    function.with_body(&call.before(&wrapped))
}

/// The future of a function that returns `!`.
fn never(function: &Function, call: &Call<'_>, arguments: &TokenStream) -> TokenStream {
    let capture = call.fields.capture();
    let statements = function.body.stream();
    quote! {
        ::exoscope::__private::PinnedFutureCall::new(
            __ExoscopeFunction,
            ::exoscope::__private::Anything,
            async move { #arguments #capture #statements },
        )
    }
}

/// The future of any other function.
fn future(function: &Function, call: &Call<'_>, arguments: &TokenStream) -> TokenStream {
    let body = &function.body;
    let returned = &function.signature.output;
    let in_body = returns::in_body(returned, body.span_open());
    let at_type = call.at_returned();
    let result = Ident::new("result", at_type);
    // Tells the compiler the type of every `return` and `?` in the body.
    let typed = quote_spanned! {at_type=>
        if let ::core::option::Option::Some(#result) = ::core::option::Option::None::<#in_body> {
            return #result;
        }
    };
    let statements = body.stream();
    let body = braces_of(body, quote!(#typed #statements));
    let capture = call.fields.capture();
    quote! {
        async move {
            #arguments
            #capture
            let #result: #in_body = #body;
            #[allow(unreachable_code)]
            #result
        }
    }
}

/// The statements that make a future own its arguments, in the order in which an `async fn` would
/// take them, so that they are dropped in the same order too.
fn move_into_body(inputs: &mut Punctuated<FnArg, Token![,]>) -> TokenStream {
    let mut statements = TokenStream::new();
    for (index, input) in inputs.iter_mut().enumerate() {
        match input {
            FnArg::Receiver(_) => statements.extend(quote!(let _ = &self;)),
            FnArg::Typed(argument) => statements.extend(move_argument(argument, index)),
        }
    }
    statements
}

fn move_argument(argument: &mut PatType, index: usize) -> TokenStream {
    let configured: Vec<_> = argument
        .attrs
        .iter()
        .filter(|attribute| attribute.path().is_ident("cfg"))
        .collect();
    match argument.pat.as_mut() {
        Pat::Ident(pattern) if pattern.by_ref.is_none() && pattern.subpat.is_none() => {
            let name = pattern.ident.clone();
            let mutability = pattern.mutability.take();
            if matches!(argument.ty.as_ref(), Type::Reference(_)) && mutability.is_none() {
                return quote!();
            }
            quote!(#(#configured)* let #mutability #name = #name;)
        }
        pattern => {
            let name = Ident::new(&format!("__argument{index}"), Span::mixed_site());
            let taken = quote! {
                #(#configured)* let #name = #name;
                #(#configured)* let #pattern = #name;
            };
            *pattern = parse_quote!(#name);
            taken
        }
    }
}
