//! Polls and wake-ups, as the markers tell of them, and the wakers that tell.
#![cfg(all(feature = "enabled", target_os = "linux", target_arch = "x86_64"))]
#![deny(warnings)]

mod probes;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use exoscope::instrument;
use exoscope_abi::probe::Probe;
use futures::stream::{FuturesUnordered, StreamExt as _};
use futures::{FutureExt as _, Stream};
use probes::{Asked, Fired, want, watch};

/// Markers of polls and wake-ups while `run` runs, with the name of the function of each poll.
fn polls<T>(run: impl FnOnce() -> T) -> (Vec<Fired>, T) {
    want(Asked::Polls, true);
    let (mut fired, returned) = watch(run);
    fired.retain(|fired| fired.probe != Probe::Fields);
    (fired, returned)
}

/// The probes, shortly.
fn names(fired: &[Fired]) -> Vec<String> {
    let name = |fired: &Fired| format!("{} {}", fired.probe.name(), fired.name());
    fired
        .iter()
        .map(|fired| name(fired).trim().to_owned())
        .collect()
}

/// Counts how often it wakes.
#[derive(Default)]
struct Counting(AtomicUsize);

impl Wake for Counting {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// Hands its waker on, and is pending so often.
fn pending(times: usize, mut hand_on: impl FnMut(&Waker)) -> impl Future<Output = ()> {
    let mut polls = 0;
    poll_fn(move |context| {
        hand_on(context.waker());
        polls += 1;
        if polls > times {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
}

#[instrument]
async fn waits(hand_on: impl FnMut(&Waker)) {
    pending(1, hand_on).await;
}

fn poll<F: Future>(future: Pin<&mut F>, waker: &Waker) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(waker))
}

#[test]
fn polls_and_the_wake_ups_between_them_are_told() {
    let count = Arc::new(Counting::default());
    let waker = Waker::from(count.clone());
    let kept = Mutex::new(Vec::new());
    let (fired, ()) = polls(|| {
        let mut future = pin!(waits(|waker| kept.lock().unwrap().push(waker.clone())));
        assert!(poll(future.as_mut(), &waker).is_pending());
        kept.lock().unwrap()[0].wake_by_ref();
        assert!(poll(future.as_mut(), &waker).is_ready());
        kept.lock().unwrap().pop().unwrap().wake();
    });
    assert_eq!(
        names(&fired),
        [
            "entry waits",
            "poll_begin waits",
            "poll_end waits",
            "wake",
            "poll_begin waits",
            "exit waits",
            "wake"
        ]
    );
    let data = waker.data() as u64;
    assert!(fired[1].arguments[2] == data && fired[4].arguments[2] == data);
    assert!(fired[3].arguments[1] == data && fired[6].arguments[1] == data);
    assert_eq!(count.0.load(Relaxed), 2);
    // What was cloned was cloned of the original, and dropped.
    assert_eq!(Arc::strong_count(&count), 3);
    kept.lock().unwrap().clear();
    assert_eq!(Arc::strong_count(&count), 2);
}

#[test]
fn a_waker_is_the_same_in_the_next_poll() {
    let kept = Mutex::new(None::<Waker>);
    let same = Mutex::new(Vec::new());
    let waker = Waker::from(Arc::new(Counting::default()));
    polls(|| {
        let mut future = pin!(waits(|waker| {
            let mut kept = kept.lock().unwrap();
            if let Some(kept) = kept.as_ref() {
                same.lock().unwrap().push(kept.will_wake(waker));
            }
            *kept = Some(waker.clone());
        }));
        while poll(future.as_mut(), &waker).is_pending() {}
    });
    assert_eq!(*same.lock().unwrap(), [true]);
    assert!(!kept.lock().unwrap().as_ref().unwrap().will_wake(&waker));
}

#[test]
fn a_future_in_a_future_gets_the_same_waker() {
    #[instrument]
    async fn outer(hand_on: impl FnMut(&Waker)) {
        waits(hand_on).await;
    }
    let kept = Mutex::new(Vec::new());
    let waker = Waker::from(Arc::new(Counting::default()));
    let (fired, ()) = polls(|| {
        let mut future = pin!(outer(|waker| kept.lock().unwrap().push(waker.clone())));
        assert!(poll(future.as_mut(), &waker).is_pending());
        kept.lock().unwrap()[0].wake_by_ref();
    });
    assert_eq!(
        names(&fired)[..7],
        [
            "entry outer",
            "poll_begin outer",
            "entry waits",
            "poll_begin waits",
            "poll_end waits",
            "poll_end outer",
            "wake"
        ]
    );
}

#[test]
fn streams_are_polled_too() {
    #[instrument]
    fn numbers() -> impl Stream<Item = u32> {
        futures::stream::once(waits(|waker| waker.wake_by_ref()).map(|()| 1))
    }
    let (fired, _) = polls(|| {
        let mut numbers = pin!(numbers());
        let mut context = Context::from_waker(Waker::noop());
        while numbers.as_mut().poll_next(&mut context) != Poll::Ready(None) {}
    });
    let of_stream: Vec<_> = fired
        .iter()
        .filter(|fired| fired.name() == "numbers")
        .map(|fired| fired.probe)
        .collect();
    assert_eq!(
        of_stream,
        [
            Probe::Entry,
            Probe::PollBegin,
            Probe::PollEnd,
            Probe::PollBegin,
            Probe::PollEnd,
            Probe::PollBegin,
            Probe::Exit
        ]
    );
}

#[instrument]
async fn leaf(turns: u32) -> u32 {
    for _ in 0..turns {
        tokio::task::yield_now().await;
    }
    turns
}

#[instrument]
async fn sleeps() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

#[instrument]
async fn combined() -> u32 {
    let (a, b) = tokio::join!(leaf(3), leaf(4));
    let mut many: FuturesUnordered<_> = (0..50).map(leaf).collect();
    let mut sum = a + b;
    while let Some(turns) = many.next().await {
        sum += turns;
    }
    tokio::select! {
        () = std::future::pending() => unreachable!(),
        () = sleeps() => {}
    }
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let spawned = tokio::spawn(async move { sender.send(leaf(2).await) });
    sum += receiver.await.expect("it is sent");
    spawned
        .await
        .expect("it does not panic")
        .expect("it is received");
    sum
}

const COMBINED: u32 = 3 + 4 + 49 * 50 / 2 + 2;

#[test]
fn tasks_move_between_threads_while_somebody_looks() {
    want(Asked::Polls, true);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_time()
        .build()
        .expect("it can be built");
    let tasks: Vec<_> = (0..20).map(|_| runtime.spawn(combined())).collect();
    for task in tasks {
        let sum = runtime.block_on(task).expect("it does not panic");
        assert_eq!(sum, COMBINED);
    }
}

#[test]
fn other_executors_wake_as_well() {
    want(Asked::Polls, true);
    let (sender, receiver) = futures::channel::oneshot::channel();
    let mut pool = futures::executor::LocalPool::new();
    let waiting = exoscope::future!("waiting", receiver);
    let thread = thread::spawn(move || {
        thread::sleep(Duration::from_millis(5));
        sender.send(7)
    });
    assert_eq!(pool.run_until(waiting), Ok(7));
    assert_eq!(thread.join().expect("it does not panic"), Ok(()));
    let shared = leaf_by_hand(3).shared();
    let both = futures::future::join(shared.clone(), shared);
    assert_eq!(futures::executor::block_on(both), (3, 3));
    let mut unordered: FuturesUnordered<_> = (0..9).map(leaf_by_hand).collect();
    let mut sum = 0;
    futures::executor::block_on(async {
        while let Some(turns) = unordered.next().await {
            sum += turns;
        }
    });
    assert_eq!(sum, 36);
}

/// As [`leaf`], without tokio.
#[instrument]
async fn leaf_by_hand(turns: u32) -> u32 {
    pending(turns as usize, Waker::wake_by_ref).await;
    turns
}
