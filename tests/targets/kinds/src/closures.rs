//! Closures, function pointers, and functions that take or give them.

use crate::case::Case;

/// The cases of this file.
pub const CASES: &[Case] = &[
    called::CASE,
    capturing::CASE,
    arguments::CASE,
    results::CASE,
    pointers::CASE,
    in_blocks::CASE,
];

/// Closures through `call!`, and as what they are called.
pub mod called {
    use crate::case::{err, ok};

    fn run() {
        let add = |a: u32, b: u32| exoscope::call!("add", a + b);
        assert_eq!(add(add(1, 2), 3), 6);
        let parse = |text: &str| exoscope::call!("parse", { text.parse::<u8>() });
        assert_eq!(parse("1"), Ok(1));
        assert!(parse("x").is_err());
        let nested = || exoscope::call!("outer", exoscope::call!("inner", 1) + 1);
        assert_eq!(nested(), 2);
    }

    case!(run => [
        ok("add"),
        ok("add"),
        ok("parse"),
        err("parse", "core::num::error::ParseIntError", "invalid digit found in string"),
        ok("outer").with(&[ok("inner")]),
    ]);
}

/// Closures that borrow, change and consume what they capture.
pub mod capturing {
    use crate::case::ok;

    fn run() {
        let mut count = 0;
        let mut counts = || {
            exoscope::call!("counts", {
                count += 1;
                count
            })
        };
        assert_eq!(counts() + counts(), 3);
        let text = String::from("text");
        let consumes = move || exoscope::call!("consumes", text);
        assert_eq!(consumes(), "text");
        let lent = String::from("lent");
        let borrows = || exoscope::call!("borrows", lent.len());
        assert_eq!(borrows() + lent.len(), 8);
    }

    case!(run => [ok("counts"), ok("counts"), ok("consumes"), ok("borrows")]);
}

/// `impl Fn`, `FnMut`, `FnOnce`, `&dyn Fn`, `Box<dyn FnOnce>`, for any lifetime.
pub mod arguments {
    use crate::case::ok;

    #[exoscope::instrument]
    fn by_impl(f: impl Fn(u32) -> u32) -> u32 {
        f(f(1))
    }

    #[exoscope::instrument]
    fn by_generic<F>(mut f: F)
    where
        F: FnMut(&str),
    {
        f("a");
        f("b");
    }

    #[exoscope::instrument]
    fn once<T>(f: impl FnOnce() -> T) -> T {
        f()
    }

    #[exoscope::instrument]
    fn by_object(f: &dyn Fn(u32) -> u32, boxed: Box<dyn FnOnce(u32) -> u32 + '_>) -> u32 {
        boxed(f(1))
    }

    #[exoscope::instrument]
    fn for_any_lifetime<F>(f: F, text: &str) -> usize
    where
        F: for<'a> Fn(&'a str) -> &'a str,
    {
        let owned = text.to_owned();
        f(&owned).len() + f(text).len()
    }

    #[exoscope::instrument]
    fn inner() -> u32 {
        1
    }

    fn run() {
        assert_eq!(by_impl(|a| a + inner()), 3);
        let mut seen = String::new();
        by_generic(|text| seen.push_str(text));
        assert_eq!(seen, "ab");
        let owned = String::from("owned");
        assert_eq!(once(|| owned), "owned");
        let more = 2;
        assert_eq!(by_object(&|a| a + more, Box::new(|a| a * more)), 6);
        assert_eq!(for_any_lifetime(|text| &text[1..], "abc"), 4);
    }

    case!(run => [
        ok("by_impl").with(&[ok("inner"), ok("inner")]),
        ok("by_generic"),
        ok("once"),
        ok("by_object"),
        ok("for_any_lifetime"),
    ]);
}

/// Functions that return closures: making one is the call, not running it.
pub mod results {
    use crate::case::ok;

    #[exoscope::instrument]
    fn adder(more: u32) -> impl Fn(u32) -> u32 {
        move |a| a + more
    }

    #[exoscope::instrument]
    fn boxed(more: u32) -> Box<dyn FnMut() -> u32> {
        let mut count = 0;
        Box::new(move || {
            exoscope::call!("runs", {
                count += more;
                count
            })
        })
    }

    #[exoscope::instrument]
    fn composed<A, B, C>(f: impl Fn(A) -> B, g: impl Fn(B) -> C) -> impl Fn(A) -> C {
        move |a| g(f(a))
    }

    #[exoscope::instrument]
    fn borrowing<'a>(texts: &'a [&'a str]) -> impl Fn(usize) -> &'a str + use<'a> {
        move |at| texts[at]
    }

    fn run() {
        assert_eq!(adder(1)(2), 3);
        let mut count = boxed(2);
        assert_eq!(count() + count(), 6);
        assert_eq!(composed(adder(1), |a| a * 2)(3), 8);
        assert_eq!(borrowing(&["a"])(0), "a");
    }

    case!(run => [
        ok("adder"),
        ok("boxed"),
        ok("runs"),
        ok("runs"),
        ok("adder"),
        ok("composed"),
        ok("borrowing"),
    ]);
}

/// Function pointers, of every ABI.
pub mod pointers {
    use crate::case::ok;

    #[exoscope::instrument]
    fn plain(a: u32) -> u32 {
        a + 1
    }

    #[exoscope::instrument]
    extern "C" fn foreign(a: u32) -> u32 {
        a + 2
    }

    #[exoscope::instrument]
    unsafe fn dangerous(a: u32) -> u32 {
        a + 3
    }

    #[exoscope::instrument]
    fn borrowed(text: &str) -> &str {
        text
    }

    #[exoscope::instrument]
    fn applied(f: fn(u32) -> u32, times: u32) -> u32 {
        (0..times).fold(0, |value, _| f(value))
    }

    struct Table {
        plain: fn(u32) -> u32,
        foreign: extern "C" fn(u32) -> u32,
        dangerous: unsafe fn(u32) -> u32,
        borrowed: for<'a> fn(&'a str) -> &'a str,
    }

    const TABLE: Table = Table {
        plain,
        foreign,
        dangerous,
        borrowed,
    };

    fn run() {
        assert_eq!(applied(TABLE.plain, 2), 2);
        assert_eq!((TABLE.foreign)(1), 3);
        // SAFETY: it needs nothing.
        assert_eq!(unsafe { (TABLE.dangerous)(1) }, 4);
        assert_eq!((TABLE.borrowed)("a"), "a");
        assert_eq!([1, 2].map(plain), [2, 3]);
    }

    case!(run => [
        ok("applied").with(&[ok("plain"), ok("plain")]),
        ok("foreign"),
        ok("dangerous"),
        ok("borrowed"),
        ok("plain"),
        ok("plain"),
    ]);
}

/// `call!` around blocks: what leaves the block is what the call returns.
pub mod in_blocks {
    use crate::case::{err, ok};

    #[exoscope::instrument]
    fn steps(text: &str) -> Result<u32, String> {
        let number = exoscope::call!("parsing", {
            let number = text.parse::<u32>().map_err(|error| error.to_string())?;
            if number > 10 {
                return Err("too large".to_owned());
            }
            Ok::<_, String>(number)
        })?;
        exoscope::call!("nothing", {});
        Ok(number)
    }

    fn run() {
        assert_eq!(steps("1"), Ok(1));
        assert!(steps("11").is_err());
    }

    const KIND: &str = "alloc::string::String";

    case!(run => [
        ok("steps").with(&[ok("parsing"), ok("nothing")]),
        err("steps", KIND, "too large").with(&[err("parsing", KIND, "too large")]),
    ]);
}
