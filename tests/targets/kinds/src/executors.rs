//! Executors other than tokio's.

use crate::case::Case;

/// The cases of this file.
pub const CASES: &[Case] = &[
    pollsters::CASE,
    of_futures::CASE,
    of_smol::CASE,
    of_smol_elsewhere::CASE,
    own::CASE,
    within_each_other::CASE,
];

/// `pollster`.
pub mod pollsters {
    use pollster::FutureExt;

    use crate::case::ok;
    use crate::futures::once_pending;

    #[exoscope::instrument]
    async fn waits() -> u32 {
        once_pending().await;
        1
    }

    #[exoscope::instrument]
    fn blocks() -> u32 {
        waits().block_on() + pollster::block_on(waits())
    }

    fn run() {
        assert_eq!(blocks(), 2);
    }

    case!(run => [ok("blocks").with(&[ok("waits"), ok("waits")])]);
}

/// `futures::executor`: `block_on`, `LocalPool`, `FuturesUnordered`, remote handles.
pub mod of_futures {
    use futures::executor::{LocalPool, block_on};
    use futures::stream::{FuturesUnordered, StreamExt};
    use futures::task::{LocalSpawnExt, SpawnExt};

    use crate::case::ok;
    use crate::futures::once_pending;

    #[exoscope::instrument]
    async fn waits(value: u32) -> u32 {
        once_pending().await;
        value
    }

    #[exoscope::instrument]
    async fn unordered() -> u32 {
        let mut futures: FuturesUnordered<_> = (0..3).map(waits).collect();
        let mut sum = 0;
        while let Some(value) = futures.next().await {
            sum += value;
        }
        sum
    }

    #[exoscope::instrument]
    fn pool() -> u32 {
        let mut pool = LocalPool::new();
        let spawner = pool.spawner();
        let handle = spawner
            .spawn_with_handle(waits(4))
            .expect("the pool is there");
        spawner
            .spawn_local(async {
                waits(5).await;
            })
            .expect("the pool is there");
        pool.run_until_stalled();
        pool.run_until(handle)
    }

    fn run() {
        assert_eq!(block_on(unordered()), 3);
        assert_eq!(pool(), 4);
    }

    case!(run => [
        ok("unordered").with(&[ok("waits"), ok("waits"), ok("waits")]),
        ok("pool").with(&[ok("waits"), ok("waits")]),
    ]);
}

/// `smol`: `block_on`, `LocalExecutor`, timers.
pub mod of_smol {
    use std::time::Duration;

    use smol::future::or;
    use smol::{LocalExecutor, Timer, block_on};

    use crate::case::{cancelled, ok};
    use crate::futures::once_pending;

    #[exoscope::instrument]
    async fn waits() -> u32 {
        once_pending().await;
        Timer::after(Duration::from_millis(1)).await;
        1
    }

    #[exoscope::instrument]
    async fn slow() -> u32 {
        Timer::after(Duration::from_secs(3600)).await;
        2
    }

    #[exoscope::instrument]
    async fn first() -> u32 {
        or(slow(), waits()).await
    }

    fn run() {
        assert_eq!(block_on(first()), 1);
        let executor = LocalExecutor::new();
        let task = executor.spawn(waits());
        assert_eq!(block_on(executor.run(task)), 1);
        let executor = LocalExecutor::new();
        let task = executor.spawn(slow());
        assert!(executor.try_tick());
        drop(task);
        drop(executor);
    }

    case!(run => [
        ok("first").with(&[cancelled("slow"), ok("waits")]),
        ok("waits"),
        cancelled("slow"),
    ]);
}

/// `smol` on its own threads.
pub mod of_smol_elsewhere {
    use crate::case::ok;
    use crate::futures::once_pending;

    #[exoscope::instrument]
    async fn task() -> u32 {
        once_pending().await;
        smol::unblock(blocks).await
    }

    #[exoscope::instrument]
    fn blocks() -> u32 {
        1
    }

    #[exoscope::instrument]
    async fn awaits() -> u32 {
        smol::spawn(task()).await
    }

    fn run() {
        assert_eq!(smol::block_on(awaits()), 1);
    }

    case!(run => [ok("awaits"), ok("task").on_thread(), ok("blocks").on_thread()]);
}

/// One of a few lines, with a queue of boxed tasks.
pub mod own {
    use std::collections::VecDeque;
    use std::pin::Pin;

    use crate::case::ok;
    use crate::futures::{once_pending, poll_once};

    type Task = Pin<Box<dyn Future<Output = ()>>>;

    /// Runs all tasks in turn to their end.
    fn drive(tasks: impl IntoIterator<Item = Task>) {
        let mut queue: VecDeque<Task> = tasks.into_iter().collect();
        while let Some(mut task) = queue.pop_front() {
            if poll_once(task.as_mut()).is_pending() {
                queue.push_back(task);
            }
        }
    }

    #[exoscope::instrument]
    async fn task(steps: u32) {
        for _ in 0..steps {
            step().await;
        }
    }

    #[exoscope::instrument]
    async fn step() {
        once_pending().await;
    }

    #[exoscope::instrument]
    fn drives() {
        drive([
            Box::pin(task(2)) as Task,
            Box::pin(task(1)),
            Box::pin(task(0)),
        ]);
    }

    fn run() {
        drives();
    }

    case!(run => [
        ok("drives").with(&[
            ok("task").with(&[ok("step"), ok("step")]),
            ok("task").with(&[ok("step")]),
            ok("task"),
        ]),
    ]);
}

/// A future that blocks on another one, with another executor.
pub mod within_each_other {
    use crate::case::ok;
    use crate::futures::once_pending;

    #[exoscope::instrument]
    async fn outer() -> u32 {
        once_pending().await;
        smol::block_on(middle()) + 1
    }

    #[exoscope::instrument]
    async fn middle() -> u32 {
        once_pending().await;
        pollster::block_on(inner()) + 1
    }

    #[exoscope::instrument]
    async fn inner() -> u32 {
        once_pending().await;
        1
    }

    fn run() {
        assert_eq!(futures::executor::block_on(outer()), 3);
    }

    case!(run => [ok("outer").with(&[ok("middle").with(&[ok("inner")])])]);
}
