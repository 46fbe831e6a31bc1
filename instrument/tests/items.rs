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
