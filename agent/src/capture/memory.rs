//! Whether the agent waits for memory, as the kernel's pressure files tell.

use std::fs::File;
use std::time::{Duration, Instant};

use procfs::process::Process;

use crate::cgroup;
use crate::stats::kept::{Buffer, Kept};
use crate::stats::parse;

/// The file for the whole machine.
const MACHINE: &str = "/proc/pressure/memory";
/// How often it is read, and so the time over which is judged.
const EVERY: Duration = Duration::from_secs(2);
/// Memory is scarce where all threads waited for it for at least so many per cent of the time.
const WAITED: u128 = 10;

/// Reads how long the agent's control group, or the machine, waited for memory.
pub struct Memory {
    file: Option<Kept>,
    buffer: Buffer,
    waits: Waits,
}

/// How long was waited in all, at moments.
#[derive(Debug, Default)]
struct Waits {
    last: Option<(Instant, u64)>,
    scarce: bool,
}

impl Memory {
    /// The group of this process where the kernel counts for it, else the machine. Where it counts for
    /// neither, memory is never scarce.
    pub fn of_this_process() -> Self {
        let group = Process::myself().ok().and_then(|process| {
            let [_, memory, _] = cgroup::pressure_files(&process).ok()?;
            Some(memory)
        });
        let file = group.or_else(|| File::open(MACHINE).ok().map(Kept::new));
        Self {
            file,
            buffer: Buffer::default(),
            waits: Waits::default(),
        }
    }

    /// Whether it is scarce now.
    pub fn is_scarce(&mut self) -> bool {
        let now = Instant::now();
        if self.waits.is_due(now) {
            let text = self.file.as_ref().map(|file| file.read(&mut self.buffer));
            let waited = text.and_then(Result::ok).and_then(parse::pressure);
            self.waits.add(now, waited.and_then(|(_, full)| full));
        }
        self.waits.scarce
    }
}

impl Waits {
    fn is_due(&self, now: Instant) -> bool {
        let since = |(then, _)| now.saturating_duration_since(then);
        self.last.is_none_or(|last| since(last) >= EVERY)
    }

    fn add(&mut self, now: Instant, waited_ns: Option<u64>) {
        let Some(waited_ns) = waited_ns else {
            self.scarce = false;
            return;
        };
        if let Some((then, before_ns)) = self.last {
            let passed_ns = now.saturating_duration_since(then).as_nanos();
            let waited = u128::from(waited_ns.saturating_sub(before_ns));
            self.scarce = waited * 100 >= passed_ns * WAITED && passed_ns > 0;
        }
        self.last = Some((now, waited_ns));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_scarce_while_a_tenth_of_the_time_is_waited_for_it() {
        let begin = Instant::now();
        let mut waits = Waits::default();
        let mut at = |seconds, waited_ms: Option<u64>| {
            let now = begin + Duration::from_secs(seconds);
            assert!(waits.is_due(now));
            waits.add(now, waited_ms.map(|ms| ms * 1_000_000));
            assert_eq!(waits.is_due(now + EVERY / 2), waited_ms.is_none());
            waits.scarce
        };
        assert!(!at(0, Some(70_000)), "that was before");
        assert!(!at(2, Some(70_199)));
        assert!(at(4, Some(70_399)));
        assert!(at(7, Some(70_699)));
        assert!(!at(9, Some(70_700)));
        assert!(!at(11, None), "nobody tells any more");
    }

    #[test]
    fn the_kernel_is_asked() {
        let mut memory = Memory::of_this_process();
        memory.is_scarce();
        assert_eq!(memory.waits.last.is_some(), memory.file.is_some());
    }
}
