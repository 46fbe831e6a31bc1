//! The statement that captures fields and arguments, while somebody wants them.

use proc_macro2::{Delimiter, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Error, Expr, Signature, Token};

use crate::arguments::Arguments;
use crate::options::{Field, FieldName, Format, Options};

/// A field that gets a value.
struct Captured {
    name: TokenStream,
    format: Format,
    value: TokenStream,
    /// The value stands where something could be put before or after it.
    closed: bool,
}

/// The fields of a function.
pub struct Fields {
    captured: Vec<Captured>,
    /// Arguments that can be copied and that a value mentions. A reference to one would keep it in
    /// memory where nobody looks too.
    copied: Vec<Ident>,
    /// Functions of `tracing` that values call.
    called: Vec<Ident>,
}

/// The functions that values call without a path: the macros of `tracing` have them in scope.
const CALLED: [&str; 2] = ["debug", "display"];

impl Fields {
    /// The fields that the options ask for.
    pub fn of(signature: &Signature, options: &Options) -> syn::Result<Self> {
        let arguments = Arguments::of(signature);
        let mut captured = Vec::new();
        for name in &options.args {
            if !arguments.binds(name) {
                return Err(arguments.unknown(name, "args"));
            }
            if !options.fields.iter().any(|field| field.is_named(name)) {
                captured.push(argument(name));
            }
        }
        for field in &options.fields {
            captured.extend(field.captured(&arguments)?);
        }
        let values = captured.iter().map(|field| field.value.clone());
        let values: TokenStream = values.collect();
        let mut called = Vec::new();
        collect_called(values.clone(), &mut called);
        called.retain(|name| !arguments.binds(name));
        Ok(Self {
            captured,
            copied: arguments.copied_in(&values),
            called,
        })
    }

    /// What the values are, for a function in which they can not be captured.
    pub fn values(&self) -> TokenStream {
        self.captured
            .iter()
            .map(|field| field.value.clone())
            .collect()
    }

    /// The statement that captures them, for the thread's innermost call.
    pub fn capture(&self) -> TokenStream {
        if self.captured.is_empty() {
            return TokenStream::new();
        }
        let Self { copied, called, .. } = self;
        let fields = Ident::new("fields", Span::mixed_site());
        let captured = self.captured.iter().map(|field| field.add_to(&fields));
        quote! {
            if <__ExoscopeFunction as ::exoscope::__private::Function>::fields_wanted() {
                #(let #copied = #copied;)*
                #(
                    #[allow(unused_imports)]
                    use ::exoscope::__private::#called;
                )*
                ::exoscope::__private::capture(__ExoscopeFunction, |#fields| { #(#captured)* });
            }
        }
    }
}

/// Collects which of [`CALLED`] the tokens call, each once.
fn collect_called(tokens: TokenStream, called: &mut Vec<Ident>) {
    let mut before = None;
    for token in tokens {
        if let TokenTree::Group(group) = &token {
            if let Some(name) = before
                && group.delimiter() == Delimiter::Parenthesis
                && CALLED.iter().any(|known| name == known)
                && !called.contains(&name)
            {
                called.push(name);
            }
            collect_called(group.stream(), called);
        }
        before = match token {
            TokenTree::Ident(name) => Some(name),
            _ => None,
        };
    }
}

/// The field for an argument.
fn argument(name: &Ident) -> Captured {
    let text = name.unraw().to_string();
    Captured {
        name: quote!(#text),
        format: Format::Auto,
        value: name.to_token_stream(),
        closed: true,
    }
}

impl Field {
    /// Whether the name is this argument's.
    fn is_named(&self, argument: &Ident) -> bool {
        match &self.name {
            FieldName::Path(path) => path.len() == 1 && path[0] == *argument,
            FieldName::Literal(_) | FieldName::Constant(_) => false,
        }
    }

    /// The field, or `None` where it has no value at the beginning of the call.
    fn captured(&self, arguments: &Arguments) -> syn::Result<Option<Captured>> {
        let (value, closed) = match (&self.value, &self.name) {
            (Some(value), _) => (value.to_token_stream(), is_closed(value)),
            (None, FieldName::Path(path)) => {
                if self.format == Format::Auto && !is_value(path, arguments) {
                    return Ok(None);
                }
                (path.to_token_stream(), true)
            }
            (None, name) if self.format != Format::Auto => {
                let message = "a field with such a name needs a value: write `= …` after it";
                return Err(Error::new_spanned(name, message));
            }
            (None, _) => return Ok(None),
        };
        Ok(Some(Captured {
            name: self.name.text(),
            format: self.format,
            value,
            closed,
        }))
    }
}

/// A name alone is a field that `tracing` records later, unless it is an argument or a part of `self`.
fn is_value(path: &Punctuated<Ident, Token![.]>, arguments: &Arguments) -> bool {
    arguments.binds(&path[0]) && (path.len() == 1 || path[0] == "self")
}

/// The expression needs no parentheses after a `&`.
fn is_closed(value: &Expr) -> bool {
    matches!(
        value,
        Expr::Call(_)
            | Expr::Field(_)
            | Expr::Index(_)
            | Expr::Lit(_)
            | Expr::Macro(_)
            | Expr::MethodCall(_)
            | Expr::Paren(_)
            | Expr::Path(_)
            | Expr::Reference(_)
            | Expr::Tuple(_)
    )
}

impl FieldName {
    /// The name as an expression.
    fn text(&self) -> TokenStream {
        match self {
            Self::Path(path) => {
                let names: Vec<String> = path.iter().map(|name| name.unraw().to_string()).collect();
                names.join(".").to_token_stream()
            }
            Self::Literal(literal) => literal.to_token_stream(),
            Self::Constant(constant) => quote!({ #constant }),
        }
    }
}

impl ToTokens for FieldName {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        match self {
            Self::Path(path) => path.to_tokens(tokens),
            Self::Literal(literal) => literal.to_tokens(tokens),
            Self::Constant(constant) => constant.to_tokens(tokens),
        }
    }
}

impl Captured {
    /// The statement that adds the field.
    fn add_to(&self, fields: &Ident) -> TokenStream {
        let Self {
            name,
            format,
            value,
            closed,
        } = self;
        let at = Span::mixed_site().located_at(value.span());
        let value = if *closed {
            quote_spanned!(at=> &#value)
        } else {
            quote_spanned!(at=> &(#value))
        };
        match format {
            Format::Debug => quote_spanned!(at=> #fields.debug(#name, #value);),
            Format::Display => quote_spanned!(at=> #fields.display(#name, #value);),
            Format::Auto => quote_spanned! {at=>
                match #value {
                    value => {
                        let recorder = ::exoscope::__recorder!(::exoscope::__private::Kind::of(value));
                        #fields.record(#name, recorder, value);
                    }
                }
            },
        }
    }
}
