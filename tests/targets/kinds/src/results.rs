//! What functions return, and the ways by which they do.

use crate::case::Case;

/// The cases of this file.
pub const CASES: &[Case] = &[
    unit::CASE,
    references::CASE,
    large::CASE,
    option::CASE,
    aliases::CASE,
    any_error::CASE,
    boxed::CASE,
    unsaid::CASE,
    messages::CASE,
    early::CASE,
    question_mark::CASE,
    labelled::CASE,
    ten_frames::CASE,
    retries::CASE,
    typed::CASE,
];

/// `()`, written or not.
pub mod unit {
    use crate::case::ok;

    #[exoscope::instrument]
    fn nothing(count: &mut u32) {
        *count += 1;
    }

    #[exoscope::instrument]
    fn written(count: &mut u32) -> () {
        *count += 1
    }

    #[exoscope::instrument]
    fn empty() {}

    #[exoscope::instrument]
    fn returns(count: &mut u32) {
        if *count > 0 {
            return;
        }
        *count = 100;
    }

    fn run() {
        let mut count = 0;
        nothing(&mut count);
        written(&mut count);
        empty();
        returns(&mut count);
        assert_eq!(count, 2);
    }

    case!(run => [ok("nothing"), ok("written"), ok("empty"), ok("returns")]);
}

/// Borrowed from arguments.
pub mod references {
    use crate::case::ok;

    #[exoscope::instrument]
    fn first<'a>(values: &'a [String], _other: &str) -> Option<&'a str> {
        values.first().map(String::as_str)
    }

    #[exoscope::instrument]
    fn changed(values: &mut Vec<u32>) -> &mut u32 {
        values.push(0);
        values.last_mut().expect("pushed above")
    }

    #[exoscope::instrument]
    fn parts(text: &mut (String, String)) -> (&mut String, &str) {
        (&mut text.0, &text.1)
    }

    #[exoscope::instrument]
    fn constant() -> &'static str {
        "constant"
    }

    fn run() {
        let texts = [String::from("a")];
        assert_eq!(first(&texts, &String::new()), Some("a"));
        let mut values = vec![];
        *changed(&mut values) = 7;
        assert_eq!(values, [7]);
        let mut both = (String::new(), String::from("b"));
        let (left, right) = parts(&mut both);
        left.push_str(right);
        assert_eq!(both.0, "b");
        assert_eq!(constant(), "constant");
    }

    case!(run => [ok("first"), ok("changed"), ok("parts"), ok("constant")]);
}

/// Large values: the markers add no copy of them. What is returned knows where it was made.
pub mod large {
    use std::mem::MaybeUninit;
    use std::ptr::NonNull;

    use crate::case::{err, ok};

    const SIZE: usize = 64 << 10;

    /// A value that knows where it was made.
    #[repr(C)]
    struct Large {
        made_at: NonNull<Large>,
        rest: MaybeUninit<[u8; SIZE]>,
    }

    /// `()` is what is no address: a null pointer in [`Large::made_at`].
    type Made = Result<Large, ()>;
    const _: () = assert!(size_of::<Made>() == size_of::<Large>());

    impl Large {
        fn has_stayed(&self) -> bool {
            self.made_at == NonNull::from(self)
        }
    }

    /// Makes a value where the caller wants it.
    #[unsafe(naked)]
    unsafe extern "C" fn make() -> Large {
        #[cfg(target_arch = "x86_64")]
        std::arch::naked_asm!("mov [rdi], rdi", "mov rax, rdi", "ret");
        #[cfg(target_arch = "aarch64")]
        std::arch::naked_asm!("str x8, [x8]", "ret");
    }

    /// The same as an `Ok`, or makes an `Err`.
    #[allow(improper_ctypes_definitions, reason = "only its place matters")]
    #[unsafe(naked)]
    unsafe extern "C" fn make_or_fail(fail: bool) -> Made {
        #[cfg(target_arch = "x86_64")]
        std::arch::naked_asm!(
            "mov rax, rdi", // the place
            "xor ecx, ecx",
            "test sil, sil",
            "cmovz rcx, rdi",
            "mov [rdi], rcx",
            "ret",
        );
        #[cfg(target_arch = "aarch64")]
        std::arch::naked_asm!("tst w0, #1", "csel x1, x8, xzr, eq", "str x1, [x8]", "ret");
    }

    macro_rules! twins {
        ($(#[$attribute:meta])* => $plain:ident $fails:ident $handed_on:ident $outer:ident) => {
            $(#[$attribute])*
            #[inline(never)]
            fn $plain() -> Large {
                // SAFETY: the function does as it says.
                unsafe { make() }
            }

            $(#[$attribute])*
            #[inline(never)]
            fn $fails(fail: bool) -> Made {
                // SAFETY: as above.
                unsafe { make_or_fail(fail) }
            }

            $(#[$attribute])*
            #[inline(never)]
            fn $handed_on() -> Made {
                $fails(false)
            }

            /// Whether what each of them returns lies where it was made.
            fn $outer() -> [bool; 3] {
                assert!($fails(true).is_err());
                let plain = $plain();
                let made = $fails(false);
                let handed_on = $handed_on();
                let stayed = |large: Option<&Large>| large.is_some_and(Large::has_stayed);
                [
                    stayed(Some(&plain)),
                    stayed(made.as_ref().ok()),
                    stayed(handed_on.as_ref().ok()),
                ]
            }
        };
    }

    twins!(=> bare_plain bare_fails bare_handed_on bare_outer);
    twins!(#[exoscope::instrument] => plain fails handed_on outer);

    fn run() {
        let (bare, marked) = (bare_outer(), outer());
        // Without optimisation values are copied in many places, by the bare ones too.
        if cfg!(not(debug_assertions)) {
            assert_eq!(bare, [true; 3]);
            assert_eq!(marked, bare);
        }
    }

    case!(run => [
        err("fails", "()", "()"),
        ok("plain"),
        ok("fails"),
        ok("handed_on").with(&[ok("fails")]),
    ]);
}

/// `Option`: `None` is no error.
pub mod option {
    use crate::case::ok;

    #[exoscope::instrument]
    fn half(number: u32) -> Option<u32> {
        (number % 2 == 0).then_some(number / 2)
    }

    #[exoscope::instrument]
    fn quarter(number: u32) -> Option<u32> {
        half(half(number)?)
    }

    #[exoscope::instrument]
    fn nested() -> Option<Result<u32, String>> {
        Some(Err("inside".to_owned()))
    }

    fn run() {
        assert_eq!(quarter(8), Some(2));
        assert_eq!(quarter(3), None);
        assert!(nested().is_some_and(|inside| inside.is_err()));
    }

    case!(run => [
        ok("quarter").with(&[ok("half"), ok("half")]),
        ok("quarter").with(&[ok("half")]),
        ok("nested"),
    ]);
}

/// `Result` under other names, and with other parameters.
pub mod aliases {
    use std::{fmt, io};

    use crate::case::{err, ok};

    type Answer<T = (), E = String> = Result<T, E>;

    type Fixed = Result<u32, fmt::Error>;

    mod deeper {
        pub type Outcome<E> = super::Answer<(), E>;
    }

    struct Owner;

    trait Has {
        type Returned;
    }

    impl Has for Owner {
        type Returned = Result<u8, String>;
    }

    #[exoscope::instrument]
    fn aliased(fail: bool) -> Answer {
        if fail {
            Err("aliased".to_owned())
        } else {
            Ok(())
        }
    }

    #[exoscope::instrument]
    fn fixed() -> Fixed {
        Err(fmt::Error)
    }

    #[exoscope::instrument]
    fn twice_aliased() -> deeper::Outcome<char> {
        Err('e')
    }

    #[exoscope::instrument]
    fn of_io() -> io::Result<()> {
        Err(io::Error::other("of io"))
    }

    #[exoscope::instrument]
    fn of_fmt(to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("x")
    }

    #[exoscope::instrument]
    fn associated() -> <Owner as Has>::Returned {
        Err("associated".to_owned())
    }

    struct Shown;

    impl fmt::Display for Shown {
        fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
            of_fmt(to)
        }
    }

    fn run() {
        assert!(aliased(false).is_ok() && aliased(true).is_err());
        assert!(fixed().is_err() && twice_aliased().is_err() && of_io().is_err());
        assert_eq!(Shown.to_string(), "x");
        assert!(associated().is_err());
    }

    case!(run => [
        ok("aliased"),
        err("aliased", "alloc::string::String", "aliased"),
        err("fixed", "core::fmt::Error", "an error occurred when formatting an argument"),
        err("twice_aliased", "char", "e"),
        err("of_io", "std::io::error::Error", "of io"),
        ok("of_fmt"),
        err("associated", "alloc::string::String", "associated"),
    ]);
}

/// `anyhow`.
pub mod any_error {
    use anyhow::{Context, bail, ensure};

    use crate::case::{err, ok};

    #[exoscope::instrument]
    fn parse(text: &str) -> anyhow::Result<u32> {
        ensure!(!text.is_empty(), "nothing to parse");
        if text == "bad" {
            bail!("{text} is bad");
        }
        Ok(text.parse()?)
    }

    #[exoscope::instrument]
    fn load(text: &str) -> anyhow::Result<u32> {
        parse(text).with_context(|| format!("can't load {text:?}"))
    }

    fn run() {
        assert_eq!(load("1").ok(), Some(1));
        for text in ["", "bad", "x"] {
            assert!(load(text).is_err());
        }
    }

    case!(run => [
        ok("load").with(&[ok("parse")]),
        err("load", "anyhow::Error", "can't load \"\"").with(&[
            err("parse", "anyhow::Error", "nothing to parse"),
        ]),
        err("load", "anyhow::Error", "can't load \"bad\"").with(&[
            err("parse", "anyhow::Error", "bad is bad"),
        ]),
        err("load", "anyhow::Error", "can't load \"x\"").with(&[
            err("parse", "anyhow::Error", "invalid digit found in string"),
        ]),
    ]);
}

/// Errors in boxes, and behind references.
pub mod boxed {
    use std::error::Error;
    use std::sync::Arc;

    use crate::case::err;

    #[exoscope::instrument]
    fn local(text: &str) -> Result<u8, Box<dyn Error>> {
        Ok(text.parse()?)
    }

    #[exoscope::instrument]
    fn sent() -> Result<(), Box<dyn Error + Send + Sync + 'static>> {
        Err("sent")?
    }

    #[exoscope::instrument]
    fn shared() -> Result<(), Arc<str>> {
        Err("shared".into())
    }

    #[exoscope::instrument]
    fn borrowed<'a>(text: &'a str) -> Result<u8, &'a str> {
        text.parse().map_err(|_| text)
    }

    fn run() {
        assert!(local("300").is_err() && sent().is_err() && shared().is_err());
        assert_eq!(borrowed("text"), Err("text"));
    }

    case!(run => [
        err(
            "local",
            "alloc::boxed::Box<dyn core::error::Error>",
            "number too large to fit in target type",
        ),
        err(
            "sent",
            "alloc::boxed::Box<dyn core::error::Error + core::marker::Send + core::marker::Sync>",
            "sent",
        ),
        err("shared", "alloc::sync::Arc<str>", "shared"),
        err("borrowed", "&str", "text"),
    ]);
}

/// Errors that only have `Debug`, and such that have nothing.
pub mod unsaid {
    use crate::case::{err, err_unsaid};

    #[derive(Debug)]
    #[expect(dead_code, reason = "shown by `Debug`")]
    enum Refused {
        ByRule(u8),
    }

    struct Silent;

    #[exoscope::instrument]
    fn debugged() -> Result<(), Refused> {
        Err(Refused::ByRule(7))
    }

    #[exoscope::instrument]
    fn silent() -> Result<(), Silent> {
        Err(Silent)
    }

    #[exoscope::instrument]
    fn unit() -> Result<u32, ()> {
        Err(())
    }

    fn run() {
        assert!(debugged().is_err() && silent().is_err() && unit().is_err());
    }

    case!(run => [
        err("debugged", "kinds::results::unsaid::Refused", "ByRule(7)"),
        err_unsaid("silent", "kinds::results::unsaid::Silent"),
        err("unit", "()", "()"),
    ]);
}

/// Messages of every sort: long ones are cut, formatting that fails or panics ends them.
pub mod messages {
    use std::fmt;

    use crate::case::{err, ok};

    struct Message(&'static str);

    impl fmt::Display for Message {
        fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
            to.write_str(self.0)
        }
    }

    struct Fails;

    impl fmt::Display for Fails {
        fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
            to.write_str("so far")?;
            Err(fmt::Error)
        }
    }

    /// Calls a function of its own while it is formatted, which is a call only where it is.
    #[exoscope::instrument]
    fn fails(message: &'static str) -> Result<(), Message> {
        Err(Message(message))
    }

    #[exoscope::instrument]
    fn fails_to_say() -> Result<(), Fails> {
        Err(Fails)
    }

    #[exoscope::instrument]
    fn done() {}

    const LONG: &str = concat!(
        "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567",
        "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567",
        "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567",
        "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567",
        "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567",
        "012345678901234567890123456789012345678901234567890123456789012345678901",
        " and what does not fit",
    );

    /// What fits ends within a character, which is left out.
    const WIDE: &str = concat!(
        "0",
        "äöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöü",
        "äöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöü",
        "äöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöü",
        "äöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöü",
        "äöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöü",
        "äöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöü",
        "äöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöü",
    );

    fn run() {
        assert!(fails("two\nlines, a \"quote\" and ä").is_err());
        assert!(fails("").is_err());
        assert!(fails(LONG).is_err());
        assert!(fails(WIDE).is_err());
        assert!(fails("a\0b\u{1b}[1m").is_err());
        assert!(fails_to_say().is_err());
        done();
    }

    case!(run => [
        err("fails", "kinds::results::messages::Message", "two\nlines, a \"quote\" and ä"),
        crate::case::err_unsaid("fails", "kinds::results::messages::Message"),
        err("fails", "kinds::results::messages::Message", LONG.split_at(512).0).cut(),
        err("fails", "kinds::results::messages::Message", WIDE.split_at(511).0).cut(),
        err("fails", "kinds::results::messages::Message", "a\0b\u{1b}[1m"),
        err("fails_to_say", "kinds::results::messages::Fails", "so far"),
        ok("done"),
    ]);
}

/// `return` from everywhere.
pub mod early {
    use crate::case::{err, ok};

    #[exoscope::instrument]
    fn classified(number: i32) -> Result<&'static str, String> {
        if number < 0 {
            return Err(format!("{number} is negative"));
        }
        for divisor in [2, 3] {
            if number % divisor == 0 {
                return Ok(match divisor {
                    2 => "even",
                    _ => return Ok("of three"),
                });
            }
        }
        let Some(rest) = number.checked_sub(5) else {
            return Ok("small");
        };
        return Ok(if rest == 0 { "five" } else { "other" });
    }

    fn run() {
        let all = [-1, 2, 3, 5, 7].map(classified);
        assert!(all[0].is_err());
        let rest: Vec<_> = all.iter().flatten().copied().collect();
        assert_eq!(rest, ["even", "of three", "five", "other"]);
    }

    case!(run => [
        err("classified", "alloc::string::String", "-1 is negative"),
        ok("classified"),
        ok("classified"),
        ok("classified"),
        ok("classified"),
    ]);
}

/// `?`, with and without a conversion.
pub mod question_mark {
    use std::num::ParseIntError;

    use crate::case::{err, ok};

    #[derive(Debug)]
    enum Failed {
        Number(ParseIntError),
        Range(u32),
    }

    impl std::fmt::Display for Failed {
        fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            match self {
                Self::Number(error) => write!(to, "no number: {error}"),
                Self::Range(number) => write!(to, "{number} is too large"),
            }
        }
    }

    impl From<ParseIntError> for Failed {
        fn from(error: ParseIntError) -> Self {
            Self::Number(error)
        }
    }

    #[exoscope::instrument]
    fn number(text: &str) -> Result<u32, ParseIntError> {
        text.parse()
    }

    #[exoscope::instrument]
    fn checked(text: &str) -> Result<u32, Failed> {
        let number = number(text)?;
        (number < 10).then_some(number).ok_or(Failed::Range(number))
    }

    #[exoscope::instrument]
    fn sum(texts: &[&str]) -> Result<u32, Failed> {
        texts.iter().map(|text| checked(text)).sum()
    }

    #[exoscope::instrument]
    fn recovered(text: &str) -> Option<u32> {
        checked(text).ok()?.checked_add(1)
    }

    fn run() {
        assert_eq!(sum(&["1", "2"]).ok(), Some(3));
        assert!(sum(&["1", "x", "2"]).is_err());
        assert!(sum(&["10"]).is_err());
        assert_eq!(recovered("x"), None);
    }

    const KIND: &str = "kinds::results::question_mark::Failed";
    const NO_NUMBER: &str = "no number: invalid digit found in string";
    const NUMBER: crate::case::Row = err(
        "number",
        "core::num::error::ParseIntError",
        "invalid digit found in string",
    );

    case!(run => [
        ok("sum").with(&[
            ok("checked").with(&[ok("number")]),
            ok("checked").with(&[ok("number")]),
        ]),
        err("sum", KIND, NO_NUMBER).with(&[
            ok("checked").with(&[ok("number")]),
            err("checked", KIND, NO_NUMBER).with(&[NUMBER]),
        ]),
        err("sum", KIND, "10 is too large").with(&[
            err("checked", KIND, "10 is too large").with(&[ok("number")]),
        ]),
        ok("recovered").with(&[err("checked", KIND, NO_NUMBER).with(&[NUMBER])]),
    ]);
}

/// Breaks with values out of loops and blocks.
pub mod labelled {
    use crate::case::{err, ok};

    #[exoscope::instrument]
    fn product_above(limit: u32) -> u32 {
        let mut pairs = 0;
        let found = 'outer: loop {
            for a in 1_u32.. {
                for b in 1..=a {
                    pairs += 1;
                    if a * b > limit {
                        break 'outer a * b;
                    }
                    if b > 2 {
                        continue 'outer;
                    }
                }
            }
        };
        'block: {
            if found > 0 {
                break 'block found;
            }
            pairs
        }
    }

    #[exoscope::instrument]
    fn or_fails(fail: bool) -> Result<u32, String> {
        let value = 'value: {
            if fail {
                break 'value Err("broken off".to_owned());
            }
            Ok(1)
        };
        'last: {
            if fail {
                break 'last;
            }
            return Ok(value? + 1);
        }
        value
    }

    fn run() {
        assert_eq!(product_above(3), 4);
        assert_eq!(or_fails(false), Ok(2));
        assert!(or_fails(true).is_err());
    }

    case!(run => [
        ok("product_above"),
        ok("or_fails"),
        err("or_fails", "alloc::string::String", "broken off"),
    ]);
}

/// One error through ten frames: ten rows, and one line in `errors`, at its origin.
pub mod ten_frames {
    use crate::case::err;

    #[derive(Debug, PartialEq)]
    struct Broken;

    #[exoscope::instrument]
    fn origin() -> Result<(), Broken> {
        Err(Broken)
    }

    #[exoscope::instrument]
    fn frame(further: u32) -> Result<(), Broken> {
        if further == 0 {
            origin()?;
        } else {
            frame(further - 1)?;
        }
        Ok(())
    }

    fn run() {
        assert_eq!(frame(8), Err(Broken));
    }

    const KIND: &str = "kinds::results::ten_frames::Broken";

    case!(run => [
        err("frame", KIND, "Broken").chain(9).with(&[err("origin", KIND, "Broken")]),
    ]);
}

/// Tries again: each failed attempt is an error of its own, the last is the one that travels.
pub mod retries {
    use crate::case::{err, ok};

    #[exoscope::instrument]
    fn attempt(number: u32, works: u32) -> Result<u32, String> {
        if number < works {
            Err(format!("attempt {number}"))
        } else {
            Ok(number)
        }
    }

    #[exoscope::instrument]
    fn up_to_three(works: u32) -> Result<u32, String> {
        let mut last = Err(String::new());
        for number in 0..3 {
            last = attempt(number, works);
            if last.is_ok() {
                break;
            }
        }
        last
    }

    fn run() {
        assert_eq!(up_to_three(1), Ok(1));
        assert!(up_to_three(9).is_err());
    }

    const KIND: &str = "alloc::string::String";

    case!(run => [
        ok("up_to_three").with(&[err("attempt", KIND, "attempt 0"), ok("attempt")]),
        err("up_to_three", KIND, "attempt 2").with(&[
            err("attempt", KIND, "attempt 0"),
            err("attempt", KIND, "attempt 1"),
            err("attempt", KIND, "attempt 2"),
        ]),
    ]);
}

/// Types that the body infers from the signature alone.
pub mod typed {
    use std::collections::BTreeMap;
    use std::fmt::Debug;

    use crate::case::{err, ok};

    #[exoscope::instrument]
    fn collected(texts: &[&str]) -> Result<BTreeMap<usize, u32>, std::num::ParseIntError> {
        texts
            .iter()
            .map(|text| Ok((text.len(), text.parse()?)))
            .collect()
    }

    #[exoscope::instrument]
    fn coerced(wide: bool) -> Box<dyn Debug> {
        if wide {
            return Box::new(1_u64);
        }
        Box::new("narrow")
    }

    #[exoscope::instrument]
    fn coerced_slice() -> &'static [u8] {
        b"four"
    }

    #[exoscope::instrument]
    fn coerced_function() -> fn(u32) -> u32 {
        |a| a + 1
    }

    #[exoscope::instrument]
    fn inferred() -> Vec<u64> {
        let mut values = Vec::new();
        values.push("1".parse().unwrap_or_default());
        values
    }

    #[exoscope::instrument]
    fn default<T: Default>() -> T {
        T::default()
    }

    fn run() {
        assert_eq!(collected(&["1", "22"]).map(|map| map.len()), Ok(2));
        assert!(collected(&["x"]).is_err());
        assert_eq!(
            format!("{:?}{:?}", coerced(true), coerced(false)),
            "1\"narrow\""
        );
        assert_eq!(coerced_slice().len(), 4);
        assert_eq!(coerced_function()(1), 2);
        assert_eq!(inferred(), [1]);
        assert_eq!(default::<u8>(), 0);
    }

    case!(run => [
        ok("collected"),
        err("collected", "core::num::error::ParseIntError", "invalid digit found in string"),
        ok("coerced"),
        ok("coerced"),
        ok("coerced_slice"),
        ok("coerced_function"),
        ok("inferred"),
        ok("default"),
    ]);
}
