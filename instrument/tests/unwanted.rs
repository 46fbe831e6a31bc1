//! While nobody looks, nothing is formatted, evaluated or asked for. One test, for what others watch in
//! this process would be seen here too.
#![cfg(all(feature = "enabled", target_os = "linux", target_arch = "x86_64"))]
#![deny(warnings)]

mod probes;

use std::cell::Cell;
use std::fmt;
use std::pin::pin;
use std::task::{Context, Waker};

use exoscope::instrument;
use probes::watch;

thread_local! {
    static SHOWN: Cell<u32> = const { Cell::new(0) };
}

/// Counts how often it is looked at.
struct Seen;

impl fmt::Display for Seen {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        SHOWN.set(SHOWN.get() + 1);
        to.write_str("seen")
    }
}

fn looked_at() -> Seen {
    SHOWN.set(SHOWN.get() + 1);
    Seen
}

#[instrument]
fn fails() -> Result<(), Seen> {
    Err(Seen)
}

#[instrument]
async fn fails_later() -> Result<(), Seen> {
    Err(Seen)
}

#[instrument]
fn gives() -> impl Iterator<Item = Result<u32, Seen>> {
    [Ok(1), Err(Seen)].into_iter()
}

#[instrument(fields(value = %looked_at()), ret(Display))]
fn has_fields() -> Seen {
    Seen
}

/// How often each of the calls has something evaluated or formatted.
fn looks() -> [u32; 4] {
    let count = |call: &dyn Fn()| {
        call();
        SHOWN.take()
    };
    [
        count(&|| assert!(fails().is_err())),
        count(&|| {
            let mut context = Context::from_waker(Waker::noop());
            assert!(pin!(fails_later()).poll(&mut context).is_ready());
        }),
        count(&|| assert_eq!(gives().count(), 2)),
        count(&|| {
            let Seen = has_fields();
        }),
    ]
}

#[test]
fn what_nobody_wants_is_not_asked_for() {
    assert_eq!(looks(), [0; 4]);
    let (fired, looks_while_watched) = watch(looks);
    assert!(!fired.is_empty());
    // Evaluated, shown, and shown when it is returned.
    assert_eq!(looks_while_watched, [1, 1, 1, 3]);
}
