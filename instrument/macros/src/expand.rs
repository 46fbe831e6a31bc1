//! One function with its markers.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{FnArg, Pat, ReturnType, Token, Type, parse_quote, parse_quote_spanned};

use crate::boxed;
use crate::function::Function;
use crate::options::Options;
use crate::returns::{self, Returns};

/// The function with its markers.
pub fn function(mut function: Function, options: &Options) -> TokenStream {
    let declaration = declaration(&function.signature.ident, options);
    if function.signature.asyncness.is_some() {
        return asynchronous(function, &declaration);
    }
    let body = match Returns::of(&function.signature.output) {
        Returns::Value => synchronous(&function),
        Returns::Never => never(&function),
        Returns::Future => polled(&function, &format_ident!("FutureCall")),
        Returns::Stream => polled(&function, &format_ident!("StreamCall")),
        Returns::BoxedFuture => boxed(&function, &format_ident!("FutureCall")),
        Returns::BoxedStream => boxed(&function, &format_ident!("StreamCall")),
    };
    function.signature.asyncness = None;
    function.with_body(&quote!(#declaration #body))
}

/// The item that holds the function's markers.
fn declaration(name: &Ident, options: &Options) -> TokenStream {
    let last = match (&options.name, &options.owner) {
        (Some(name), _) => name.value(),
        (None, Some(owner)) => format!("{owner}::{}", plain(name)),
        (None, None) => plain(name),
    };
    let file = name.span().unwrap().file();
    let line = name.span().unwrap().line();
    quote! {
        ::exoscope::__function!(
            __ExoscopeFunction,
            ::core::concat!(::core::module_path!(), "::", #last),
            #file,
            #line
        );
    }
}

/// A name without `r#`.
fn plain(name: &Ident) -> String {
    let name = name.to_string();
    name.strip_prefix("r#")
        .map_or_else(|| name.clone(), str::to_owned)
}

fn synchronous(function: &Function) -> TokenStream {
    let body = &function.body;
    let returned = returns::in_body(&function.signature.output, body.span_open());
    let (state, open, result) = (local("state"), local("open"), local("result"));
    let inspector = local("inspector");
    let run = run_body(&returned, body);
    quote! {
        let #state = ::exoscope::__private::State::<__ExoscopeFunction>::new();
        let #open = #state.enter();
        let mut #result = #run;
        let #inspector = ::exoscope::__inspect!(::exoscope::__private::Kind::of(&#result));
        ::exoscope::__private::Inspect::leave(#inspector, #open, &mut #result);
        #result
    }
}

fn never(function: &Function) -> TokenStream {
    let (state, open) = (local("state"), local("open"));
    let run = run_body(&quote!(!), &function.body);
    quote! {
        let #state = ::exoscope::__private::State::<__ExoscopeFunction>::new();
        let #open = #state.enter();
        #run
    }
}

/// The body as a closure, so that `return` and `?` in it stay within the call. The closure is not
/// `move`: arguments that the body does not move stay where they are and are dropped in their order.
fn run_body(returned: &TokenStream, body: &proc_macro2::Group) -> TokenStream {
    quote!(::exoscope::__private::body(|| -> #returned #body))
}

/// A function that returns `impl Future` or `impl Stream`: what it returns is the call.
fn polled(function: &Function, wrapper: &Ident) -> TokenStream {
    let made = run_body(&quote!(_), &function.body);
    wrap(&made, wrapper)
}

fn boxed(function: &Function, wrapper: &Ident) -> TokenStream {
    let body = &function.body;
    boxed::wrap_inside(&body.stream(), |boxed| wrap(&quote!(#boxed), wrapper)).unwrap_or_else(
        || {
            let returned = returns::in_body(&function.signature.output, body.span_open());
            boxed::wrap_again(
                &wrap(&run_body(&returned, body), wrapper),
                Span::mixed_site(),
            )
        },
    )
}

/// The future or stream `made` as a call.
fn wrap(made: &TokenStream, wrapper: &Ident) -> TokenStream {
    let (polled, inspector) = (local("polled"), local("inspector"));
    let kind = if wrapper == "FutureCall" {
        "kind_of_output"
    } else {
        "kind_of_item"
    };
    let kind = format_ident!("{kind}");
    quote! {{
        let #polled = #made;
        let #inspector = ::exoscope::__inspect!(::exoscope::__private::#kind(&#polled));
        ::exoscope::__private::#wrapper::new(__ExoscopeFunction, #inspector, #polled)
    }}
}

/// An `async fn` as a function that returns a future: a wrapper around the whole body would
/// otherwise store every argument twice.
fn asynchronous(mut function: Function, declaration: &TokenStream) -> TokenStream {
    let body = &function.body;
    let arguments = move_into_body(&mut function.signature.inputs);
    let returned = &function.signature.output;
    let output = returns::output(returned, body.span_open());
    let wrapped = if Returns::of(returned) == Returns::Never {
        quote! {
            ::exoscope::__private::FutureCall::new(
                __ExoscopeFunction,
                ::exoscope::__private::Anything,
                async move { #arguments #body },
            )
        }
    } else {
        let in_body = returns::in_body(returned, body.span_open());
        let result = local("result");
        let at_type = Span::mixed_site().located_at(match returned {
            ReturnType::Default => body.span_open(),
            ReturnType::Type(_, ty) => ty.span(),
        });
        // Tells the compiler the type of every `return` and `?` in the body.
        let typed = quote_spanned! {at_type=>
            if let ::core::option::Option::Some(#result) =
                ::core::option::Option::None::<#in_body>
            {
                return #result;
            }
        };
        let future = quote! {
            async move {
                #typed
                #arguments
                let #result: #in_body = #body;
                #[allow(unreachable_code)]
                #result
            }
        };
        wrap(&future, &format_ident!("FutureCall"))
    };
    function.signature.asyncness = None;
    // The tokens are of this crate's edition, in which `impl Trait` captures every generic
    // parameter and lifetime, as an `async fn` does in all editions.
    let here = Span::mixed_site();
    let future = quote_spanned!(here=> impl ::core::future::Future<Output = #output>);
    let future: Type = Type::Verbatim(future);
    let arrow = parse_quote_spanned!(here=> ->);
    function.signature.output = ReturnType::Type(arrow, Box::new(future));
    function.with_body(&quote!(#declaration #wrapped))
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

fn move_argument(argument: &mut syn::PatType, index: usize) -> TokenStream {
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

/// A local variable that the user's tokens can not see.
fn local(name: &str) -> Ident {
    Ident::new(name, Span::mixed_site())
}
