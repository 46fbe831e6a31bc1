//! Tests with markers: the suite captures this test program as it captures any other.

#[macro_use]
#[path = "../src/case.rs"]
#[allow(dead_code, reason = "one case does not need all of it")]
mod case;

use case::{err, ok, panic};

#[exoscope::instrument]
fn helper() -> u32 {
    1
}

#[exoscope::instrument]
async fn waits() -> u32 {
    tokio::task::yield_now().await;
    helper()
}

#[exoscope::instrument]
#[test]
fn after_the_attribute() {
    assert_eq!(helper(), 1);
}

#[test]
#[exoscope::instrument]
fn before_the_attribute() {
    assert_eq!(helper(), 1);
}

/// Fails only as a call: the harness sees an `Ok`.
#[test]
fn fails_inside() -> Result<(), String> {
    #[exoscope::instrument]
    fn fails() -> Result<(), String> {
        Err("asked to".to_owned())
    }
    fails().map_or_else(|_| Ok(()), |()| Err("it did not fail".to_owned()))
}

#[test]
#[exoscope::instrument]
#[should_panic(expected = "asked to")]
fn panics() {
    panic!("asked to");
}

#[tokio::test]
#[exoscope::instrument]
async fn tokio_before() {
    assert_eq!(waits().await, 1);
}

#[exoscope::instrument]
#[tokio::test]
async fn tokio_first() -> Result<(), String> {
    assert_eq!(tokio::spawn(waits()).await.ok(), Some(1));
    Ok(())
}

fn run() {}

const HELPER: case::Row = ok("helper");

// Each test runs on a thread of its own, in the order of their names.
case!(run => [
    ok("after_the_attribute").on_thread().with(&[HELPER]),
    ok("before_the_attribute").on_thread().with(&[HELPER]),
    err("fails_inside::fails", "alloc::string::String", "asked to").on_thread(),
    panic("panics").on_thread().said("asked to"),
    ok("tokio_before").on_thread().with(&[ok("waits").with(&[HELPER])]),
    // The attribute goes behind tokio's, whichever is written first, so the call is the whole run of
    // the runtime: the task runs on this thread while the call is the innermost one.
    ok("tokio_first").on_thread().with(&[ok("waits").with(&[HELPER])]),
]);

/// Tells the suite what to expect, on a line of its own.
#[test]
fn zz_expected() {
    println!("\n{}", serde_json::json!(CASE));
}
