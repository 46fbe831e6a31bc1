//! Calls whose polls, wake-ups and waits are known.
//!
//! Each is made [`TIMES`] times, and is one line of a [`Meter`] each time.
//!
//! | function | what happens | outcome |
//! |---|---|---|
//! | `at_once` | is ready in its first poll | ok |
//! | `wakes_itself` | wakes itself in 3 polls, and is polled again a while later | ok |
//! | `woken` | is woken by another thread after a while, and polled at once | ok |
//! | `woken_and_left` | is woken by another thread after a while, and polled a while later | ok |
//! | `woken_in_poll` | is woken twice by another thread during a long poll, and polled a while later | ok |
//! | `never_woken` | is dropped a while after its one poll | cancelled |
//! | `woken_and_dropped` | is woken, and dropped a while later | cancelled |
//! | `moves` | wakes itself in 3 polls, each of them on a thread of its own | ok |
//! | `outer` → `inner` | as `woken_and_left`, in a call that is polled with it | ok |
//! | `items` | a stream of 3 items that wakes itself before each | ok |
//! | `plain` | no future, called in each of them | ok |

use std::future::poll_fn;
use std::hint::black_box;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use futures_core::Stream;
use truth::{Outcome, Truth, path};

use crate::meter::Meter;
use crate::runner::{Boxed, pending, spin};

/// Calls of each function.
const TIMES: u64 = 5;
/// Enough to be told from everything that is not meant to take time.
const WHILE: Duration = Duration::from_millis(10);

/// A task that is woken by unparking its thread.
struct Task(Thread);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[exoscope::instrument]
fn plain() {
    black_box(());
}

#[exoscope::instrument]
async fn at_once() {
    plain();
}

#[exoscope::instrument]
async fn wakes_itself() {
    plain();
    pending(3).await;
}

#[exoscope::instrument]
async fn woken() {
    plain();
    woken_after(WHILE).await;
}

#[exoscope::instrument]
async fn woken_and_left() {
    plain();
    woken_after(WHILE).await;
}

#[exoscope::instrument]
async fn woken_in_poll() {
    plain();
    woken_within(2 * WHILE).await;
}

#[exoscope::instrument]
async fn never_woken() {
    plain();
    std::future::pending().await
}

#[exoscope::instrument]
async fn woken_and_dropped() {
    plain();
    woken_after(WHILE).await;
}

#[exoscope::instrument]
async fn moves() {
    plain();
    pending(3).await;
}

#[exoscope::instrument]
async fn inner() {
    plain();
    woken_after(WHILE).await;
}

#[exoscope::instrument]
async fn outer() {
    inner().await;
}

/// Wakes itself before each of three items.
struct Items(u32);

impl Stream for Items {
    type Item = u32;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<u32>> {
        self.0 += 1;
        match (self.0, self.0 % 2) {
            (7.., _) => Poll::Ready(None),
            (item, 0) => Poll::Ready(Some(item)),
            _ => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}

#[exoscope::instrument]
fn items() -> impl Stream<Item = u32> {
    plain();
    Items(0)
}

/// Is pending until another thread wakes it, after `time`.
async fn woken_after(time: Duration) {
    let mut polls = 0;
    poll_fn(|context| {
        polls += 1;
        if polls > 1 {
            return Poll::Ready(());
        }
        let waker = context.waker().clone();
        thread::spawn(move || {
            thread::sleep(time);
            waker.wake();
        });
        Poll::Pending
    })
    .await;
}

/// Is pending after a poll of `time`, during which another thread wakes it twice.
async fn woken_within(time: Duration) {
    let mut polls = 0;
    poll_fn(|context| {
        polls += 1;
        if polls > 1 {
            return Poll::Ready(());
        }
        let waker = context.waker().clone();
        let waking = thread::spawn(move || {
            waker.wake_by_ref();
            waker.wake();
        });
        waking.join().expect("the thread does not panic");
        spin(time);
        Poll::Pending
    })
    .await;
}

/// Polls `once` until it is ready, a `delay` after each wake-up.
fn drive<T>(delay: Duration, mut once: impl FnMut(&Waker) -> Poll<T>) -> T {
    let waker = Waker::from(Arc::new(Task(thread::current())));
    loop {
        match once(&waker) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
        thread::sleep(delay);
    }
}

/// Runs a call to its end, and prints what was measured of it for every one of `functions`.
fn run_one(functions: &[&'static str], delay: Duration, mut future: Boxed<()>, truth: &mut Truth) {
    let mut meter = Meter::new();
    drive(delay, |waker| {
        meter.poll(waker, |context| future.as_mut().poll(context))
    });
    print_and_count(functions, meter, truth);
}

fn print_and_count(functions: &[&'static str], meter: Meter, truth: &mut Truth) {
    for function in functions {
        truth.ok(function);
    }
    meter.print(functions[0], false);
}

/// Polls a call once, waits, and drops it.
fn drop_one(function: &'static str, mut future: Boxed<()>, wait: Duration, truth: &mut Truth) {
    let waker = Waker::from(Arc::new(Task(thread::current())));
    let mut meter = Meter::new();
    let polled = meter.poll(&waker, |context| future.as_mut().poll(context));
    assert!(polled.is_pending());
    thread::sleep(wait);
    drop(future);
    meter.print(function, true);
    truth.add(function, Outcome::Cancelled, 1);
}

/// Polls a call on a thread of its own each time.
fn move_one(truth: &mut Truth) {
    let mut future: Boxed<()> = Box::pin(moves());
    let mut meter = Meter::new();
    drive(WHILE, |waker| {
        thread::scope(|threads| {
            let polling =
                threads.spawn(|| meter.poll(waker, |context| future.as_mut().poll(context)));
            polling.join().expect("the thread does not panic")
        })
    });
    print_and_count(&[path!("moves")], meter, truth);
}

/// Takes all items of a stream.
fn take_items(truth: &mut Truth) {
    let mut stream = Box::pin(items());
    let mut meter = Meter::new();
    let mut taken = 0;
    drive(WHILE, |waker| {
        loop {
            match meter.poll(waker, |context| stream.as_mut().poll_next(context)) {
                Poll::Ready(Some(_)) => taken += 1,
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    });
    assert_eq!(taken, 3);
    print_and_count(&[path!("items")], meter, truth);
}

/// Makes the calls of the table.
pub fn run(truth: &mut Truth) {
    const AT_ONCE: Duration = Duration::ZERO;
    for _ in 0..TIMES {
        run_one(&[path!("at_once")], AT_ONCE, Box::pin(at_once()), truth);
        run_one(
            &[path!("wakes_itself")],
            WHILE,
            Box::pin(wakes_itself()),
            truth,
        );
        run_one(&[path!("woken")], AT_ONCE, Box::pin(woken()), truth);
        run_one(
            &[path!("woken_and_left")],
            2 * WHILE,
            Box::pin(woken_and_left()),
            truth,
        );
        run_one(
            &[path!("woken_in_poll")],
            WHILE,
            Box::pin(woken_in_poll()),
            truth,
        );
        drop_one(path!("never_woken"), Box::pin(never_woken()), WHILE, truth);
        drop_one(
            path!("woken_and_dropped"),
            Box::pin(woken_and_dropped()),
            3 * WHILE,
            truth,
        );
        move_one(truth);
        run_one(
            &[path!("outer"), path!("inner")],
            WHILE,
            Box::pin(outer()),
            truth,
        );
        take_items(truth);
    }
    // All but `outer` call it.
    truth.add(path!("plain"), Outcome::Ok, 10 * TIMES);
}
