//! Swapping the attribute in a source file: `tracing::instrument` becomes `exoscope::instrument`.
//!
//! The text is read as tokens, so strings and comments stay as they are, and what stands in the
//! definition of a macro is swapped like all other code. What is changed is changed on its line:
//! functions keep the lines that they were published with.

use std::ops::Range;
use std::str::FromStr;

use anyhow::{Result, anyhow};
use proc_macro2::{Delimiter, Group, Ident, TokenStream, TokenTree};

/// The crates that the attribute comes from.
const THEIRS: [&str; 2] = ["tracing", "tracing_attributes"];

/// Its name.
const NAME: &str = "instrument";

/// A source file with the attribute swapped.
#[derive(Debug, PartialEq, Eq)]
pub struct Swapped {
    /// The text.
    pub text: String,
    /// Attributes that are ours now.
    pub attributes: usize,
}

/// Swaps every use of the attribute in a source file.
///
/// # Errors
/// Where the text is not made of Rust's tokens.
pub fn swap(text: &str) -> Result<Swapped> {
    let tokens = TokenStream::from_str(text).map_err(|error| anyhow!("{error}"))?;
    let mut found = Found::default();
    found.read(tokens);
    // Where the name is not imported here, it came by a glob or from another module.
    if !found.imported {
        for name in std::mem::take(&mut found.bare) {
            found.replace(name.start..name.start, "exoscope::");
        }
    }
    Ok(Swapped {
        attributes: found.attributes,
        text: found.applied_to(text),
    })
}

/// What a file holds of the attribute.
#[derive(Default)]
struct Found {
    /// Uses of the attribute, by whatever path.
    attributes: usize,
    /// Where it is used by its name alone.
    bare: Vec<Range<usize>>,
    /// The file imports the name.
    imported: bool,
    /// What to put in place of which bytes.
    edits: Vec<(Range<usize>, String)>,
}

impl Found {
    /// Reads code: attributes and imports, wherever they stand.
    fn read(&mut self, tokens: TokenStream) {
        let tokens = collected(tokens);
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            match (token, tokens.get(at + 1)) {
                (TokenTree::Punct(hash), Some(TokenTree::Group(group)))
                    if hash.as_char() == '#' && group.delimiter() == Delimiter::Bracket =>
                {
                    self.attribute(&collected(group.stream()));
                    at += 1;
                }
                (TokenTree::Ident(word), _) if word == "use" => at = self.import(&tokens, at),
                (TokenTree::Group(group), _) => self.read(group.stream()),
                _ => {}
            }
            at += 1;
        }
    }

    /// Reads what stands in the brackets of an attribute, or in `cfg_attr(…)` after its condition.
    fn attribute(&mut self, tokens: &[TokenTree]) {
        let (path, rest) = path(tokens);
        match (path.as_slice(), rest.first()) {
            ([name], Some(TokenTree::Group(group))) if *name == "cfg_attr" => {
                for attribute in parts(&collected(group.stream())).skip(1) {
                    self.attribute(attribute);
                }
            }
            ([name], _) if *name == NAME => {
                self.attributes += 1;
                self.bare.push(name.span().byte_range());
            }
            ([theirs, name], _) if is_theirs(theirs) && *name == NAME => {
                self.attributes += 1;
                self.replace(theirs.span().byte_range(), "exoscope");
            }
            _ => {}
        }
    }

    /// Reads the `use` at `at`; gives where it ends.
    fn import(&mut self, tokens: &[TokenTree], at: usize) -> usize {
        let is_bound = tokens.get(at + 1).is_some_and(|token| is(token, '<'));
        let length = tokens[at..].iter().position(|token| is(token, ';'));
        let Some(end) = length.map(|length| at + length).filter(|_| !is_bound) else {
            return at;
        };
        let mut taken = Vec::new();
        self.tree(&tokens[at + 1..end], &mut taken);
        let before: TokenStream = tokens[first_of_item(tokens, at)..at]
            .iter()
            .cloned()
            .collect();
        let after = tokens[end].span().byte_range().end;
        for name in taken {
            self.replace(after..after, &format!(" {before} use exoscope::{name};"));
        }
        end
    }

    /// Reads a tree of imports. What stands in a list of theirs is taken out and added to `taken`.
    fn tree(&mut self, tree: &[TokenTree], taken: &mut Vec<String>) {
        let (path, rest) = path(tree);
        match (path.as_slice(), rest.first()) {
            ([], Some(TokenTree::Group(list))) => {
                for tree in parts(&collected(list.stream())) {
                    self.tree(tree, taken);
                }
            }
            ([theirs], Some(TokenTree::Group(list))) if is_theirs(theirs) => {
                self.list(list, taken);
            }
            ([theirs, name], _) if is_theirs(theirs) && *name == NAME => {
                self.imported = true;
                self.replace(theirs.span().byte_range(), "exoscope");
            }
            _ => {}
        }
    }

    /// Takes the attribute out of a list of what is imported from their crate.
    fn list(&mut self, list: &Group, taken: &mut Vec<String>) {
        let tokens = collected(list.stream());
        for tree in parts(&tokens) {
            let is_ours = matches!(tree.first(), Some(TokenTree::Ident(name)) if name == NAME);
            if is_ours {
                self.imported = true;
                taken.push(tree.iter().cloned().collect::<TokenStream>().to_string());
                // The comma after it goes too, where there is one.
                let (begin, end) = (tree[0].span().byte_range().start, end(tree));
                let after = |token: &&TokenTree| token.span().byte_range().start >= end;
                let comma = tokens.iter().find(after).map(std::slice::from_ref);
                self.replace(begin..comma.map_or(end, self::end), "");
            }
        }
    }

    fn replace(&mut self, bytes: Range<usize>, by: &str) {
        self.edits.push((bytes, by.to_owned()));
    }

    /// The text with the edits made.
    fn applied_to(mut self, text: &str) -> String {
        // From the end, so that the bytes before stay where they are.
        self.edits.sort_by_key(|(bytes, _)| bytes.start);
        let mut text = text.to_owned();
        for (bytes, by) in self.edits.into_iter().rev() {
            text.replace_range(bytes, &by);
        }
        text
    }
}

fn collected(tokens: TokenStream) -> Vec<TokenTree> {
    tokens.into_iter().collect()
}

/// The names of the path that the tokens begin with, and the tokens after it.
fn path(tokens: &[TokenTree]) -> (Vec<&Ident>, &[TokenTree]) {
    let mut names = Vec::new();
    let mut joined = true;
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Ident(name) if joined => {
                names.push(name);
                joined = false;
            }
            colon if is(colon, ':') => joined = true,
            _ => return (names, &tokens[at..]),
        }
    }
    (names, &[])
}

/// What stands between commas.
fn parts(tokens: &[TokenTree]) -> impl Iterator<Item = &[TokenTree]> {
    let parts = tokens.split(|token| is(token, ','));
    parts.filter(|part| !part.is_empty())
}

/// Where the attributes and the visibility before the word at `at` begin.
fn first_of_item(tokens: &[TokenTree], at: usize) -> usize {
    let is_pub = |token: &TokenTree| matches!(token, TokenTree::Ident(word) if word == "pub");
    let mut first = match &tokens[..at] {
        [.., word, TokenTree::Group(_)] if is_pub(word) => at - 2,
        [.., word] if is_pub(word) => at - 1,
        _ => at,
    };
    while let [.., hash, TokenTree::Group(_)] = &tokens[..first]
        && is(hash, '#')
    {
        first -= 2;
    }
    first
}

fn is(token: &TokenTree, character: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == character)
}

fn is_theirs(name: &Ident) -> bool {
    THEIRS.iter().any(|theirs| name == theirs)
}

/// The byte after the last token.
fn end(tokens: &[TokenTree]) -> usize {
    let last = tokens.last();
    last.map_or(0, |token| token.span().byte_range().end)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asserts what becomes of a text, and how many attributes it has.
    fn check(attributes: usize, before: &str, after: &str) {
        let swapped = swap(before).expect("tokens");
        assert_eq!(
            (swapped.text.as_str(), swapped.attributes),
            (after, attributes)
        );
    }

    #[test]
    fn by_path() {
        check(
            2,
            "#[tracing::instrument(skip(self))] fn a() {} #[::tracing_attributes::instrument] fn b() {}",
            "#[exoscope::instrument(skip(self))] fn a() {} #[::exoscope::instrument] fn b() {}",
        );
    }

    #[test]
    fn imported() {
        check(
            1,
            "use tracing::instrument;\n#[instrument(err)] fn a() {}",
            "use exoscope::instrument;\n#[instrument(err)] fn a() {}",
        );
    }

    #[test]
    fn imported_in_a_list() {
        check(
            1,
            "use tracing::{debug, instrument, Level};\nmod m { #[instrument] fn a() {} }",
            "use tracing::{debug,  Level};  use exoscope::instrument;\nmod m { #[instrument] fn a() {} }",
        );
        check(
            0,
            "#[cfg(unix)] pub(crate) use {std::fmt, tracing::{instrument as seen}};",
            "#[cfg(unix)] pub(crate) use {std::fmt, tracing::{}}; # [cfg (unix)] pub (crate) use \
             exoscope::instrument as seen;",
        );
    }

    #[test]
    fn by_a_name_that_comes_from_elsewhere() {
        check(
            1,
            "use tracing::*; #[inline] #[instrument] fn a() {}",
            "use tracing::*; #[inline] #[exoscope::instrument] fn a() {}",
        );
    }

    #[test]
    fn under_a_condition() {
        check(
            2,
            r#"#[cfg_attr(feature = "tracing", inline, tracing::instrument(level = "trace", skip_all))]
            #[cfg_attr(all(), cfg_attr(any(), tracing::instrument))] fn a() {}"#,
            r#"#[cfg_attr(feature = "tracing", inline, exoscope::instrument(level = "trace", skip_all))]
            #[cfg_attr(all(), cfg_attr(any(), exoscope::instrument))] fn a() {}"#,
        );
    }

    #[test]
    fn in_the_definition_of_a_macro() {
        check(
            1,
            "macro_rules! m { ($n:ident) => { #[tracing::instrument(skip($n))] fn a($n: u8) {} } }",
            "macro_rules! m { ($n:ident) => { #[exoscope::instrument(skip($n))] fn a($n: u8) {} } }",
        );
    }

    #[test]
    fn what_only_looks_alike_stays() {
        for text in [
            "/// #[tracing::instrument]\nfn a() {} // #[instrument]",
            "const A: &str = \"#[tracing::instrument]\"; const B: &str = r#\"#[instrument]\"#;",
            "use tracing::{Instrument, instrument_all}; use other::{instrument, a};",
            "#[other::instrument] fn a() { f.instrument(tracing::Span::current()) }",
        ] {
            check(0, text, text);
        }
    }

    #[test]
    fn a_bound_is_no_import() {
        check(
            1,
            "fn a<'a>() -> impl Sized + use<'a> {} #[tracing::instrument] fn b() {} const C: u8 = 0;",
            "fn a<'a>() -> impl Sized + use<'a> {} #[exoscope::instrument] fn b() {} const C: u8 = 0;",
        );
    }

    #[test]
    fn text_of_more_than_one_byte_a_character_is_counted_in_bytes() {
        check(
            1,
            "/* ä 🦀 */ const C: char = 'ß'; #[tracing::instrument] fn a() {}",
            "/* ä 🦀 */ const C: char = 'ß'; #[exoscope::instrument] fn a() {}",
        );
    }
}
