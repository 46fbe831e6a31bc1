//! Functions that the language calls.

use crate::case::Case;

/// The cases of this file.
pub const CASES: &[Case] = &[
    pointers::CASE,
    indices::CASE,
    arithmetic::CASE,
    comparisons::CASE,
    conversions::CASE,
    formatting::CASE,
    iterator_next::CASE,
    drops::CASE,
    drop_order::CASE,
];

/// `Deref`, `DerefMut`, `AsRef`, `Borrow`.
pub mod pointers {
    use std::borrow::Borrow;
    use std::ops::{Deref, DerefMut};

    use crate::case::ok;

    struct Guard(String);

    #[exoscope::instrument]
    impl Deref for Guard {
        type Target = String;
        fn deref(&self) -> &String {
            &self.0
        }
    }

    #[exoscope::instrument]
    impl DerefMut for Guard {
        fn deref_mut(&mut self) -> &mut String {
            &mut self.0
        }
    }

    impl AsRef<str> for Guard {
        #[exoscope::instrument]
        fn as_ref(&self) -> &str {
            self
        }
    }

    impl Borrow<str> for Guard {
        #[exoscope::instrument]
        fn borrow(&self) -> &str {
            &self.0
        }
    }

    fn run() {
        let mut guard = Guard("a".to_owned());
        assert_eq!(guard.len(), 1);
        guard.push('b');
        assert_eq!(guard.as_ref(), "ab");
        assert_eq!(Borrow::<str>::borrow(&guard), "ab");
    }

    case!(run => [
        ok("Guard::deref"),
        ok("Guard::deref_mut"),
        ok("Guard::as_ref").with(&[ok("Guard::deref")]),
        ok("Guard::borrow"),
    ]);
}

/// `Index`, `IndexMut`, of several index types.
pub mod indices {
    use std::ops::{Index, IndexMut, Range};

    use crate::case::ok;

    struct Table(Vec<u32>);

    #[exoscope::instrument]
    impl Index<usize> for Table {
        type Output = u32;
        fn index(&self, index: usize) -> &u32 {
            &self.0[index]
        }
    }

    #[exoscope::instrument]
    impl IndexMut<usize> for Table {
        fn index_mut(&mut self, index: usize) -> &mut u32 {
            &mut self.0[index]
        }
    }

    impl Index<Range<usize>> for Table {
        type Output = [u32];
        #[exoscope::instrument]
        fn index(&self, index: Range<usize>) -> &[u32] {
            &self.0[index]
        }
    }

    fn run() {
        let mut table = Table(vec![1, 2, 3]);
        table[1] += 5;
        assert_eq!(table[1], 7);
        assert_eq!(table[0..2], [1, 7]);
    }

    case!(run => [ok("Table::index_mut"), ok("Table::index"), ok("Table::index")]);
}

/// `Add`, `Neg`, `AddAssign`, `Not`, by value and by reference.
pub mod arithmetic {
    use std::ops::{Add, AddAssign, Neg, Not};

    use crate::case::ok;

    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Vector(i32, i32);

    #[exoscope::instrument]
    impl Add for Vector {
        type Output = Self;
        fn add(self, other: Self) -> Self {
            Self(self.0 + other.0, self.1 + other.1)
        }
    }

    #[exoscope::instrument]
    impl<'a> Add<&'a Vector> for &Vector {
        type Output = Vector;
        fn add(self, other: &'a Vector) -> Vector {
            *self + *other
        }
    }

    #[exoscope::instrument]
    impl AddAssign for Vector {
        fn add_assign(&mut self, other: Self) {
            *self = *self + other;
        }
    }

    impl Neg for Vector {
        type Output = Self;
        #[exoscope::instrument]
        fn neg(self) -> Self {
            Self(-self.0, -self.1)
        }
    }

    impl Not for Vector {
        type Output = bool;
        #[exoscope::instrument]
        fn not(self) -> bool {
            self.0 == 0 && self.1 == 0
        }
    }

    fn run() {
        let mut sum = &Vector(1, 2) + &Vector(3, 4);
        sum += Vector(1, 1);
        assert_eq!(-sum, Vector(-5, -7));
        assert!(!Vector(0, 0));
    }

    case!(run => [
        ok("Vector::add").with(&[ok("Vector::add")]),
        ok("Vector::add_assign").with(&[ok("Vector::add")]),
        ok("Vector::neg"),
        ok("Vector::not"),
    ]);
}

/// `PartialEq`, `PartialOrd`, `Ord`, `Hash`, as collections call them.
pub mod comparisons {
    use std::cmp::Ordering;
    use std::hash::{DefaultHasher, Hash, Hasher};

    use crate::case::ok;

    #[derive(Eq)]
    struct Version(u32);

    #[exoscope::instrument]
    impl PartialEq for Version {
        fn eq(&self, other: &Self) -> bool {
            self.0 == other.0
        }
    }

    #[exoscope::instrument]
    impl PartialOrd for Version {
        fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
            Some(self.cmp(other))
        }
    }

    #[exoscope::instrument]
    impl Ord for Version {
        fn cmp(&self, other: &Self) -> Ordering {
            self.0.cmp(&other.0)
        }
    }

    impl Hash for Version {
        #[exoscope::instrument]
        fn hash<H: Hasher>(&self, state: &mut H) {
            self.0.hash(state);
        }
    }

    fn run() {
        assert!(Version(1) == Version(1));
        assert!(Version(1) < Version(2));
        assert_eq!(
            [Version(2), Version(1)]
                .iter()
                .max()
                .map(|version| version.0),
            Some(2)
        );
        Version(1).hash(&mut DefaultHasher::new());
    }

    case!(run => [
        ok("Version::eq"),
        ok("Version::partial_cmp").with(&[ok("Version::cmp")]),
        ok("Version::cmp"),
        ok("Version::hash"),
    ]);
}

/// `From`, `TryFrom`, `FromStr`, `Default`, `Clone`, `FromIterator`.
pub mod conversions {
    use std::num::ParseIntError;
    use std::str::FromStr;

    use crate::case::{err, ok};

    #[derive(Debug)]
    struct Port(u16);

    #[exoscope::instrument]
    impl From<u16> for Port {
        fn from(port: u16) -> Self {
            Self(port)
        }
    }

    #[exoscope::instrument]
    impl TryFrom<u64> for Port {
        type Error = u64;
        fn try_from(port: u64) -> Result<Self, Self::Error> {
            let port = u16::try_from(port).map_err(|_| port)?;
            Ok(port.into())
        }
    }

    #[exoscope::instrument]
    impl FromStr for Port {
        type Err = ParseIntError;
        fn from_str(text: &str) -> Result<Self, Self::Err> {
            text.parse().map(Self)
        }
    }

    impl Default for Port {
        #[exoscope::instrument]
        fn default() -> Self {
            Self(80)
        }
    }

    impl Clone for Port {
        #[exoscope::instrument]
        fn clone(&self) -> Self {
            Self(self.0)
        }
    }

    struct Ports(Vec<Port>);

    impl FromIterator<Port> for Ports {
        #[exoscope::instrument]
        fn from_iter<T: IntoIterator<Item = Port>>(ports: T) -> Self {
            Self(ports.into_iter().collect())
        }
    }

    fn run() {
        assert_eq!(Port::try_from(7_u64).map(|port| port.0), Ok(7));
        assert_eq!(Port::try_from(70_000_u64).map(|port| port.0), Err(70_000));
        assert!("x".parse::<Port>().is_err());
        assert_eq!(Port::default().0, 80);
        assert_eq!(
            vec![Port(1)].clone().into_iter().collect::<Ports>().0.len(),
            1
        );
    }

    case!(run => [
        ok("Port::try_from").with(&[ok("Port::from")]),
        err("Port::try_from", "u64", "70000"),
        err("Port::from_str", "core::num::error::ParseIntError", "invalid digit found in string"),
        ok("Port::default"),
        ok("Port::clone"),
        ok("Ports::from_iter"),
    ]);
}

/// `Display`: formatting is a call like any other. That of an error's message, which happens because
/// somebody looks, is one inside the call that failed.
pub mod formatting {
    use std::fmt;

    use crate::case::{err, ok};

    struct Name(&'static str);

    #[exoscope::instrument]
    impl fmt::Display for Name {
        fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(to, "<{}>", self.0)
        }
    }

    #[exoscope::instrument]
    fn refuse(fail: bool) -> Result<(), Name> {
        if fail { Err(Name("refused")) } else { Ok(()) }
    }

    fn run() {
        assert_eq!(format!("{} {}", Name("a"), Name("b")), "<a> <b>");
        assert!(refuse(false).is_ok());
        assert!(refuse(true).is_err());
    }

    case!(run => [
        ok("Name::fmt"),
        ok("Name::fmt"),
        ok("refuse"),
        err("refuse", "kinds::operators::formatting::Name", "<refused>").with(&[ok("Name::fmt")]),
    ]);
}

/// `Iterator::next`, `DoubleEndedIterator::next_back`, `IntoIterator`: one call each time.
pub mod iterator_next {
    use crate::case::ok;

    struct Countdown(u32);

    #[exoscope::instrument]
    impl Iterator for Countdown {
        type Item = u32;
        fn next(&mut self) -> Option<u32> {
            self.0 = self.0.checked_sub(1)?;
            Some(self.0)
        }
        fn size_hint(&self) -> (usize, Option<usize>) {
            (self.0 as usize, Some(self.0 as usize))
        }
    }

    struct Rocket;

    impl IntoIterator for Rocket {
        type Item = u32;
        type IntoIter = Countdown;
        #[exoscope::instrument]
        fn into_iter(self) -> Countdown {
            Countdown(2)
        }
    }

    fn run() {
        let mut seen = 0;
        for _ in Rocket {
            seen += 1;
        }
        assert_eq!(seen, 2);
        assert_eq!(Countdown(1).size_hint(), (1, Some(1)));
    }

    case!(run => [
        ok("Rocket::into_iter"),
        ok("Countdown::next"),
        ok("Countdown::next"),
        ok("Countdown::next"),
        ok("Countdown::size_hint"),
    ]);
}

/// `Drop::drop`, wherever the value is dropped.
pub mod drops {
    use crate::case::ok;

    struct Guard<'a>(&'a str);

    #[exoscope::instrument]
    impl Drop for Guard<'_> {
        fn drop(&mut self) {
            cleanup(self.0);
        }
    }

    #[exoscope::instrument]
    fn cleanup(_name: &str) {}

    #[exoscope::instrument]
    fn scope() {
        let _first = Guard("first");
        let _second = Guard("second");
        work();
    }

    #[exoscope::instrument]
    fn work() {}

    #[exoscope::instrument]
    fn taken(guard: Guard<'_>) -> usize {
        guard.0.len()
    }

    #[exoscope::instrument]
    fn moved(guard: Guard<'_>) {
        drop(guard);
        work();
    }

    fn run() {
        scope();
        assert_eq!(taken(Guard("a")), 1);
        moved(Guard("a"));
        drop(vec![Guard("a")]);
    }

    const DROPPED: crate::case::Row = ok("Guard::drop").with(&[ok("cleanup")]);

    // What the body does not move of its arguments is dropped when the call has ended.
    case!(run => [
        ok("scope").with(&[ok("work"), DROPPED, DROPPED]),
        ok("taken"),
        DROPPED,
        ok("moved").with(&[DROPPED, ok("work")]),
        DROPPED,
    ]);
}

/// Temporaries and arguments are dropped in the order of the bare function.
pub mod drop_order {
    use std::cell::RefCell;

    use crate::case::ok;

    thread_local! {
        static DROPPED: RefCell<String> = const { RefCell::new(String::new()) };
    }

    struct Noisy(char);

    impl Drop for Noisy {
        fn drop(&mut self) {
            DROPPED.with_borrow_mut(|dropped| dropped.push(self.0));
        }
    }

    macro_rules! twins {
        ($(#[$attribute:meta])* => $name:ident $async_name:ident) => {
            $(#[$attribute])*
            fn $name(_a: Noisy, (b, _): (Noisy, Noisy), _: Noisy, d: Noisy) -> Noisy {
                let _local = Noisy('l');
                drop(b);
                let _ = Noisy('t');
                d
            }

            $(#[$attribute])*
            async fn $async_name(_a: Noisy, (b, _): (Noisy, Noisy), _: Noisy, d: Noisy) -> Noisy {
                let _local = Noisy('l');
                drop(b);
                let _ = Noisy('t');
                d
            }
        };
    }

    twins!(=> bare bare_async);
    twins!(#[exoscope::instrument] => marked marked_async);

    fn order(call: impl FnOnce(Noisy, (Noisy, Noisy), Noisy, Noisy) -> Noisy) -> String {
        drop(call(
            Noisy('a'),
            (Noisy('b'), Noisy('c')),
            Noisy('_'),
            Noisy('d'),
        ));
        DROPPED.take()
    }

    fn run() {
        assert_eq!(order(marked), order(bare));
        let bare = order(|a, b, c, d| pollster::block_on(bare_async(a, b, c, d)));
        let marked = order(|a, b, c, d| pollster::block_on(marked_async(a, b, c, d)));
        assert_eq!(marked, bare);
    }

    case!(run => [ok("marked"), ok("marked_async")]);
}
