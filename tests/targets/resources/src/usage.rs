//! What the kernel says of this process when it asks itself.

use std::cell::Cell;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::time::Duration;

/// `getrusage` of the process.
pub struct Usage {
    user: Duration,
    system: Duration,
    minor_faults: i64,
    major_faults: i64,
    voluntary_switches: i64,
    involuntary_switches: i64,
    peak_rss_kib: i64,
}

impl Usage {
    /// What it has used so far.
    pub fn of_this_process() -> Self {
        // SAFETY: a `rusage` of zeros is one.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: `usage` is valid for the call to write.
        let result = unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) };
        assert_eq!(result, 0, "getrusage knows this process");
        Self {
            user: time(usage.ru_utime),
            system: time(usage.ru_stime),
            minor_faults: usage.ru_minflt,
            major_faults: usage.ru_majflt,
            voluntary_switches: usage.ru_nvcsw,
            involuntary_switches: usage.ru_nivcsw,
            peak_rss_kib: peak_rss_kib(),
        }
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            r#"{{"cpu_user_ns":{},"cpu_system_ns":{},"minor_faults":{},"major_faults":{},"#,
            self.user.as_nanos(),
            self.system.as_nanos(),
            self.minor_faults,
            self.major_faults,
        )?;
        write!(
            f,
            r#""voluntary_switches":{},"involuntary_switches":{},"peak_rss_bytes":{}}}"#,
            self.voluntary_switches,
            self.involuntary_switches,
            self.peak_rss_kib * 1024,
        )
    }
}

/// Times of this thread, and how often it has left its CPU, so far or meanwhile.
#[derive(Clone, Copy)]
pub struct Times {
    at: Duration,
    cpu: Duration,
    runqueue: Duration,
    counts: Counts,
}

impl Times {
    const ZERO: Self = Self {
        at: Duration::ZERO,
        cpu: Duration::ZERO,
        runqueue: Duration::ZERO,
        counts: Counts::ZERO,
    };

    /// Those so far; the clocks are read last. Opening a file may make a thread wait, so that comes first.
    fn clocks_last() -> Self {
        let runqueue = waited_for_a_cpu();
        let counts = Counts::so_far();
        Self {
            runqueue,
            counts,
            ..Self::clocks()
        }
    }

    /// Those so far; the clocks are read first.
    fn clocks_first() -> Self {
        let clocks = Self::clocks();
        let counts = Counts::so_far();
        Self {
            runqueue: waited_for_a_cpu(),
            counts,
            ..clocks
        }
    }

    fn clocks() -> Self {
        Self {
            at: clock(libc::CLOCK_MONOTONIC),
            cpu: thread_cpu(),
            ..Self::ZERO
        }
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            at: self.at - before.at,
            cpu: self.cpu - before.cpu,
            runqueue: self.runqueue - before.runqueue,
            counts: self.counts.since(&before.counts),
        }
    }

    /// Adds those of later, perhaps of another thread.
    fn add(&mut self, later: &Self) {
        self.at += later.at;
        self.cpu += later.cpu;
        self.runqueue += later.runqueue;
        self.counts.add(&later.counts);
    }
}

thread_local! {
    /// The times of the latest [`inside`].
    static INSIDE: Cell<Times> = const { Cell::new(Times::ZERO) };
}

/// Does what a call does, and observes that from inside of the call, as [`ThreadUsage`] does from outside:
/// what the call itself used lies between the two.
pub fn inside<T>(work: impl FnOnce() -> T) -> T {
    let before = Times::clocks_first();
    let result = work();
    INSIDE.set(Times::clocks_last().since(&before));
    result
}

/// What this thread has used, or used meanwhile, as the kernel tells it when it asks.
#[derive(Clone, Copy)]
pub struct ThreadUsage {
    tid: i32,
    outside: Times,
    inside: Times,
}

impl ThreadUsage {
    /// Nothing, of no thread.
    pub const NONE: Self = Self {
        tid: 0,
        outside: Times::ZERO,
        inside: Times::ZERO,
    };

    /// What it has used so far; the clocks are read last.
    pub fn so_far() -> Self {
        Self {
            // SAFETY: the call takes nothing.
            tid: unsafe { libc::gettid() },
            outside: Times::clocks_last(),
            ..Self::NONE
        }
    }

    /// What it has used since; the clocks are read first.
    pub fn until_now(&self) -> Self {
        Self {
            tid: self.tid,
            outside: Times::clocks_first().since(&self.outside),
            inside: INSIDE.replace(Times::ZERO),
        }
    }

    /// Adds what was used later, perhaps by another thread.
    pub fn add(&mut self, later: &Self) {
        self.tid = later.tid;
        self.outside.add(&later.outside);
        self.inside.add(&later.inside);
    }
}

/// What `getrusage` counts.
#[derive(Clone, Copy)]
struct Counts {
    minor_faults: i64,
    major_faults: i64,
    voluntary_switches: i64,
    involuntary_switches: i64,
}

impl Counts {
    const ZERO: Self = Self {
        minor_faults: 0,
        major_faults: 0,
        voluntary_switches: 0,
        involuntary_switches: 0,
    };

    fn so_far() -> Self {
        // SAFETY: a `rusage` of zeros is one.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: `usage` is valid for the call to write.
        let result = unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) };
        assert_eq!(result, 0, "getrusage knows this thread");
        Self {
            minor_faults: usage.ru_minflt,
            major_faults: usage.ru_majflt,
            voluntary_switches: usage.ru_nvcsw,
            involuntary_switches: usage.ru_nivcsw,
        }
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            minor_faults: self.minor_faults - before.minor_faults,
            major_faults: self.major_faults - before.major_faults,
            voluntary_switches: self.voluntary_switches - before.voluntary_switches,
            involuntary_switches: self.involuntary_switches - before.involuntary_switches,
        }
    }

    fn add(&mut self, later: &Self) {
        self.minor_faults += later.minor_faults;
        self.major_faults += later.major_faults;
        self.voluntary_switches += later.voluntary_switches;
        self.involuntary_switches += later.involuntary_switches;
    }
}

impl fmt::Display for ThreadUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            r#""tid":{},"outside":{},"inside":{}"#,
            self.tid, self.outside, self.inside
        )
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            r#"{{"lasted_ns":{},"cpu_ns":{},"runqueue_ns":{},"minor_faults":{},"major_faults":{},"#,
            self.at.as_nanos(),
            self.cpu.as_nanos(),
            self.runqueue.as_nanos(),
            self.counts.minor_faults,
            self.counts.major_faults,
        )?;
        write!(
            f,
            r#""voluntary_switches":{},"involuntary_switches":{}}}"#,
            self.counts.voluntary_switches, self.counts.involuntary_switches,
        )
    }
}

/// How long this thread has waited for a CPU. Only reads: what it finds is not to change by being read.
fn waited_for_a_cpu() -> Duration {
    let mut text = [0; 128];
    let file = File::open("/proc/thread-self/schedstat");
    let read = file.and_then(|mut file| file.read(&mut text));
    let text = String::from_utf8_lossy(&text[..read.expect("the kernel tells it")]).into_owned();
    let waited = text.split_ascii_whitespace().nth(1);
    let waited = waited.and_then(|ns| ns.parse().ok());
    Duration::from_nanos(waited.expect("it has three numbers"))
}

/// The peak of this program alone: `ru_maxrss` also counts what ran in the process before `exec`.
fn peak_rss_kib() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("it has a status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB"));
    kib.and_then(|kib| kib.trim().parse().ok())
        .expect("it has a peak")
}

fn time(time: libc::timeval) -> Duration {
    Duration::from_secs(time.tv_sec as u64) + Duration::from_micros(time.tv_usec as u64)
}

/// CPU time that this thread has used.
pub fn thread_cpu() -> Duration {
    clock(libc::CLOCK_THREAD_CPUTIME_ID)
}

fn clock(id: libc::clockid_t) -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is valid for the call to write.
    unsafe { libc::clock_gettime(id, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// A system call that does as good as nothing.
pub fn system_call() {
    // SAFETY: the call takes nothing and changes nothing.
    unsafe { libc::syscall(libc::SYS_getppid) };
}

/// Lets this thread run on one CPU only, which is the same for every thread.
pub fn keep_to_one_cpu() {
    // SAFETY: a set of zeros is one, and it is valid for the calls to write and to read.
    unsafe {
        let mut allowed: libc::cpu_set_t = std::mem::zeroed();
        libc::sched_getaffinity(0, size_of_val(&allowed), &raw mut allowed);
        let mut one: libc::cpu_set_t = std::mem::zeroed();
        let cpu = (0..libc::CPU_SETSIZE as usize).find(|cpu| libc::CPU_ISSET(*cpu, &allowed));
        libc::CPU_SET(cpu.unwrap_or(0), &mut one);
        let result = libc::sched_setaffinity(0, size_of_val(&one), &raw const one);
        assert_eq!(result, 0, "a thread may choose among the CPUs that it has");
    }
}
