//! Instrumented functions return, borrow, panic and drop as bare ones do.
#![cfg(feature = "enabled")]
#![deny(warnings)]
#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::fmt::Debug;
use std::panic::catch_unwind;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use exoscope::instrument;

thread_local! {
    static DROPPED: RefCell<Vec<&'static str>> = const { RefCell::new(Vec::new()) };
}

struct Noisy(&'static str);

impl Drop for Noisy {
    fn drop(&mut self) {
        DROPPED.with_borrow_mut(|dropped| dropped.push(self.0));
    }
}

fn dropped() -> Vec<&'static str> {
    DROPPED.take()
}

#[instrument]
fn generic<'a, T, const N: usize>(values: &'a [T; N], index: usize) -> Option<&'a T>
where
    T: Debug + Clone,
{
    values.get(index)
}

#[instrument]
fn implied(values: impl IntoIterator<Item = u32>) -> impl Iterator<Item = u32> + Clone {
    let values: Vec<u32> = values.into_iter().collect();
    values.into_iter().map(|value| value * 2)
}

#[instrument]
fn implied_in_result(text: &str) -> Result<impl Iterator<Item = char>, std::num::ParseIntError> {
    let number: u32 = text.parse()?;
    if number == 0 {
        return Ok(String::new().chars().collect::<Vec<_>>().into_iter());
    }
    Ok(vec!['x'; number as usize].into_iter())
}

type Answer<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[instrument]
fn parse(text: &str) -> Answer<u32> {
    if text.is_empty() {
        return Err("empty".into());
    }
    Ok(text.parse()?)
}

#[instrument]
fn object(wide: bool) -> Box<dyn Debug> {
    if wide {
        return Box::new(1_u64);
    }
    Box::new(1_u8)
}

#[instrument]
fn labelled(limit: u32) -> u32 {
    let mut found = 0;
    'outer: for a in 0.. {
        for b in 0..a {
            if a * b > limit {
                found = a;
                break 'outer;
            }
        }
    }
    'block: {
        if found > 3 {
            break 'block found;
        }
        0
    }
}

#[instrument]
fn recursive(depth: u32) -> u32 {
    if depth == 0 {
        0
    } else {
        recursive(depth - 1) + 1
    }
}

#[instrument]
fn never(message: &str) -> ! {
    panic!("{message}")
}

#[instrument]
fn by_pattern((a, mut b): (u32, u32), [c, ..]: [u32; 3], _: u8) -> u32 {
    b += c;
    a + b
}

#[instrument]
fn changes(mut values: Vec<u32>) -> Vec<u32> {
    values.push(1);
    values
}

#[instrument]
#[inline(always)]
#[must_use]
fn inlined() -> u32 {
    1
}

#[instrument]
extern "C" fn foreign(a: i32) -> i32 {
    a + 1
}

#[instrument(name = "another", skip_all, fields(%text, len = text.len()), err(Debug), ret)]
fn with_options(text: &str) -> Answer<usize> {
    Ok(text.len())
}

#[instrument]
fn with_inner_attribute() -> u32 {
    #![allow(unused_variables)]
    let unused = 1;
    2
}

#[instrument]
fn drops(_first: Noisy, second: Noisy, _third: Noisy) {
    let _local = Noisy("local");
    drop(second);
}

macro_rules! defined {
    ($name:ident, $result:expr) => {
        #[instrument]
        fn $name(a: u32) -> u32 {
            let result = $result;
            a + result
        }
    };
}
defined!(in_macro, 4);

struct Store {
    name: String,
    values: Vec<u32>,
}

#[instrument]
impl Store {
    const fn empty() -> Self {
        Self {
            name: String::new(),
            values: Vec::new(),
        }
    }
    fn new(name: &str, values: &[u32]) -> Self {
        Self {
            name: name.to_owned(),
            values: values.to_vec(),
        }
    }
    fn name(&self) -> &str {
        &self.name
    }
    fn first(&mut self) -> Option<&mut u32> {
        self.values.first_mut()
    }
    fn both(&mut self) -> (&mut String, &mut Vec<u32>) {
        (&mut self.name, &mut self.values)
    }
    fn iter(&self) -> impl Iterator<Item = &u32> {
        self.values.iter()
    }
    fn into_name(self) -> String {
        self.name
    }
    fn boxed(self: Box<Self>) -> Box<Self> {
        self
    }
    fn shared(self: &Arc<Self>) -> usize {
        Arc::strong_count(self)
    }
    fn pinned(self: Pin<&mut Self>) -> &mut u32 {
        &mut self.get_mut().values[0]
    }
    #[exoscope::skip]
    fn left_out(&self) -> usize {
        self.values.len()
    }
    #[instrument(name = "other_name")]
    fn renamed(&self) -> Self {
        Self::new(self.name(), &self.values)
    }
}

#[instrument]
impl std::ops::Index<usize> for Store {
    type Output = u32;
    fn index(&self, index: usize) -> &u32 {
        &self.values[index]
    }
}

#[instrument]
impl Iterator for Store {
    type Item = u32;
    fn next(&mut self) -> Option<Self::Item> {
        self.values.pop()
    }
}

#[instrument]
trait Shape {
    fn area(&self) -> f64;
    fn twice(&self) -> f64 {
        2.0 * self.area()
    }
}

struct Square(f64);

impl Shape for Square {
    #[instrument]
    fn area(&self) -> f64 {
        self.0 * self.0
    }
}

#[instrument]
mod inner {
    pub fn outer() -> u32 {
        deeper::deep() + S.method()
    }
    pub struct S;
    impl S {
        pub fn method(&self) -> u32 {
            2
        }
    }
    pub mod deeper {
        pub fn deep() -> u32 {
            1
        }
        pub const fn constant() -> u32 {
            7
        }
    }
}

#[instrument(err(Debug), level = "debug")]
mod nested {
    #![allow(clippy::needless_return)]
    use exoscope::instrument;

    pub struct Twice;
    // It has the attribute itself, so it is expanded once.
    #[instrument]
    impl Twice {
        pub const TWO: Sum<{ 1 + 1 }> = Sum;
        pub fn method(&self) -> usize {
            return Self::TWO.number();
        }
    }
    pub struct Sum<const N: usize>;
    #[exoscope::skip]
    impl<const N: usize> Sum<{ N }> {
        pub fn number(&self) -> usize {
            N
        }
    }
    macro_rules! made {
        ($name:ident) => {
            pub fn $name() -> u32 {
                3
            }
        };
    }
    made!(made);
    pub async fn asynchronous() -> Result<u32, String> {
        Ok(made())
    }
}

#[test]
fn values_are_those_of_the_bare_function() {
    assert_eq!(generic(&[1, 2], 1), Some(&2));
    assert_eq!(implied([1, 2]).sum::<u32>(), 6);
    assert_eq!(implied_in_result("2").map(Iterator::count), Ok(2));
    assert_eq!(implied_in_result("0").map(Iterator::count), Ok(0));
    assert!(implied_in_result("x").is_err());
    assert_eq!(parse("12").ok(), Some(12));
    assert_eq!(
        parse("").map_err(|error| error.to_string()),
        Err("empty".to_owned())
    );
    assert!(parse("x").is_err());
    assert_eq!(format!("{:?}{:?}", object(true), object(false)), "11");
    assert_eq!(labelled(20), 6);
    assert_eq!(recursive(1000), 1000);
    assert_eq!(by_pattern((1, 2), [3, 4, 5], 6), 6);
    assert_eq!(changes(vec![0]), [0, 1]);
    assert_eq!(inlined(), 1);
    assert_eq!(foreign(1), 2);
    assert_eq!(with_options("abc").ok(), Some(3));
    assert_eq!(with_inner_attribute(), 2);
    assert_eq!(in_macro(1), 5);
    assert_eq!(inner::outer(), 3);
    assert_eq!(inner::deeper::constant(), 7);
    assert_eq!(nested::Twice.method(), 2);
    drop(nested::asynchronous());
}

#[test]
fn methods_keep_their_borrows_and_receivers() {
    let mut store = Store::new("store", &[1, 2]);
    assert!(Store::empty().name().is_empty());
    assert_eq!(store.name(), "store");
    *store.first().expect("it has values") += 4;
    let (name, values) = store.both();
    name.push('s');
    values.push(9);
    assert_eq!(store.iter().sum::<u32>(), 16);
    assert_eq!(store[2], 9);
    *Pin::new(&mut store).pinned() = 3;
    assert_eq!(store.left_out(), 3);
    assert_eq!(store.next(), Some(9));
    assert_eq!(Arc::new(store.renamed()).shared(), 1);
    assert_eq!(Box::new(store.renamed()).boxed().values.len(), 2);
    assert_eq!(store.into_name(), "stores");
    let shape: &dyn Shape = &Square(2.0);
    assert_eq!(shape.twice(), 8.0);
}

#[test]
fn panics_go_through_every_frame() {
    let caught = catch_unwind(|| never("message"));
    let message = caught.expect_err("it panics");
    assert_eq!(
        message.downcast_ref::<String>().map(String::as_str),
        Some("message")
    );
    let thrown = exoscope::call!("outer", {
        catch_unwind(|| exoscope::call!("inner", unwinds(Noisy("argument"))))
    });
    assert!(thrown.is_err());
    assert_eq!(dropped(), ["local", "argument"]);
}

#[test]
fn arguments_are_dropped_in_their_order() {
    drops(Noisy("first"), Noisy("second"), Noisy("third"));
    assert_eq!(dropped(), ["second", "local", "third", "first"]);
    let _ = catch_unwind(|| unwinds(Noisy("argument")));
    assert_eq!(dropped(), ["local", "argument"]);
}

#[instrument]
fn unwinds(_argument: Noisy) {
    let _local = Noisy("local");
    never("unwinds")
}

#[test]
fn blocks_and_closures_are_calls() {
    fn sum(text: &str) -> Result<u32, std::num::ParseIntError> {
        let number: u32 = exoscope::call!("parse", { text.parse::<u32>() })?;
        let add = |more: u32| exoscope::call!("add", number + more);
        Ok(add(1))
    }
    assert_eq!(sum("2"), Ok(3));
    assert!(sum("x").is_err());
}

#[test]
fn recursion_may_be_deep() {
    let thread = std::thread::Builder::new().stack_size(20 << 20);
    let counted = thread
        .spawn(|| recursive(100_000))
        .expect("a thread starts")
        .join();
    assert_eq!(counted.ok(), Some(100_000));
}

#[test]
fn values_without_send_are_no_obstacle() {
    #[instrument]
    fn local(value: Rc<u32>) -> Rc<u32> {
        value
    }
    assert_eq!(*local(Rc::new(1)), 1);
}

/// The line of whoever calls it.
#[track_caller]
fn here() -> u32 {
    std::panic::Location::caller().line()
}

mod tracked {
    use super::here;
    use exoscope::instrument;
    use std::panic::Location;

    #[instrument]
    #[track_caller]
    pub fn plain() -> u32 {
        here()
    }

    #[track_caller]
    #[instrument(fields(number), ret, err)]
    pub fn returns(number: u32) -> Result<u32, String> {
        if number == 0 {
            return Err(String::new());
        }
        let twice = || {
            if number > 100 {
                return 0;
            }
            Location::caller().line()
        };
        for count in 0.. {
            if count > number && twice() > 0 {
                return Ok(here());
            }
        }
        unreachable!("{}", number)
    }

    #[instrument]
    #[track_caller]
    pub fn implied(text: &str) -> impl Iterator<Item = u32> + '_ {
        let line = here();
        if text.is_empty() {
            return vec![line].into_iter();
        }
        vec![text.len() as u32, line].into_iter()
    }

    #[instrument]
    #[track_caller]
    pub fn boxed(wide: bool) -> Box<dyn std::fmt::Debug> {
        if wide {
            return Box::new(u64::from(here()));
        }
        Box::new(here() as u16)
    }

    #[instrument]
    #[track_caller]
    pub fn unit(line: &mut u32) {
        if *line != 0 {
            return;
        }
        *line = here();
    }

    #[instrument]
    #[track_caller]
    pub fn never() -> ! {
        std::panic::panic_any(here())
    }

    /// The body may leave by `?`, so it runs in a closure.
    #[instrument]
    #[track_caller]
    pub fn questioned(text: &str) -> Result<u32, std::num::ParseIntError> {
        Ok(text.parse::<u32>()? + Location::caller().line())
    }
}

#[test]
fn the_callers_location_is_the_users() {
    assert_eq!(tracked::plain(), line!());
    assert_eq!(tracked::returns(3), Ok(line!()));
    assert!(tracked::returns(0).is_err());
    assert_eq!(tracked::implied("").last(), Some(line!()));
    assert_eq!(tracked::implied("a").last(), Some(line!()));
    assert_eq!(format!("{:?}", tracked::boxed(true)), line!().to_string());
    assert_eq!(format!("{:?}", tracked::boxed(false)), line!().to_string());
    let mut line = 0;
    tracked::unit(&mut line);
    assert_eq!(line, line!() - 1);
    tracked::unit(&mut line);
    assert_eq!(line, line!() - 3);
    let (caught, line) = (catch_unwind(|| tracked::never()), line!());
    let thrown = caught.expect_err("it panics");
    assert_eq!(thrown.downcast_ref::<u32>(), Some(&line));
    assert!(tracked::questioned("0").is_ok_and(|line| line < line!()));
}
