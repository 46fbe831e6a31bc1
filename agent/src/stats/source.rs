//! What a source is, and the table of all of them.
//!
//! A source gives parts of a sample. For every part the best source that has it answers; the others
//! stand by. No source does anything before it is asked what it can give.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use anyhow::{Context as _, Result};
use procfs::FromRead as _;
use procfs::process::{Process, Stat};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::kept::{Buffer, Kept};
use super::kernel::Kernel;
use super::null::Null;
use super::procfs::Procfs;
use super::sample::Reading;
use crate::target::process::Target;

/// A part of a sample: one source gives all of it, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// The threads, and what is summed over them: CPU time, faults, switches.
    Tasks,
    /// Memory.
    Memory,
    /// Open file descriptors.
    Files,
    /// Bytes read and written.
    Io,
    /// Pressure of the machine.
    Pressure,
    /// Memory, limit and events of the control group.
    Cgroup,
    /// Pressure of the control group.
    CgroupPressure,
}

impl Part {
    /// Every part.
    pub const ALL: [Self; 7] = [
        Self::Tasks,
        Self::Memory,
        Self::Files,
        Self::Io,
        Self::Pressure,
        Self::Cgroup,
        Self::CgroupPressure,
    ];

    /// What it is, in words.
    pub const fn what(self) -> &'static str {
        match self {
            Self::Tasks => "threads, CPU time, faults and switches",
            Self::Memory => "memory",
            Self::Files => "file descriptors",
            Self::Io => "bytes read and written",
            Self::Pressure => "pressure of the machine",
            Self::Cgroup => "memory of the control group",
            Self::CgroupPressure => "pressure of the control group",
        }
    }

    /// One word for it, for programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tasks => "tasks",
            Self::Memory => "memory",
            Self::Files => "files",
            Self::Io => "io",
            Self::Pressure => "pressure",
            Self::Cgroup => "cgroup",
            Self::CgroupPressure => "cgroup_pressure",
        }
    }
}

/// Where figures come from.
pub trait Source: Send {
    /// Finds out whether it can give `part` of the process, and prepares for it.
    ///
    /// # Errors
    /// Why it can't, and what to do where that is known.
    fn detect(&mut self, process: &Subject, part: Part) -> Result<()>;

    /// Reads `part`, which it said that it can give.
    ///
    /// # Errors
    /// What failed.
    fn read(&mut self, process: &Subject, part: Part, reading: &mut Reading) -> Result<()>;
}

/// A row of the table of sources.
#[derive(Clone, Copy)]
pub struct Entry {
    /// Its name, as it stands in the column `source`.
    pub name: &'static str,
    /// The parts that it may be able to give.
    pub parts: &'static [Part],
    /// Makes one; that does nothing else.
    pub make: fn() -> Box<dyn Source>,
}

/// Every source. The first one that can give a part answers for it.
pub const SOURCES: &[Entry] = &[
    Entry {
        name: "kernel",
        parts: &[Part::Tasks],
        make: || Box::<Kernel>::default(),
    },
    Entry {
        name: "procfs",
        parts: &Part::ALL,
        make: || Box::<Procfs>::default(),
    },
    Entry {
        name: NULL,
        parts: &Part::ALL,
        make: || Box::new(Null),
    },
];

/// Name of the source that always answers and knows nothing.
pub const NULL: &str = "null";

/// The process that is sampled. What is read through it is of this process and never of another one
/// that got its number.
pub struct Subject {
    pid: u32,
    pidfd: OwnedFd,
    /// Below `/proc`.
    process: Process,
    stat: Kept,
    /// The cheapest of its files.
    comm: Kept,
}

impl Subject {
    /// The process behind `pidfd`, whose number is `pid`.
    ///
    /// # Errors
    /// Where it has ended, or `/proc` is not readable.
    pub fn new(pid: u32, pidfd: BorrowedFd<'_>) -> Result<Self> {
        let number = i32::try_from(pid).context("a process id is that large")?;
        let process = Process::new(number).with_context(|| format!("can't read /proc/{pid}"))?;
        let pidfd = pidfd.try_clone_to_owned()?;
        let open = |name| process.open_relative(name).map(Kept::new);
        let (stat, comm) = (open("stat")?, open("comm")?);
        let subject = Self {
            pid,
            pidfd,
            process,
            stat,
            comm,
        };
        // While it runs, nobody else has its number.
        anyhow::ensure!(!subject.has_ended(), "process {pid} has ended");
        Ok(subject)
    }

    /// The target.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn of(target: &Target) -> Result<Self> {
        Self::new(target.pid(), target.pidfd().as_fd())
    }

    /// The process that asks.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn this_process() -> Result<Self> {
        let pid = rustix::process::getpid();
        let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?;
        Self::new(std::process::id(), pidfd.as_fd())
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What lies below its folder in `/proc`.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Its descriptor.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Whether it has ended, waited for or not.
    pub fn has_ended(&self) -> bool {
        let mut ended = [PollFd::new(&self.pidfd, PollFlags::IN)];
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        poll(&mut ended, Some(&now)).is_ok_and(|ready| ready > 0)
    }

    /// Whether its first thread has ended or is about to: it gives back what it has then, which may take
    /// a while.
    ///
    /// # Errors
    /// Where nothing is left of it.
    pub fn is_ending(&self, buffer: &mut Buffer) -> io::Result<bool> {
        /// `PF_EXITING` of the kernel's `sched.h`.
        const EXITING: u32 = 1 << 2;
        let stat = Stat::from_read(self.stat.read(buffer)?).map_err(io::Error::other)?;
        Ok(stat.flags & EXITING != 0)
    }

    /// Whether anything is left of it: nothing is once its parent has waited for it.
    pub fn exists(&self) -> bool {
        self.comm.is_there()
    }

    /// Nanoseconds of CPU time of all its threads, also of those that have ended: exact, while what
    /// `/proc` tells is up to a tick old.
    ///
    /// # Errors
    /// Where nothing is left of it.
    pub fn cpu_ns(&self) -> io::Result<u64> {
        /// `CPUCLOCK_SCHED` of the kernel's `posix-timers.h`.
        const SCHED: libc::clockid_t = 2;
        let clock = (!(self.pid as libc::clockid_t) << 3) | SCHED;
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: `time` is valid for the call to write.
        if unsafe { libc::clock_gettime(clock, &raw mut time) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
    }
}
