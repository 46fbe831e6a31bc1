//! The path of a function, from what its attribute saw and from a mangled symbol inside it.

/// Adds the type of the `impl` to a path, where the mangled symbol of an item inside the function
/// tells it: an attribute on a single method sees `module::method` only. That of a function's items is
/// the function's with one more segment.
pub fn with_type(path: &str, symbol: &str) -> String {
    let Ok(symbol) = rustc_demangle::try_demangle(symbol) else {
        return path.to_owned();
    };
    let symbol = format!("{symbol:#}");
    match path.rsplit_once("::") {
        Some((function, item)) if symbol.ends_with(ITEM) => {
            format!("{}::{item}", with_type_of(function, &symbol))
        }
        _ => with_type_of(path, &symbol),
    }
}

/// The name of the text that belongs to a function's items.
const ITEM: &str = "::__EXOSCOPE_ITEM";

fn with_type_of(path: &str, symbol: &str) -> String {
    let (Some((module, name)), Some(inside)) = (path.rsplit_once("::"), plain_path(symbol)) else {
        return path.to_owned();
    };
    // What the symbol names lies in the function, its own name last. That a function stands in a closure, such as
    // the one that runs an instrumented body, is not part of its path.
    let is_closure = |segment: &&str| segment.starts_with('{');
    let segments: Vec<&str> = inside.split("::").filter(|s| !is_closure(s)).collect();
    let Some(at) = segments.iter().rposition(|segment| *segment == name) else {
        return path.to_owned();
    };
    let full = segments[..=at].join("::");
    let extends = full.starts_with(module) && full.len() > path.len();
    if extends { full } else { path.to_owned() }
}

/// A demangled symbol without generic arguments, and with `<Type as Trait>` and `<Type>` replaced
/// by `Type`. `None` where the brackets do not match.
fn plain_path(symbol: &str) -> Option<String> {
    let mut plain = String::new();
    let mut rest = symbol;
    while let Some(open) = rest.find('<') {
        let before = &rest[..open];
        let close = matching(&rest[open..])? + open;
        let inner = &rest[open + 1..close];
        plain.push_str(
            before
                .strip_suffix("::")
                .filter(|_| !before.is_empty())
                .unwrap_or(before),
        );
        // Brackets at the start hold the type; elsewhere they hold generic arguments.
        if before.is_empty() && plain.is_empty() {
            plain.push_str(&plain_path(before_as(inner))?);
        }
        rest = &rest[close + 1..];
    }
    plain.push_str(rest);
    Some(plain)
}

/// Index of the bracket that closes the one at the start.
fn matching(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut previous = ' ';
    for (at, character) in text.char_indices() {
        match character {
            '<' => depth += 1,
            '>' if previous != '-' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
        previous = character;
    }
    None
}

/// `Type` of `Type as Trait`, brackets inside the type respected.
fn before_as(inner: &str) -> &str {
    let mut depth = 0_usize;
    for (at, character) in inner.char_indices() {
        match character {
            '<' => depth += 1,
            '>' => depth = depth.saturating_sub(1),
            ' ' if depth == 0 && inner[at..].starts_with(" as ") => return &inner[..at],
            _ => {}
        }
    }
    inner
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generic_arguments_and_traits_leave_the_path() {
        let cases = [
            ("shop::Store::get::_::here", "shop::Store::get::_::here"),
            ("<shop::Store>::get::_::here", "shop::Store::get::_::here"),
            (
                "<shop::Store<T> as shop::Keep<u8>>::get::_::here",
                "shop::Store::get::_::here",
            ),
            (
                "shop::list::<alloc::vec::Vec<u8>>::_::here",
                "shop::list::_::here",
            ),
            ("<fn() -> u8 as shop::Keep>::get", "fn() -> u8::get"),
        ];
        for (symbol, expected) in cases {
            assert_eq!(plain_path(symbol).as_deref(), Some(expected));
        }
        assert_eq!(plain_path("<shop::Store"), None);
    }

    #[test]
    fn a_method_and_its_items_have_the_type_in_their_path() {
        // `<shop::Store>::get::__EXOSCOPE_FUNCTION` and `…_ITEM`, as rustc mangles them.
        let function = "_RNvNvMCs1234_4shopNtB4_5Store3get19___EXOSCOPE_FUNCTION";
        let item = "_RNvNvMCs1234_4shopNtB4_5Store3get15___EXOSCOPE_ITEM";
        assert_eq!(with_type("shop::get", function), "shop::Store::get");
        assert_eq!(with_type("shop::get::item", item), "shop::Store::get::item");
        assert_eq!(with_type("shop::other::item", item), "shop::other::item");
        assert_eq!(with_type("shop::get", "get"), "shop::get");
    }

    #[test]
    fn closures_leave_the_path() {
        let legacy =
            "_ZN4shop5outer28_$u7b$$u7b$closure$u7d$$u7d$5inner1_4here17h0123456789abcdefE";
        assert_eq!(with_type("shop::inner", legacy), "shop::outer::inner");
        let v0 = "_RNvNvNCNvC4shop5outer05inner4here";
        assert_eq!(with_type("shop::inner", v0), "shop::outer::inner");
    }
}
