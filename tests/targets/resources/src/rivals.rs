//! Threads that want the same CPU.

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use crate::usage::{keep_to_one_cpu, thread_cpu};
use crate::{compute, start_threads};

/// Has `count` threads compute on one CPU for so many milliseconds, and gives back for how many
/// nanoseconds they lived meanwhile without it, summed. They never wait for anything else.
pub fn compete(count: u64, milliseconds: u64) -> u128 {
    let (sender, waits) = channel();
    for _ in 0..count {
        let sender = sender.clone();
        let born = Instant::now();
        start_threads(1, "rival", move || {
            keep_to_one_cpu();
            // Who started them listens until all have said it.
            let _ = sender.send(wait_of_one(born, Duration::from_millis(milliseconds)));
            loop {
                std::thread::park();
            }
        });
    }
    let waits = waits.iter().take(count as usize);
    waits.map(|wait| wait.as_nanos()).sum()
}

/// Computes until the thread is so old, and gives back how much of that it was not on a CPU.
fn wait_of_one(born: Instant, age: Duration) -> Duration {
    while born.elapsed() < age {
        compute();
    }
    born.elapsed().saturating_sub(thread_cpu())
}
