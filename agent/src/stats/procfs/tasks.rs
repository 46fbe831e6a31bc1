//! Threads, as `/proc` tells of them.
//!
//! A thread that got no CPU since the last sample has the same `schedstat`; then nothing else of it
//! has changed, and its `status`, which is ten times as dear, is not read.

use std::collections::HashMap;
use std::io;

use anyhow::{Context as _, Result};
use procfs::FromRead as _;
use procfs::process::Stat;

use super::{Subject, open};
use crate::capture::consumer::monotonic_ns;
use crate::stats::kept::{Buffer, Kept};
use crate::stats::parse::{self, Schedstat};
use crate::stats::sample::{self, Name, Switches, Task};

/// Threads whose files are kept open; those of more are opened for every sample. Two each: a process
/// may have 1,024 descriptors open unless somebody allows it more.
const KEPT_THREADS: usize = 256;

/// Reads the threads of one process.
pub struct Tasks {
    stat: Kept,
    threads: HashMap<u32, Thread>,
    /// A thread has ended or begun, as far as is known.
    changed: bool,
}

/// A thread.
struct Thread {
    files: Option<Files>,
    start_ns: u64,
    last: Schedstat,
    name: Name,
    switches: Switches,
}

/// Its files.
struct Files {
    schedstat: Kept,
    status: Kept,
}

impl Files {
    fn of(process: &Subject, tid: u32) -> Result<Self> {
        Ok(Self {
            schedstat: open(process, &format!("task/{tid}/schedstat"))?,
            status: open(process, &format!("task/{tid}/status"))?,
        })
    }
}

impl Tasks {
    /// The threads of the process.
    ///
    /// # Errors
    /// Where its files can't be read, or the kernel does not count waits for a CPU.
    pub fn of(process: &Subject) -> Result<Self> {
        open(process, "schedstat").context("a kernel with CONFIG_SCHED_INFO has it")?;
        Ok(Self {
            stat: open(process, "stat")?,
            threads: HashMap::new(),
            changed: true,
        })
    }

    /// Reads all of them.
    ///
    /// # Errors
    /// Where that fails for another reason than that a thread has ended.
    pub fn read(&mut self, process: &Subject, buffer: &mut Buffer) -> Result<sample::Tasks> {
        let stat = Stat::from_read(self.stat.read(buffer)?).context("can't read `stat`")?;
        let count = usize::try_from(stat.num_threads).unwrap_or(0);
        if self.changed || count != self.threads.len() {
            self.list(process)?;
        }
        let mut threads = Vec::with_capacity(self.threads.len());
        let mut ended = Vec::new();
        for (&tid, thread) in &mut self.threads {
            match thread.read(process, tid, buffer) {
                Ok(task) => threads.push(task),
                Err(error) if is_gone(&error) => ended.push(tid),
                Err(error) => return Err(error),
            }
        }
        for tid in &ended {
            self.threads.remove(tid);
        }
        self.changed = !ended.is_empty();
        Ok(sample::Tasks {
            threads,
            sampled_user: stat.utime,
            sampled_system: stat.stime,
            minor_faults: stat.minflt,
            major_faults: stat.majflt,
            ended_switches: None,
        })
    }

    /// Finds threads that have begun, and forgets those that have ended.
    fn list(&mut self, process: &Subject) -> Result<()> {
        let tasks = process
            .process()
            .tasks()
            .context("can't list its threads")?;
        let tids: Vec<u32> = tasks
            .flatten()
            .filter_map(|task| u32::try_from(task.tid).ok())
            .collect();
        self.threads.retain(|tid, _| tids.contains(tid));
        for tid in tids {
            if self.threads.contains_key(&tid) {
                continue;
            }
            match Thread::new(process, tid, self.threads.len() < KEPT_THREADS) {
                Ok(thread) => drop(self.threads.insert(tid, thread)),
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Thread {
    fn new(process: &Subject, tid: u32, keep: bool) -> Result<Self> {
        let stat = open(process, &format!("task/{tid}/stat"))?;
        let stat = Stat::from_read(stat.file()).context("can't read `stat`")?;
        Ok(Self {
            files: keep.then(|| Files::of(process, tid)).transpose()?,
            start_ns: start_ns(stat.starttime),
            last: Schedstat::default(),
            name: Name::default(),
            switches: Switches::default(),
        })
    }

    fn read(&mut self, process: &Subject, tid: u32, buffer: &mut Buffer) -> Result<Task> {
        let opened;
        let files = match &self.files {
            Some(files) => files,
            None => {
                opened = Files::of(process, tid)?;
                &opened
            }
        };
        let scheduled = parse::schedstat(files.schedstat.read(buffer)?);
        let scheduled = scheduled.context("`schedstat` does not say what it should")?;
        if scheduled != self.last || self.name == Name::default() {
            let status = parse::thread_status(files.status.read(buffer)?);
            (self.name, self.switches) = status.context("`status` does not say what it should")?;
            self.last = scheduled;
        }
        Ok(Task {
            tid,
            name: self.name,
            start_ns: self.start_ns,
            cpu_ns: scheduled.cpu_ns,
            runqueue_ns: scheduled.runqueue_ns,
            switches: self.switches,
        })
    }
}

/// Whether an error says that there is no such thread any more.
fn is_gone(error: &anyhow::Error) -> bool {
    let gone = |error: &io::Error| {
        error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
    };
    error.chain().any(|cause| {
        cause.downcast_ref().is_some_and(gone)
            || matches!(cause.downcast_ref(), Some(procfs::ProcError::NotFound(_)))
            || matches!(cause.downcast_ref(), Some(procfs::ProcError::Io(error, _)) if gone(error))
    })
}

/// `CLOCK_MONOTONIC` of a beginning that is told in ticks of the clock that also counts while the
/// machine sleeps.
fn start_ns(ticks: u64) -> u64 {
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    let booted_ns = ticks.saturating_mul(1_000_000_000 / per_second);
    let boot_time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let boot_ns = boot_time.tv_sec as u64 * 1_000_000_000 + boot_time.tv_nsec as u64;
    let slept_ns = boot_ns.saturating_sub(monotonic_ns());
    booted_ns.saturating_sub(slept_ns)
}
