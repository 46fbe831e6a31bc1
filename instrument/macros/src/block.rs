//! Where the attribute stands: on a function, or on a block of functions.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote};
use syn::spanned::Spanned;
use syn::{
    Attribute, Error, ImplItem, Item, ItemImpl, ItemMod, ItemTrait, Meta, TraitItem, Type,
    parse_quote,
};

use crate::function::Function;
use crate::options::{MOVED, Options};
use crate::{expand, unsupported};

/// Expands the attribute, or says why it can not.
pub fn instrument(options: TokenStream, item: TokenStream) -> TokenStream {
    let expanded = syn::parse2(options).and_then(|options| target(&options, item.clone()));
    expanded.unwrap_or_else(|error| {
        let error = error.to_compile_error();
        // The item stays, so that its users do not get errors of their own.
        quote!(#error #item)
    })
}

fn target(options: &Options, item: TokenStream) -> syn::Result<TokenStream> {
    if let Ok(function) = syn::parse2::<Function>(item.clone()) {
        return match unsupported::function(&function.signature, &function.attributes)
            .or_else(|| unsupported::stream(&function.signature))
        {
            Some(error) => Err(error),
            None => one(function, options),
        };
    }
    match syn::parse2::<Item>(item.clone()) {
        Ok(Item::Impl(block)) => whole(options).and_then(|()| in_impl(block)),
        Ok(Item::Trait(block)) => whole(options).and_then(|()| in_trait(block)),
        Ok(Item::Mod(block)) if block.content.is_some() => {
            whole(options).and_then(|()| in_module(block))
        }
        Ok(_) => Err(unsupported::item(&item)),
        // A method of a trait without a body: there is nothing to run.
        Err(_) if syn::parse2::<syn::TraitItemFn>(item.clone()).is_ok() => Ok(item),
        // Not even an item: let the compiler say what is wrong with it, unless it is no function.
        Err(error) => Err(error),
    }
}

/// Options about one function have no meaning on a block.
fn whole(options: &Options) -> syn::Result<()> {
    let name = options.name.as_ref().map(|name| (name.span(), "name"));
    let args = options.args.first().map(|name| (name.span(), "args"));
    let skip = options.skip.first().map(|name| (name.span(), "skip"));
    let field = options
        .fields
        .first()
        .map(|field| (field.name.span(), "fields"));
    if let Some((span, option)) = name.or(args).or(skip).or(field) {
        let message = format!("`{option}` is for one function: put it on a function in the block");
        return Err(Error::new(span, message));
    }
    match options.unknown.first() {
        Some(error) => Err(error.clone()),
        None => Ok(()),
    }
}

/// One function. Where other attribute macros stand on an `async fn`, ours goes behind them: they
/// want to see an `async fn`, and we want to see what they make of it.
fn one(function: Function, options: &Options) -> syn::Result<TokenStream> {
    let others = function
        .attributes
        .iter()
        .any(|attribute| !is_builtin(attribute));
    if function.signature.asyncness.is_none() || options.moved || !others {
        return expand::function(function, options);
    }
    Ok(behind_others(function, options))
}

/// The function with our attribute as its last.
fn behind_others(mut function: Function, options: &Options) -> TokenStream {
    let owner = options.owner.as_deref().unwrap_or_default();
    let moved = Ident::new(MOVED, Span::mixed_site());
    let written = &options.written;
    let comma = (!written.is_empty()).then(|| quote!(,));
    function
        .attributes
        .push(parse_quote!(#[::exoscope::instrument(#moved = #owner #comma #written)]));
    function.into_token_stream()
}

/// The compiler's own attributes, which run no macro. Tool attributes have two segments.
fn is_builtin(attribute: &Attribute) -> bool {
    const BUILTIN: &[&str] = &[
        "allow",
        "cfg",
        "cfg_attr",
        "cold",
        "deny",
        "deprecated",
        "diagnostic",
        "doc",
        "expect",
        "export_name",
        "forbid",
        "ignore",
        "inline",
        "link_section",
        "must_use",
        "no_mangle",
        "should_panic",
        "target_feature",
        "test",
        "track_caller",
        "unsafe",
        "warn",
    ];
    let path = attribute.path();
    path.get_ident()
        .is_some_and(|name| BUILTIN.iter().any(|builtin| name == builtin))
        || path.segments.len() > 1
            && ["clippy", "rustfmt", "diagnostic", "rust_analyzer", "miri"]
                .iter()
                .any(|tool| path.segments[0].ident == tool)
}

fn in_impl(mut block: ItemImpl) -> syn::Result<TokenStream> {
    let surroundings = Surroundings {
        owner: type_name(&block.self_ty),
        rewritten: block.attrs.iter().any(|attribute| !is_builtin(attribute)),
    };
    for item in &mut block.items {
        if let ImplItem::Fn(function) = item
            && let Some(tokens) = surroundings.member(&function.attrs, function)?
        {
            *item = ImplItem::Verbatim(tokens);
        }
    }
    Ok(block.into_token_stream())
}

fn in_trait(mut block: ItemTrait) -> syn::Result<TokenStream> {
    let surroundings = Surroundings {
        owner: block.ident.to_string(),
        rewritten: block.attrs.iter().any(|attribute| !is_builtin(attribute)),
    };
    for item in &mut block.items {
        if let TraitItem::Fn(function) = item
            && let Some(tokens) = surroundings.member(&function.attrs, function)?
        {
            *item = TraitItem::Verbatim(tokens);
        }
    }
    Ok(block.into_token_stream())
}

fn in_module(mut block: ItemMod) -> syn::Result<TokenStream> {
    let surroundings = Surroundings {
        owner: String::new(),
        rewritten: false,
    };
    for item in block.content.iter_mut().flat_map(|(_, items)| items) {
        let tokens = match item {
            Item::Fn(function) => surroundings.member(&function.attrs, function)?,
            Item::Impl(block) if !is_left_out(&block.attrs) => Some(in_impl(block.clone())?),
            Item::Trait(block) if !is_left_out(&block.attrs) => Some(in_trait(block.clone())?),
            Item::Mod(block) if block.content.is_some() && !is_left_out(&block.attrs) => {
                Some(in_module(block.clone())?)
            }
            _ => None,
        };
        if let Some(tokens) = tokens {
            *item = Item::Verbatim(tokens);
        }
    }
    Ok(block.into_token_stream())
}

/// The block that a function stands in.
struct Surroundings {
    /// Name of the type or trait, or empty in a module.
    owner: String,
    /// Another macro, such as `async_trait`, rewrites the block after us.
    rewritten: bool,
}

impl Surroundings {
    /// The function with its markers, or `None` where it stays as it is.
    fn member(
        &self,
        attributes: &[Attribute],
        item: &impl ToTokens,
    ) -> syn::Result<Option<TokenStream>> {
        if attributes
            .iter()
            .any(|attribute| is_ours(attribute, "skip"))
        {
            return Ok(None);
        }
        let Ok(mut function) = syn::parse2::<Function>(item.to_token_stream()) else {
            // A method of a trait without a body.
            return Ok(None);
        };
        if unsupported::function(&function.signature, &function.attributes).is_some() {
            return Ok(None);
        }
        if let Some(error) = unsupported::stream(&function.signature) {
            return Err(error);
        }
        let mut options = own_options(&mut function.attributes)?;
        options.owner = Some(self.owner.clone()).filter(|owner| !owner.is_empty());
        if self.rewritten {
            Ok(Some(behind_others(function, &options)))
        } else {
            one(function, &options).map(Some)
        }
    }
}

/// The options of the function's own attribute, which is taken away.
fn own_options(attributes: &mut Vec<Attribute>) -> syn::Result<Options> {
    let Some(at) = attributes
        .iter()
        .position(|attribute| is_ours(attribute, "instrument"))
    else {
        return Ok(Options::default());
    };
    match attributes.remove(at).meta {
        Meta::List(list) => syn::parse2(list.tokens),
        Meta::Path(_) | Meta::NameValue(_) => Ok(Options::default()),
    }
}

/// `#[name]` or `#[exoscope::name]`.
fn is_ours(attribute: &Attribute, name: &str) -> bool {
    let segments = &attribute.path().segments;
    let crate_is_ours = segments.len() == 1 || segments[0].ident == "exoscope";
    crate_is_ours && segments.len() <= 2 && segments.last().is_some_and(|last| last.ident == name)
}

fn is_left_out(attributes: &[Attribute]) -> bool {
    attributes
        .iter()
        .any(|attribute| is_ours(attribute, "skip"))
}

/// The name of a type as a segment of a path, without its generic arguments.
fn type_name(ty: &Type) -> String {
    match ty {
        Type::Path(path) => path
            .path
            .segments
            .last()
            .map(|last| last.ident.to_string())
            .unwrap_or_default(),
        Type::Reference(reference) => type_name(&reference.elem),
        Type::Paren(inner) => type_name(&inner.elem),
        Type::Group(inner) => type_name(&inner.elem),
        other => other.to_token_stream().to_string().replace(' ', ""),
    }
}
