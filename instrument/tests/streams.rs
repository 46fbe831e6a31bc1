//! Instrumented streams give the items of bare ones.
#![cfg(all(feature = "enabled", feature = "stream"))]
#![deny(warnings)]

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use exoscope::instrument;
use futures::stream::{self, BoxStream, Stream, StreamExt};

#[instrument]
fn numbers(limit: u32) -> impl Stream<Item = Result<u32, String>> + Send {
    stream::iter((0..limit).map(|number| {
        if number < 2 {
            Ok(number)
        } else {
            Err("2".into())
        }
    }))
}

#[instrument]
fn boxed(limit: u32) -> Pin<Box<dyn Stream<Item = u32> + Send>> {
    Box::pin(stream::iter(0..limit))
}

#[instrument]
fn named(limit: u32) -> BoxStream<'static, u32> {
    if limit == 0 {
        return stream::empty().boxed();
    }
    stream::iter(0..limit).boxed()
}

fn all<S: Stream>(stream: S) -> Vec<S::Item> {
    let mut stream = pin!(stream);
    let mut items = Vec::new();
    while let Poll::Ready(Some(item)) = stream
        .as_mut()
        .poll_next(&mut Context::from_waker(Waker::noop()))
    {
        items.push(item);
    }
    items
}

#[test]
fn items_are_those_of_the_bare_stream() {
    assert_eq!(all(numbers(3)), [Ok(0), Ok(1), Err("2".to_owned())]);
    assert_eq!(all(numbers(9).take(1)), [Ok(0)]);
    assert_eq!(all(boxed(3).map(|number| 2 * number)), [0, 2, 4]);
    assert_eq!(all(named(0)).len() + all(named(2)).len(), 2);
    assert_eq!(all(exoscope::stream!("some", stream::iter([1, 2]))), [1, 2]);
    assert_eq!(numbers(3).size_hint(), (3, Some(3)));
}
