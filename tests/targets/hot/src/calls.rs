//! Calls of every kind that use the CPU by a function of their own each: `spins_in_red` runs in
//! calls of `red` and in no call inside them.
//!
//! | function | how it runs |
//! |---|---|
//! | `outer` → `inner` | one in the other |
//! | `drives` → `red`, `blue` | futures that take turns on one thread, inside a call |
//! | `moves` | a future that is polled by two threads in turn |

use std::hint::black_box;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::thread;

use crate::clock::spin;

/// CPU time of one turn.
const TURN_NS: u64 = 3_000_000;

/// Functions that differ, or the compiler would make one of them; and that have something to do
/// after the call, or it would make a jump of it and leave them off the stack.
macro_rules! spins {
    ($($name:ident $different:literal)*) => {
        $(
            #[inline(never)]
            fn $name() {
                black_box(spin(TURN_NS) + $different);
            }
        )*
    };
}

spins! {
    spins_in_outer 1
    spins_in_inner 2
    spins_in_drives 3
    spins_in_red 4
    spins_in_blue 5
    spins_in_moves 6
}

/// Is pending once.
async fn pause() {
    let mut paused = false;
    std::future::poll_fn(|context| {
        context.waker().wake_by_ref();
        if std::mem::replace(&mut paused, true) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

#[exoscope::instrument]
#[inline(never)]
fn inner() {
    spins_in_inner();
}

#[exoscope::instrument]
#[inline(never)]
fn outer() {
    spins_in_outer();
    inner();
    spins_in_outer();
}

#[exoscope::instrument]
async fn red(turns: u64) {
    for _ in 0..turns {
        spins_in_red();
        pause().await;
    }
}

#[exoscope::instrument]
async fn blue(turns: u64) {
    for _ in 0..turns {
        spins_in_blue();
        pause().await;
    }
}

#[exoscope::instrument]
async fn moves(turns: u64) {
    for _ in 0..turns {
        spins_in_moves();
        pause().await;
    }
}

/// Polls both futures in turn until both are ready, and works between the polls.
#[exoscope::instrument]
#[inline(never)]
fn drives(turns: u64) {
    let mut context = Context::from_waker(Waker::noop());
    let (mut red, mut blue) = (pin!(red(turns)), pin!(blue(turns)));
    let mut open = [true, true];
    while open != [false, false] {
        if open[0] {
            open[0] = red.as_mut().poll(&mut context).is_pending();
        }
        spins_in_drives();
        if open[1] {
            open[1] = blue.as_mut().poll(&mut context).is_pending();
        }
    }
}

/// Polls a future on one new thread after the other until it is ready.
fn roam(mut future: Pin<Box<dyn Future<Output = ()> + Send>>) {
    loop {
        let polled = thread::spawn(move || {
            let ready = future
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
                .is_ready();
            (future, ready)
        });
        let (pending, ready) = polled.join().expect("nothing here panics");
        if ready {
            return;
        }
        future = pending;
    }
}

/// Works for about `cpu_ns` in all.
pub fn run(cpu_ns: u64) {
    let turns = cpu_ns / TURN_NS / 7 + 1;
    for _ in 0..turns {
        outer();
    }
    drives(turns);
    roam(Box::pin(moves(turns)));
}
