//! Running futures, without anybody's runtime.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::ops::DerefMut;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use crate::futures::Task;
use crate::log::Answer;

/// Unparks the thread that blocks on a future.
struct Unpark {
    thread: Thread,
    /// Since the latest poll. The unparking alone may be taken by another future, on which the one
    /// that is polled blocks.
    woken: AtomicBool,
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// Runs a future to its end on this thread.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let unpark = Arc::new(Unpark {
        thread: thread::current(),
        woken: AtomicBool::new(false),
    });
    let waker = Waker::from(unpark.clone());
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => {
                while !unpark.woken.swap(false, Ordering::Acquire) {
                    thread::park();
                }
            }
        }
    }
}

/// Polls once, with a waker that wakes nobody.
pub fn poll_once(task: &mut Task) -> Poll<Answer> {
    Pin::new(task).poll(&mut Context::from_waker(Waker::noop()))
}

/// Is pending `times` times, and wakes at once.
pub async fn yields(mut times: u32) {
    poll_fn(|context| {
        if times == 0 {
            return Poll::Ready(());
        }
        times -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Answers of futures that are polled in turn.
struct Together<P> {
    futures: Vec<Option<Pin<P>>>,
}

impl<P: DerefMut<Target: Future<Output = Answer>>> Together<P> {
    fn new(futures: impl IntoIterator<Item = Pin<P>>) -> Self {
        let futures = futures.into_iter().map(Some).collect();
        Self { futures }
    }

    /// Polls those that are not complete, until one gives an answer that `last` holds for. `Pending`
    /// while some are not complete; otherwise the sum of the answers of this turn.
    fn poll(&mut self, context: &mut Context<'_>, last: impl Fn(&Answer) -> bool) -> Poll<Answer> {
        let mut pending = false;
        for place in &mut self.futures {
            let Some(future) = place else { continue };
            match future.as_mut().poll(context) {
                Poll::Pending => pending = true,
                Poll::Ready(answer) => {
                    *place = None;
                    if last(&answer) {
                        return Poll::Ready(answer);
                    }
                }
            }
        }
        if pending {
            Poll::Pending
        } else {
            Poll::Ready(Ok(0))
        }
    }
}

/// Awaits all, or the first error.
pub async fn join<P>(futures: impl IntoIterator<Item = Pin<P>>) -> Answer
where
    P: DerefMut<Target: Future<Output = Answer>>,
{
    let mut all = Together::new(futures);
    poll_fn(|context| all.poll(context, Result::is_err)).await
}

/// Awaits the first that is complete.
pub async fn select<P>(futures: impl IntoIterator<Item = Pin<P>>) -> Answer
where
    P: DerefMut<Target: Future<Output = Answer>>,
{
    let mut all = Together::new(futures);
    poll_fn(|context| all.poll(context, |_| true)).await
}

/// Awaits at most so many polls.
pub async fn timeout(mut polls: u32, future: impl Future<Output = Answer>) -> Answer {
    let mut future = pin!(future);
    poll_fn(|context| {
        if polls == 0 {
            return Poll::Ready(Ok(0));
        }
        polls -= 1;
        future.as_mut().poll(context)
    })
    .await
}

/// Runs futures on threads, each of which hands what is pending to the next one.
pub fn pool(tasks: Vec<Task>, workers: usize) -> Vec<thread::Result<Answer>> {
    let pool = Pool {
        queues: (0..workers).map(|_| Mutex::default()).collect(),
        unfinished: AtomicUsize::new(tasks.len()),
        results: Mutex::default(),
    };
    for (place, task) in tasks.into_iter().enumerate() {
        pool.push(place % workers, task);
    }
    thread::scope(|scope| {
        for worker in 0..workers {
            let pool = &pool;
            scope.spawn(move || pool.work(worker));
        }
    });
    let results = pool.results.into_inner();
    results.unwrap_or_else(PoisonError::into_inner)
}

struct Pool {
    queues: Vec<Mutex<VecDeque<Task>>>,
    unfinished: AtomicUsize,
    results: Mutex<Vec<thread::Result<Answer>>>,
}

impl Pool {
    fn push(&self, worker: usize, task: Task) {
        let queue = &self.queues[worker % self.queues.len()];
        queue
            .lock()
            .expect("no task runs meanwhile")
            .push_back(task);
    }

    fn pop(&self, worker: usize) -> Option<Task> {
        let mut queue = self.queues[worker].lock().expect("no task runs meanwhile");
        queue.pop_front()
    }

    fn work(&self, worker: usize) {
        while self.unfinished.load(Ordering::Acquire) > 0 {
            let Some(mut task) = self.pop(worker) else {
                thread::yield_now();
                continue;
            };
            match catch_unwind(AssertUnwindSafe(|| poll_once(&mut task))) {
                Ok(Poll::Pending) => self.push(worker + 1, task),
                Ok(Poll::Ready(answer)) => self.finish(Ok(answer)),
                Err(panic) => self.finish(Err(panic)),
            }
        }
    }

    fn finish(&self, result: thread::Result<Answer>) {
        let mut results = self.results.lock().expect("no task runs meanwhile");
        results.push(result);
        self.unfinished.fetch_sub(1, Ordering::Release);
    }
}
