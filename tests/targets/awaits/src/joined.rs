//! Calls whose children overlap.
//!
//! | function | calls | outcome |
//! |---|---|---|
//! | `joins` → `part` | 5 → 3 each, which overlap | ok |
//! | `part` → `step` | 2 each | ok |
//! | `joins` → `step` | 2 each, one of them while the parts are open | ok |
//! | `many` → `step` | 1 → 1,000, one after the other, and one `part` beside them | ok |
//! | `gives` → `part` | 1 → 1, which begins in it and ends after it, on another thread | ok |

use std::thread;
use std::time::Duration;

use truth::{Outcome, Truth, path};

use crate::runner::{Boxed, block_on, join, pending, poll_once, spin};

#[exoscope::instrument]
fn step() {
    spin(Duration::from_micros(5));
}

/// Is pending `times` times.
#[exoscope::instrument]
async fn part(times: u64) {
    step();
    pending(times).await;
    step();
}

#[exoscope::instrument]
async fn joins(n: u64) {
    step();
    spin(Duration::from_micros(20));
    let stepping = async {
        pending(1).await;
        step();
    };
    join(vec![
        Box::pin(part(n % 3)),
        Box::pin(part(3)),
        Box::pin(stepping),
        Box::pin(async move {
            pending(2).await;
            spin(Duration::from_micros(20));
            part(n).await;
        }),
    ])
    .await;
    spin(Duration::from_micros(20));
}

#[exoscope::instrument]
async fn many() {
    let steps = async {
        for _ in 0..1000 {
            step();
            pending(1).await;
        }
    };
    join(vec![Box::pin(part(1500)), Box::pin(steps)]).await;
}

/// Begins a call that the caller of this one has to end.
#[exoscope::instrument]
fn gives() -> Boxed<()> {
    spin(Duration::from_micros(20));
    let mut begun: Boxed<()> = Box::pin(part(2));
    assert!(poll_once(&mut begun).is_pending());
    spin(Duration::from_micros(20));
    begun
}

/// Makes the calls of the table.
pub fn run(truth: &mut Truth) {
    for n in 0..5 {
        block_on(joins(n));
    }
    truth.add(path!("joins"), Outcome::Ok, 5);
    truth.add(path!("step"), Outcome::Ok, 5 * 2);

    block_on(many());
    truth.ok(path!("many"));
    truth.add(path!("step"), Outcome::Ok, 1000);

    let begun = gives();
    let thread = thread::spawn(move || block_on(begun));
    thread.join().expect("the thread does not panic");
    truth.ok(path!("gives"));

    let parts = 5 * 3 + 1 + 1;
    truth.add(path!("part"), Outcome::Ok, parts);
    truth.add(path!("step"), Outcome::Ok, parts * 2);
}
