//! Prices: the work that needs the processor, on threads of its own.

use std::io;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender};
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

/// Most pieces in one order.
const MOST: u32 = 100;
/// Rounds of hashing in a seal: a few tens of microseconds.
const SEAL_ROUNDS: u32 = 64;

/// Nobody can order so many.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an order has 1 to {MOST} pieces, not {0}")]
pub struct InvalidOrder(u32);

/// The pool has ended.
#[derive(Debug, thiserror::Error)]
#[error("the service is stopping")]
pub struct PoolStopped;

/// A price and the seal on it.
#[derive(Debug, PartialEq, Eq)]
pub struct Quote {
    /// For all pieces together.
    pub cents: u64,
    /// Hash in hexadecimal digits.
    pub seal: String,
}

/// Checks the number of pieces.
#[exoscope::instrument]
pub fn validate(count: u32) -> Result<(), InvalidOrder> {
    if (1..=MOST).contains(&count) {
        Ok(())
    } else {
        Err(InvalidOrder(count))
    }
}

/// Price of `count` pieces at `cents` each: from ten pieces a tenth less.
#[exoscope::instrument]
fn quote(cents: u64, count: u32) -> Quote {
    let full = cents * u64::from(count);
    let cents = if count >= 10 { full - full / 10 } else { full };
    Quote {
        cents,
        seal: seal(cents),
    }
}

#[exoscope::instrument]
fn seal(cents: u64) -> String {
    let first = Sha256::digest(cents.to_le_bytes());
    let hash = (1..SEAL_ROUNDS).fold(first, |hash, _| Sha256::digest(hash));
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One price to calculate.
struct Job {
    cents: u64,
    count: u32,
    reply: oneshot::Sender<Quote>,
}

/// Threads that calculate prices.
pub struct Pool {
    /// `None` once the pool is being dropped.
    jobs: Option<Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    /// Starts the threads.
    pub fn start(threads: usize) -> io::Result<Self> {
        // Never longer than there are connections, each of which waits for its answer.
        let (jobs, queue) = crossbeam_channel::unbounded();
        let threads = (0..threads.max(1))
            .map(|number| {
                let queue = queue.clone();
                thread::Builder::new()
                    .name(format!("pricing-{number}"))
                    .spawn(|| work(queue))
            })
            .collect::<io::Result<_>>()?;
        Ok(Self {
            jobs: Some(jobs),
            threads,
        })
    }

    /// Has a price calculated.
    #[exoscope::instrument]
    pub async fn quote(&self, cents: u64, count: u32) -> Result<Quote, PoolStopped> {
        let (reply, answer) = oneshot::channel();
        let jobs = self.jobs.as_ref().ok_or(PoolStopped)?;
        jobs.send(Job {
            cents,
            count,
            reply,
        })
        .map_err(|_| PoolStopped)?;
        answer.await.map_err(|_| PoolStopped)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so itself.
            let _ = thread.join();
        }
    }
}

/// The life of one thread.
fn work(queue: Receiver<Job>) {
    for job in queue {
        // Whoever asked may have gone; the price is of no use to others.
        let _ = job.reply.send(quote(job.cents, job.count));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_has_one_to_a_hundred_pieces() {
        assert!(validate(1).is_ok() && validate(100).is_ok());
        assert_eq!(validate(0), Err(InvalidOrder(0)));
        assert_eq!(validate(101), Err(InvalidOrder(101)));
    }

    #[test]
    fn many_pieces_cost_a_tenth_less() {
        assert_eq!(quote(200, 9).cents, 1800);
        assert_eq!(quote(200, 10).cents, 1800);
        assert_eq!(quote(200, 10).seal.len(), 64);
    }

    #[tokio::test]
    async fn the_pool_answers_as_the_function_does() {
        let pool = Pool::start(2).unwrap();
        assert_eq!(pool.quote(107, 3).await.unwrap(), quote(107, 3));
    }
}
