//! Tasks and threads that name the call that made them as their parent.

use crate::case::Case;

/// The cases of this file.
pub const CASES: &[Case] = &[
    tasks::CASE,
    on_workers::CASE,
    threads::CASE,
    blocking::CASE,
    blocks::CASE,
    deep::CASE,
    outside::CASE,
    streams::CASE,
    cancelled_tasks::CASE,
    unused::CASE,
];

/// A task on the same thread, awaited and not.
pub mod tasks {
    use exoscope::InCall;
    use tokio::runtime::Builder;

    use crate::case::ok;
    use crate::futures::once_pending;

    #[exoscope::instrument]
    async fn task() -> u32 {
        once_pending().await;
        inner().await
    }

    #[exoscope::instrument]
    async fn inner() -> u32 {
        once_pending().await;
        1
    }

    #[exoscope::instrument]
    async fn awaits() -> u32 {
        tokio::spawn(task().in_current_call()).await.unwrap_or(0)
    }

    #[exoscope::instrument]
    async fn leaves() -> tokio::task::JoinHandle<u32> {
        tokio::spawn(task().in_current_call())
    }

    #[exoscope::instrument]
    async fn bare() -> tokio::task::JoinHandle<u32> {
        tokio::spawn(task())
    }

    fn run() {
        Builder::new_current_thread()
            .build()
            .expect("a runtime can be made")
            .block_on(async {
                assert_eq!(awaits().await, 1);
                assert_eq!(leaves().await.await.ok(), Some(1));
                assert_eq!(bare().await.await.ok(), Some(1));
            });
    }

    const TASK: crate::case::Row = ok("task").with(&[ok("inner")]);

    case!(run => [
        ok("awaits").with(&[TASK]),
        ok("leaves").with(&[TASK.outlives()]),
        ok("bare"),
        TASK,
    ].needs_entries());
}

/// A task on a worker thread.
pub mod on_workers {
    use exoscope::InCall;
    use tokio::runtime::Builder;

    use crate::case::{err, ok};
    use crate::futures::once_pending;

    #[exoscope::instrument]
    async fn task() -> Result<u32, String> {
        once_pending().await;
        inner().await;
        Err("in a task".to_owned())
    }

    #[exoscope::instrument]
    async fn inner() {
        once_pending().await;
    }

    #[exoscope::instrument]
    async fn awaits() -> Result<u32, String> {
        tokio::spawn(task().in_current_call())
            .await
            .unwrap_or(Ok(0))
    }

    fn run() {
        let mut builder = Builder::new_multi_thread();
        let runtime = builder
            .worker_threads(1)
            .build()
            .expect("a runtime can be made");
        assert!(runtime.block_on(awaits()).is_err());
    }

    const KIND: &str = "alloc::string::String";

    // With a parent, an error that travels through a task is one error.
    case!(run => [
        err("awaits", KIND, "in a task").with(&[
            err("task", KIND, "in a task").elsewhere().with(&[ok("inner")]),
        ]),
    ].needs_entries());
}

/// Threads, also scoped ones.
pub mod threads {
    use std::thread;

    use exoscope::current_call;

    use crate::case::ok;

    #[exoscope::instrument]
    fn work(number: u32) -> u32 {
        step(number)
    }

    #[exoscope::instrument]
    fn step(number: u32) -> u32 {
        number
    }

    #[exoscope::instrument]
    fn spawns() -> u32 {
        let call = current_call();
        let first = thread::spawn(move || call.run(|| work(1) + work(2))).join();
        let second = thread::scope(|scope| scope.spawn(|| call.run(|| work(3))).join());
        first.unwrap_or(0) + second.unwrap_or(0) + work(4)
    }

    fn run() {
        assert_eq!(spawns(), 10);
    }

    const WORK: crate::case::Row = ok("work").with(&[ok("step")]);

    case!(run => [
        ok("spawns").with(&[WORK.elsewhere(), WORK.elsewhere(), WORK.elsewhere(), WORK]),
    ].needs_entries());
}

/// `spawn_blocking`.
pub mod blocking {
    use exoscope::current_call;
    use tokio::runtime::Builder;
    use tokio::task::spawn_blocking;

    use crate::case::ok;

    #[exoscope::instrument]
    fn blocks() -> u32 {
        1
    }

    #[exoscope::instrument]
    async fn spawns() -> u32 {
        let call = current_call();
        spawn_blocking(move || call.run(blocks)).await.unwrap_or(0)
    }

    fn run() {
        let runtime = Builder::new_current_thread()
            .build()
            .expect("a runtime can be made");
        assert_eq!(runtime.block_on(spawns()), 1);
    }

    case!(run => [ok("spawns").with(&[ok("blocks").elsewhere()])].needs_entries());
}

/// Within an outer call for a while: what was innermost before is so again afterwards.
pub mod blocks {
    use exoscope::{Call, current_call};

    use crate::case::ok;

    #[exoscope::instrument]
    fn inner() {}

    #[exoscope::instrument]
    fn other(call: Call) {
        inner();
        call.run(inner);
        inner();
    }

    #[exoscope::instrument]
    fn outer() {
        other(current_call());
        inner();
    }

    fn run() {
        outer();
    }

    const INNER: crate::case::Row = ok("inner");

    case!(run => [
        ok("outer").with(&[ok("other").with(&[INNER, INNER]), INNER, INNER]),
    ].needs_entries());
}

/// Tasks of tasks.
pub mod deep {
    use std::pin::Pin;

    use exoscope::InCall;
    use tokio::runtime::Builder;

    use crate::case::ok;

    #[exoscope::instrument]
    fn level(depth: u32) -> Pin<Box<dyn Future<Output = u32> + Send>> {
        Box::pin(async move {
            if depth == 0 {
                return 0;
            }
            let next = level(depth - 1).in_current_call();
            tokio::spawn(next).await.unwrap_or(100) + 1
        })
    }

    fn run() {
        let runtime = Builder::new_current_thread()
            .build()
            .expect("a runtime can be made");
        assert_eq!(runtime.block_on(level(4)), 4);
    }

    case!(run => [ok("level").chain(5)].needs_entries());
}

/// No call to name: the task has no parent.
pub mod outside {
    use std::thread;

    use exoscope::{InCall, current_call};

    use crate::case::ok;

    #[exoscope::instrument]
    async fn task() -> u32 {
        1
    }

    fn run() {
        let thread = thread::spawn(|| {
            let call = current_call();
            call.run(|| pollster::block_on(task().in_current_call()))
        });
        assert_eq!(thread.join().ok(), Some(1));
    }

    case!(run => [ok("task").on_thread()]);
}

/// Streams within a call.
pub mod streams {
    use exoscope::InCall;
    use futures::executor::block_on;
    use futures::{Stream, StreamExt, stream};

    use crate::case::ok;

    #[exoscope::instrument]
    fn numbers() -> impl Stream<Item = u32> {
        stream::iter([1, 2])
    }

    #[exoscope::instrument]
    fn makes() -> impl FnOnce() -> usize {
        let numbers = numbers().in_current_call();
        move || block_on(numbers.count())
    }

    fn run() {
        assert_eq!(makes()(), 2);
    }

    case!(run => [ok("makes").with(&[ok("numbers").items(2).outlives()])].needs_entries());
}

/// Dropped while pending: within the call too.
pub mod cancelled_tasks {
    use std::pin::Pin;

    use exoscope::InCall;

    use crate::case::{cancelled, ok};
    use crate::futures::poll_once;

    struct Guard;

    #[exoscope::instrument]
    impl Drop for Guard {
        fn drop(&mut self) {}
    }

    #[exoscope::instrument]
    async fn waits() {
        std::future::pending().await
    }

    #[exoscope::instrument]
    fn in_call() {
        let mut future = begins();
        assert!(poll_once(future.as_mut()).is_pending());
        drop(future);
    }

    type Made = Pin<Box<dyn Future<Output = ()>>>;

    /// Not a future by its signature, so the function itself is the call.
    #[exoscope::instrument]
    fn begins() -> Made {
        let guard = Guard;
        let task = async move {
            let _guard = guard;
            waits().await;
        };
        Box::pin(task.in_current_call())
    }

    fn run() {
        in_call();
    }

    case!(run => [
        ok("in_call").with(&[
            ok("begins").with(&[cancelled("waits").outlives(), ok("Guard::drop").outlives()]),
        ]),
    ].needs_entries());
}

/// What was to run within a call and never does; and a call that ended before anything ran within it.
pub mod unused {
    use exoscope::{Call, InCall, current_call};

    use crate::case::ok;

    #[exoscope::instrument]
    async fn task(text: String) -> usize {
        text.len()
    }

    #[exoscope::instrument]
    fn makes() -> Call {
        drop(task("dropped".to_owned()).in_current_call());
        std::mem::forget(task("forgotten".to_owned()).in_current_call());
        let _never_used = current_call();
        current_call()
    }

    #[exoscope::instrument]
    fn late() {}

    fn run() {
        let call = makes();
        late();
        call.run(late);
    }

    case!(run => [
        ok("makes").with(&[ok("late").outlives()]),
        ok("late"),
    ].needs_entries());
}
