//! The arguments of a function, as far as its signature tells.

use proc_macro2::{Ident, TokenStream, TokenTree};
use syn::visit::Visit;
use syn::{Error, FnArg, Pat, PatIdent, Signature, Type};

/// The names that a function's arguments bind.
pub struct Arguments {
    names: Vec<Ident>,
    /// Those with a type that can be copied by its looks.
    copied: Vec<Ident>,
}

impl Arguments {
    /// The arguments in a signature.
    pub fn of(signature: &Signature) -> Self {
        let mut bindings = Bindings(Vec::new());
        let mut copied = Vec::new();
        for input in &signature.inputs {
            match input {
                FnArg::Receiver(receiver) => bindings.0.push(receiver.self_token.into()),
                FnArg::Typed(argument) => {
                    bindings.visit_pat(&argument.pat);
                    copied.extend(copied_name(&argument.pat, &argument.ty).cloned());
                }
            }
        }
        Self {
            names: bindings.0,
            copied,
        }
    }

    /// Whether an argument, or a pattern in its place, binds the name.
    pub fn binds(&self, name: &Ident) -> bool {
        self.names.contains(name)
    }

    /// The names that the tokens mention.
    pub fn mentioned_in(&self, tokens: &TokenStream) -> Vec<Ident> {
        mentioned(&self.names, tokens)
    }

    /// The names that the tokens mention of arguments that can be copied.
    pub fn copied_in(&self, tokens: &TokenStream) -> Vec<Ident> {
        mentioned(&self.copied, tokens)
    }

    /// The error for a name in `option` that no argument binds.
    pub fn unknown(&self, name: &Ident, option: &str) -> Error {
        let names: Vec<_> = self.names.iter().map(|name| format!("`{name}`")).collect();
        let hint = match names.as_slice() {
            [] => format!("the function has none, so leave `{option}` out"),
            names => format!("use {}", names.join(", ")),
        };
        Error::new(
            name.span(),
            format!("no argument is called `{name}`: {hint}"),
        )
    }
}

/// Collects what patterns bind.
struct Bindings(Vec<Ident>);

impl<'ast> Visit<'ast> for Bindings {
    fn visit_pat_ident(&mut self, pattern: &'ast PatIdent) {
        self.0.push(pattern.ident.clone());
        syn::visit::visit_pat_ident(self, pattern);
    }
}

/// The argument's name, where it is one that can not change and a number, a truth value, a character
/// or a shared reference.
fn copied_name<'a>(pattern: &'a Pat, ty: &Type) -> Option<&'a Ident> {
    const COPIED: &[&str] = &[
        "bool", "char", "f32", "f64", "i8", "i16", "i32", "i64", "i128", "isize", "u8", "u16",
        "u32", "u64", "u128", "usize",
    ];
    let Pat::Ident(pattern) = pattern else {
        return None;
    };
    let plain =
        pattern.by_ref.is_none() && pattern.mutability.is_none() && pattern.subpat.is_none();
    let copied = match ty {
        Type::Path(path) => path
            .path
            .get_ident()
            .is_some_and(|name| COPIED.iter().any(|copied| name == copied)),
        Type::Reference(reference) => reference.mutability.is_none(),
        _ => false,
    };
    (plain && copied).then_some(&pattern.ident)
}

fn mentioned(names: &[Ident], tokens: &TokenStream) -> Vec<Ident> {
    let mut found = Vec::new();
    collect(names, tokens.clone(), &mut found);
    found
}

fn collect(names: &[Ident], tokens: TokenStream, found: &mut Vec<Ident>) {
    for token in tokens {
        match token {
            TokenTree::Ident(name) if names.contains(&name) && !found.contains(&name) => {
                found.push(name);
            }
            TokenTree::Group(group) => collect(names, group.stream(), found),
            _ => {}
        }
    }
}
