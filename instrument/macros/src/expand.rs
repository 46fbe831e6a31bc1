//! One function with its markers.

use proc_macro2::{Group, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Attribute, Error, ReturnType, Signature};

use crate::arguments::Arguments;
use crate::fields::Fields;
use crate::function::Function;
use crate::options::{Format, Name, Options};
use crate::returns::{self, Returns};
use crate::wrapper::Wrapper;
use crate::{async_fn, in_place};

/// The function with its markers.
pub fn function(function: Function, options: &Options) -> syn::Result<TokenStream> {
    let arguments = Arguments::of(&function.signature);
    if let Some(name) = options.skip.iter().find(|name| !arguments.binds(name)) {
        return Err(arguments.unknown(name, "skip"));
    }
    if let Some(at) = options.items
        && !returns::items(&function.signature)
    {
        return Err(Error::new(at, NO_ITEMS));
    }
    let fields = Fields::of(&function.signature, options)?;
    let call = Call {
        declaration: declaration(&function.signature, &fields, options),
        unevaluated: unevaluated(&arguments, &fields, options),
        fields,
        returned: match &function.signature.output {
            ReturnType::Default => function.body.span_open(),
            ReturnType::Type(_, ty) => ty.span(),
        },
        options,
    };
    if function.signature.asyncness.is_some() {
        return Ok(async_fn::function(function, &call));
    }
    let body = match Returns::of(&function.signature.output) {
        Returns::Value => synchronous(&function, &call),
        Returns::Never => never(&function, &call),
        Returns::Future => Wrapper::FUTURE.of_returned(&function, &call),
        Returns::Stream => Wrapper::STREAM.of_returned(&function, &call),
        Returns::BoxedFuture => Wrapper::PINNED_FUTURE.of_boxed(&function, &call),
        Returns::BoxedStream => Wrapper::STREAM.of_boxed(&function, &call),
        Returns::Iterator => Wrapper::ITERATOR.of_returned(&function, &call),
    };
    Ok(function.with_body(&call.before(&body)))
}

const NO_ITEMS: &str = "`items` is for functions that return a stream or an iterator, which this one \
                        does not as far as its signature tells: leave it out, or use \
                        `exoscope::iterator!` or `exoscope::stream!` in its body";

/// What the expansions of one function have in common.
pub struct Call<'a> {
    /// The item that holds the function's markers.
    declaration: TokenStream,
    /// Statements that mention what is not evaluated.
    unevaluated: TokenStream,
    pub fields: Fields,
    /// Where the return type stands.
    returned: Span,
    options: &'a Options,
}

impl Call<'_> {
    /// A body after what every body needs.
    pub fn before(&self, body: &TokenStream) -> TokenStream {
        let Self {
            declaration,
            unevaluated,
            ..
        } = self;
        quote!(#declaration #unevaluated #body)
    }

    /// Whether each item that it gives is a call of its own.
    pub fn has_item_calls(&self) -> bool {
        self.options.items.is_some()
    }

    /// Tokens of ours that stand where the return type does, so that errors do.
    pub fn at_returned(&self) -> Span {
        Span::mixed_site().located_at(self.returned)
    }

    /// The inspector of a return value, whose type `kind` names.
    pub fn inspector(&self, kind: &TokenStream) -> TokenStream {
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
        let at = self.at_returned();
        quote_spanned!(at=> ::exoscope::__inspect_returned!(#inspector, #kind, #part, #format))
    }
}

/// The item that holds the function's markers, and the one for those of its items.
fn declaration(signature: &Signature, fields: &Fields, options: &Options) -> TokenStream {
    let name = &signature.ident;
    let module = quote!(::core::module_path!(), "::");
    let path = |suffix: Option<&str>| match (&options.name, &options.owner) {
        (Some(Name::Constant(constant)), _) => {
            let suffix = suffix.into_iter();
            quote!([#module, #constant #(, #suffix)*])
        }
        (Some(Name::Literal(name)), _) => quote!(::core::concat!(#module, #name, #suffix)),
        (None, Some(owner)) => {
            let last = format!("{owner}::{}", name.unraw());
            quote!(::core::concat!(#module, #last, #suffix))
        }
        (None, None) => {
            let last = name.unraw().to_string();
            quote!(::core::concat!(#module, #last, #suffix))
        }
    };
    let file = name.span().unwrap().file();
    let line = name.span().unwrap().line();
    let whole = path(None);
    let runs_at_once = signature.asyncness.is_none()
        && matches!(
            Returns::of(&signature.output),
            Returns::Value | Returns::Never
        );
    let plain = runs_at_once && fields.capture().is_empty() && options.ret.is_none();
    let plain = plain.then(|| quote!(plain));
    let whole = quote!(::exoscope::__function!(#plain __ExoscopeFunction, #whole, #file, #line););
    let item = options.items.map(|_| {
        let item = path(Some("::item"));
        quote!(::exoscope::__function!(item __ExoscopeItem, #item, #file, #line);)
    });
    quote!(#whole #item)
}

/// Statements that mention what options without a meaning mention, so that it counts as used, and the
/// compiler's words about unknown options. Nothing of it is evaluated.
fn unevaluated(arguments: &Arguments, fields: &Fields, options: &Options) -> TokenStream {
    let mentioned = arguments.mentioned_in(&fields.values());
    let mentioned = mentioned.iter().map(|name| quote!(let _ = &#name;));
    let expressions = options.unevaluated.iter().map(|expression| {
        if has_own_type(expression.to_token_stream()) {
            return quote!(let _ = || { let _ = &#expression; };);
        }
        let mentioned = arguments.mentioned_in(&expression.to_token_stream());
        quote!(#(let _ = &#mentioned;)*)
    });
    let warnings = options.unknown.iter().map(warning);
    quote!(#(#mentioned)* #(#expressions)* #(#warnings)*)
}

/// Whether the compiler knows the expression's type without what `tracing` would do with it.
fn has_own_type(expression: TokenStream) -> bool {
    !expression.into_iter().any(|token| match token {
        TokenTree::Ident(name) => name == "None",
        TokenTree::Group(group) => !has_own_type(group.stream()),
        _ => false,
    })
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
    let (state, open) = (local("state"), local("open"));
    let (result, inspector) = (local("result"), local("inspector"));
    let capture = call.fields.capture();
    let run = run(function, &function.body, &returned, call);
    let inspect = call.inspector(&quote!(::exoscope::__private::Kind::of(&#result)));
    quote! {
        let #state = ::exoscope::__private::State::<__ExoscopeFunction>::new();
        let #open = #state.enter();
        #capture
        let mut #result: #returned = #run;
        let #inspector = #inspect;
        ::exoscope::__end!(#open, #result, #inspector);
        #result
    }
}

fn never(function: &Function, call: &Call<'_>) -> TokenStream {
    let (state, open) = (local("state"), local("open"));
    let capture = call.fields.capture();
    let run = run(function, &function.body, &quote!(!), call);
    quote! {
        let #state = ::exoscope::__private::State::<__ExoscopeFunction>::new();
        let #open = #state.enter();
        #capture
        #run
    }
}

/// A body of a function that is not `async`: in the function itself where that makes a difference and
/// can be, and else as a closure.
pub fn run(
    function: &Function,
    body: &Group,
    returned: &TokenStream,
    call: &Call<'_>,
) -> TokenStream {
    let tracks = |attribute: &Attribute| attribute.path().is_ident("track_caller");
    let in_place = function.attributes.iter().any(tracks);
    let here = in_place.then(|| in_place::body(body, returned)).flatten();
    here.unwrap_or_else(|| run_body(returned, body, call))
}

/// The body as a closure, so that `return` and `?` in it stay within the call. The closure is not
/// `move`: arguments that the body does not move stay where they are and are dropped in their order.
fn run_body(returned: &TokenStream, body: &Group, call: &Call<'_>) -> TokenStream {
    let at = call.at_returned();
    quote_spanned!(at=> ::exoscope::__private::body(|| -> #returned #body))
}

/// A local variable that the user's tokens can not see.
pub fn local(name: &str) -> Ident {
    Ident::new(name, Span::mixed_site())
}
