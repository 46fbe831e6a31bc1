//! A body that runs in the function itself, as `#[track_caller]` needs it: `Location::caller()` in a
//! closure names the closure's own line.

use proc_macro2::{Group, Ident, Span, TokenStream, TokenTree};
use quote::quote;
use syn::parse::Parser;
use syn::visit_mut::{VisitMut, visit_expr_mut, visit_stmt_mut};
use syn::{Block, Expr, ExprReturn, Lifetime, Macro, Stmt};

use crate::function::braces_of;

/// The body as a block whose `return`s leave the block with a value of the type `returned`, or `None`
/// where something in it could leave the function unseen.
pub fn body(body: &Group, returned: &TokenStream) -> Option<TokenStream> {
    let mut statements = Block::parse_within.parse2(body.stream()).ok()?;
    let mut returns = Returns {
        label: Lifetime::new("'body", Span::mixed_site()),
        unseen: false,
    };
    for statement in &mut statements {
        returns.visit_stmt_mut(statement);
    }
    if returns.unseen {
        return None;
    }
    let label = &returns.label;
    let result = Ident::new("result", Span::mixed_site());
    // Never runs. What follows the block can be reached, for all that the compiler knows, also where
    // the body panics, and nothing is said about it.
    let leave = (returned.to_string() != "!").then(|| {
        quote! {
            if let ::core::option::Option::Some(#result) = ::core::option::Option::None::<#returned> {
                break #label #result;
            }
        }
    });
    let block = braces_of(body, quote!(#leave #(#statements)*));
    Some(quote!(#label: #block))
}

/// Makes every `return` of the function a `break`.
struct Returns {
    label: Lifetime,
    /// There may be one that can not be seen: `?`, or in a macro.
    unseen: bool,
}

impl Returns {
    fn look_into(&mut self, mac: &Macro) {
        self.unseen |= !is_known(mac) || may_leave(mac.tokens.clone());
    }
}

impl VisitMut for Returns {
    fn visit_expr_mut(&mut self, expression: &mut Expr) {
        match expression {
            Expr::Closure(_) | Expr::Async(_) | Expr::Const(_) => return,
            Expr::Try(_) | Expr::TryBlock(_) | Expr::Verbatim(_) => self.unseen = true,
            Expr::Macro(mac) => self.look_into(&mac.mac),
            _ => visit_expr_mut(self, expression),
        }
        if let Expr::Return(ExprReturn { attrs, expr, .. }) = expression {
            let label = &self.label;
            *expression = Expr::Verbatim(quote!(#(#attrs)* break #label #expr));
        }
    }

    fn visit_stmt_mut(&mut self, statement: &mut Stmt) {
        match statement {
            Stmt::Item(_) => {}
            Stmt::Macro(mac) => self.look_into(&mac.mac),
            _ => visit_stmt_mut(self, statement),
        }
    }
}

/// A macro of the standard library that leaves no function by itself.
fn is_known(mac: &Macro) -> bool {
    const KNOWN: &[&str] = &[
        "assert",
        "assert_eq",
        "assert_ne",
        "cfg",
        "column",
        "compile_error",
        "concat",
        "dbg",
        "debug_assert",
        "debug_assert_eq",
        "debug_assert_ne",
        "env",
        "eprint",
        "eprintln",
        "file",
        "format",
        "format_args",
        "include_bytes",
        "include_str",
        "line",
        "matches",
        "module_path",
        "option_env",
        "panic",
        "print",
        "println",
        "stringify",
        "todo",
        "unimplemented",
        "unreachable",
        "vec",
        "write",
        "writeln",
    ];
    let last = mac.path.segments.last();
    last.is_some_and(|last| KNOWN.iter().any(|known| last.ident == known))
}

/// The tokens hold a `return` or a `?`.
fn may_leave(tokens: TokenStream) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(name) => name == "return",
        TokenTree::Punct(punctuation) => punctuation.as_char() == '?',
        TokenTree::Group(group) => may_leave(group.stream()),
        TokenTree::Literal(_) => false,
    })
}
