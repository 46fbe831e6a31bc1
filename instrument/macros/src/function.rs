//! A function as tokens: its signature parsed, its body left as the user wrote it.

use proc_macro2::{Delimiter, Group, TokenStream};
use quote::{ToTokens, TokenStreamExt, quote};
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, Signature, Token, Visibility};

/// A function with a body, free or in an `impl` block or trait.
pub struct Function {
    pub attributes: Vec<Attribute>,
    pub visibility: Visibility,
    pub defaultness: Option<Token![default]>,
    pub signature: Signature,
    /// Attributes at the beginning of the body, `#![…]`.
    pub inner: Vec<Attribute>,
    /// The body's braces and what is between them, without [`Self::inner`].
    pub body: Group,
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let attributes = input.call(Attribute::parse_outer)?;
        let visibility = input.parse()?;
        let defaultness = input.parse()?;
        let signature = input.parse()?;
        let content;
        let brace = syn::braced!(content in input);
        let inner = content.call(Attribute::parse_inner)?;
        let mut body = Group::new(Delimiter::Brace, content.parse()?);
        body.set_span(brace.span.join());
        Ok(Self {
            attributes,
            visibility,
            defaultness,
            signature,
            inner,
            body,
        })
    }
}

impl Function {
    /// The function with other statements in its braces. These are the user's, for the compiler takes a
    /// function with others for one of ours, and says nothing of it when it is dead.
    pub fn with_body(&self, statements: &TokenStream) -> TokenStream {
        let Self {
            attributes,
            visibility,
            defaultness,
            signature,
            inner,
            body,
        } = self;
        let braces = braces_of(body, quote!(#(#inner)* #statements));
        quote!(#(#attributes)* #visibility #defaultness #signature #braces)
    }
}

/// The body's braces with other statements in them, for the compiler the user's as before.
pub fn braces_of(body: &Group, statements: TokenStream) -> Group {
    let mut braces = Group::new(Delimiter::Brace, statements);
    braces.set_span(body.span());
    braces
}

impl ToTokens for Function {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let body = self.body.stream();
        tokens.append_all(self.with_body(&body));
    }
}
