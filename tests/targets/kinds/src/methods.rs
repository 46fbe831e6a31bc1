//! Methods: of types and traits, with every receiver.

use crate::case::Case;

/// The cases of this file.
pub const CASES: &[Case] = &[
    receivers::CASE,
    receivers_alone::CASE,
    associated::CASE,
    generic::CASE,
    defaults::CASE,
    objects::CASE,
    blanket::CASE,
    foreign_types::CASE,
    supertraits::CASE,
    left_out::CASE,
    enums::CASE,
];

/// Every receiver, in an instrumented block.
pub mod receivers {
    use std::pin::Pin;
    use std::rc::Rc;
    use std::sync::Arc;

    use crate::case::ok;

    #[derive(Clone)]
    struct Store(Vec<u32>);

    #[exoscope::instrument]
    impl Store {
        fn by_value(self) -> Vec<u32> {
            self.0
        }
        fn by_mutable_value(mut self) -> Self {
            self.0.push(1);
            self
        }
        fn by_reference(&self) -> &[u32] {
            &self.0
        }
        fn by_mutable_reference(&mut self) -> &mut u32 {
            &mut self.0[0]
        }
        fn by_lifetime<'a>(&'a self, _other: &u32) -> &'a u32 {
            &self.0[0]
        }
        fn by_pin(self: Pin<&Self>) -> usize {
            self.0.len()
        }
        fn by_mutable_pin(self: Pin<&mut Self>) -> &mut Vec<u32> {
            &mut self.get_mut().0
        }
        fn by_box(self: Box<Self>) -> Box<Self> {
            self
        }
        fn by_rc(self: Rc<Self>) -> usize {
            Rc::strong_count(&self)
        }
        fn by_arc(self: Arc<Self>) -> Self {
            Arc::unwrap_or_clone(self)
        }
        fn by_borrowed_arc(self: &Arc<Self>) -> usize {
            Arc::strong_count(self)
        }
        fn by_pinned_box(self: Pin<Box<Self>>) -> Pin<Box<Self>> {
            self
        }
    }

    fn run() {
        let mut store = Store(vec![1]).by_mutable_value();
        assert_eq!(store.by_reference(), [1, 1]);
        *store.by_mutable_reference() = 4;
        assert_eq!(*store.by_lifetime(&0), 4);
        assert_eq!(Pin::new(&store).by_pin(), 2);
        Pin::new(&mut store).by_mutable_pin().push(5);
        assert_eq!(Box::new(store.clone()).by_box().0.len(), 3);
        assert_eq!(Rc::new(store.clone()).by_rc(), 1);
        let shared = Arc::new(store);
        assert_eq!(shared.by_borrowed_arc(), 1);
        assert_eq!(Box::pin(shared.by_arc()).by_pinned_box().0.len(), 3);
        assert!(Store(vec![]).by_value().is_empty());
    }

    case!(run => [
        ok("Store::by_mutable_value"),
        ok("Store::by_reference"),
        ok("Store::by_mutable_reference"),
        ok("Store::by_lifetime"),
        ok("Store::by_pin"),
        ok("Store::by_mutable_pin"),
        ok("Store::by_box"),
        ok("Store::by_rc"),
        ok("Store::by_borrowed_arc"),
        ok("Store::by_arc"),
        ok("Store::by_pinned_box"),
        ok("Store::by_value"),
    ]);
}

/// The attribute on single methods: the type is found in the binary's symbols.
pub mod receivers_alone {
    use std::pin::Pin;
    use std::sync::Arc;

    use crate::case::ok;

    struct Store(u32);

    impl Store {
        #[exoscope::instrument]
        fn by_value(self) -> u32 {
            self.0
        }
        #[exoscope::instrument]
        fn by_reference(&self) -> &u32 {
            &self.0
        }
        #[exoscope::instrument]
        fn by_mutable_reference(&mut self) -> &mut Self {
            self.0 += 1;
            self
        }
        #[exoscope::instrument]
        fn by_mutable_pin(self: Pin<&mut Self>) -> u32 {
            self.0
        }
        #[exoscope::instrument]
        fn by_box(self: Box<Self>) -> u32 {
            self.0
        }
        #[exoscope::instrument]
        fn by_arc(self: Arc<Self>) -> u32 {
            self.0
        }
        #[exoscope::instrument]
        fn new() -> Self {
            Self(0)
        }
    }

    fn run() {
        let mut store = Store::new();
        assert_eq!(*store.by_mutable_reference().by_reference(), 1);
        assert_eq!(Pin::new(&mut store).by_mutable_pin(), 1);
        assert_eq!(store.by_value(), 1);
        assert_eq!(Box::new(Store(2)).by_box() + Arc::new(Store(3)).by_arc(), 5);
    }

    case!(run => [
        ok("Store::new"),
        ok("Store::by_mutable_reference"),
        ok("Store::by_reference"),
        ok("Store::by_mutable_pin"),
        ok("Store::by_value"),
        ok("Store::by_box"),
        ok("Store::by_arc"),
    ]);
}

/// Functions of types and traits without a receiver.
pub mod associated {
    use crate::case::{err, ok};

    #[derive(Debug)]
    struct Meters(u32);

    #[exoscope::instrument]
    impl Meters {
        const ZERO: Self = Self(0);

        fn new(value: u32) -> Self {
            Self(value)
        }
        fn checked(value: i32) -> Result<Self, String> {
            match u32::try_from(value) {
                Ok(value) => Ok(Self::new(value)),
                Err(_) => Err(format!("{value} meters")),
            }
        }
    }

    trait Unit: Sized {
        const NAME: &str;
        fn zero() -> Self;
        fn name() -> &'static str {
            Self::NAME
        }
    }

    #[exoscope::instrument]
    impl Unit for Meters {
        const NAME: &str = "m";
        fn zero() -> Self {
            Self::ZERO
        }
        fn name() -> &'static str {
            "meters"
        }
    }

    fn run() {
        assert_eq!(Meters::checked(1).map(|meters| meters.0), Ok(1));
        assert!(Meters::checked(-1).is_err());
        assert_eq!(Meters::zero().0, 0);
        assert_eq!(Meters::name(), "meters");
    }

    case!(run => [
        ok("Meters::checked").with(&[ok("Meters::new")]),
        err("Meters::checked", "alloc::string::String", "-1 meters"),
        ok("Meters::zero"),
        ok("Meters::name"),
    ]);
}

/// Generic types, and generic methods of them: one function for all instances.
pub mod generic {
    use std::fmt::Debug;

    use crate::case::ok;

    struct Pair<'a, T, const N: usize>(&'a [T; N]);

    #[exoscope::instrument]
    impl<'a, T: Clone + Debug, const N: usize> Pair<'a, T, N> {
        fn get(&self, index: usize) -> Option<&'a T> {
            self.0.get(index)
        }
        fn paired<U: Into<T>>(&self, other: U) -> (T, T) {
            (self.0[0].clone(), other.into())
        }
    }

    impl<T: Debug> Pair<'_, T, 1> {
        #[exoscope::instrument]
        fn only(&self) -> &T {
            &self.0[0]
        }
    }

    struct Wrapped<T>(T);

    impl<T> Wrapped<Vec<T>> {
        #[exoscope::instrument]
        fn count(&self) -> usize {
            self.0.len()
        }
    }

    impl Wrapped<String> {
        #[exoscope::instrument]
        fn letters(&self) -> usize {
            self.0.len()
        }
    }

    fn run() {
        assert_eq!(Pair(&[1_u8, 2]).get(1), Some(&2));
        assert_eq!(Pair(&["a"]).get(1), None);
        assert_eq!(Pair(&[1_u64]).paired(2_u32), (1, 2));
        assert_eq!(Pair(&['c']).only(), &'c');
        assert_eq!(
            Wrapped(vec![0; 3]).count() + Wrapped("ab".to_owned()).letters(),
            5
        );
    }

    case!(run => [
        ok("Pair::get"),
        ok("Pair::get"),
        ok("Pair::paired"),
        ok("Pair::only"),
        ok("Wrapped::count"),
        ok("Wrapped::letters"),
    ]);
}

/// Methods that a trait gives, and such that override them.
pub mod defaults {
    use crate::case::ok;

    #[exoscope::instrument]
    trait Shape {
        fn area(&self) -> u32;
        fn twice(&self) -> u32 {
            2 * self.area()
        }
        fn named(&self) -> String
        where
            Self: Sized,
        {
            format!("{}", self.twice())
        }
    }

    trait Alone {
        #[exoscope::instrument]
        fn given(&self) -> u32 {
            1
        }
        #[exoscope::instrument]
        fn required(&self) -> u32;
    }

    struct Square(u32);

    struct Line;

    #[exoscope::instrument]
    impl Shape for Square {
        fn area(&self) -> u32 {
            self.0 * self.0
        }
    }

    impl Shape for Line {
        fn area(&self) -> u32 {
            0
        }
        #[exoscope::instrument]
        fn twice(&self) -> u32 {
            0
        }
    }

    impl Alone for Line {
        fn required(&self) -> u32 {
            2
        }
    }

    fn run() {
        assert_eq!(Square(2).named(), "8");
        assert_eq!(Line.named(), "0");
        assert_eq!(Line.given() + Line.required(), 3);
    }

    case!(run => [
        ok("Shape::named").with(&[ok("Shape::twice").with(&[ok("Square::area")])]),
        ok("Shape::named").with(&[ok("Line::twice")]),
        ok("Alone::given"),
    ]);
}

/// Calls through `dyn Trait`.
pub mod objects {
    use std::sync::Arc;

    use crate::case::ok;

    trait Speak {
        fn speak(&self) -> String;
        fn consume(self: Box<Self>) -> String;
    }

    struct Dog;

    struct Cat {
        name: String,
    }

    #[exoscope::instrument]
    impl Speak for Dog {
        fn speak(&self) -> String {
            "woof".to_owned()
        }
        fn consume(self: Box<Self>) -> String {
            "gone".to_owned()
        }
    }

    impl Speak for Cat {
        #[exoscope::instrument]
        fn speak(&self) -> String {
            self.name.clone()
        }
        #[exoscope::instrument]
        fn consume(self: Box<Self>) -> String {
            self.name
        }
    }

    #[exoscope::instrument]
    impl dyn Speak {
        fn twice(&self) -> String {
            self.speak() + &self.speak()
        }
    }

    #[exoscope::instrument]
    fn all(speakers: &[Box<dyn Speak>]) -> usize {
        speakers.iter().map(|speaker| speaker.speak().len()).sum()
    }

    fn run() {
        let cat = || Cat {
            name: "mia".to_owned(),
        };
        assert_eq!(all(&[Box::new(Dog), Box::new(cat())]), 7);
        let boxed: Box<dyn Speak> = Box::new(cat());
        assert_eq!(boxed.consume(), "mia");
        let dog: Box<dyn Speak> = Box::new(Dog);
        assert_eq!(dog.consume(), "gone");
        let shared: Arc<dyn Speak> = Arc::new(Dog);
        assert_eq!(shared.twice(), "woofwoof");
    }

    case!(run => [
        ok("all").with(&[ok("Dog::speak"), ok("Cat::speak")]),
        ok("Cat::consume"),
        ok("Dog::consume"),
        ok("dynSpeak::twice").with(&[ok("Dog::speak"), ok("Dog::speak")]),
    ]);
}

/// Implementations for every type, for references, and for other generic shapes.
pub mod blanket {
    use std::fmt::{Debug, Display};

    use crate::case::ok;

    trait Describe {
        fn describe(&self) -> String;
    }

    #[exoscope::instrument]
    impl<T: Debug + ?Sized> Describe for T {
        fn describe(&self) -> String {
            format!("{self:?}")
        }
    }

    trait Shout {
        fn shout(&self) -> String;
    }

    impl<T: Display + ?Sized> Shout for T {
        #[exoscope::instrument]
        fn shout(&self) -> String {
            format!("{self}!")
        }
    }

    trait Len {
        fn length(&self) -> usize;
    }

    #[exoscope::instrument]
    impl<T: Len> Len for &T {
        fn length(&self) -> usize {
            (*self).length()
        }
    }

    #[exoscope::instrument]
    impl<T, const N: usize> Len for [T; N] {
        fn length(&self) -> usize {
            N
        }
    }

    fn run() {
        assert_eq!(1_u8.describe(), "1");
        assert_eq!("a".describe(), "\"a\"");
        assert_eq!(1.5_f32.shout(), "1.5!");
        assert_eq!(<&[u8; 3] as Len>::length(&&[0; 3]), 3);
    }

    case!(run => [
        ok("T::describe"),
        ok("T::describe"),
        ok("shout"),
        ok("T::length").with(&[ok("[T;N]::length")]),
    ]);
}

/// Traits of ours for types of others.
pub mod foreign_types {
    use std::collections::HashMap;

    use crate::case::ok;

    trait Total {
        fn total(&self) -> u32;
    }

    #[exoscope::instrument]
    impl Total for Vec<u32> {
        fn total(&self) -> u32 {
            self.iter().sum()
        }
    }

    #[exoscope::instrument]
    impl Total for str {
        fn total(&self) -> u32 {
            self.len() as u32
        }
    }

    impl<K> Total for HashMap<K, u32> {
        #[exoscope::instrument]
        fn total(&self) -> u32 {
            self.values().sum()
        }
    }

    #[exoscope::instrument]
    impl Total for (u32, u32) {
        fn total(&self) -> u32 {
            self.0 + self.1
        }
    }

    #[exoscope::instrument]
    impl Total for fn() -> u32 {
        fn total(&self) -> u32 {
            self()
        }
    }

    fn run() {
        assert_eq!(vec![1, 2].total() + "abc".total() + (1, 1).total(), 8);
        assert_eq!(HashMap::from([("a", 4)]).total(), 4);
        assert_eq!((u32::default as fn() -> u32).total(), 0);
    }

    case!(run => [
        ok("Vec::total"),
        ok("str::total"),
        ok("(u32,u32)::total"),
        ok("total"),
        ok("fn()->u32::total"),
    ]);
}

/// Methods called through supertraits, and one name in two traits.
pub mod supertraits {
    use crate::case::ok;

    trait Base {
        fn id(&self) -> u32;
    }

    trait Derived: Base {
        fn id(&self) -> u32;
        fn both(&self) -> u32 {
            Base::id(self) + Derived::id(self)
        }
    }

    struct Thing;

    #[exoscope::instrument]
    impl Base for Thing {
        fn id(&self) -> u32 {
            1
        }
    }

    #[exoscope::instrument]
    impl Derived for Thing {
        fn id(&self) -> u32 {
            2
        }
        fn both(&self) -> u32 {
            Base::id(self) + Derived::id(self) + 10
        }
    }

    fn run() {
        let derived: &dyn Derived = &Thing;
        assert_eq!(derived.both(), 13);
        let base: &dyn Base = derived;
        assert_eq!(base.id(), 1);
    }

    case!(run => [
        ok("Thing::both").with(&[ok("Thing::id"), ok("Thing::id")]),
        ok("Thing::id"),
    ]);
}

/// What an instrumented block leaves alone.
pub mod left_out {
    use crate::case::ok;

    struct Counter {
        count: u32,
    }

    #[exoscope::instrument]
    impl Counter {
        const fn constant() -> Self {
            Self { count: 1 }
        }
        #[exoscope::skip]
        fn bare(&self) -> u32 {
            self.count
        }
        #[exoscope::instrument(name = "renamed")]
        fn named(&mut self) -> u32 {
            self.count += 1;
            self.bare()
        }
        fn last(self) -> u32 {
            self.count
        }
    }

    fn run() {
        const COUNTER: Counter = Counter::constant();
        let mut counter = COUNTER;
        assert_eq!(counter.named() + counter.bare() + counter.last(), 6);
    }

    case!(run => [ok("renamed"), ok("Counter::last")]);
}

/// Methods of enums and unions, and `Self` in every place.
pub mod enums {
    use crate::case::{err, ok};

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum State {
        Idle,
        Busy(u32),
    }

    #[exoscope::instrument]
    impl State {
        fn next(self) -> Result<Self, Self> {
            match self {
                Self::Idle => Ok(Self::Busy(1)),
                Self::Busy(rest) if rest > 1 => Ok(Self::Busy(rest - 1)),
                Self::Busy(_) => Err(Self::Idle),
            }
        }
        fn all() -> [Self; 2] {
            [Self::Idle, Self::Busy(2)]
        }
    }

    union Bits {
        float: f32,
        bits: u32,
    }

    impl Bits {
        #[exoscope::instrument]
        fn of(float: f32) -> u32 {
            // SAFETY: every bit pattern is a number.
            unsafe { Self { float }.bits }
        }
    }

    fn run() {
        assert_eq!(
            State::all().map(State::next),
            [Ok(State::Busy(1)), Ok(State::Busy(1))]
        );
        assert_eq!(State::Busy(1).next(), Err(State::Idle));
        assert_eq!(Bits::of(1.0), 1.0_f32.to_bits());
    }

    case!(run => [
        ok("State::all"),
        ok("State::next"),
        ok("State::next"),
        err("State::next", "kinds::methods::enums::State", "Idle"),
        ok("Bits::of"),
    ]);
}
