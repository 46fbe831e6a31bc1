//! More kinds of wakers than can be told apart. Alone in its executable, for they stay told apart.
#![cfg(all(feature = "enabled", target_os = "linux", target_arch = "x86_64"))]
#![deny(warnings)]

mod probes;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};

use exoscope::instrument;
use exoscope_abi::probe::Probe;
use probes::{Asked, want, watch};

#[instrument]
async fn wakes() {
    poll_fn(|context| {
        let clone = context.waker().clone();
        context.waker().wake_by_ref();
        clone.wake();
        Poll::<()>::Pending
    })
    .await;
}

/// A waker like no other: its clones are of yet another kind.
fn waker(clones: u64) -> RawWaker {
    fn clone(data: *const ()) -> RawWaker {
        waker(data as u64 - 1)
    }
    fn wake(_: *const ()) {}
    let table = Box::leak(Box::new(RawWakerVTable::new(clone, wake, wake, wake)));
    RawWaker::new(clones as *const (), table)
}

#[test]
fn those_that_cannot_be_told_apart_wake_silently() {
    want(Asked::Polls, true);
    let wakes_told = |kind| {
        // SAFETY: the functions of its table do nothing but make another one.
        let waker = unsafe { Waker::from_raw(waker(kind)) };
        let (fired, _) = watch(|| {
            let mut future = pin!(wakes());
            future.as_mut().poll(&mut Context::from_waker(&waker))
        });
        let told = fired.iter().filter(|fired| fired.probe == Probe::Wake);
        told.map(|fired| fired.arguments[1]).collect::<Vec<_>>()
    };
    for kind in 0..8 {
        assert_eq!(wakes_told(10 + kind), [10 + kind, 9 + kind]);
    }
    assert_eq!(wakes_told(10), []);
}
