//! Functions that return iterators: one call from the first `next` to the end, with the number of
//! their items.

use crate::case::Case;

/// The cases of this file.
pub const CASES: &[Case] = &[
    completed::CASE,
    dropped::CASE,
    never_advanced::CASE,
    errors::CASE,
    per_item::CASE,
    within_each_other::CASE,
    methods::CASE,
    blocks::CASE,
    moved::CASE,
    more_than_iterators::CASE,
    #[cfg(panic = "unwind")]
    panics::CASE,
];

/// To its end, inside of the call that consumes it.
pub mod completed {
    use crate::case::ok;

    #[exoscope::instrument]
    fn numbers(count: u32) -> impl Iterator<Item = u32> {
        before();
        (0..count).map(step)
    }

    #[exoscope::instrument]
    fn before() {}

    #[exoscope::instrument]
    fn step(number: u32) -> u32 {
        number
    }

    #[exoscope::instrument]
    fn sums(count: u32) -> u32 {
        let mut sum = 0;
        for number in numbers(count) {
            sum += uses(number);
        }
        sum
    }

    #[exoscope::instrument]
    fn uses(number: u32) -> u32 {
        number
    }

    fn run() {
        assert_eq!(sums(2), 1);
        assert_eq!(sums(0), 0);
    }

    // What runs before the iterator is made, and what its consumer does between two items, are no part
    // of it.
    case!(run => [
        ok("sums").with(&[
            ok("before"),
            ok("numbers").items(2).with(&[ok("step"), ok("step")]),
            ok("uses"),
            ok("uses"),
        ]),
        ok("sums").with(&[ok("before"), ok("numbers").items(0)]),
    ]);
}

/// Dropped before the end, with what it holds.
pub mod dropped {
    use crate::case::{cancelled, ok};

    struct Guard;

    #[exoscope::instrument]
    impl Drop for Guard {
        fn drop(&mut self) {}
    }

    #[exoscope::instrument]
    fn numbers() -> impl Iterator<Item = u32> {
        let guard = Guard;
        (0..9).inspect(move |_| {
            let _ = &guard;
        })
    }

    #[exoscope::instrument]
    fn finds() -> Option<u32> {
        numbers().find(|number| *number == 1)
    }

    fn run() {
        assert_eq!(finds(), Some(1));
        assert_eq!(numbers().take(3).count(), 3);
    }

    case!(run => [
        ok("finds").with(&[cancelled("numbers").items(2).with(&[ok("Guard::drop")])]),
        cancelled("numbers").items(3).with(&[ok("Guard::drop")]),
    ]);
}

/// Never advanced: no row.
pub mod never_advanced {
    use crate::case::ok;

    #[exoscope::instrument]
    fn numbers() -> impl Iterator<Item = u32> {
        [1, 2].into_iter()
    }

    fn run() {
        drop(numbers());
        assert_eq!(numbers().take(0).count(), 0);
        assert_eq!([7].into_iter().chain(numbers()).next(), Some(7));
        assert_eq!(numbers().size_hint(), (2, Some(2)));
        assert_eq!(numbers().count(), 2);
    }

    case!(run => [ok("numbers").items(2)]);
}

/// An error is the iterator's where it is the last item.
pub mod errors {
    use crate::case::{cancelled, err, ok};

    #[exoscope::instrument]
    fn parsed<'a>(texts: &'a [&str]) -> impl Iterator<Item = Result<u8, String>> + use<'a> {
        texts
            .iter()
            .map(|text| text.parse().map_err(|_| format!("not {text}")))
    }

    /// A result that holds an iterator is no iterator: the call is the function's own execution.
    #[exoscope::instrument]
    fn opened(texts: &[&'static str]) -> Result<impl Iterator<Item = u8>, String> {
        let first = texts.first().ok_or("nothing")?;
        let first: u8 = first.parse().map_err(|_| "no number")?;
        Ok(std::iter::repeat_n(first, 2))
    }

    #[exoscope::instrument]
    fn all(texts: &[&str]) -> Result<Vec<u8>, String> {
        parsed(texts).collect()
    }

    fn run() {
        assert_eq!(parsed(&["1", "x"]).count(), 2);
        assert_eq!(parsed(&["x", "1"]).count(), 2);
        assert!(all(&["1", "x", "2"]).is_err());
        assert_eq!(opened(&["1"]).map(Iterator::count), Ok(2));
        assert!(opened(&[]).is_err());
    }

    const KIND: &str = "alloc::string::String";

    // Who stops at the first error drops an iterator that may have had more.
    case!(run => [
        err("parsed", KIND, "not x").items(2),
        ok("parsed").items(2),
        err("all", KIND, "not x").with(&[cancelled("parsed").items(2).gave(KIND, "not x")]),
        ok("opened"),
        err("opened", KIND, "nothing"),
    ]);
}

/// One call an item, for who asks for it: from when it is wanted until it is there.
pub mod per_item {
    use crate::case::{cancelled, err, ok};

    #[exoscope::instrument(items)]
    fn parsed<'a>(texts: &'a [&str]) -> impl Iterator<Item = Result<u8, String>> + use<'a> {
        texts.iter().map(|text| parse(text))
    }

    #[exoscope::instrument]
    fn parse(text: &str) -> Result<u8, String> {
        text.parse().map_err(|_| format!("not {text}"))
    }

    #[exoscope::instrument(items)]
    fn endless() -> impl Iterator<Item = u32> {
        std::iter::repeat_with(made)
    }

    #[exoscope::instrument]
    fn made() -> u32 {
        1
    }

    fn run() {
        assert_eq!(parsed(&["1", "x", "2"]).count(), 3);
        assert_eq!(endless().take(2).sum::<u32>(), 2);
    }

    const KIND: &str = "alloc::string::String";
    const PARSED: crate::case::Row = ok("parsed::item").with(&[ok("parse")]);
    const MADE: crate::case::Row = ok("endless::item").with(&[ok("made")]);

    // The last one comes to nothing.
    case!(run => [
        ok("parsed").items(3).with(&[
            PARSED,
            err("parsed::item", KIND, "not x").with(&[err("parse", KIND, "not x")]),
            PARSED,
            cancelled("parsed::item"),
        ]),
        cancelled("endless").items(2).with(&[MADE, MADE]),
    ]);
}

/// Iterators that make iterators.
pub mod within_each_other {
    use crate::case::ok;

    #[exoscope::instrument]
    fn lines(pages: u32) -> impl Iterator<Item = u32> {
        (0..pages).flat_map(page)
    }

    #[exoscope::instrument]
    fn page(page: u32) -> impl Iterator<Item = u32> {
        (0..=page).filter(|line| keeps(*line))
    }

    #[exoscope::instrument]
    fn keeps(line: u32) -> bool {
        line > 0
    }

    fn run() {
        assert_eq!(lines(2).count(), 1);
    }

    case!(run => [
        ok("lines").items(1).with(&[
            ok("page").items(0).with(&[ok("keeps")]),
            ok("page").items(1).with(&[ok("keeps"), ok("keeps")]),
        ]),
    ]);
}

/// Methods, also of traits, and iterators that borrow.
pub mod methods {
    use crate::case::ok;

    struct Table(Vec<u32>);

    #[exoscope::instrument]
    impl Table {
        fn iter(&self) -> impl Iterator<Item = &u32> {
            self.0.iter()
        }
        fn iter_mut(&mut self) -> impl Iterator<Item = &mut u32> {
            self.0.iter_mut()
        }
        fn matching<'a>(
            &'a self,
            keep: impl Fn(&u32) -> bool + 'a,
        ) -> impl Iterator<Item = u32> + 'a {
            self.iter().copied().filter(keep)
        }
        /// Its call is the function's own execution: a box is no `impl Iterator`.
        fn boxed(&self) -> Box<dyn Iterator<Item = u32> + '_> {
            Box::new(self.iter().copied())
        }
    }

    trait Scan {
        fn scan(&self) -> impl Iterator<Item = u32>;
    }

    #[exoscope::instrument]
    impl Scan for Table {
        fn scan(&self) -> impl Iterator<Item = u32> {
            self.0.iter().map(|row| row + 1)
        }
    }

    fn run() {
        let mut table = Table(vec![1, 2, 3]);
        table.iter_mut().for_each(|value| *value += 1);
        assert_eq!(table.matching(|value| *value > 2).count(), 2);
        assert_eq!(table.boxed().count(), 3);
        assert_eq!(table.scan().last(), Some(5));
    }

    case!(run => [
        ok("Table::iter_mut").items(3),
        ok("Table::matching").items(2).with(&[ok("Table::iter").items(3)]),
        ok("Table::boxed"),
        ok("Table::iter").items(3),
        ok("Table::scan").items(3),
    ]);
}

/// `iterator!` around whatever is an iterator or becomes one.
pub mod blocks {
    use crate::case::{err, ok};

    fn run() {
        let numbers = exoscope::iterator!("numbers", vec![1, 2]);
        assert_eq!(numbers.count(), 2);
        let tries = exoscope::iterator!("tries", [Ok(1), Err("the last")]);
        assert_eq!(tries.count(), 2);
        let nested = exoscope::iterator!("outer", exoscope::iterator!("inner", 0..1));
        assert_eq!(nested.count(), 1);
    }

    case!(run => [
        ok("numbers").items(2),
        err("tries", "&str", "the last").items(2),
        ok("outer").items(1).with(&[ok("inner").items(1)]),
    ]);
}

/// Moved between items, to another place and to another thread.
pub mod moved {
    use std::thread;

    use crate::case::ok;

    #[exoscope::instrument]
    fn numbers() -> impl Iterator<Item = u32> + Send {
        [1, 2, 3].into_iter().map(step)
    }

    #[exoscope::instrument]
    fn step(number: u32) -> u32 {
        number
    }

    fn run() {
        let mut numbers = numbers();
        assert_eq!(numbers.next(), Some(1));
        let mut moved = Box::new(numbers);
        assert_eq!(moved.next(), Some(2));
        let rest = thread::spawn(move || moved.count()).join();
        assert_eq!(rest.ok(), Some(1));
    }

    case!(run => [
        ok("numbers").items(3).elsewhere().with(&[
            ok("step").elsewhere(),
            ok("step").elsewhere(),
            ok("step"),
        ]),
    ].needs_entries());
}

/// Iterators that have to be more than that, and such that are named: the call is the function's own
/// execution.
pub mod more_than_iterators {
    use crate::case::ok;

    #[exoscope::instrument]
    fn both_ends() -> impl DoubleEndedIterator<Item = u32> + ExactSizeIterator {
        [1, 2].into_iter()
    }

    #[exoscope::instrument]
    fn cloned() -> impl Iterator<Item = u32> + Clone {
        0..3
    }

    #[exoscope::instrument]
    fn named() -> std::ops::Range<u32> {
        0..3
    }

    #[exoscope::instrument]
    fn into_iterator() -> impl IntoIterator<Item = u32> {
        [1]
    }

    fn run() {
        assert_eq!(both_ends().rev().len(), 2);
        let numbers = cloned();
        assert_eq!(numbers.clone().count() + numbers.count(), 6);
        assert_eq!(named().count(), 3);
        assert_eq!(into_iterator().into_iter().count(), 1);
    }

    case!(run => [ok("both_ends"), ok("cloned"), ok("named"), ok("into_iterator")]);
}

/// Panics end an iterator with the items that it gave until then.
#[cfg(panic = "unwind")]
pub mod panics {
    use std::panic::catch_unwind;

    use crate::case::{ok, panic};

    #[exoscope::instrument]
    fn numbers() -> impl Iterator<Item = u32> {
        (0..3).map(|number| if number == 2 { falls() } else { number })
    }

    #[exoscope::instrument]
    fn falls() -> u32 {
        panic!("in an iterator");
    }

    #[exoscope::instrument(items)]
    fn each() -> impl Iterator<Item = u32> {
        (0..3).map(|number| if number == 1 { falls() } else { number })
    }

    fn run() {
        assert!(catch_unwind(|| numbers().count()).is_err());
        assert!(catch_unwind(|| each().count()).is_err());
    }

    const FALLS: crate::case::Row = panic("falls").said("in an iterator");

    case!(run => [
        panic("numbers").items(2).with(&[FALLS]),
        panic("each").items(1).with(&[ok("each::item"), panic("each::item").with(&[FALLS])]),
    ]);
}
