//! Whether work comes to an end at all: a disk may neither take a write nor refuse it, and whoever asked
//! waits in the kernel for as long as that lasts.
//!
//! The writer gives a sign of life with everything that it begins. The session looks at it a few times a
//! second, tells of a write that lasts, and does not wait for it at its own end.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::capture::consumer::monotonic_ns;
use crate::event::{AgentEvent, Level};

/// A write that lasts as long is told of.
const LONG: Duration = Duration::from_secs(1);
/// A write that lasts as long is not waited for at the end.
const HOPELESS: Duration = Duration::from_secs(20);
/// How often a thread is looked at that is to end, and how often in a row that is in vain before it is
/// hopeless: all of this process may have been stopped, and then each thread needs a moment.
const LOOKS: (Duration, u32) = (Duration::from_millis(5), 100);

/// The sign of life of a thread.
#[derive(Debug, Default)]
pub struct Pulse {
    /// `CLOCK_MONOTONIC` nanoseconds at the last beat; 0 where none is due.
    beat_ns: AtomicU64,
}

impl Pulse {
    /// Something begins that takes a moment.
    pub fn beat(&self) {
        self.beat_ns.store(monotonic_ns(), Ordering::Relaxed);
    }

    /// Something begins that may take as long as it likes.
    pub fn rest(&self) {
        self.beat_ns.store(0, Ordering::Relaxed);
    }

    /// How long ago the last beat was.
    pub fn since(&self) -> Duration {
        match self.beat_ns.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            beat => Duration::from_nanos(monotonic_ns().saturating_sub(beat)),
        }
    }

    /// Waits for a thread to end; `None` where that is hopeless at `deadline` or later.
    ///
    /// # Errors
    /// Where the thread died.
    pub fn wait<T>(
        &self,
        thread: JoinHandle<T>,
        deadline: Instant,
    ) -> std::thread::Result<Option<T>> {
        let mut in_vain = 0;
        while !thread.is_finished() {
            let is_hopeless = Instant::now() >= deadline && self.since() >= HOPELESS;
            in_vain = if is_hopeless { in_vain + 1 } else { 0 };
            if in_vain > LOOKS.1 {
                return Ok(None);
            }
            std::thread::sleep(LOOKS.0);
        }
        thread.join().map(Some)
    }
}

/// Looks at a pulse, and tells of what lasts: once when that was seen twice, and once when it is over.
#[derive(Debug, Default)]
pub struct Observer {
    /// How often in a row something lasted, and how long when it was looked at last.
    seen: u32,
    lasted: Duration,
}

impl Observer {
    /// What is to be told.
    pub fn look(&mut self, pulse: &Pulse) -> Option<AgentEvent> {
        let since = pulse.since();
        if since >= LONG {
            self.seen += 1;
            self.lasted = since;
            let text = format!(
                "a write to the file has lasted for {:.1} s by now: calls wait in memory and in the spool",
                since.as_secs_f64()
            );
            return (self.seen == 2).then(|| AgentEvent::now(Level::Warning, "store", text));
        }
        let was_told = std::mem::take(&mut self.seen) >= 2;
        let text = format!(
            "the file takes writes again, after one of about {:.1} s",
            self.lasted.as_secs_f64()
        );
        was_told.then(|| AgentEvent::now(Level::Info, "store", text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pulse whose last beat was so long ago.
    fn beaten(ago: Duration) -> Pulse {
        let ago = u64::try_from(ago.as_nanos()).unwrap();
        Pulse {
            beat_ns: (monotonic_ns() - ago).into(),
        }
    }

    #[test]
    fn what_lasts_is_told_once_and_so_is_its_end() {
        let mut observer = Observer::default();
        let mut look = |pulse: &Pulse| observer.look(pulse).map(|event| event.message);
        assert_eq!(look(&Pulse::default()), None);
        let stuck = beaten(Duration::from_millis(1500));
        assert_eq!(look(&stuck), None);
        let said = look(&stuck).unwrap();
        assert!(
            said.starts_with("a write to the file has lasted for 1.5 s"),
            "{said}"
        );
        assert_eq!(look(&stuck), None);
        stuck.beat();
        let said = look(&stuck).unwrap();
        assert_eq!(
            said,
            "the file takes writes again, after one of about 1.5 s"
        );
        assert_eq!(look(&stuck), None);
        // All threads were stopped for a while.
        let stuck = beaten(Duration::from_secs(5));
        assert_eq!(look(&stuck), None);
        stuck.beat();
        assert_eq!(look(&stuck), None);
    }

    #[test]
    fn a_thread_is_waited_for_unless_that_is_hopeless() {
        let asleep = || std::thread::spawn(|| std::thread::sleep(Duration::from_secs(3600)));
        let now = Instant::now();
        let hopeless = beaten(HOPELESS);
        assert!(hopeless.wait(asleep(), now).unwrap().is_none());
        let brief = || std::thread::spawn(|| std::thread::sleep(Duration::from_millis(50)));
        let later = now + Duration::from_secs(3600);
        assert!(hopeless.wait(brief(), later).unwrap().is_some());
        // What may take as long as it likes is waited for.
        hopeless.rest();
        assert!(hopeless.wait(brief(), now).unwrap().is_some());
        let died = std::thread::spawn(|| panic!("it is to die"));
        assert!(hopeless.wait::<()>(died, now).is_err());
    }
}
