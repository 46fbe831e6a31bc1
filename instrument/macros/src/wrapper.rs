//! What a function returns that runs in turns, as a call.

use proc_macro2::{Group, Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::{Expr, ReturnType};

use crate::expand::{Call, local, run};
use crate::function::Function;
use crate::{boxed, returns};

/// What makes a future, a stream or an iterator a call.
pub struct Wrapper {
    name: &'static str,
    /// The function that names the type of what comes out of it.
    kind: &'static str,
    /// The function that tells the compiler that type.
    with: &'static str,
    /// The function that tells it by another one.
    with_of: &'static str,
}

impl Wrapper {
    /// A future that is pinned in a box, or by whoever polls it.
    pub const PINNED_FUTURE: Self = Self {
        name: "PinnedFutureCall",
        ..Self::FUTURE
    };
    /// A future that may be `Unpin`.
    pub const FUTURE: Self = Self {
        name: "MovableFutureCall",
        kind: "kind_of_output",
        with: "with_output",
        with_of: "with_output_of",
    };
    pub const STREAM: Self = Self {
        name: "StreamCall",
        kind: "kind_of_item",
        with: "with_item",
        with_of: "with_item_of",
    };
    pub const ITERATOR: Self = Self {
        name: "IteratorCall",
        kind: "kind_of_next",
        with: "with_next",
        with_of: "with_next_of",
    };

    /// What is `made` as a call.
    pub fn wrap(&self, made: &TokenStream, call: &Call<'_>) -> TokenStream {
        let (polled, inspector) = (local("polled"), local("inspector"));
        let name = format_ident!("{}", self.name);
        let kind = format_ident!("{}", self.kind);
        let inspect = call.inspector(&quote!(::exoscope::__private::#kind(&#polled)));
        let called = if call.has_item_calls() {
            quote!(with_items(__ExoscopeFunction, __ExoscopeItem, #inspector, #polled))
        } else {
            quote!(new(__ExoscopeFunction, #inspector, #polled))
        };
        quote! {{
            let #polled = #made;
            let #inspector = #inspect;
            ::exoscope::__private::#name::#called
        }}
    }

    /// What is `made`, of which the compiler knows what comes out of it before it is asked, as far as the
    /// signature says it. `returned` has the same.
    fn typed(&self, made: &TokenStream, returned: &ReturnType, call: &Call<'_>) -> TokenStream {
        let (function, ty) = match returns::polled_output(returned) {
            Some(output) => (self.with, output.to_token_stream()),
            None if returns::is_implied(returned) => return made.clone(),
            None => (self.with_of, returns::in_body(returned, Span::mixed_site())),
        };
        let at = call.at_returned();
        let function = Ident::new(function, at);
        quote_spanned!(at=> ::exoscope::__private::#function::<#ty, _>(#made))
    }

    /// The body of a function that returns `impl Future`, `impl Stream` or `impl Iterator`: what it
    /// returns is the call.
    pub fn of_returned(&self, function: &Function, call: &Call<'_>) -> TokenStream {
        let body = with_capture(&function.body, call);
        let made = run(function, &body, &quote!(_), call);
        self.wrap(&self.typed(&made, &function.signature.output, call), call)
    }

    /// The body of a function that returns a boxed future or stream: what is in the box is the call.
    pub fn of_boxed(&self, function: &Function, call: &Call<'_>) -> TokenStream {
        let body = with_capture(&function.body, call);
        let returned = &function.signature.output;
        let wrap =
            |boxed: &Expr| self.wrap(&self.typed(&boxed.to_token_stream(), returned, call), call);
        boxed::wrap_inside(&body.stream(), wrap).unwrap_or_else(|| {
            let made = run(
                function,
                &body,
                &returns::in_body(returned, body.span_open()),
                call,
            );
            boxed::wrap_again(&self.wrap(&made, call), Span::mixed_site())
        })
    }
}

/// The body with the fields captured in its `async` block, where that can be seen.
fn with_capture(body: &Group, call: &Call<'_>) -> Group {
    let capture = call.fields.capture();
    let seen = (!capture.is_empty()).then(|| boxed::capture_inside(body, &capture));
    seen.flatten().unwrap_or_else(|| body.clone())
}
