//! What a function returns, as far as its signature tells.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::visit_mut::VisitMut;
use syn::{
    GenericArgument, PathArguments, ReturnType, Signature, Type, TypeParamBound,
    parse_quote_spanned, punctuated::Punctuated, token::Plus,
};

/// What an instrumented function's return type asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returns {
    /// A value: the call is the function's own execution. So it is where a future, stream or iterator
    /// has to be more than that, such as `Clone`.
    Value,
    /// `!`: the call never returns.
    Never,
    /// `impl Future`: the call is the future.
    Future,
    /// A pinned box of a future: the call is the future.
    BoxedFuture,
    /// `impl Stream`: the call is the stream.
    Stream,
    /// A pinned box of a stream: the call is the stream.
    BoxedStream,
    /// `impl Iterator`: the call is the iterator.
    Iterator,
}

impl Returns {
    /// Reads it from the signature. An alias of a boxed future is known by its usual name only.
    pub fn of(returned: &ReturnType) -> Self {
        let ReturnType::Type(_, returned) = returned else {
            return Self::Value;
        };
        match strip(returned) {
            Type::Never(_) => Self::Never,
            Type::ImplTrait(implemented) => match in_turns(&implemented.bounds) {
                Some("Future") => Self::Future,
                Some("Stream") => Self::Stream,
                Some(_) => Self::Iterator,
                None => Self::Value,
            },
            Type::Path(path) => match path.path.segments.last() {
                Some(last) if last.ident == "Pin" => pinned(&last.arguments),
                Some(last) if last.ident == "BoxFuture" || last.ident == "LocalBoxFuture" => {
                    Self::BoxedFuture
                }
                Some(last) if last.ident == "BoxStream" || last.ident == "LocalBoxStream" => {
                    Self::BoxedStream
                }
                _ => Self::Value,
            },
            _ => Self::Value,
        }
    }
}

/// Whether the call of a function gives items.
pub fn items(signature: &Signature) -> bool {
    let returns = Returns::of(&signature.output);
    let gives = matches!(
        returns,
        Returns::Stream | Returns::BoxedStream | Returns::Iterator
    );
    gives && signature.asyncness.is_none()
}

/// The type within parentheses and invisible groups.
fn strip(mut ty: &Type) -> &Type {
    loop {
        ty = match ty {
            Type::Paren(inner) => &inner.elem,
            Type::Group(inner) => &inner.elem,
            _ => return ty,
        };
    }
}

/// `Future`, `Stream` or `Iterator`, where one of the bounds is that trait and what stands in its place
/// can have all the others too.
fn in_turns(bounds: &Punctuated<TypeParamBound, Plus>) -> Option<&'static str> {
    let mut found = None;
    for bound in bounds {
        // Lifetimes, and what a type captures, are as before.
        let TypeParamBound::Trait(bound) = bound else {
            continue;
        };
        let name = &bound.path.segments.last()?.ident;
        match ["Future", "Stream", "Iterator"]
            .into_iter()
            .find(|known| name == known)
        {
            Some(known) => found = Some(known),
            None if is_kept(name) => {}
            None => return None,
        }
    }
    found
}

/// Whether what is wrapped has the trait where it has it bare.
fn is_kept(name: &Ident) -> bool {
    // `Captures` is what lifetimes were captured by before there was `use<…>`.
    [
        "Send",
        "Sync",
        "Unpin",
        "UnwindSafe",
        "RefUnwindSafe",
        "Sized",
        "Captures",
    ]
    .iter()
    .any(|kept| name == kept)
}

/// What `Pin<Box<dyn …>>` pins.
fn pinned(arguments: &PathArguments) -> Returns {
    let boxed = only_type(arguments).and_then(|ty| match strip(ty) {
        Type::Path(path) => path.path.segments.last(),
        _ => None,
    });
    let Some(boxed) = boxed.filter(|segment| segment.ident == "Box") else {
        return Returns::Value;
    };
    match only_type(&boxed.arguments).map(strip) {
        Some(Type::TraitObject(object)) => match in_turns(&object.bounds) {
            Some("Future") => Returns::BoxedFuture,
            Some("Stream") => Returns::BoxedStream,
            _ => Returns::Value,
        },
        _ => Returns::Value,
    }
}

fn only_type(arguments: &PathArguments) -> Option<&Type> {
    let PathArguments::AngleBracketed(arguments) = arguments else {
        return None;
    };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    })
}

/// The return type as it may stand in a body: `impl Trait` becomes `_`. `unit` is where an error
/// about a missing `()` should point.
pub fn in_body(returned: &ReturnType, unit: Span) -> TokenStream {
    match returned {
        ReturnType::Default => quote_spanned!(unit=> ()),
        ReturnType::Type(_, ty) => {
            let mut ty = ty.as_ref().clone();
            Infer.visit_type_mut(&mut ty);
            ty.into_token_stream()
        }
    }
}

/// Whether it is an `impl Trait`.
pub fn is_implied(returned: &ReturnType) -> bool {
    matches!(returned, ReturnType::Type(_, ty) if matches!(strip(ty), Type::ImplTrait(_)))
}

/// The `Output` or `Item` of an `impl Future` or `impl Stream`, as it may stand in a body.
pub fn polled_output(returned: &ReturnType) -> Option<Type> {
    let ReturnType::Type(_, returned) = returned else {
        return None;
    };
    let Type::ImplTrait(implemented) = strip(returned) else {
        return None;
    };
    let mut output = implemented.bounds.iter().find_map(|bound| {
        let TypeParamBound::Trait(bound) = bound else {
            return None;
        };
        let PathArguments::AngleBracketed(arguments) = &bound.path.segments.last()?.arguments
        else {
            return None;
        };
        arguments.args.iter().find_map(|argument| match argument {
            GenericArgument::AssocType(assigned)
                if assigned.ident == "Output" || assigned.ident == "Item" =>
            {
                Some(assigned.ty.clone())
            }
            _ => None,
        })
    })?;
    Infer.visit_type_mut(&mut output);
    Some(output)
}

/// What an `async fn` comes to, as it may stand in `Future<Output = …>`.
pub fn output(returned: &ReturnType, unit: Span) -> TokenStream {
    match returned {
        ReturnType::Default => quote_spanned!(unit=> ()),
        // The type `!` may only stand directly after the arrow.
        ReturnType::Type(_, ty) if matches!(strip(ty), Type::Never(_)) => {
            quote!(::exoscope::__private::Never)
        }
        ReturnType::Type(_, ty) => ty.to_token_stream(),
    }
}

/// Puts `_` in place of every `impl Trait`.
struct Infer;

impl VisitMut for Infer {
    fn visit_type_mut(&mut self, ty: &mut Type) {
        if let Type::ImplTrait(implemented) = ty {
            let span = implemented.impl_token.span;
            *ty = parse_quote_spanned!(span=> _);
        } else {
            syn::visit_mut::visit_type_mut(self, ty);
        }
    }
}
