//! Functions that return a boxed future or stream.
//!
//! What is polled is wrapped inside the box that the function makes anyway, where that box can be
//! seen: `Box::pin(…)`, `.boxed()` or `.boxed_local()` as the body's last expression, with nothing
//! before it that could return another one.

use proc_macro2::TokenStream;
use quote::quote_spanned;
use syn::parse::Parser;
use syn::visit::Visit;
use syn::{Block, Expr, Stmt};

/// The body with `wrap` around what its last expression boxes, or `None` where that box is not to
/// be seen.
pub fn wrap_inside(
    body: &TokenStream,
    wrap: impl FnOnce(&Expr) -> TokenStream,
) -> Option<TokenStream> {
    let mut statements = Block::parse_within.parse2(body.clone()).ok()?;
    let Some(Stmt::Expr(mut last, None)) = statements.pop() else {
        return None;
    };
    if statements.iter().any(may_return) {
        return None;
    }
    let boxed = boxed_by(&mut last)?;
    *boxed = Expr::Verbatim(wrap(boxed));
    Some(quote::quote!(#(#statements)* #last))
}

/// The expression that `expression` puts into a pinned box.
fn boxed_by(expression: &mut Expr) -> Option<&mut Expr> {
    match expression {
        Expr::Call(call) if call.args.len() == 1 => {
            let Expr::Path(function) = call.func.as_ref() else {
                return None;
            };
            let mut segments = function.path.segments.iter().rev();
            let pin = segments.next()?.ident == "pin" && segments.next()?.ident == "Box";
            let argument = call.args.first_mut()?;
            (pin && !leaves(argument)).then_some(argument)
        }
        Expr::MethodCall(call) if call.method == "boxed" || call.method == "boxed_local" => {
            let receiver = call.receiver.as_mut();
            (call.args.is_empty() && !leaves(receiver)).then_some(receiver)
        }
        _ => None,
    }
}

fn may_return(statement: &Stmt) -> bool {
    let mut search = Leaving(false);
    search.visit_stmt(statement);
    search.0
}

fn leaves(expression: &Expr) -> bool {
    let mut search = Leaving(false);
    search.visit_expr(expression);
    search.0
}

/// Looks for what leaves the function: `return`, `?`, and macros, which may hold either.
struct Leaving(bool);

impl<'ast> Visit<'ast> for Leaving {
    fn visit_expr(&mut self, expression: &'ast Expr) {
        match expression {
            Expr::Closure(_) | Expr::Async(_) => {}
            Expr::Return(_) | Expr::Try(_) | Expr::Macro(_) => self.0 = true,
            _ => syn::visit::visit_expr(self, expression),
        }
    }

    fn visit_stmt(&mut self, statement: &'ast Stmt) {
        match statement {
            Stmt::Item(_) => {}
            Stmt::Macro(_) => self.0 = true,
            _ => syn::visit::visit_stmt(self, statement),
        }
    }
}

/// `Box::pin` around what `wrapped` gives, at the user's tokens.
pub fn wrap_again(wrapped: &TokenStream, at: proc_macro2::Span) -> TokenStream {
    quote_spanned!(at=> ::std::boxed::Box::pin(#wrapped))
}
