//! Functions that run when they are called, by how they are declared.

use crate::case::Case;

/// The cases of this file.
pub const CASES: &[Case] = &[
    plain::CASE,
    generic::CASE,
    implied::CASE,
    recursive::CASE,
    nested::CASE,
    same_names::CASE,
    in_macro::CASE,
    unsafe_::CASE,
    foreign::CASE,
    patterns::CASE,
    inlined::CASE,
    tracked::CASE,
    must_use::CASE,
    named::CASE,
    module::CASE,
    configured::CASE,
];

/// One that calls another.
pub mod plain {
    use crate::case::ok;

    #[exoscope::instrument]
    fn inner(a: u32) -> u32 {
        a + 1
    }

    #[exoscope::instrument]
    fn outer(a: u32) -> u32 {
        inner(a) + inner(a + 1)
    }

    fn run() {
        assert_eq!(outer(1), 5);
        assert_eq!(inner(3), 4);
    }

    case!(run => [
        ok("outer").with(&[ok("inner"), ok("inner")]),
        ok("inner"),
    ]);
}

/// Generic over types, numbers and lifetimes: all instances are one function.
pub mod generic {
    use std::collections::HashMap;
    use std::fmt::Debug;
    use std::hash::Hash;

    use crate::case::ok;

    #[exoscope::instrument]
    fn by_type<T: Debug>(value: T) -> String {
        format!("{value:?}")
    }

    #[exoscope::instrument]
    fn by_number<T: Copy + Default, const N: usize>(first: T) -> [T; N] {
        let mut values = [T::default(); N];
        values[0] = first;
        values
    }

    #[exoscope::instrument]
    fn by_lifetime<'long: 'short, 'short>(long: &'long str, short: &'short str) -> &'short str {
        if short.is_empty() { long } else { short }
    }

    #[exoscope::instrument]
    fn bounded<'map, K, V>(map: &'map HashMap<K, V>, key: &K) -> Option<&'map V>
    where
        K: Hash + Eq,
        for<'a> &'a V: IntoIterator,
    {
        let found = map.get(key)?;
        Some(found).filter(|values| values.into_iter().count() > 0)
    }

    fn run() {
        assert_eq!(by_type(1_u8), "1");
        assert_eq!(by_type::<&str>("a"), "\"a\"");
        assert_eq!(by_number::<u8, 3>(1), [1, 0, 0]);
        assert_eq!(by_number::<_, 1>(1.5), [1.5]);
        assert_eq!(by_lifetime("a", &String::from("b")), "b");
        let map = HashMap::from([(1, vec![2]), (2, vec![])]);
        assert_eq!(bounded(&map, &1), Some(&vec![2]));
        assert_eq!(bounded(&map, &2), None);
    }

    case!(run => [
        ok("by_type"),
        ok("by_type"),
        ok("by_number"),
        ok("by_number"),
        ok("by_lifetime"),
        ok("bounded"),
        ok("bounded"),
    ]);
}

/// `impl Trait` in arguments and results.
pub mod implied {
    use std::fmt::Display;
    use std::num::ParseIntError;

    use crate::case::{err, ok};

    #[exoscope::instrument]
    fn taken(value: impl Display, more: &[impl Display]) -> String {
        more.iter()
            .fold(value.to_string(), |all, one| format!("{all}{one}"))
    }

    #[exoscope::instrument]
    fn given(text: &str) -> impl Display + '_ {
        text.trim()
    }

    #[exoscope::instrument]
    fn in_result(text: &str) -> Result<impl Display + use<>, ParseIntError> {
        let number: u32 = text.parse()?;
        Ok(number * 2)
    }

    #[exoscope::instrument]
    fn several() -> (impl Fn(u32) -> u32, Option<impl Display>) {
        (|a| a + 1, Some("text"))
    }

    fn run() {
        assert_eq!(taken(1, &["a", "b"]), "1ab");
        assert_eq!(given(" a ").to_string(), "a");
        assert_eq!(
            in_result("2").map(|value| value.to_string()),
            Ok("4".to_owned())
        );
        assert!(in_result("x").is_err());
        assert_eq!(several().0(1), 2);
    }

    case!(run => [
        ok("taken"),
        ok("given"),
        ok("in_result"),
        err("in_result", "core::num::error::ParseIntError", "invalid digit found in string"),
        ok("several"),
    ]);
}

/// 100,000 deep: a call takes 16 bytes of a frame, and without optimization a little more.
pub mod recursive {
    use std::hint::black_box;

    use crate::case::ok;

    const DEPTH: u32 = 100_000;
    /// What the main thread has as a rule.
    const STACK: usize = if cfg!(debug_assertions) {
        20 << 20
    } else {
        8 << 20
    };
    /// Bytes of the stack that a call takes at most.
    const TAKEN: usize = if cfg!(debug_assertions) { 160 } else { 16 };

    #[exoscope::instrument]
    fn down(depth: u32) -> u32 {
        if depth == 0 {
            0
        } else {
            black_box(down(depth - 1)) + 1
        }
    }

    #[exoscope::instrument]
    fn even(number: u32) -> bool {
        number == 0 || odd(number - 1)
    }

    #[exoscope::instrument]
    fn odd(number: u32) -> bool {
        number != 0 && even(number - 1)
    }

    /// Where the stack ends.
    #[inline(never)]
    fn here() -> usize {
        let local = 0_u8;
        black_box(&raw const local) as usize
    }

    macro_rules! twins {
        ($(#[$attribute:meta])* => $name:ident) => {
            /// Bytes of the stack from one level to the next.
            $(#[$attribute])*
            #[inline(never)]
            fn $name(depth: u32) -> usize {
                let here = here();
                match depth {
                    0 => here,
                    1 => here - $name(0),
                    _ => black_box($name(depth - 1)),
                }
            }
        };
    }

    twins!(=> bare_level);
    twins!(#[exoscope::instrument] => level);

    fn run() {
        assert!(even(4));
        let (bare, marked) = (bare_level(2), level(2));
        assert!(
            marked <= bare + TAKEN,
            "{marked} bytes, the bare one {bare}"
        );
        let thread = std::thread::Builder::new().stack_size(STACK);
        let counted = thread
            .spawn(|| down(DEPTH - 1))
            .expect("a thread starts")
            .join();
        assert_eq!(counted.ok(), Some(DEPTH - 1));
    }

    case!(run => [
        ok("even").with(&[ok("odd").with(&[ok("even").with(&[ok("odd").with(&[ok("even")])])])]),
        ok("level").chain(3),
        ok("down").on_thread().chain(DEPTH),
    ]);
}

/// Functions in functions, in blocks and in closures.
pub mod nested {
    use crate::case::ok;

    #[exoscope::instrument]
    fn outer() -> u32 {
        #[exoscope::instrument]
        fn inner() -> u32 {
            #[exoscope::instrument]
            fn innermost() -> u32 {
                1
            }
            innermost() + 1
        }
        inner() + 1
    }

    fn bare() -> u32 {
        #[exoscope::instrument]
        fn in_bare() -> u32 {
            1
        }
        let closure = || {
            #[exoscope::instrument]
            fn in_closure() -> u32 {
                1
            }
            in_closure()
        };
        in_bare() + closure()
    }

    fn run() {
        assert_eq!(outer(), 3);
        assert_eq!(bare(), 2);
    }

    case!(run => [
        ok("outer").with(&[ok("outer::inner").with(&[ok("outer::inner::innermost")])]),
        ok("bare::in_bare"),
        ok("bare::in_closure"),
    ]);
}

/// One name in several modules, blocks, types and traits.
pub mod same_names {
    use crate::case::ok;

    mod one {
        #[exoscope::instrument]
        pub fn name() -> u32 {
            1
        }
    }

    mod two {
        #[exoscope::instrument]
        pub fn name() -> u32 {
            2
        }
    }

    struct A;

    struct B;

    impl A {
        #[exoscope::instrument]
        fn name() -> u32 {
            3
        }
    }

    #[exoscope::instrument]
    impl B {
        fn name() -> u32 {
            4
        }
    }

    trait Name {
        fn name(&self) -> u32;
    }

    impl Name for A {
        #[exoscope::instrument]
        fn name(&self) -> u32 {
            5
        }
    }

    #[exoscope::instrument]
    impl Name for B {
        fn name(&self) -> u32 {
            6
        }
    }

    fn in_blocks() -> u32 {
        let first = {
            #[exoscope::instrument]
            fn name() -> u32 {
                7
            }
            name()
        };
        let second = {
            #[exoscope::instrument]
            fn name() -> u32 {
                8
            }
            name()
        };
        first + second
    }

    fn run() {
        assert_eq!(one::name() + two::name() + A::name() + B::name(), 10);
        assert_eq!(A.name() + B.name() + in_blocks(), 26);
    }

    case!(run => [
        ok("one::name"),
        ok("two::name"),
        ok("A::name"),
        ok("B::name"),
        ok("A::name"),
        ok("B::name"),
        ok("in_blocks::name"),
        ok("in_blocks::name"),
    ]);
}

/// Functions that a macro makes, with the attribute in the macro or at its use.
pub mod in_macro {
    use crate::case::ok;

    macro_rules! adder {
        ($name:ident, $ty:ty, $more:expr) => {
            #[exoscope::instrument]
            fn $name(a: $ty) -> $ty {
                a + $more
            }
        };
        ($(#[$attribute:meta])* => $name:ident $body:block) => {
            $(#[$attribute])*
            fn $name() -> u32 $body
        };
    }

    adder!(adds_one, u8, 1);
    adder!(adds_two, u64, { 2 });
    adder!(#[exoscope::instrument] #[inline(never)] => given { 3 });

    fn run() {
        assert_eq!(adds_one(1), 2);
        assert_eq!(adds_two(1), 3);
        assert_eq!(given(), 3);
    }

    case!(run => [ok("adds_one"), ok("adds_two"), ok("given")]);
}

/// `unsafe fn`.
pub mod unsafe_ {
    use crate::case::ok;

    /// # Safety
    /// `number` is valid.
    #[exoscope::instrument]
    unsafe fn read(number: *const u32) -> u32 {
        // SAFETY: the caller says so.
        unsafe { *number }
    }

    fn run() {
        // SAFETY: a reference is valid.
        assert_eq!(unsafe { read(&7) }, 7);
    }

    case!(run => [ok("read")]);
}

/// `extern "C"`, called by C too.
pub mod foreign {
    use std::ffi::{c_int, c_void};

    use crate::case::ok;

    #[exoscope::instrument]
    #[unsafe(no_mangle)]
    extern "C" fn exoscope_kinds_plus(a: c_int) -> c_int {
        a + 1
    }

    #[exoscope::instrument]
    unsafe extern "C" fn compare(a: *const c_void, b: *const c_void) -> c_int {
        // SAFETY: `qsort` hands on addresses of elements.
        let (a, b) = unsafe { (*a.cast::<i32>(), *b.cast::<i32>()) };
        a.cmp(&b) as c_int
    }

    #[exoscope::instrument]
    extern "C-unwind" fn unwinds(fail: bool) -> bool {
        !fail
    }

    fn run() {
        assert_eq!(exoscope_kinds_plus(1), 2);
        let mut values = [2, 1];
        // SAFETY: the array has two elements of four bytes.
        unsafe { libc::qsort((&raw mut values).cast(), 2, 4, Some(compare)) };
        assert_eq!(values, [1, 2]);
        assert!(unwinds(false));
    }

    case!(run => [ok("exoscope_kinds_plus"), ok("compare"), ok("unwinds")]);
}

/// Patterns of every form in arguments.
pub mod patterns {
    use crate::case::ok;

    struct Point {
        x: u32,
        y: u32,
    }

    struct Pair(u32, #[expect(dead_code, reason = "not asked for")] u32);

    #[exoscope::instrument]
    fn all(
        (a, mut b): (u32, u32),
        [c, .., d]: [u32; 4],
        Point { x, y: renamed }: Point,
        &e: &u32,
        Pair(f, ..): Pair,
        _: u32,
        mut g: u32,
        ref h: u32,
        whole @ (i, _): (u32, u32),
        r#type: u32,
        (): (),
    ) -> u32 {
        b += 1;
        g += 1;
        a + b + c + d + x + renamed + e + f + g + *h + whole.1 + i + r#type
    }

    fn run() {
        let point = Point { x: 1, y: 1 };
        assert_eq!(
            all(
                (1, 1),
                [1; 4],
                point,
                &1,
                Pair(1, 1),
                1,
                1,
                1,
                (1, 1),
                1,
                ()
            ),
            15
        );
    }

    case!(run => [ok("all")]);
}

/// Forced into its callers: one function with several sites.
pub mod inlined {
    use crate::case::ok;

    #[exoscope::instrument]
    #[inline(always)]
    fn always(a: u32) -> u32 {
        a + 1
    }

    #[inline(always)]
    #[exoscope::instrument]
    fn twice(a: u32) -> u32 {
        always(always(a))
    }

    #[exoscope::instrument]
    #[inline(never)]
    fn never(a: u32) -> u32 {
        twice(a) + always(a)
    }

    #[exoscope::instrument]
    #[cold]
    #[inline]
    fn cold(a: u32) -> u32 {
        a
    }

    fn run() {
        assert_eq!(never(1), 5);
        assert_eq!(twice(1), 3);
        assert_eq!(cold(1), 1);
    }

    case!(run => [
        ok("never").with(&[ok("twice").with(&[ok("always"), ok("always")]), ok("always")]),
        ok("twice").with(&[ok("always"), ok("always")]),
        ok("cold"),
    ]);
}

/// `#[track_caller]`.
pub mod tracked {
    use std::panic::Location;

    use crate::case::{err, ok};

    #[exoscope::instrument]
    #[track_caller]
    fn here() -> &'static Location<'static> {
        Location::caller()
    }

    #[track_caller]
    #[exoscope::instrument]
    fn through(option: Option<u32>) -> (u32, &'static Location<'static>) {
        (option.unwrap(), here())
    }

    #[exoscope::instrument]
    #[inline(always)]
    #[track_caller]
    fn inlined(fail: bool) -> Result<&'static Location<'static>, String> {
        if fail {
            return Err("asked to".to_owned());
        }
        Ok(here())
    }

    fn run() {
        let (line, location) = (line!(), here());
        assert_eq!(location.file(), file!());
        assert_eq!(location.line(), line, "the line of the caller");
        let (line, (value, location)) = (line!(), through(Some(1)));
        assert_eq!(
            (value, location.line()),
            (1, line),
            "the line of the outermost caller"
        );
        let (line, location) = (line!(), inlined(false));
        assert_eq!(location.map(Location::line), Ok(line), "the caller's");
        assert!(inlined(true).is_err());
    }

    case!(run => [
        ok("here"),
        ok("through").with(&[ok("here")]),
        ok("inlined").with(&[ok("here")]),
        err("inlined", "alloc::string::String", "asked to"),
    ]);
}

/// `#[must_use]`, and other attributes of the compiler.
pub mod must_use {
    #![expect(unused_must_use, deprecated, reason = "the attributes still warn")]

    use crate::case::ok;

    #[exoscope::instrument]
    #[must_use = "it is the answer"]
    fn answer() -> u32 {
        42
    }

    #[must_use]
    #[exoscope::instrument]
    fn other() -> u32 {
        7
    }

    #[exoscope::instrument]
    #[deprecated]
    #[allow(clippy::needless_return, reason = "for its sake")]
    fn old() -> u32 {
        return 3;
    }

    fn run() {
        answer();
        other();
        old();
    }

    case!(run => [ok("answer"), ok("other"), ok("old")]);
}

/// Named by the attribute, and by raw identifiers.
pub mod named {
    use crate::case::ok;

    #[exoscope::instrument(name = "another name")]
    fn renamed() -> u32 {
        1
    }

    #[exoscope::instrument("short")]
    fn shortly() -> u32 {
        1
    }

    #[exoscope::instrument]
    fn r#match() -> u32 {
        1
    }

    #[exoscope::instrument(level = "debug", target = "elsewhere", skip_all, err)]
    fn with_options(_text: &str) -> u32 {
        1
    }

    fn run() {
        assert_eq!(renamed() + shortly() + r#match() + with_options(""), 4);
    }

    case!(run => [ok("another name"), ok("short"), ok("match"), ok("with_options")]);
}

/// Every function of a module, but those that can't be or are left out.
#[exoscope::instrument]
pub mod module {
    use crate::case::ok;

    fn free() -> u32 {
        left_out() + deeper::constant() + S.method()
    }

    #[exoscope::skip]
    fn left_out() -> u32 {
        1
    }

    struct S;

    impl S {
        fn method(&self) -> u32 {
            deeper::deep()
        }
    }

    #[exoscope::skip]
    impl S {
        fn bare(&self) -> u32 {
            1
        }
    }

    mod deeper {
        pub fn deep() -> u32 {
            1
        }
        pub const fn constant() -> u32 {
            1
        }
    }

    #[exoscope::skip]
    fn run() {
        assert_eq!(free() + S.bare(), 4);
    }

    case!(run => [ok("free").with(&[ok("S::method").with(&[ok("deeper::deep")])])]);
}

/// The attribute, or the function, behind a condition.
pub mod configured {
    use crate::case::ok;

    #[cfg_attr(unix, exoscope::instrument)]
    fn on_condition() -> u32 {
        1
    }

    #[cfg(unix)]
    #[exoscope::instrument]
    fn chosen(#[cfg(unix)] a: u32, #[cfg(not(unix))] b: u32) -> u32 {
        a
    }

    #[cfg(not(unix))]
    #[exoscope::instrument]
    fn chosen() -> u32 {
        no_such_function()
    }

    fn run() {
        assert_eq!(on_condition() + chosen(1), 2);
    }

    case!(run => [ok("on_condition"), ok("chosen")]);
}
