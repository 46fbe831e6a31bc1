//! A block of functions: an `impl` block, a trait, or a module.
//!
//! Bodies are left as tokens here too. So what stays as it is does so token for token, and a block may
//! hold syntax that this crate does not know.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::parse::{ParseBuffer, ParseStream, Parser};
use syn::{Attribute, ImplItem, Item, Meta, TraitItem, Type};

use crate::function::{Function, braces_of};
use crate::options::Options;
use crate::{returns, target, unsupported};

/// A block as tokens.
pub struct Block {
    /// What stands before the braces.
    header: TokenStream,
    braces: Group,
    kind: Kind,
    /// Name of the type or trait, or empty for a module.
    owner: String,
    /// Another macro, such as `async_trait`, rewrites the block after us.
    rewritten: bool,
}

#[derive(Clone, Copy)]
enum Kind {
    Impl,
    Trait,
    Module,
}

impl Block {
    /// The block that an item is, or `None` where it is none.
    pub fn of(item: &TokenStream) -> Option<Self> {
        let mut tokens: Vec<_> = item.clone().into_iter().collect();
        let Some(TokenTree::Group(braces)) = tokens.pop() else {
            return None;
        };
        let header: TokenStream = tokens.into_iter().collect();
        let (kind, owner, attributes) = match syn::parse2(quote!(#header {})).ok()? {
            Item::Impl(block) => (Kind::Impl, type_name(&block.self_ty), block.attrs),
            Item::Trait(block) => (Kind::Trait, block.ident.to_string(), block.attrs),
            Item::Mod(block) => (Kind::Module, String::new(), block.attrs),
            _ => return None,
        };
        Some(Self {
            header,
            braces,
            kind,
            owner,
            rewritten: target::is_rewritten(&attributes),
        })
    }

    /// The block with its functions' markers, each with `options` unless it has its own.
    pub fn expand(&self, options: &Options) -> syn::Result<TokenStream> {
        let members = |input: ParseStream<'_>| {
            let mut members = TokenStream::new();
            for attribute in input.call(Attribute::parse_inner)? {
                attribute.to_tokens(&mut members);
            }
            while !input.is_empty() {
                members.extend(self.member(input, options)?);
            }
            Ok(members)
        };
        let header = &self.header;
        let braces = braces_of(&self.braces, members.parse2(self.braces.stream())?);
        Ok(quote!(#header #braces))
    }

    /// Takes one member of the block and gives it with its markers.
    fn member(&self, input: ParseStream<'_>, options: &Options) -> syn::Result<TokenStream> {
        let attributes = input.fork().call(Attribute::parse_outer)?;
        let ahead = input.fork();
        let function = ahead.parse::<Function>().ok();
        let ahead = match function {
            Some(_) => ahead,
            None => self.other(input)?,
        };
        let tokens = until(input, &ahead)?;
        if attributes
            .iter()
            .any(|attribute| is_ours(attribute, "skip"))
        {
            return Ok(tokens);
        }
        match function {
            Some(function) => self.function(function, tokens, options),
            // A block that has the attribute itself sees to itself.
            None if attributes
                .iter()
                .any(|attribute| is_ours(attribute, "instrument")) =>
            {
                Ok(tokens)
            }
            None => match Self::of(&tokens) {
                Some(block) => block.expand(options),
                None => Ok(tokens),
            },
        }
    }

    /// Where a member ends that is no function with a body.
    fn other<'a>(&self, input: ParseStream<'a>) -> syn::Result<ParseBuffer<'a>> {
        let ahead = input.fork();
        match self.kind {
            Kind::Impl => drop(ahead.parse::<ImplItem>()?),
            Kind::Trait => drop(ahead.parse::<TraitItem>()?),
            Kind::Module => match nested(input) {
                Some(ahead) => return Ok(ahead),
                None => drop(ahead.parse::<Item>()?),
            },
        }
        Ok(ahead)
    }

    /// The function with its markers, or as it is where it can have none.
    fn function(
        &self,
        mut function: Function,
        tokens: TokenStream,
        options: &Options,
    ) -> syn::Result<TokenStream> {
        if unsupported::function(&function).is_some() {
            return Ok(tokens);
        }
        if let Some(error) = unsupported::stream(&function.signature) {
            return Err(error);
        }
        let own = own_options(&mut function.attributes)?;
        let mut options = own.unwrap_or_else(|| {
            let mut options = options.clone();
            // Said for the block, it is said for the streams and iterators in it.
            options.items = options
                .items
                .filter(|_| returns::items(&function.signature));
            options
        });
        options.owner = Some(self.owner.clone()).filter(|owner| !owner.is_empty());
        if self.rewritten {
            Ok(target::behind_others(function, &options))
        } else {
            target::one(function, &options)
        }
    }
}

/// Where a block ends that comes next, or `None` where another item comes next. The block's braces are
/// those after which its header is one.
fn nested<'a>(input: ParseStream<'a>) -> Option<ParseBuffer<'a>> {
    let ahead = input.fork();
    let mut header = TokenStream::new();
    loop {
        match ahead.parse().ok()? {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                match syn::parse2(quote!(#header {})) {
                    Ok(Item::Impl(_) | Item::Trait(_) | Item::Mod(_)) => return Some(ahead),
                    Ok(_) => return None,
                    Err(_) => group.to_tokens(&mut header),
                }
            }
            TokenTree::Punct(token) if token.as_char() == ';' => return None,
            token => token.to_tokens(&mut header),
        }
    }
}

/// Takes the tokens up to where another parser stands.
fn until(input: ParseStream<'_>, end: ParseStream<'_>) -> syn::Result<TokenStream> {
    let mut tokens = TokenStream::new();
    while input.cursor() != end.cursor() {
        tokens.extend([input.parse::<TokenTree>()?]);
    }
    Ok(tokens)
}

/// The options of the function's own attribute, which is taken away.
fn own_options(attributes: &mut Vec<Attribute>) -> syn::Result<Option<Options>> {
    let Some(at) = attributes
        .iter()
        .position(|attribute| is_ours(attribute, "instrument"))
    else {
        return Ok(None);
    };
    match attributes.remove(at).meta {
        Meta::List(list) => syn::parse2(list.tokens).map(Some),
        Meta::Path(_) | Meta::NameValue(_) => Ok(Some(Options::default())),
    }
}

/// `#[name]` or `#[exoscope::name]`.
fn is_ours(attribute: &Attribute, name: &str) -> bool {
    let segments = &attribute.path().segments;
    let crate_is_ours = segments.len() == 1 || segments[0].ident == "exoscope";
    crate_is_ours && segments.len() <= 2 && segments.last().is_some_and(|last| last.ident == name)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left out and what can not have markers comes out as the tokens that went in, also where
    /// they are in no syntax that this crate knows.
    #[test]
    fn what_stays_as_it_is_does_so_token_for_token() {
        let blocks = [
            "impl < const N : usize > Store < { N } > where [u8 ; { N }] : Sized { \
             # ! [allow (unused)] const A : B < { 1 } > = { C } ; \
             # [exoscope :: skip] pub fn a (self) -> u32 { some # new % syntax } \
             const fn b () { } type D = E ; macro_call ! { fn } macro_call ! (fn) ; }",
            "# [attribute] pub unsafe trait T { fn a (& self) ; # [skip] fn b () { ? } const N : u8 ; }",
            "mod m { # [exoscope :: skip] impl T for U { fn a () { ? } } use a :: b ; struct S ; \
             # [exoscope :: instrument] impl S { fn a () { } } # [skip] mod n { fn a () { } } }",
        ];
        for block in blocks {
            let tokens: TokenStream = block.parse().expect("these are tokens");
            let block = Block::of(&tokens).expect("it is a block");
            let expanded = block
                .expand(&Options::default())
                .expect("it can be expanded");
            assert_eq!(expanded.to_string(), tokens.to_string());
        }
    }
}
