//! One function with its markers.

use proc_macro2::{Group, Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Error, FnArg, Pat, ReturnType, Token, Type, parse_quote, parse_quote_spanned};

use crate::arguments::Arguments;
use crate::fields::Fields;
use crate::function::Function;
use crate::options::{Format, Name, Options};
use crate::returns::{self, Returns};
use crate::{boxed, in_place};

/// The function with its markers.
pub fn function(function: Function, options: &Options) -> syn::Result<TokenStream> {
    let arguments = Arguments::of(&function.signature);
    if let Some(name) = options.skip.iter().find(|name| !arguments.binds(name)) {
        return Err(arguments.unknown(name, "skip"));
    }
    let fields = Fields::of(&function.signature, options)?;
    let call = Call {
        declaration: declaration(&function.signature.ident, options),
        unevaluated: unevaluated(&arguments, &fields, options),
        fields,
        returned: match &function.signature.output {
            ReturnType::Default => function.signature.ident.span(),
            ReturnType::Type(_, ty) => ty.span(),
        },
        options,
    };
    if function.signature.asyncness.is_some() {
        return Ok(asynchronous(function, &call));
    }
    let body = match Returns::of(&function.signature.output) {
        Returns::Value => synchronous(&function, &call),
        Returns::Never => never(&function, &call),
        Returns::Future => polled(&function, &call, &Wrapper::FUTURE),
        Returns::Stream => polled(&function, &call, &Wrapper::STREAM),
        Returns::BoxedFuture => boxed(&function, &call, &Wrapper::FUTURE),
        Returns::BoxedStream => boxed(&function, &call, &Wrapper::STREAM),
    };
    Ok(function.with_body(&call.before(&body)))
}

/// What the expansions of one function have in common.
struct Call<'a> {
    /// The item that holds the function's markers.
    declaration: TokenStream,
    /// Statements that mention what is not evaluated.
    unevaluated: TokenStream,
    fields: Fields,
    /// Where the return type stands.
    returned: Span,
    options: &'a Options,
}

impl Call<'_> {
    /// A body after what every body needs.
    fn before(&self, body: &TokenStream) -> TokenStream {
        let Self {
            declaration,
            unevaluated,
            ..
        } = self;
        quote!(#declaration #unevaluated #body)
    }

    /// The inspector of a return value, whose type `kind` names.
    fn inspector(&self, kind: &TokenStream) -> TokenStream {
        let debug = (self.options.err == Some(Format::Debug)).then(|| quote!(, Debug));
        let inspector = quote!(::exoscope::__inspect!(#kind #debug));
        let Some(format) = self.options.ret else {
            return inspector;
        };
        let part = format_ident!(
            "{}",
            if self.options.err.is_some() {
                "Ok"
            } else {
                "Whole"
            }
        );
        let format = format_ident!("{format:?}");
        let at = Span::mixed_site().located_at(self.returned);
        quote_spanned!(at=> ::exoscope::__inspect_returned!(#inspector, #kind, #part, #format))
    }
}

/// The item that holds the function's markers.
fn declaration(name: &Ident, options: &Options) -> TokenStream {
    let module = quote!(::core::module_path!(), "::");
    let path = match (&options.name, &options.owner) {
        (Some(Name::Constant(constant)), _) => quote!([#module, #constant]),
        (Some(Name::Literal(name)), _) => quote!(::core::concat!(#module, #name)),
        (None, Some(owner)) => {
            let last = format!("{owner}::{}", name.unraw());
            quote!(::core::concat!(#module, #last))
        }
        (None, None) => {
            let last = name.unraw().to_string();
            quote!(::core::concat!(#module, #last))
        }
    };
    let file = name.span().unwrap().file();
    let line = name.span().unwrap().line();
    quote!(::exoscope::__function!(__ExoscopeFunction, #path, #file, #line);)
}

/// Statements that mention the arguments and constants in options without a meaning, so that they
/// count as used, and the compiler's words about unknown options.
fn unevaluated(arguments: &Arguments, fields: &Fields, options: &Options) -> TokenStream {
    let expressions = options.unevaluated.iter().map(ToTokens::to_token_stream);
    let mentioned = arguments.mentioned_in(&expressions.chain([fields.values()]).collect());
    let targets = options.target.iter();
    let warnings = options.unknown.iter().map(warning);
    quote!(#(let _ = &#mentioned;)* #(let _ = &#targets;)* #(#warnings)*)
}

/// A warning at the user's tokens: the use of something deprecated, for want of another way.
fn warning(unknown: &Error) -> TokenStream {
    let at = unknown.span();
    let message = unknown.to_string();
    quote_spanned! {at=>
        #[warn(deprecated)]
        {
            #[deprecated(since = "0.0.0", note = #message)]
            const OPTION: () = ();
            let _ = OPTION;
        }
    }
}

fn synchronous(function: &Function, call: &Call<'_>) -> TokenStream {
    let body = &function.body;
    let returned = returns::in_body(&function.signature.output, body.span_open());
    let (state, open, result) = (local("state"), local("open"), local("result"));
    let inspector = local("inspector");
    let inspect = call.inspector(&quote!(::exoscope::__private::Kind::of(&#result)));
    let capture = call.fields.capture();
    let run = run(function, &returned);
    quote! {
        let #state = ::exoscope::__private::State::<__ExoscopeFunction>::new();
        let #open = #state.enter();
        #capture
        let mut #result: #returned = #run;
        let #inspector = #inspect;
        ::exoscope::__private::Inspect::leave(#inspector, #open, &mut #result);
        #result
    }
}

fn never(function: &Function, call: &Call<'_>) -> TokenStream {
    let (state, open) = (local("state"), local("open"));
    let capture = call.fields.capture();
    let run = run(function, &quote!(!));
    quote! {
        let #state = ::exoscope::__private::State::<__ExoscopeFunction>::new();
        let #open = #state.enter();
        #capture
        #run
    }
}

/// The body of a synchronous function: in the function itself where that makes a difference and can
/// be, and else as a closure.
fn run(function: &Function, returned: &TokenStream) -> TokenStream {
    let tracks = |attribute: &syn::Attribute| attribute.path().is_ident("track_caller");
    if function.attributes.iter().any(tracks)
        && let Some(body) = in_place::body(&function.body)
    {
        return body;
    }
    run_body(returned, &function.body)
}

/// The body as a closure, so that `return` and `?` in it stay within the call. The closure is not
/// `move`: arguments that the body does not move stay where they are and are dropped in their order.
fn run_body(returned: &TokenStream, body: &Group) -> TokenStream {
    quote!(::exoscope::__private::body(|| -> #returned #body))
}

/// What makes a future or a stream a call.
struct Wrapper {
    name: &'static str,
    /// The function that names the type of what comes out of it.
    kind: &'static str,
    /// The function that tells the compiler that type.
    with: &'static str,
    /// The function that tells it by another future or stream.
    with_of: &'static str,
}

impl Wrapper {
    const FUTURE: Self = Self {
        name: "FutureCall",
        kind: "kind_of_output",
        with: "with_output",
        with_of: "with_output_of",
    };
    const STREAM: Self = Self {
        name: "StreamCall",
        kind: "kind_of_item",
        with: "with_item",
        with_of: "with_item_of",
    };

    /// The future or stream `made` as a call.
    fn wrap(&self, made: &TokenStream, call: &Call<'_>) -> TokenStream {
        let (polled, inspector) = (local("polled"), local("inspector"));
        let name = format_ident!("{}", self.name);
        let kind = format_ident!("{}", self.kind);
        let inspect = call.inspector(&quote!(::exoscope::__private::#kind(&#polled)));
        quote! {{
            let #polled = #made;
            let #inspector = #inspect;
            ::exoscope::__private::#name::new(__ExoscopeFunction, #inspector, #polled)
        }}
    }

    /// The future or stream `made`, of which the compiler knows what comes out of it before it is
    /// asked. `returned` has the same.
    fn typed(&self, made: &TokenStream, returned: &ReturnType) -> TokenStream {
        let (function, ty) = match returns::polled_output(returned) {
            Some(output) => (self.with, output.to_token_stream()),
            None => (self.with_of, returns::in_body(returned, Span::mixed_site())),
        };
        let function = format_ident!("{function}");
        quote!(::exoscope::__private::#function::<#ty, _>(#made))
    }
}

/// A function that returns `impl Future` or `impl Stream`: what it returns is the call.
fn polled(function: &Function, call: &Call<'_>, wrapper: &Wrapper) -> TokenStream {
    let body = with_capture(&function.body, call);
    let made = run_body(&quote!(_), &body);
    wrapper.wrap(&wrapper.typed(&made, &function.signature.output), call)
}

/// A function that returns a boxed future or stream: what is in the box is the call.
fn boxed(function: &Function, call: &Call<'_>, wrapper: &Wrapper) -> TokenStream {
    let body = with_capture(&function.body, call);
    let returned = &function.signature.output;
    let wrap =
        |boxed: &syn::Expr| wrapper.wrap(&wrapper.typed(&boxed.to_token_stream(), returned), call);
    boxed::wrap_inside(&body.stream(), wrap).unwrap_or_else(|| {
        let made = run_body(&returns::in_body(returned, body.span_open()), &body);
        boxed::wrap_again(&wrapper.wrap(&made, call), Span::mixed_site())
    })
}

/// The body with the fields captured in its `async` block, where that can be seen.
fn with_capture(body: &Group, call: &Call<'_>) -> Group {
    let capture = call.fields.capture();
    let seen = (!capture.is_empty()).then(|| boxed::capture_inside(body, &capture));
    seen.flatten().unwrap_or_else(|| body.clone())
}

/// An `async fn` as a function that returns a future: a wrapper around the whole body would
/// otherwise store every argument twice.
fn asynchronous(mut function: Function, call: &Call<'_>) -> TokenStream {
    let body = &function.body;
    let arguments = move_into_body(&mut function.signature.inputs);
    let capture = call.fields.capture();
    let returned = &function.signature.output;
    let output = returns::output(returned, body.span_open());
    let wrapped = if Returns::of(returned) == Returns::Never {
        quote! {
            ::exoscope::__private::FutureCall::new(
                __ExoscopeFunction,
                ::exoscope::__private::Anything,
                async move { #arguments #capture #body },
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
                #capture
                let #result: #in_body = #body;
                #[allow(unreachable_code)]
                #result
            }
        };
        Wrapper::FUTURE.wrap(&future, call)
    };
    function.signature.asyncness = None;
    // The tokens are of this crate's edition, in which `impl Trait` captures every generic
    // parameter and lifetime, as an `async fn` does in all editions.
    let here = Span::mixed_site();
    let future = quote_spanned!(here=> impl ::core::future::Future<Output = #output>);
    let future: Type = Type::Verbatim(future);
    let arrow = parse_quote_spanned!(here=> ->);
    function.signature.output = ReturnType::Type(arrow, Box::new(future));
    function.with_body(&call.before(&wrapped))
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
