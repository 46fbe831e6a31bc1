//! An iterator is one call, from its first `next` to its end or drop.
#![cfg(all(feature = "enabled", target_os = "linux", target_arch = "x86_64"))]
#![deny(warnings)]

mod probes;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Mutex;

use exoscope::instrument;
use exoscope_abi::Outcome;
use exoscope_abi::probe::{Probe, TOKEN};
use probes::{Asked, Fired, latest, want, watch};

/// What of this process is asked for, one test at a time.
static ASKED: Mutex<()> = Mutex::new(());

#[instrument]
fn inside() {}

#[instrument]
fn numbers(limit: u32) -> impl Iterator<Item = u32> {
    (0..limit).inspect(|_| inside())
}

#[instrument]
fn parsed<'a>(
    text: &'a str,
) -> impl Iterator<Item = Result<u32, std::num::ParseIntError>> + Send + 'a {
    text.split(' ').map(str::parse)
}

/// More than an iterator: the function is the call.
#[instrument]
fn both_ways(limit: u32) -> impl DoubleEndedIterator<Item = u32> + Clone {
    0..limit
}

struct Store(Vec<u32>);

#[instrument]
impl Store {
    fn iter(&self) -> impl Iterator<Item = &u32> {
        self.0.iter()
    }
    fn pairs<'a, T: Clone>(&'a self, with: &'a T) -> impl Iterator<Item = (u32, T)> + use<'a, T> {
        if self.0.is_empty() {
            return None
                .into_iter()
                .chain([].iter().map(|n| (*n, with.clone())).collect::<Vec<_>>());
        }
        None.into_iter().chain(
            self.0
                .iter()
                .map(|n| (*n, with.clone()))
                .collect::<Vec<_>>(),
        )
    }
}

trait Source {
    fn all(&self) -> impl Iterator<Item = u32> + '_;
}

#[instrument]
impl Source for Store {
    fn all(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().copied()
    }
}

/// The ends of a function's calls: outcome, number of items, and message.
fn ends(fired: &[Fired], name: &str) -> Vec<(Outcome, u64)> {
    let end = |fired: &Fired| Some((fired.outcome()?, fired.items() - 1));
    let of_function = fired.iter().filter(|fired| fired.name() == name);
    of_function.filter_map(end).collect()
}

/// Identities of a function's calls, in the order of their entries.
fn calls(fired: &[Fired], name: &str) -> Vec<u64> {
    let entries = fired
        .iter()
        .filter(|fired| fired.probe == Probe::Entry && fired.name() == name);
    entries.map(|fired| fired.call).collect()
}

#[test]
fn items_are_those_of_the_bare_iterator() {
    assert_eq!(numbers(4).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(numbers(4).skip(1).step_by(2).sum::<u32>(), 4);
    assert_eq!(numbers(4).size_hint(), (4, Some(4)));
    assert_eq!(parsed("1 2 x").filter_map(Result::ok).count(), 2);
    assert_eq!(both_ways(3).rev().collect::<Vec<_>>(), [2, 1, 0]);
    let store = Store(vec![3, 4]);
    assert_eq!(store.iter().max(), Some(&4));
    assert_eq!(store.pairs(&"a").last(), Some((4, "a")));
    assert_eq!(Store(Vec::new()).pairs(&0).next(), None);
    assert_eq!(store.all().sum::<u32>(), 7);
    let shared = Rc::new(2);
    let repeated = exoscope::iterator!("repeated", vec![shared; 3]);
    assert_eq!(repeated.map(|n| *n).sum::<u32>(), 6);
}

#[test]
fn an_iterator_is_one_call_that_counts_its_items() {
    let (fired, _) = watch(|| numbers(3).count());
    assert_eq!(ends(&fired, "numbers"), [(Outcome::Ok, 3)]);
    let call = calls(&fired, "numbers")[0];
    assert_eq!(call & 7, TOKEN);
    let (fired, _) = watch(|| parsed("1 x").count());
    assert_eq!(ends(&fired, "parsed"), [(Outcome::Err, 2)]);
    let (fired, _) = watch(|| parsed("x 1").count());
    assert_eq!(ends(&fired, "parsed"), [(Outcome::Ok, 2)]);
}

#[test]
fn one_that_is_dropped_is_cancelled_and_one_that_is_not_advanced_is_no_call() {
    let (fired, _) = watch(|| numbers(3).take(2).count());
    assert_eq!(ends(&fired, "numbers"), [(Outcome::Cancelled, 2)]);
    let (fired, ()) = watch(|| drop(numbers(3)));
    assert_eq!(fired, []);
}

#[test]
fn after_its_end_it_is_no_call_any_more() {
    let (fired, ()) = watch(|| {
        let turn = Cell::new(0);
        let mut restarts = exoscope::iterator!(
            "restarts",
            std::iter::from_fn(move || {
                turn.set(turn.get() + 1);
                (turn.get() % 2 == 1).then_some(turn.get())
            })
        );
        let items: Vec<_> = (0..4).map(|_| restarts.next()).collect();
        assert_eq!(items, [Some(1), None, Some(3), None]);
    });
    assert_eq!(ends(&fired, "restarts"), [(Outcome::Ok, 1)]);
    assert_eq!(calls(&fired, "restarts").len(), 1);
}

#[test]
fn a_panic_ends_it() {
    let (fired, _) = watch(|| {
        catch_unwind(AssertUnwindSafe(|| {
            exoscope::iterator!("divides", (1..3).map(|n| 6 / (n - 2))).count()
        }))
    });
    assert_eq!(ends(&fired, "divides"), [(Outcome::Panic, 1)]);
}

/// Begins a call, and gives the words that its parent names, which lie on the stack now: the parent's
/// token, what is next outside of it, and its start.
fn words_of_parent() -> [u64; 3] {
    fn looks() -> [u64; 3] {
        let parent = latest().parent();
        // SAFETY: this runs in a turn of the parent, a call that may move.
        unsafe { *(parent as *const [u64; 3]) }
    }
    exoscope::call!("looks", looks())
}

#[test]
fn calls_inside_have_it_as_their_parent_wherever_it_was_moved() {
    let _alone = ASKED
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    for starts in [false, true] {
        want(Asked::Start, starts);
        let (fired, words) = watch(|| {
            exoscope::call!("outer", {
                let looks = (0..2).map(|_| words_of_parent());
                let mut looking = exoscope::iterator!("looking", looks);
                let first = looking.next();
                let mut moved = Box::new(looking);
                [first, moved.next()]
            })
        });
        want(Asked::Start, false);
        let [token] = calls(&fired, "looking")[..] else {
            panic!("one call")
        };
        for [own, outside, start] in words.map(|words| words.expect("there are two")) {
            assert_eq!((own, outside), (token, calls(&fired, "outer")[0]));
            assert_eq!(start != 0, starts);
        }
    }
}

#[test]
fn what_the_bare_one_is_the_marked_one_is() {
    fn sendable<T: Send + Sync + Unpin>(value: T) -> T {
        value
    }
    drop(sendable(numbers(1)));
    drop(sendable(parsed("1")));
}
