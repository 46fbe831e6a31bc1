//! Streams and iterators are one call each, which says how many items it gave.
#![cfg(all(
    feature = "enabled",
    feature = "stream",
    target_os = "linux",
    target_arch = "x86_64"
))]
#![deny(warnings)]

mod probes;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use exoscope::instrument;
use exoscope_abi::Outcome;
use exoscope_abi::probe::{Probe, TOKEN};
use futures::StreamExt as _;
use futures::executor::block_on;
use futures::stream::{self, Stream};
use probes::{Fired, watch};

/// The ends of a function's calls: outcome, items by the ABI (1 more, or 0), and message.
fn ends(fired: &[Fired], name: &str) -> Vec<(Outcome, u64, Option<String>)> {
    let end = |fired: &Fired| {
        let message = fired.error.clone().map(|(_, message)| message);
        Some((fired.outcome()?, fired.items(), message))
    };
    let of_function = fired.iter().filter(|fired| fired.name() == name);
    of_function.filter_map(end).collect()
}

/// What `item_error` markers said.
fn item_errors(fired: &[Fired]) -> Vec<String> {
    let items = fired.iter().filter(|fired| fired.probe == Probe::ItemError);
    items
        .map(|fired| fired.error.clone().expect("it says something").1)
        .collect()
}

#[instrument]
fn numbers(limit: u32) -> impl Stream<Item = Result<u32, String>> {
    stream::iter(0..limit).map(|number| {
        inside();
        if number % 10 == 9 {
            Err(format!("number {number}"))
        } else {
            Ok(number)
        }
    })
}

#[instrument]
fn inside() {}

#[test]
fn a_stream_counts_its_items() {
    for (limit, outcome) in [(0, Outcome::Ok), (9, Outcome::Ok), (10, Outcome::Err)] {
        let (fired, _) = watch(|| block_on(numbers(limit).count()));
        let end = (outcome, u64::from(limit) + 1, None);
        assert_eq!(ends(&fired, "numbers"), [end]);
    }
}

#[test]
fn the_last_error_of_a_stream_is_the_calls() {
    let (fired, _) = watch(|| block_on(numbers(20).count()));
    assert_eq!(item_errors(&fired), ["number 9", "number 19"]);
    let call = fired[0].call;
    assert!(
        fired
            .iter()
            .all(|fired| fired.probe != Probe::ItemError || fired.call == call)
    );
}

#[test]
fn a_stream_may_be_moved_and_dropped() {
    let (fired, ()) = watch(|| {
        let mut numbers = numbers(5);
        assert_eq!(block_on(numbers.next()), Some(Ok(0)));
        let mut moved = Box::new(numbers);
        assert_eq!(block_on(moved.next()), Some(Ok(1)));
    });
    assert_eq!(ends(&fired, "numbers"), [(Outcome::Cancelled, 3, None)]);
    let of_stream: Vec<_> = fired
        .iter()
        .filter(|fired| fired.name() == "numbers")
        .map(|fired| fired.call)
        .collect();
    assert!(of_stream.iter().all(|call| *call == of_stream[0]));
    assert_eq!(of_stream[0] & 7, TOKEN);
    let (fired, ()) = watch(|| drop(numbers(5)));
    assert_eq!(fired, []);
}

#[test]
fn a_panic_ends_a_stream() {
    let (fired, _) = watch(|| {
        catch_unwind(AssertUnwindSafe(|| {
            let some = exoscope::stream!("some", stream::iter(1..3).map(|n| 6 / (n - 2)));
            block_on(some.collect::<Vec<i32>>())
        }))
    });
    assert_eq!(ends(&fired, "some"), [(Outcome::Panic, 2, None)]);
}

/// What the markers of a function and of its items say, in order: which of the two, and how it ended or
/// that it began, and the call's number by order of beginning.
fn told(fired: &[Fired], name: &str) -> Vec<String> {
    let mut calls = Vec::new();
    let mut told = Vec::new();
    for fired in fired {
        let Some(path) = fired.function.split_once(name).map(|(_, rest)| rest) else {
            continue;
        };
        if fired.probe == Probe::Entry {
            calls.push(fired.call);
        }
        let call = calls.iter().position(|call| *call == fired.call);
        let call = call.expect("it has begun");
        let what = match (fired.probe, fired.outcome()) {
            (Probe::Entry, _) => "begins".to_owned(),
            (_, Some(outcome)) => format!("{outcome:?}"),
            (probe, None) => format!("{probe:?}"),
        };
        told.push(format!("{call}{path} {what}"));
    }
    told
}

#[instrument(items, ret)]
fn each(limit: u32) -> impl Stream<Item = Result<u32, String>> {
    numbers_and_waits(limit)
}

/// Every item takes two polls.
fn numbers_and_waits(limit: u32) -> impl Stream<Item = Result<u32, String>> {
    let mut next = 0;
    let mut waited = false;
    stream::poll_fn(move |context| {
        inside();
        waited = !waited;
        if waited {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        next += 1;
        Poll::Ready((next <= limit).then(|| {
            if next == 2 {
                Err("two".to_owned())
            } else {
                Ok(next)
            }
        }))
    })
}

#[test]
fn on_request_each_item_of_a_stream_is_a_call() {
    let (fired, _) = watch(|| block_on(each(2).count()));
    let expected = [
        "0 begins",
        "1::item begins",
        "1::item Fields",
        "1::item Ok",
        "2::item begins",
        "2::item Fields",
        "2::item Err",
        "0 ItemError",
        "3::item begins",
        "3::item Cancelled",
        "0 Err",
    ];
    assert_eq!(told(&fired, "each"), expected);
    let fields: Vec<_> = fired.iter().flat_map(|fired| &fired.fields).collect();
    assert_eq!(fields, ["return=Ok(1)", "return=Err(\"two\")"]);
    // An item is no call that gives items.
    let items = ends(&fired, "item");
    assert_eq!(items[1], (Outcome::Err, 0, Some("two".to_owned())));
    assert!(items.iter().all(|(_, items, _)| *items == 0));
}

#[test]
fn what_runs_for_an_item_is_its_child() {
    let (fired, _) = watch(|| {
        exoscope::call!("outer", {
            let mut each = each(3);
            block_on(each.next());
            // It may be moved between two items, as any of its kind.
            block_on(Box::new(each).next())
        })
    });
    let innermost = |at: usize| {
        // The innermost call that had begun and not ended.
        let mut open = Vec::new();
        for fired in &fired[..at] {
            if fired.probe == Probe::Entry && fired.name() != "inside" {
                open.push(fired.call);
            } else if fired.outcome().is_some() {
                open.retain(|call| *call != fired.call);
            }
        }
        open.last().copied()
    };
    let mut seen = 0;
    for (at, inside) in fired.iter().enumerate() {
        if inside.probe == Probe::Entry && inside.name() == "inside" {
            assert_eq!(Some(inside.parent_word), innermost(at));
            seen += 1;
        }
    }
    assert_eq!(seen, 4);
}

#[test]
fn an_item_that_never_came_is_cancelled() {
    let (fired, ()) = watch(|| {
        let mut each = each(2);
        assert_eq!(block_on(each.next()), Some(Ok(1)));
        let mut context = Context::from_waker(Waker::noop());
        assert!(each.poll_next_unpin(&mut context).is_pending());
        drop(each);
    });
    let expected = [
        "0 begins",
        "1::item begins",
        "1::item Fields",
        "1::item Ok",
        "2::item begins",
        "2::item Cancelled",
        "0 Cancelled",
    ];
    assert_eq!(told(&fired, "each"), expected);
    // Dropped between two items.
    let (fired, ()) = watch(|| drop(block_on(each(2).into_future())));
    assert_eq!(told(&fired, "each").last().unwrap(), "0 Cancelled");
    assert_eq!(told(&fired, "each").len(), 5);
}

#[test]
fn a_panic_ends_the_item_and_the_stream() {
    let (fired, _) = watch(|| {
        catch_unwind(AssertUnwindSafe(|| {
            let some = exoscope::stream!("fails", stream::iter(0..1).map(|n| 6 / n), items);
            block_on(some.collect::<Vec<i32>>())
        }))
    });
    let expected = ["0 begins", "1::item begins", "1::item Panic", "0 Panic"];
    assert_eq!(told(&fired, "fails"), expected);
}

struct Shelf(Vec<u32>);

#[instrument(items)]
impl Shelf {
    fn books(&self) -> impl Iterator<Item = &u32> {
        self.0.iter()
    }
    fn boxed(&self) -> Pin<Box<dyn Stream<Item = u32> + '_>> {
        Box::pin(stream::iter(self.0.iter().copied()))
    }
    #[instrument(name = "more", items)]
    fn others(&self) -> impl Iterator<Item = u32> {
        self.0.iter().map(|book| 2 * book)
    }
    fn len(&self) -> usize {
        self.0.len()
    }
}

#[test]
fn iterators_and_boxed_streams_have_items_too() {
    let shelf = Shelf(vec![3, 4]);
    assert_eq!(shelf.len(), 2);
    let expected = |name: &str| {
        let expected = [
            "0 begins",
            "1::item begins",
            "1::item Ok",
            "2::item begins",
            "2::item Ok",
            "3::item begins",
            "3::item Cancelled",
            "0 Ok",
        ];
        (name.to_owned(), expected.map(str::to_owned).to_vec())
    };
    let (books, sum) = watch(|| shelf.books().sum::<u32>());
    assert_eq!(sum, 7);
    let (boxed, _) = watch(|| block_on(shelf.boxed().collect::<Vec<_>>()));
    let (more, _) = watch(|| shelf.others().collect::<Vec<_>>());
    let (some, _) = watch(|| exoscope::iterator!("some", vec![1, 2], items).count());
    for (name, fired) in [
        ("Shelf::books", books),
        ("Shelf::boxed", boxed),
        ("items::more", more),
        ("items::some", some),
    ] {
        assert_eq!((name.to_owned(), told(&fired, name)), expected(name));
    }
}
