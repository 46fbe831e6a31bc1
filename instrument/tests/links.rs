//! Calls that run elsewhere have the call as their parent that they were told of.
#![cfg(all(feature = "enabled", target_os = "linux", target_arch = "x86_64"))]
#![deny(warnings)]

mod probes;

use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::thread;

use exoscope::{InCall as _, current_call, instrument};
use exoscope_abi::probe::{LINK, Probe, TOKEN};
use probes::{Fired, watch};

/// Polls until it is complete.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        let polled = future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        if let Poll::Ready(output) = polled {
            return output;
        }
    }
}

/// The only marker of a probe and a function.
fn only<'a>(fired: &'a [Fired], probe: Probe, name: &str) -> &'a Fired {
    let mut found = fired
        .iter()
        .filter(|fired| fired.probe == probe && fired.name() == name);
    let first = found.next().expect("the marker has fired");
    assert_eq!(found.next(), None, "it has fired once");
    first
}

/// The token of the only link, which stands for the call of `name`.
fn link_to(fired: &[Fired], name: &str) -> u64 {
    let link = only(fired, Probe::Link, "");
    assert_eq!(link.call, only(fired, Probe::Entry, name).call);
    let token = link.arguments[2];
    assert_eq!(token & (LINK | 7), LINK | TOKEN);
    token
}

#[instrument]
fn child() {}

#[instrument]
async fn task() {
    child();
    suspended().await;
    child();
}

/// Pending at its first poll.
async fn suspended() {
    let mut first = true;
    std::future::poll_fn(|_| {
        if std::mem::take(&mut first) {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    })
    .await;
}

#[test]
fn a_thread_runs_within_a_call_of_another() {
    #[instrument]
    fn spawning() -> Vec<Fired> {
        let call = current_call();
        let other = thread::spawn(move || {
            watch(|| {
                call.run(child);
                child();
            })
            .0
        });
        other.join().expect("it does not panic")
    }
    let (here, there) = watch(spawning);
    let token = link_to(&here, "spawning");
    let parents: Vec<_> = there
        .iter()
        .filter(|fired| fired.probe == Probe::Entry)
        .map(Fired::parent)
        .collect();
    assert_eq!(parents, [token, 0]);
}

#[test]
fn a_task_runs_within_the_call_that_made_it() {
    #[instrument]
    fn making() -> impl FnOnce() {
        let task = task().in_current_call();
        move || block_on(task)
    }
    #[instrument]
    fn polling(run: impl FnOnce()) {
        run();
        child();
    }
    let (fired, ()) = watch(|| polling(making()));
    let token = link_to(&fired, "making");
    let task = only(&fired, Probe::Entry, "task");
    assert_eq!(task.parent(), token);
    let polling = only(&fired, Probe::Entry, "polling");
    let parents: Vec<_> = fired
        .iter()
        .filter(|fired| fired.probe == Probe::Entry && fired.name() == "child")
        .map(Fired::parent)
        .collect();
    assert_eq!(parents, [task.call, task.call, polling.call]);
}

#[test]
fn what_a_task_holds_is_dropped_within_its_call() {
    struct Noisy;
    impl Drop for Noisy {
        fn drop(&mut self) {
            child();
        }
    }
    #[instrument]
    fn making() -> impl Future<Output = ()> {
        let noisy = Noisy;
        async move {
            suspended().await;
            drop(noisy);
        }
        .in_current_call()
    }
    #[instrument]
    fn dropping<T>(value: T) {
        drop(value);
        child();
    }
    // The function that makes it is no call: the future is, which is not polled.
    let (fired, ()) = watch(|| {
        let task = exoscope::call!("outer", { making() });
        dropping(task);
    });
    let token = link_to(&fired, "outer");
    let parents: Vec<_> = fired
        .iter()
        .filter(|fired| fired.probe == Probe::Entry && fired.name() == "child")
        .map(Fired::parent)
        .collect();
    assert_eq!(
        parents,
        [token, only(&fired, Probe::Entry, "dropping").call]
    );
}

#[test]
fn without_a_call_there_is_nothing_to_link_to() {
    let (fired, ()) = watch(|| {
        let call = current_call();
        exoscope::call!("outer", { call.run(child) });
    });
    assert!(fired.iter().all(|fired| fired.probe != Probe::Link));
    // It stands for nothing, so nothing is hidden.
    assert_eq!(
        only(&fired, Probe::Entry, "child").parent(),
        only(&fired, Probe::Entry, "outer").call
    );
}

#[test]
fn a_link_is_handed_on() {
    let (fired, ()) = watch(|| {
        let task = exoscope::call!("outer", {
            async { async { child() }.in_current_call().await }.in_current_call()
        });
        block_on(task);
    });
    let token = link_to(&fired, "outer");
    assert_eq!(only(&fired, Probe::Entry, "child").parent(), token);
}

#[test]
fn a_panic_leaves_the_call() {
    let (fired, ()) = watch(|| {
        exoscope::call!("outer", {
            let call = current_call();
            let panics = || call.run(|| std::panic::panic_any(1));
            let caught = std::panic::catch_unwind(panics);
            caught.expect_err("it panics");
            child();
        });
    });
    assert_eq!(
        only(&fired, Probe::Entry, "child").parent(),
        only(&fired, Probe::Entry, "outer").call
    );
}

#[test]
fn a_linked_future_is_send_where_the_bare_one_is() {
    fn sendable<T: Send + Sync + 'static>(value: T) -> T {
        value
    }
    let _ = sendable(current_call());
    drop(sendable(std::future::ready(1).in_current_call()));
    let local = Rc::new(1);
    assert_eq!(block_on(async move { *local }.in_current_call()), 1);
}
