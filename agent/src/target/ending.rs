//! Why a target ended, in words: its status, the signal, or the OOM killer.
//!
//! A process that the OOM killer ended looks like one that got `SIGKILL`. The kernel's log names it;
//! where that is not readable, or numbers processes in another way than this program sees them, the
//! control group's count of such kills tells.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::time::Duration;

use super::launch::End;
use crate::cgroup::{Membership, Memory};
use crate::stats::kept::Buffer;
use crate::stats::source::Subject;

/// The kernel's log.
const LOG: &str = "/dev/kmsg";
/// Bytes of its longest record.
const RECORD: usize = 8192;
/// Inode of the first PID namespace, whose numbers the log uses: `PROC_PID_INIT_INO` of the kernel.
const FIRST_NAMESPACE: u64 = 0xefff_fffc;

/// How long the log may be behind the end of the process.
const LOG_DELAY: Duration = Duration::from_millis(50);

/// Watches a target for the OOM killer.
pub struct OomWitness {
    log: Option<File>,
    membership: Option<Membership>,
    /// The control group, and the kills in it before.
    group: Option<(Memory, u64)>,
    buffer: Buffer,
}

impl OomWitness {
    /// Begins to watch: what happened before does not count.
    pub fn of(process: &Subject) -> Self {
        let log = this_namespace_is_the_first().then(open_log);
        let mut buffer = Buffer::default();
        let mut witness = Self {
            log: log.and_then(Result::ok),
            membership: Membership::of(process.process(), &mut buffer).ok(),
            group: None,
            buffer,
        };
        witness.enter(process);
        witness
    }

    /// Follows the process where it has been moved to another control group.
    pub fn follow(&mut self, process: &Subject) {
        let membership = self.membership.as_mut();
        let changed =
            membership.map(|membership| membership.has_changed(process, &mut self.buffer));
        if matches!(changed, Some(Ok(true))) {
            self.enter(process);
        }
    }

    fn enter(&mut self, process: &Subject) {
        let group = Memory::of(process.process()).ok();
        self.group = group.and_then(|group| {
            let kills = group.oom_kills(&mut self.buffer).ok()??;
            Some((group, kills))
        });
    }

    /// Kills in the control group since it was followed to.
    fn kills(&mut self) -> u64 {
        let Some((group, before)) = &self.group else {
            return 0;
        };
        let now = group.oom_kills(&mut self.buffer).ok().flatten();
        now.unwrap_or(0).saturating_sub(*before)
    }

    /// Whether the OOM killer ended the process `pid`, of which it is known that `SIGKILL` did.
    pub fn killed(&mut self, pid: u32) -> bool {
        let counted = self.kills() > 0;
        let Some(log) = &mut self.log else {
            return counted;
        };
        if names_victim(log, pid) {
            return true;
        }
        // The kernel counts, then kills, then writes. What is counted may also be another process.
        if counted {
            std::thread::sleep(LOG_DELAY);
        }
        counted && names_victim(log, pid)
    }
}

fn this_namespace_is_the_first() -> bool {
    let namespace = std::fs::metadata("/proc/self/ns/pid");
    namespace.is_ok_and(|namespace| namespace.ino() == FIRST_NAMESPACE)
}

/// The kernel's log, from now on.
fn open_log() -> io::Result<File> {
    let mut options = OpenOptions::new();
    let mut log = options
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(LOG)?;
    log.seek(SeekFrom::End(0))?;
    Ok(log)
}

/// Whether one of the records that `log` still has says that process `pid` was killed. Each read
/// gives one record.
fn names_victim(log: &mut impl io::Read, pid: u32) -> bool {
    let mut record = [0; RECORD];
    loop {
        match log.read(&mut record) {
            Ok(0) => return false,
            Ok(len) if says_killed(&record[..len], pid) => return true,
            Ok(_) => {}
            // Records were overwritten before they were read; the next read gives the oldest left.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // There are no more.
            Err(_) => return false,
        }
    }
}

/// Whether a record such as `3,901,1234,-;Out of memory: Killed process 42 (app) total-vm:…` is about
/// process `pid`.
fn says_killed(record: &[u8], pid: u32) -> bool {
    const KILLED: &[u8] = b"Killed process ";
    // Only the kernel's own records (facility 0): anybody who may write to the log chooses another.
    let Some(comma) = record.iter().position(|&byte| byte == b',') else {
        return false;
    };
    let priority = std::str::from_utf8(&record[..comma]).ok();
    let priority: Option<u32> = priority.and_then(|text| text.parse().ok());
    if priority.is_none_or(|priority| priority >> 3 != 0) {
        return false;
    }
    let found = record.windows(KILLED.len()).position(|text| text == KILLED);
    found.is_some_and(|at| {
        let rest = &record[at + KILLED.len()..];
        let number = pid.to_string();
        rest.strip_prefix(number.as_bytes())
            .is_some_and(|rest| rest.starts_with(b" ("))
    })
}

/// Why a target ended, in a few words; `end` is `None` where the kernel does not tell.
pub fn reason(end: Option<End>, by_oom_killer: bool) -> String {
    match end {
        None => "the target ended".to_owned(),
        Some(End::Exited(status)) => format!("the target exited with status {status}"),
        Some(End::Killed(_)) if by_oom_killer => {
            "the target was killed by the OOM killer".to_owned()
        }
        Some(End::Killed(signal)) => match signal_name(signal) {
            Some(name) => format!("the target was killed by signal {signal} ({name})"),
            None => format!("the target was killed by signal {signal}"),
        },
    }
}

/// Name of a signal that is not a real-time signal, in the numbers of x86-64 and aarch64.
fn signal_name(signal: i32) -> Option<&'static str> {
    const NAMES: [&str; 31] = [
        "SIGHUP",
        "SIGINT",
        "SIGQUIT",
        "SIGILL",
        "SIGTRAP",
        "SIGABRT",
        "SIGBUS",
        "SIGFPE",
        "SIGKILL",
        "SIGUSR1",
        "SIGSEGV",
        "SIGUSR2",
        "SIGPIPE",
        "SIGALRM",
        "SIGTERM",
        "SIGSTKFLT",
        "SIGCHLD",
        "SIGCONT",
        "SIGSTOP",
        "SIGTSTP",
        "SIGTTIN",
        "SIGTTOU",
        "SIGURG",
        "SIGXCPU",
        "SIGXFSZ",
        "SIGVTALRM",
        "SIGPROF",
        "SIGWINCH",
        "SIGIO",
        "SIGPWR",
        "SIGSYS",
    ];
    let index = usize::try_from(signal).ok()?.checked_sub(1)?;
    NAMES.get(index).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    #[test]
    fn ends_are_told_in_words() {
        let reasons = [
            (
                Some(End::Exited(0)),
                false,
                "the target exited with status 0",
            ),
            (
                Some(End::Exited(3)),
                true,
                "the target exited with status 3",
            ),
            (
                Some(End::Killed(9)),
                false,
                "the target was killed by signal 9 (SIGKILL)",
            ),
            (
                Some(End::Killed(9)),
                true,
                "the target was killed by the OOM killer",
            ),
            (
                Some(End::Killed(11)),
                false,
                "the target was killed by signal 11 (SIGSEGV)",
            ),
            (
                Some(End::Killed(31)),
                false,
                "the target was killed by signal 31 (SIGSYS)",
            ),
            (
                Some(End::Killed(34)),
                false,
                "the target was killed by signal 34",
            ),
            (
                Some(End::Killed(-1)),
                false,
                "the target was killed by signal -1",
            ),
            (None, false, "the target ended"),
        ];
        for (end, oom, words) in reasons {
            assert_eq!(reason(end, oom), words);
        }
        assert_eq!(signal_name(libc::SIGTERM), Some("SIGTERM"));
        assert_eq!(signal_name(libc::SIGPROF), Some("SIGPROF"));
        assert_eq!(signal_name(0), None);
    }

    #[test]
    fn the_log_names_the_victim() {
        let record =
            b"3,901,1234,-;Memory cgroup out of memory: Killed process 4711 (app) total-vm:1kB\n";
        assert!(says_killed(record, 4711));
        assert!(says_killed(
            b"6,1,1,-;Out of memory: Killed process 7 (x) total-vm",
            7
        ));
        for pid in [471, 47110, 711, 0] {
            assert!(!says_killed(record, pid), "{pid}");
        }
        // What a program of a user wrote into the log is not the kernel's word.
        assert!(!says_killed(
            b"12,901,1234,-;Out of memory: Killed process 4711 (app)",
            4711
        ));
        for record in [
            &b""[..],
            b",",
            b"3",
            b"x,1;Killed process 1 (",
            b"3,;Killed process ",
            b"3,;Killed process 1",
        ] {
            assert!(!says_killed(record, 1), "{record:?}");
        }
    }

    /// A log that fails and gives records in turn.
    struct Log(VecDeque<Result<&'static [u8], io::ErrorKind>>);

    impl io::Read for Log {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            let record = self
                .0
                .pop_front()
                .unwrap_or(Err(io::ErrorKind::WouldBlock))?;
            to[..record.len()].copy_from_slice(record);
            Ok(record.len())
        }
    }

    #[test]
    fn overwritten_records_are_passed_over() {
        let log = || {
            Log([
                Err(io::ErrorKind::BrokenPipe),
                Ok(&b"3,1,1,-;Out of memory: Killed process 5 (other)"[..]),
                Err(io::ErrorKind::BrokenPipe),
                Ok(&b"3,2,1,-;Out of memory: Killed process 6 (app)"[..]),
            ]
            .into())
        };
        assert!(names_victim(&mut log(), 6));
        assert!(!names_victim(&mut log(), 7));
    }
}
