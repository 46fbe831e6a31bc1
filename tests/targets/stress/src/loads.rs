//! The loads, each with what it makes of a size.

use std::hint::black_box;
use std::thread;

use exoscope::instrument;
use fastrand::Rng;
use futures::stream::{self, Stream, StreamExt as _};
use truth::{Outcome, Truth, path};

use crate::Size;

/// One load.
pub struct Load {
    /// Its name on the command line.
    pub name: &'static str,
    /// Does the work and tells what it was.
    pub run: fn(Size) -> Done,
}

/// What was done.
pub struct Done {
    /// The calls.
    pub truth: Truth,
    /// Items that streams gave.
    pub items: u64,
}

impl From<Truth> for Done {
    fn from(truth: Truth) -> Self {
        Self { truth, items: 0 }
    }
}

/// Every load, in the predecessor's order.
pub const LOADS: &[Load] = &[
    Load {
        name: "frequency",
        run: frequency,
    },
    Load {
        name: "mixed",
        run: mixed,
    },
    Load {
        name: "contention",
        run: contention,
    },
    Load {
        name: "failures",
        run: failures,
    },
    Load {
        name: "memory",
        run: memory,
    },
    Load {
        name: "streams",
        run: streams,
    },
];

/// Runs `work` in so many threads at once, each with its number, and adds up what they tell.
fn in_threads(threads: u64, work: impl Fn(u64) -> Truth + Sync) -> Truth {
    let mut truth = Truth::default();
    thread::scope(|scope| {
        let work = &work;
        let workers: Vec<_> = (0..threads)
            .map(|worker| scope.spawn(move || work(worker)))
            .collect();
        for worker in workers {
            truth.merge(&worker.join().expect("a worker does not panic"));
        }
    });
    truth
}

/// 20 threads with 1,000 calls each.
fn frequency(size: Size) -> Done {
    let calls = 1_000 * size.scale;
    in_threads(20, |worker| {
        let mut truth = Truth::default();
        for number in 0..calls {
            black_box(step(worker, number));
        }
        truth.add(path!("step"), Outcome::Ok, calls);
        truth
    })
    .into()
}

#[instrument]
fn step(worker: u64, number: u64) -> u64 {
    black_box(worker ^ number)
}

/// 10 tasks and 10 threads with 100 calls each, that of a task with another one in it.
fn mixed(size: Size) -> Done {
    let calls = 100 * size.scale;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .build()
        .expect("a runtime");
    let tasks: Vec<_> = (0..10)
        .map(|worker| {
            runtime.spawn(async move {
                for number in 0..calls {
                    black_box(job(worker, number).await);
                }
            })
        })
        .collect();
    let mut truth = in_threads(10, |worker| {
        let mut truth = Truth::default();
        for number in 0..calls {
            black_box(step(worker, number));
        }
        truth.add(path!("step"), Outcome::Ok, calls);
        truth
    });
    runtime.block_on(async {
        for task in tasks {
            task.await.expect("a task does not panic");
        }
    });
    truth.add(path!("job"), Outcome::Ok, 10 * calls);
    truth.add(path!("step"), Outcome::Ok, 10 * calls);
    truth.into()
}

#[instrument]
async fn job(worker: u64, number: u64) -> u64 {
    tokio::task::yield_now().await;
    step(worker, number)
}

/// 50 workers with 20 calls each, with data of 1 byte to 64 KB.
fn contention(size: Size) -> Done {
    let calls = 20 * size.scale;
    in_threads(50, |worker| {
        let mut truth = Truth::default();
        let mut random = Rng::with_seed(size.seed ^ worker);
        let all = "x".repeat(64 << 10);
        for _ in 0..calls {
            // As many small ones as large ones: each size is half as likely as half of it.
            let most = 1_usize << random.u32(0..=16);
            black_box(carry(&all[..random.usize(1..=most)]));
        }
        truth.add(path!("carry"), Outcome::Ok, calls);
        truth
    })
    .into()
}

#[instrument(fields(data = %data, bytes = data.len()))]
fn carry(data: &str) -> usize {
    data.len()
}

/// 2,000 operations, of which a fifth fails, in 10 threads.
fn failures(size: Size) -> Done {
    let calls = 200 * size.scale;
    in_threads(10, |worker| {
        let mut truth = Truth::default();
        let mut random = Rng::with_seed(size.seed ^ worker);
        for number in 0..calls {
            let fails = random.u32(0..5) == 0;
            truth.result(&[path!("operate"), path!("check")], &operate(number, fails));
        }
        truth
    })
    .into()
}

#[instrument]
fn operate(number: u64, fails: bool) -> Result<u64, String> {
    check(number, fails)
}

#[instrument]
fn check(number: u64, fails: bool) -> Result<u64, String> {
    if fails {
        return Err(format!("operation {number} was to fail"));
    }
    Ok(number)
}

/// Memory of 1, 5, 10 and 20 MB, allocated and written.
fn memory(size: Size) -> Done {
    let mut truth = Truth::default();
    for _ in 0..size.scale {
        for megabytes in [1, 5, 10, 20] {
            black_box(allocate(megabytes));
            truth.ok(path!("allocate"));
        }
    }
    truth.into()
}

#[instrument(fields(megabytes))]
fn allocate(megabytes: usize) -> Vec<u8> {
    let mut memory = vec![0; megabytes << 20];
    for page in memory.chunks_mut(4096) {
        page[0] = 1;
    }
    memory
}

/// 20 streams at once, of 100 items each.
fn streams(size: Size) -> Done {
    let streams = 20 * size.scale;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .build()
        .expect("a runtime");
    let items = runtime.block_on(async {
        let tasks: Vec<_> = (0..streams)
            .map(|number| tokio::spawn(consume(numbers(number))))
            .collect();
        let mut items = 0;
        for task in tasks {
            items += task.await.expect("a task does not panic");
        }
        items
    });
    let mut truth = Truth::default();
    truth.add(path!("numbers"), Outcome::Ok, streams);
    truth.add(path!("consume"), Outcome::Ok, streams);
    Done { truth, items }
}

#[instrument]
fn numbers(first: u64) -> impl Stream<Item = u64> + Send {
    stream::iter(first..first + 100).then(|number| async move {
        tokio::task::yield_now().await;
        number
    })
}

#[instrument]
async fn consume(stream: impl Stream<Item = u64> + Send) -> u64 {
    let mut items = 0;
    let mut stream = std::pin::pin!(stream);
    while let Some(number) = stream.next().await {
        black_box(number);
        items += 1;
    }
    items
}
