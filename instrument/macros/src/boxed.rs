//! Functions that return a future or stream by their last expression.
//!
//! What is polled is wrapped inside the box that the function makes anyway, where that box can be
//! seen: `Box::pin(…)`, `.boxed()` or `.boxed_local()` as the body's last expression, with nothing
//! before it that could return another one. Fields are captured at the beginning of the `async`
//! block that is the last expression or is put into its box.

use proc_macro2::{Group, TokenStream};
use quote::{quote, quote_spanned};
use syn::parse::Parser;
use syn::visit::Visit;
use syn::{Block, Expr, ExprAsync, Stmt};

use crate::function::braces_of;

/// The body with `wrap` around what its last expression boxes, or `None` where that box is not to
/// be seen.
pub fn wrap_inside(
    body: &TokenStream,
    wrap: impl FnOnce(&Expr) -> TokenStream,
) -> Option<TokenStream> {
    let (statements, mut last) = split(body)?;
    if statements.iter().any(may_return) {
        return None;
    }
    let boxed = boxed_by(&mut last).filter(|boxed| !leaves(boxed))?;
    *boxed = Expr::Verbatim(wrap(boxed));
    Some(quote!(#(#statements)* #last))
}

/// The body with `capture` as the first statement of its last `async` block, or `None` where there is
/// no such block. The block becomes `move`: what is captured has to live as long as the future.
pub fn capture_inside(body: &Group, capture: &TokenStream) -> Option<Group> {
    let (statements, mut last) = split(&body.stream())?;
    let future = async_block(&mut last)?;
    future.capture.get_or_insert_default();
    let inside = &future.block.stmts;
    let inside = quote!(#capture #(#inside)*);
    future.block.stmts = vec![Stmt::Expr(Expr::Verbatim(inside), None)];
    Some(braces_of(body, quote!(#(#statements)* #last)))
}

/// The body's statements but the last, and the expression that the last one is.
fn split(body: &TokenStream) -> Option<(Vec<Stmt>, Expr)> {
    let mut statements = Block::parse_within.parse2(body.clone()).ok()?;
    match statements.pop()? {
        Stmt::Expr(last, None) => Some((statements, last)),
        _ => None,
    }
}

fn async_block(last: &mut Expr) -> Option<&mut ExprAsync> {
    // Looked for twice, because one borrow can not be given back on one path only.
    let expression = if boxed_by(last).is_some() {
        boxed_by(last)?
    } else {
        last
    };
    match expression {
        Expr::Async(future) => Some(future),
        _ => None,
    }
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
            call.args.first_mut().filter(|_| pin)
        }
        Expr::MethodCall(call) if call.method == "boxed" || call.method == "boxed_local" => {
            call.args.is_empty().then_some(call.receiver.as_mut())
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
