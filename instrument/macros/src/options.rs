//! The options of `#[instrument(…)]`: those of `tracing::instrument`, and `args(…)`.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Expr, Ident, LitStr, Token, parenthesized};

/// What the options say that an expansion needs. Everything else is checked and has no effect.
#[derive(Default)]
pub struct Options {
    /// Name in place of the function's.
    pub name: Option<LitStr>,
    /// The attribute has already been moved behind the function's other attributes.
    pub moved: bool,
    /// Type before the function's name, from an attribute on a whole block.
    pub owner: Option<String>,
    /// The options as they were written, without `moved` and `owner`.
    pub written: TokenStream,
}

/// Name of the internal option that marks an attribute as moved. Its value is the owner or empty.
pub const MOVED: &str = "__moved";

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut options = Self {
            written: input.fork().parse()?,
            ..Self::default()
        };
        let mut seen = Vec::new();
        while !input.is_empty() {
            let name = option(input, &mut options)?;
            if let Some(name) = name {
                if seen.contains(&name) {
                    let message = format!("`{name}` is given twice: keep one of them");
                    return Err(syn::Error::new(name.span(), message));
                }
                seen.push(name);
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(options)
    }
}

/// Parses one option; gives its name, or `None` for the short form of `name`.
fn option(input: ParseStream<'_>, options: &mut Options) -> syn::Result<Option<Ident>> {
    if input.peek(LitStr) {
        // `tracing` takes the name alone, as a string.
        options.name = Some(input.parse()?);
        return Ok(None);
    }
    let name = input.call(Ident::parse_any)?;
    match name.to_string().as_str() {
        "name" => options.name = Some(value(input)?),
        "target" | "parent" | "follows_from" | "level" => {
            value::<Expr>(input)?;
        }
        "skip_all" => {}
        "skip" => {
            list::<Ident>(input, Ident::parse_any)?;
        }
        "args" => {
            list::<Ident>(input, Ident::parse_any)?;
        }
        "fields" => {
            list::<()>(input, field)?;
        }
        "err" | "ret" => {
            if input.peek(syn::token::Paren) {
                list::<()>(input, event_option)?;
            }
        }
        MOVED => {
            let owner: LitStr = value(input)?;
            options.owner = Some(owner.value()).filter(|owner| !owner.is_empty());
            options.moved = true;
        }
        _ => {
            return Err(syn::Error::new(
                name.span(),
                format!(
                    "unknown option `{name}`: use `name`, `fields`, `args`, `skip`, `skip_all`, \
                     `err`, `ret`, `level`, `target`, `parent` or `follows_from`"
                ),
            ));
        }
    }
    Ok(Some(name))
}

fn value<T: Parse>(input: ParseStream<'_>) -> syn::Result<T> {
    input.parse::<Token![=]>()?;
    input.parse()
}

fn list<T>(
    input: ParseStream<'_>,
    item: fn(ParseStream<'_>) -> syn::Result<T>,
) -> syn::Result<Punctuated<T, Token![,]>> {
    let content;
    parenthesized!(content in input);
    content.parse_terminated(item, Token![,])
}

/// One of `fields(…)`: `a.b = expr`, `a = %expr`, `a = ?expr`, `%a`, `?a.b`, `a`, `"a" = expr`,
/// `{ CONSTANT } = expr`.
fn field(input: ParseStream<'_>) -> syn::Result<()> {
    sigil(input)?;
    if input.peek(LitStr) {
        input.parse::<LitStr>()?;
    } else if input.peek(syn::token::Brace) {
        match input.parse()? {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {}
            other => {
                return Err(syn::Error::new(
                    other.span(),
                    "expected the name of a field",
                ));
            }
        }
    } else {
        Punctuated::<Ident, Token![.]>::parse_separated_nonempty_with(input, Ident::parse_any)?;
    }
    if input.peek(Token![=]) {
        input.parse::<Token![=]>()?;
        // `tracing` takes an empty value as one that is recorded later.
        if !input.is_empty() && !input.peek(Token![,]) {
            sigil(input)?;
            input.parse::<Expr>()?;
        }
    }
    Ok(())
}

fn sigil(input: ParseStream<'_>) -> syn::Result<()> {
    if input.peek(Token![%]) {
        input.parse::<Token![%]>()?;
    } else if input.peek(Token![?]) {
        input.parse::<Token![?]>()?;
    }
    Ok(())
}

/// One of `err(…)` and `ret(…)`: `Debug`, `Display`, `level = …`.
fn event_option(input: ParseStream<'_>) -> syn::Result<()> {
    let name: Ident = input.parse()?;
    match name.to_string().as_str() {
        "Debug" | "Display" => Ok(()),
        "level" => value::<Expr>(input).map(drop),
        _ => Err(syn::Error::new(
            name.span(),
            format!("unknown option `{name}`: use `Debug`, `Display` or `level = …`"),
        )),
    }
}
