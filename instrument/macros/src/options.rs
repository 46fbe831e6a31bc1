//! The options of `#[instrument(…)]`: those of `tracing::instrument`, `args(…)` and `items`.

use proc_macro2::{Span, TokenStream, TokenTree};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Error, Expr, Ident, LitInt, LitStr, Path, Token, braced, parenthesized};

/// What the options say.
#[derive(Clone, Default)]
pub struct Options {
    /// Name in place of the function's.
    pub name: Option<Name>,
    pub fields: Vec<Field>,
    /// Arguments to capture.
    pub args: Vec<Ident>,
    /// Where it says that each item of a stream or iterator is a call of its own.
    pub items: Option<Span>,
    /// Arguments not to capture.
    pub skip: Vec<Ident>,
    /// How the message of an error is written, where it was said that there are errors.
    pub err: Option<Format>,
    /// How the returned value is written, where it is wanted.
    pub ret: Option<Format>,
    /// Expressions of options that have no meaning from outside.
    pub unevaluated: Vec<Expr>,
    /// Options that nobody knows, each with what is wrong with it.
    pub unknown: Vec<Error>,
    /// The attribute has already been moved behind the function's other attributes.
    pub moved: bool,
    /// Type before the function's name, from an attribute on a whole block.
    pub owner: Option<String>,
    /// The options as they were written, without `moved` and `owner`.
    pub written: TokenStream,
}

/// The name of a function.
#[derive(Clone)]
pub enum Name {
    Literal(LitStr),
    Constant(Path),
}

impl Name {
    /// Where it stands.
    pub fn span(&self) -> Span {
        match self {
            Self::Literal(literal) => literal.span(),
            Self::Constant(path) => path.span(),
        }
    }
}

/// How a value is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// As its type asks for.
    #[default]
    Auto,
    /// `?`
    Debug,
    /// `%`
    Display,
}

/// One of `fields(…)`.
#[derive(Clone)]
pub struct Field {
    pub name: FieldName,
    pub format: Format,
    /// What stands after `=`.
    pub value: Option<Expr>,
}

/// The name of a field.
#[derive(Clone)]
pub enum FieldName {
    /// `a.b`
    Path(Punctuated<Ident, Token![.]>),
    /// `"a"`
    Literal(LitStr),
    /// `{ CONSTANT }`
    Constant(Expr),
}

/// Name of the internal option that marks an attribute as moved. Its value is the owner or empty.
pub const MOVED: &str = "__moved";

/// Options that `tracing` takes more than once.
const REPEATABLE: &[&str] = &["err", "ret", "parent", "follows_from"];

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut options = Self {
            written: input.fork().parse()?,
            ..Self::default()
        };
        let mut seen = Vec::new();
        while !input.is_empty() {
            // `tracing` asks for no comma between two options.
            if input.parse::<Option<Token![,]>>()?.is_some() {
                continue;
            }
            let Some(name) = options.take(input)? else {
                continue;
            };
            if seen.contains(&name) && !REPEATABLE.iter().any(|option| name == option) {
                let message = format!("`{name}` is given twice: keep one of them");
                return Err(Error::new(name.span(), message));
            }
            seen.push(name);
        }
        Ok(options)
    }
}

impl Options {
    /// Refuses what a block's attribute can not say for every function in it.
    pub fn for_block(&self) -> syn::Result<()> {
        let name = self.name.as_ref().map(|name| (name.span(), "name"));
        let field = self.fields.first();
        let field = field.map(|field| (field.name.span(), "fields"));
        let args = self.args.first().map(|name| (name.span(), "args"));
        let skip = self.skip.first().map(|name| (name.span(), "skip"));
        if let Some((span, option)) = name.or(field).or(args).or(skip) {
            let message =
                format!("`{option}` is for one function: put it on a function in the block");
            return Err(Error::new(span, message));
        }
        let mut values = self.unevaluated.iter();
        if let Some(value) = values.find(|value| !matches!(value, Expr::Path(_))) {
            let message = "`parent` and `follows_from` are for one function: put them on a function \
                           in the block";
            return Err(Error::new_spanned(value, message));
        }
        match self.unknown.first() {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    /// Takes one option; gives its name, or `None` where nobody knows it.
    fn take(&mut self, input: ParseStream<'_>) -> syn::Result<Option<Ident>> {
        if input.peek(LitStr) {
            // The name alone, as a string.
            let name: LitStr = input.parse()?;
            let option = Ident::new("name", name.span());
            self.name = Some(Name::Literal(without_nul(name)?));
            return Ok(Some(option));
        }
        if !input.peek(Ident::peek_any) {
            self.unknown.push(unknown(&input.parse()?));
            return Ok(None);
        }
        let option = input.call(Ident::parse_any)?;
        match option.to_string().as_str() {
            "name" => self.name = Some(value(input)?),
            "target" => {
                if let Name::Constant(path) = value(input)? {
                    self.unevaluated.push(syn::parse_quote!(#path));
                }
            }
            "parent" | "follows_from" => self.unevaluated.push(value(input)?),
            "level" => level(input)?,
            "skip_all" => {}
            "skip" => self.skip = list(input, Ident::parse_any)?,
            "args" => self.args = list(input, Ident::parse_any)?,
            "items" => self.items = Some(option.span()),
            "fields" => self.fields = list(input, Field::parse)?,
            "err" => self.err = Some(event(input)?),
            "ret" => self.ret = Some(event(input)?),
            MOVED => {
                let owner: LitStr = value(input)?;
                self.owner = Some(owner.value()).filter(|owner| !owner.is_empty());
                self.moved = true;
            }
            _ => {
                self.unknown.push(unknown(&TokenTree::Ident(option)));
                skip_to_comma(input)?;
                return Ok(None);
            }
        }
        Ok(Some(option))
    }
}

/// What is wrong with an option that nobody knows. `tracing` passes over it with a warning.
fn unknown(option: &TokenTree) -> Error {
    Error::new(
        option.span(),
        format!(
            "unknown option `{option}`, which has no effect: use `name`, `fields`, `args`, `items`, `skip`, \
             `skip_all`, `err`, `ret`, `level`, `target`, `parent` or `follows_from`"
        ),
    )
}

fn skip_to_comma(input: ParseStream<'_>) -> syn::Result<()> {
    while !input.is_empty() && !input.peek(Token![,]) {
        input.parse::<TokenTree>()?;
    }
    Ok(())
}

fn value<T: Parse>(input: ParseStream<'_>) -> syn::Result<T> {
    input.parse::<Token![=]>()?;
    input.parse()
}

fn list<T>(
    input: ParseStream<'_>,
    item: fn(ParseStream<'_>) -> syn::Result<T>,
) -> syn::Result<Vec<T>> {
    let content;
    parenthesized!(content in input);
    let items = content.parse_terminated(item, Token![,])?;
    Ok(items.into_iter().collect())
}

impl Parse for Name {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        if input.peek(LitStr) {
            without_nul(input.parse()?).map(Self::Literal)
        } else {
            input.parse().map(Self::Constant)
        }
    }
}

/// Names end at a NUL in the binary.
fn without_nul(name: LitStr) -> syn::Result<LitStr> {
    if name.value().contains('\0') {
        return Err(Error::new(name.span(), "a name can not hold a NUL"));
    }
    Ok(name)
}

/// `level = …`, which has no meaning from outside: a name, a number from 1 to 5, or a path.
fn level(input: ParseStream<'_>) -> syn::Result<()> {
    const NAMES: [&str; 5] = ["trace", "debug", "info", "warn", "error"];
    input.parse::<Token![=]>()?;
    let (known, span) = if input.peek(LitStr) {
        let name: LitStr = input.parse()?;
        let known = NAMES
            .iter()
            .any(|level| level.eq_ignore_ascii_case(&name.value()));
        (known, name.span())
    } else if input.peek(LitInt) {
        let number: LitInt = input.parse()?;
        let known = (1..=5).contains(&number.base10_parse::<u64>()?);
        (known, number.span())
    } else {
        (true, input.parse::<Path>()?.segments[0].ident.span())
    };
    if known {
        Ok(())
    } else {
        let message = "unknown level: use \"trace\", \"debug\", \"info\", \"warn\", \"error\", \
                       a number from 1 to 5, or a path";
        Err(Error::new(span, message))
    }
}

/// What may follow `err` and `ret`: `(Debug)`, `(Display)`, `(level = …)`, or two of them.
fn event(input: ParseStream<'_>) -> syn::Result<Format> {
    if !input.peek(syn::token::Paren) {
        return Ok(Format::Auto);
    }
    let formats = list(input, |input| {
        let name: Ident = input.parse()?;
        match name.to_string().as_str() {
            "Debug" => Ok(Some(Format::Debug)),
            "Display" => Ok(Some(Format::Display)),
            "level" => level(input).map(|()| None),
            _ => Err(Error::new(
                name.span(),
                format!("unknown option `{name}`: use `Debug`, `Display` or `level = …`"),
            )),
        }
    })?;
    Ok(formats.into_iter().flatten().next().unwrap_or_default())
}

impl Parse for Field {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let before = sigil(input)?;
        let name = input.parse()?;
        let mut field = Self {
            name,
            format: before.unwrap_or_default(),
            value: None,
        };
        if input.parse::<Option<Token![=]>>()?.is_some() {
            field.format = sigil(input)?.unwrap_or(field.format);
            // An empty value is one that `tracing` records later.
            if !input.is_empty() && !input.peek(Token![,]) {
                field.value = Some(input.parse()?);
            }
        }
        Ok(field)
    }
}

impl Parse for FieldName {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        if input.peek(LitStr) {
            input.parse().map(Self::Literal)
        } else if input.peek(syn::token::Brace) {
            let content;
            braced!(content in input);
            let constant = content.parse()?;
            if content.is_empty() {
                Ok(Self::Constant(constant))
            } else {
                Err(content.error("expected one constant"))
            }
        } else {
            Punctuated::parse_separated_nonempty_with(input, Ident::parse_any).map(Self::Path)
        }
    }
}

fn sigil(input: ParseStream<'_>) -> syn::Result<Option<Format>> {
    Ok(if input.parse::<Option<Token![%]>>()?.is_some() {
        Some(Format::Display)
    } else if input.parse::<Option<Token![?]>>()?.is_some() {
        Some(Format::Debug)
    } else {
        None
    })
}
