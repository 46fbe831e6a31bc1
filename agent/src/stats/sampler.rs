//! The thread that takes samples on a timer and hands them to the writer.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::monitor::Monitor;
use super::sample::Snapshot;
use crate::event::{AgentEvent, Batch};
use crate::panics::{Panics, point};

/// How long samples wait for others before they are written: a transaction costs more than a sample.
/// Whoever reads the file while it is written is at most one second behind.
const GATHER: Duration = Duration::from_millis(800);
/// How long a look that somebody waits for may take.
const LOOK: Duration = Duration::from_millis(100);

/// The thread.
pub struct Sampler {
    commands: Sender<Command>,
    thread: JoinHandle<()>,
}

/// What it is told.
enum Command {
    /// Take a sample now, and say when it is taken.
    Look(SyncSender<()>),
    /// Take one more, hand over what is there, and end.
    Stop,
}

impl Sampler {
    /// Begins to have `monitor` sample its process every `interval`. `send` takes what is found, and says
    /// whether it takes more.
    ///
    /// # Errors
    /// Where the thread can't be started.
    pub fn start(
        monitor: Monitor,
        interval: Duration,
        send: impl FnMut(Batch) -> bool + Send + 'static,
    ) -> Result<Self> {
        let (commands, receiver) = channel();
        let thread = std::thread::Builder::new()
            .name("exo-stats".to_owned())
            .spawn(move || run(monitor, interval, &receiver, send))
            .context("can't start the stats thread")?;
        Ok(Self { commands, thread })
    }

    /// Has a sample taken now: before a process that has ended is waited for, and nothing is left of
    /// it.
    pub fn look(&self) {
        let (done, taken) = sync_channel(1);
        // A thread that is gone looks no more; one that is late is not waited for.
        if self.commands.send(Command::Look(done)).is_ok() {
            let _ = taken.recv_timeout(LOOK);
        }
    }

    /// Takes a last sample and ends.
    pub fn stop(self) {
        let _ = self.commands.send(Command::Stop);
        // A sampler that panicked has said so.
        let _ = self.thread.join();
    }
}

fn run(
    mut monitor: Monitor,
    interval: Duration,
    commands: &Receiver<Command>,
    mut send: impl FnMut(Batch) -> bool,
) {
    let mut gathered = Gathered::default();
    let mut panics = Panics::of("stats thread");
    let mut next = Instant::now();
    loop {
        let wait = next.saturating_duration_since(Instant::now());
        let command = match commands.recv_timeout(wait) {
            Ok(command) => Some(command),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let now = Instant::now();
        let sample = panics.catch(|| {
            point("stats");
            monitor.sample(now)
        });
        let there = match sample {
            Some(sample) => gathered.add(sample),
            None => gathered.add_panic(&panics),
        };
        if let Some(Command::Look(done)) = &command {
            // Whoever asked may have stopped waiting.
            let _ = done.try_send(());
        }
        let last = matches!(command, Some(Command::Stop)) || !there;
        let taken = !(last || gathered.is_due(now)) || send(gathered.take(&mut monitor));
        if last || !taken {
            return;
        }
        next = after(next, interval, now);
    }
}

/// The next time after `now`, where `next` is the one that was waited for. Times that have passed are
/// left out, and not made up for.
fn after(next: Instant, interval: Duration, now: Instant) -> Instant {
    let Some(late) = now.checked_duration_since(next) else {
        return next;
    };
    let over = late.as_nanos() % interval.as_nanos();
    // Less than an interval, which is a day at most.
    now + interval - Duration::from_nanos(over as u64)
}

/// Samples that wait to be written.
#[derive(Default)]
struct Gathered {
    samples: Vec<Snapshot>,
    events: Vec<AgentEvent>,
    since: Option<Instant>,
}

impl Gathered {
    /// Adds a sample; `false` where there is none any more.
    fn add(&mut self, sample: Option<Snapshot>) -> bool {
        let there = sample.is_some();
        self.since.get_or_insert_with(Instant::now);
        self.samples.extend(sample);
        there
    }

    /// Adds what became of a sample; `false` where there will be no more.
    fn add_panic(&mut self, panics: &Panics) -> bool {
        self.since.get_or_insert_with(Instant::now);
        self.events.push(panics.event());
        !panics.are_enough()
    }

    fn is_due(&self, now: Instant) -> bool {
        self.since.is_some_and(|since| now - since >= GATHER)
    }

    fn take(&mut self, monitor: &mut Monitor) -> Batch {
        self.since = None;
        let mut events = monitor.take_events();
        events.append(&mut self.events);
        Batch {
            stats: std::mem::take(&mut self.samples),
            events,
            ..Batch::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_have_passed_are_left_out() {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let next = |due, now| after(at(due), Duration::from_millis(100), at(now));
        assert_eq!(next(100, 100), at(200));
        assert_eq!(next(100, 150), at(200));
        assert_eq!(next(100, 200), at(300));
        assert_eq!(next(100, 1_234), at(1_300));
        assert_eq!(next(100, 50), at(100), "somebody wanted one in between");
    }
}
