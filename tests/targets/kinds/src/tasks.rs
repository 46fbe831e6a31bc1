//! Futures that run side by side, in tasks, and for a time only: with tokio.

use tokio::runtime::{Builder, Runtime};

use crate::case::Case;

/// The cases of this file.
pub const CASES: &[Case] = &[
    joined::CASE,
    joined_errors::CASE,
    selected::CASE,
    timeouts::CASE,
    spawned::CASE,
    spawned_on_threads::CASE,
    blocking::CASE,
    aborted::CASE,
    local_set::CASE,
    joined_set::CASE,
    channels::CASE,
    yielding::CASE,
    mains::CASE,
    runtime_dropped::CASE,
    #[cfg(panic = "unwind")]
    panics::CASE,
];

/// A runtime on this thread.
fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime can be made")
}

/// A runtime with one worker.
fn worker() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder
        .worker_threads(1)
        .enable_time()
        .build()
        .expect("a runtime can be made")
}

/// `join!`: the calls overlap, and have one parent.
pub mod joined {
    use super::runtime;
    use crate::case::ok;
    use crate::futures::once_pending;

    #[exoscope::instrument]
    async fn first() -> u32 {
        once_pending().await;
        inner().await
    }

    #[exoscope::instrument]
    async fn second() -> u32 {
        once_pending().await;
        once_pending().await;
        inner().await
    }

    #[exoscope::instrument]
    async fn inner() -> u32 {
        once_pending().await;
        1
    }

    #[exoscope::instrument]
    async fn both() -> u32 {
        let (first, second) = tokio::join!(first(), second());
        first + second
    }

    #[exoscope::instrument]
    async fn all() -> u32 {
        futures::future::join_all((0..3).map(|_| inner()))
            .await
            .into_iter()
            .sum()
    }

    fn run() {
        assert_eq!(runtime().block_on(both()), 2);
        assert_eq!(runtime().block_on(all()), 3);
        let (first, second) = pollster::block_on(async { futures::join!(first(), second()) });
        assert_eq!(first + second, 2);
    }

    case!(run => [
        ok("both").with(&[ok("first").with(&[ok("inner")]), ok("second").with(&[ok("inner")])]),
        ok("all").with(&[ok("inner"), ok("inner"), ok("inner")]),
        ok("first").with(&[ok("inner")]),
        ok("second").with(&[ok("inner")]),
    ]);
}

/// `try_join!`: the first error cancels the others.
pub mod joined_errors {
    use super::runtime;
    use crate::case::{cancelled, err, ok};
    use crate::futures::once_pending;

    #[exoscope::instrument]
    async fn fails() -> Result<(), String> {
        once_pending().await;
        Err("the first".to_owned())
    }

    #[exoscope::instrument]
    async fn waits() -> Result<(), String> {
        std::future::pending().await
    }

    #[exoscope::instrument]
    async fn ready() -> Result<(), String> {
        Ok(())
    }

    #[exoscope::instrument]
    async fn all() -> Result<(), String> {
        tokio::try_join!(ready(), fails(), waits())?;
        Ok(())
    }

    fn run() {
        assert!(runtime().block_on(all()).is_err());
    }

    const KIND: &str = "alloc::string::String";

    case!(run => [
        err("all", KIND, "the first").with(&[
            ok("ready"),
            err("fails", KIND, "the first"),
            cancelled("waits"),
        ]),
    ]);
}

/// `select!`: who does not win is cancelled, who was not asked is no call.
pub mod selected {
    use super::runtime;
    use crate::case::{cancelled, ok};
    use crate::futures::once_pending;

    #[exoscope::instrument]
    async fn waits() -> u32 {
        before().await;
        std::future::pending().await
    }

    #[exoscope::instrument]
    async fn before() {}

    #[exoscope::instrument]
    async fn wins() -> u32 {
        once_pending().await;
        1
    }

    #[exoscope::instrument]
    async fn first_of() -> u32 {
        tokio::select! {
            biased;
            value = waits() => value,
            value = wins() => value,
        }
    }

    #[exoscope::instrument]
    async fn not_asked() -> u32 {
        tokio::select! {
            biased;
            value = async { 2 } => value,
            value = waits() => value,
        }
    }

    #[exoscope::instrument]
    async fn in_loop() -> u32 {
        let slow = std::pin::pin!(waits());
        let mut slow = slow;
        let mut turns = 0;
        loop {
            tokio::select! {
                biased;
                _ = &mut slow => {}
                one = wins() => {
                    turns += one;
                    if turns == 2 {
                        return turns;
                    }
                }
            }
        }
    }

    #[exoscope::instrument]
    async fn of_futures() -> bool {
        use futures::future::{Either, select};
        let (slow, fast) = (std::pin::pin!(waits()), std::pin::pin!(wins()));
        matches!(select(slow, fast).await, Either::Right(_))
    }

    fn run() {
        assert_eq!(runtime().block_on(first_of()), 1);
        assert_eq!(runtime().block_on(not_asked()), 2);
        assert_eq!(runtime().block_on(in_loop()), 2);
        assert!(runtime().block_on(of_futures()));
    }

    const WAITS: crate::case::Row = cancelled("waits").with(&[ok("before")]);

    case!(run => [
        ok("first_of").with(&[WAITS, ok("wins")]),
        ok("not_asked"),
        ok("in_loop").with(&[WAITS, ok("wins"), ok("wins")]),
        ok("of_futures").with(&[WAITS, ok("wins")]),
    ]);
}

/// Timeouts cancel what is too slow, and leave the rest alone.
pub mod timeouts {
    use std::time::Duration;

    use tokio::time::{error::Elapsed, sleep, timeout};

    use super::runtime;
    use crate::case::{cancelled, err, ok};

    #[exoscope::instrument]
    async fn slow() {
        step().await;
        sleep(Duration::from_secs(3600)).await;
    }

    #[exoscope::instrument]
    async fn step() {
        sleep(Duration::from_millis(1)).await;
    }

    #[exoscope::instrument]
    async fn limited() -> Result<(), Elapsed> {
        timeout(Duration::from_millis(20), slow()).await
    }

    #[exoscope::instrument]
    async fn in_time() -> Result<(), Elapsed> {
        timeout(Duration::from_secs(3600), step()).await
    }

    fn run() {
        assert!(runtime().block_on(limited()).is_err());
        assert!(runtime().block_on(in_time()).is_ok());
    }

    case!(run => [
        err("limited", "tokio::time::error::Elapsed", "deadline has elapsed").with(&[
            cancelled("slow").with(&[ok("step")]),
        ]),
        ok("in_time").with(&[ok("step")]),
    ]);
}

/// `spawn`: a task is nobody's child. On this thread it runs when the one that spawned it waits.
pub mod spawned {
    use super::runtime;
    use crate::case::{err, ok};
    use crate::futures::once_pending;

    #[exoscope::instrument]
    async fn task(fail: bool) -> Result<u32, String> {
        once_pending().await;
        inner();
        if fail {
            Err("in a task".to_owned())
        } else {
            Ok(1)
        }
    }

    #[exoscope::instrument]
    fn inner() {}

    #[exoscope::instrument]
    async fn spawns() -> Result<u32, String> {
        let good = tokio::spawn(task(false));
        let bad = tokio::spawn(task(true));
        let good = good.await.expect("it does not panic")?;
        let bad = bad.await.expect("it does not panic")?;
        Ok(good + bad)
    }

    fn run() {
        assert!(runtime().block_on(spawns()).is_err());
    }

    const KIND: &str = "alloc::string::String";

    case!(run => [
        err("spawns", KIND, "in a task"),
        ok("task").with(&[ok("inner")]),
        err("task", KIND, "in a task").with(&[ok("inner")]),
    ]);
}

/// `spawn` on a worker thread.
pub mod spawned_on_threads {
    use super::worker;
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
        tokio::spawn(task()).await.expect("it does not panic")
    }

    fn run() {
        let runtime = worker();
        assert_eq!(runtime.block_on(awaits()), 1);
        assert_eq!(runtime.block_on(runtime.spawn(awaits())).ok(), Some(1));
    }

    case!(run => [
        ok("awaits"),
        ok("task").on_thread().with(&[ok("inner")]),
        ok("awaits").on_thread(),
        ok("task").on_thread().with(&[ok("inner")]),
    ]);
}

/// `spawn_blocking` and `block_in_place`.
pub mod blocking {
    use super::worker;
    use crate::case::{err, ok};

    #[exoscope::instrument]
    fn blocks(fail: bool) -> Result<u32, String> {
        inner();
        if fail {
            Err("blocked".to_owned())
        } else {
            Ok(1)
        }
    }

    #[exoscope::instrument]
    fn inner() {}

    #[exoscope::instrument]
    async fn spawns() -> u32 {
        let good = tokio::task::spawn_blocking(|| blocks(false)).await;
        let bad = tokio::task::spawn_blocking(|| blocks(true)).await;
        good.expect("it does not panic").unwrap_or(0) + u32::from(bad.is_ok_and(|bad| bad.is_err()))
    }

    #[exoscope::instrument]
    async fn in_place() -> u32 {
        tokio::task::block_in_place(|| blocks(false)).unwrap_or(0)
    }

    fn run() {
        let runtime = worker();
        assert_eq!(runtime.block_on(spawns()), 2);
        assert_eq!(runtime.block_on(in_place()), 1);
    }

    case!(run => [
        ok("spawns"),
        ok("blocks").on_thread().with(&[ok("inner")]),
        err("blocks", "alloc::string::String", "blocked").on_thread().with(&[ok("inner")]),
        ok("in_place").with(&[ok("blocks").with(&[ok("inner")])]),
    ]);
}

/// Aborted tasks: cancelled where they had begun.
pub mod aborted {
    use super::runtime;
    use crate::case::{cancelled, ok};

    #[exoscope::instrument]
    async fn task() {
        std::future::pending().await
    }

    #[exoscope::instrument]
    async fn aborts() {
        let begun = tokio::spawn(task());
        tokio::task::yield_now().await;
        begun.abort();
        assert!(begun.await.is_err_and(|error| error.is_cancelled()));
        let never_begun = tokio::spawn(task());
        never_begun.abort();
        assert!(never_begun.await.is_err_and(|error| error.is_cancelled()));
    }

    fn run() {
        runtime().block_on(aborts());
    }

    case!(run => [ok("aborts"), cancelled("task")]);
}

/// `LocalSet`: tasks that are not `Send`.
pub mod local_set {
    use std::cell::Cell;
    use std::rc::Rc;

    use tokio::task::{LocalSet, spawn_local};

    use super::runtime;
    use crate::case::ok;
    use crate::futures::once_pending;

    #[exoscope::instrument]
    async fn task(count: Rc<Cell<u32>>) {
        once_pending().await;
        count.set(count.get() + inner().await);
    }

    #[exoscope::instrument]
    async fn inner() -> u32 {
        1
    }

    #[exoscope::instrument]
    async fn spawns(count: Rc<Cell<u32>>) {
        let tasks = [
            spawn_local(task(Rc::clone(&count))),
            spawn_local(task(count)),
        ];
        for task in tasks {
            task.await.expect("it does not panic");
        }
    }

    fn run() {
        let count = Rc::new(Cell::new(0));
        LocalSet::new().block_on(&runtime(), spawns(Rc::clone(&count)));
        assert_eq!(count.get(), 2);
    }

    case!(run => [
        ok("spawns"),
        ok("task").with(&[ok("inner")]),
        ok("task").with(&[ok("inner")]),
    ]);
}

/// `JoinSet`: dropped, it cancels what still runs.
pub mod joined_set {
    use tokio::task::JoinSet;

    use super::runtime;
    use crate::case::{cancelled, ok};

    #[exoscope::instrument]
    async fn ends(value: u32) -> u32 {
        value
    }

    #[exoscope::instrument]
    async fn waits() -> u32 {
        std::future::pending().await
    }

    #[exoscope::instrument]
    async fn first() -> u32 {
        let mut set = JoinSet::new();
        set.spawn(waits());
        set.spawn(ends(1));
        set.join_next()
            .await
            .expect("there are two")
            .expect("it does not panic")
    }

    fn run() {
        assert_eq!(runtime().block_on(first()), 1);
    }

    case!(run => [ok("first"), cancelled("waits"), ok("ends")]);
}

/// Calls that wait for each other through a channel.
pub mod channels {
    use tokio::sync::mpsc;

    use super::runtime;
    use crate::case::ok;

    #[exoscope::instrument]
    async fn produces(sender: mpsc::Sender<u32>) {
        for number in 0..3 {
            sender.send(number).await.expect("it is received");
        }
    }

    #[exoscope::instrument]
    async fn consumes(mut receiver: mpsc::Receiver<u32>) -> u32 {
        let mut sum = 0;
        while let Some(number) = receiver.recv().await {
            sum += handles(number).await;
        }
        sum
    }

    #[exoscope::instrument]
    async fn handles(number: u32) -> u32 {
        tokio::task::yield_now().await;
        number
    }

    fn run() {
        let (sender, receiver) = mpsc::channel(1);
        let both = async { tokio::join!(consumes(receiver), produces(sender)) };
        assert_eq!(runtime().block_on(both).0, 3);
    }

    case!(run => [
        ok("consumes").with(&[ok("handles"), ok("handles"), ok("handles")]),
        ok("produces"),
    ]);
}

/// Tasks that take turns on one thread: each call keeps its own parent.
pub mod yielding {
    use super::runtime;
    use crate::case::ok;

    #[exoscope::instrument]
    async fn task(steps: u32) {
        for _ in 0..steps {
            step().await;
        }
    }

    #[exoscope::instrument]
    async fn step() {
        tokio::task::yield_now().await;
        works();
    }

    #[exoscope::instrument]
    fn works() {}

    fn run() {
        runtime().block_on(async {
            let tasks = [tokio::spawn(task(2)), tokio::spawn(task(1))];
            for task in tasks {
                task.await.expect("it does not panic");
            }
        });
    }

    const STEP: crate::case::Row = ok("step").with(&[ok("works")]);

    case!(run => [ok("task").with(&[STEP, STEP]), ok("task").with(&[STEP])]);
}

/// `#[tokio::main]`, before and after the attribute.
pub mod mains {
    use crate::case::{err, ok};

    mod before {
        #[exoscope::instrument]
        #[tokio::main(flavor = "current_thread")]
        pub async fn main() -> Result<(), String> {
            super::inner().await;
            Err("main failed".to_owned())
        }
    }

    mod after {
        #[tokio::main(flavor = "current_thread")]
        #[exoscope::instrument]
        pub async fn main() -> u32 {
            super::inner().await;
            1
        }
    }

    mod on_workers {
        #[tokio::main(worker_threads = 1)]
        #[exoscope::instrument]
        pub async fn main() {
            tokio::spawn(super::inner())
                .await
                .expect("it does not panic");
        }
    }

    #[exoscope::instrument]
    async fn inner() {
        crate::futures::once_pending().await;
    }

    fn run() {
        assert!(before::main().is_err());
        assert_eq!(after::main(), 1);
        on_workers::main();
    }

    case!(run => [
        err("before::main", "alloc::string::String", "main failed").with(&[ok("inner")]),
        ok("after::main").with(&[ok("inner")]),
        ok("on_workers::main"),
        ok("inner").on_thread(),
    ]);
}

/// A runtime that ends before its tasks do.
pub mod runtime_dropped {
    use super::runtime;
    use crate::case::{cancelled, ok};

    #[exoscope::instrument]
    async fn waits() {
        std::future::pending().await
    }

    #[exoscope::instrument]
    fn ends() {
        let runtime = runtime();
        runtime.spawn(waits());
        runtime.block_on(tokio::task::yield_now());
    }

    fn run() {
        ends();
    }

    case!(run => [ok("ends").with(&[cancelled("waits")])]);
}

/// Panics in tasks stay there.
#[cfg(panic = "unwind")]
pub mod panics {
    use super::{runtime, worker};
    use crate::case::{ok, panic};
    use crate::futures::once_pending;

    #[exoscope::instrument]
    async fn task() {
        once_pending().await;
        falls();
    }

    #[exoscope::instrument]
    fn falls() {
        panic!("in a task");
    }

    #[exoscope::instrument]
    async fn awaits() -> bool {
        tokio::spawn(task())
            .await
            .is_err_and(|error| error.is_panic())
    }

    #[exoscope::instrument]
    async fn blocking() -> bool {
        tokio::task::spawn_blocking(falls).await.is_err()
    }

    fn run() {
        assert!(runtime().block_on(awaits()));
        let worker = worker();
        assert!(worker.block_on(awaits()) && worker.block_on(blocking()));
    }

    const TASK: crate::case::Row = panic("task").with(&[panic("falls").said("in a task")]);

    case!(run => [
        ok("awaits"),
        TASK,
        ok("awaits"),
        TASK.on_thread(),
        ok("blocking"),
        panic("falls").said("in a task").on_thread(),
    ]);
}
