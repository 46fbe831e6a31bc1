//! What the kernel knows of a call besides its times: how long its thread was off the CPU and why,
//! faults, switches, and how the memory of the process grew.
//!
//! The kernel keeps counts for threads and processes, not for calls. A program takes a [`Moment`] of
//! them when a call begins and one when it ends, and the difference is the call's: [`Figures`]. That of a
//! call that is polled is the sum over its polls. The kernel's structures differ from kernel to
//! kernel: the agent finds the [`Offsets`] and gives them to the programs.

/// Time on and off the CPU.
pub const CPU: u32 = 1;
/// Page faults.
pub const FAULTS: u32 = 2;
/// Resident memory.
pub const MEMORY: u32 = 4;
/// Switches to another thread.
pub const SWITCHES: u32 = 8;
/// All of them.
pub const ALL: u32 = CPU | FAULTS | MEMORY | SWITCHES;

/// In the cookie of a site beside the number of its function: calls of the function run in polls, so
/// their thread does other things between.
pub const IN_POLLS: u64 = 1 << 32;
/// Likewise: calls of the function are open while their thread does other things, and nobody tells when.
pub const NEVER: u64 = 1 << 33;

/// The kernel's counts at one moment. Those of 32 bits go on from 0 after the largest number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Moment {
    /// Nanoseconds that the thread has not been on a CPU, by the scheduler's clock; only differences count.
    pub off_ns: u64,
    /// Nanoseconds that the thread has waited for a CPU.
    pub runqueue_ns: u64,
    /// Page faults of the thread without reading.
    pub minor_faults: u32,
    /// Page faults of the thread that read.
    pub major_faults: u32,
    /// Switches from the thread to another one because it waited.
    pub voluntary_switches: u32,
    /// Switches from the thread to another one because its turn was over.
    pub involuntary_switches: u32,
    /// Resident pages of the process.
    pub rss_pages: u32,
    /// The thread, as the machine numbers it.
    pub tid: u32,
    /// Which of these are known: [`CPU`] and the like.
    pub known: u32,
    /// 0.
    pub reserved: u32,
}
const _: () = assert!(size_of::<Moment>() == 48);

/// What happened between two moments, or between several pairs of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Figures {
    /// Nanoseconds off the CPU.
    pub off_ns: u64,
    /// Nanoseconds of these that the thread waited for a CPU, as the kernel counts them with another
    /// clock.
    pub runqueue_ns: u64,
    /// Page faults without reading.
    pub minor_faults: u32,
    /// Page faults that read.
    pub major_faults: u32,
    /// Switches to another thread because it waited.
    pub voluntary_switches: u32,
    /// Switches to another thread because its turn was over.
    pub involuntary_switches: u32,
    /// Pages by which the resident memory of the process grew.
    pub rss_pages: i32,
    /// Which of these are known: [`CPU`] and the like.
    pub known: u32,
}
const _: () = assert!(size_of::<Figures>() == 40);

impl Moment {
    /// What happened until a later moment of the same thread. Of two threads nothing is known.
    #[inline(always)]
    pub const fn until(&self, end: &Self) -> Figures {
        let off_ns = end.off_ns.wrapping_sub(self.off_ns);
        Figures {
            // The clocks of two CPUs may differ by a little.
            off_ns: if off_ns as i64 > 0 { off_ns } else { 0 },
            runqueue_ns: end.runqueue_ns.wrapping_sub(self.runqueue_ns),
            minor_faults: end.minor_faults.wrapping_sub(self.minor_faults),
            major_faults: end.major_faults.wrapping_sub(self.major_faults),
            voluntary_switches: end.voluntary_switches.wrapping_sub(self.voluntary_switches),
            involuntary_switches: end
                .involuntary_switches
                .wrapping_sub(self.involuntary_switches),
            rss_pages: end.rss_pages.wrapping_sub(self.rss_pages) as i32,
            known: if self.tid == end.tid {
                self.known & end.known
            } else {
                0
            },
        }
    }
}

impl Figures {
    /// Before anything happened, of which everything in `known` is known.
    #[inline(always)]
    pub const fn none(known: u32) -> Self {
        Self {
            off_ns: 0,
            runqueue_ns: 0,
            minor_faults: 0,
            major_faults: 0,
            voluntary_switches: 0,
            involuntary_switches: 0,
            rss_pages: 0,
            known,
        }
    }

    /// Adds what happened between two other moments.
    #[inline(always)]
    pub const fn add(&mut self, other: &Self) {
        self.off_ns = self.off_ns.wrapping_add(other.off_ns);
        self.runqueue_ns = self.runqueue_ns.wrapping_add(other.runqueue_ns);
        self.minor_faults = self.minor_faults.wrapping_add(other.minor_faults);
        self.major_faults = self.major_faults.wrapping_add(other.major_faults);
        self.voluntary_switches = self
            .voluntary_switches
            .wrapping_add(other.voluntary_switches);
        self.involuntary_switches = self
            .involuntary_switches
            .wrapping_add(other.involuntary_switches);
        self.rss_pages = self.rss_pages.wrapping_add(other.rss_pages);
        self.known &= other.known;
    }

    /// Nothing happened: what is known is 0.
    #[inline(always)]
    pub const fn is_quiet(&self) -> bool {
        let times = self.off_ns | self.runqueue_ns;
        let faults = self.minor_faults | self.major_faults;
        let switches = self.voluntary_switches | self.involuntary_switches;
        times == 0 && faults | switches | self.rss_pages as u32 == 0
    }
}

/// The figures of a call that runs in polls: one for each slot of the table of open calls. The
/// [`Moment`] of the slot is that of the latest poll's beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct PolledFigures {
    /// Of the polls that have ended.
    pub sum: Figures,
    /// 1 while a poll goes on.
    pub in_poll: u64,
}
const _: () = assert!(size_of::<PolledFigures>() == 48);

impl PolledFigures {
    /// A poll begins.
    #[inline(always)]
    pub const fn begin(&mut self) {
        if self.in_poll != 0 {
            // The end of the one before was missed.
            self.sum.known = 0;
        }
        self.in_poll = 1;
    }

    /// A poll that began at one moment ends at another.
    #[inline(always)]
    pub const fn end(&mut self, begin: &Moment, end: &Moment) {
        if self.in_poll != 0 {
            self.sum.add(&begin.until(end));
        }
        self.in_poll = 0;
    }
}

/// Where the programs find the counts in the structures of the running kernel, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Offsets {
    /// `task_struct.pid`.
    pub pid: u32,
    /// `task_struct.tgid`.
    pub tgid: u32,
    /// `task_struct.se.sum_exec_runtime`.
    pub cpu_time: u32,
    /// `task_struct.se.exec_start`.
    pub cpu_time_at: u32,
    /// `task_struct.sched_info.run_delay`.
    pub run_delay: u32,
    /// `task_struct.se.cfs_rq`, which leads to the queue of the thread's CPU.
    pub cfs_rq: u32,
    /// `cfs_rq.rq`.
    pub rq: u32,
    /// `rq.clock`.
    pub clock: u32,
    /// `rq.clock_task`.
    pub clock_task: u32,
    /// `task_struct.min_flt`.
    pub min_flt: u32,
    /// `task_struct.maj_flt`.
    pub maj_flt: u32,
    /// `task_struct.nvcsw`.
    pub nvcsw: u32,
    /// `task_struct.nivcsw`.
    pub nivcsw: u32,
    /// `task_struct.mm`.
    pub mm: u32,
    /// `count` of the first counter in `mm_struct.rss_stat`.
    pub rss_count: u32,
    /// `counters` of the same: where each CPU has what it has not added to `count`.
    pub rss_counters: u32,
    /// Bytes from one counter to the next.
    pub rss_step: u32,
    /// Where an array map keeps the address of the values of each CPU: `bpf_array.pptrs`.
    pub array_values: u32,
}
const _: () = assert!(size_of::<Offsets>() == 72);

/// Counters of `mm_struct.rss_stat`: pages of files, pages without, swapped ones, and shared ones.
pub const RSS_COUNTERS: usize = 4;
/// That of swapped pages, which are not resident.
pub const RSS_SWAPPED: usize = 2;
/// CPUs at most for which memory is added up: it takes a look at each.
pub const RSS_CPUS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(off_ns: u64, rss_pages: u32) -> Moment {
        Moment {
            off_ns,
            rss_pages,
            tid: 7,
            known: ALL,
            ..Moment::default()
        }
    }

    #[test]
    fn counts_may_pass_their_end_and_memory_may_shrink() {
        let begin = Moment {
            minor_faults: u32::MAX,
            ..moment(100, 50)
        };
        let end = Moment {
            minor_faults: 2,
            ..moment(130, 20)
        };
        let figures = begin.until(&end);
        assert_eq!((figures.off_ns, figures.minor_faults), (30, 3));
        assert_eq!((figures.rss_pages, figures.known), (-30, ALL));
        assert!(!figures.is_quiet() && begin.until(&begin).is_quiet());
    }

    #[test]
    fn of_two_threads_nothing_is_known() {
        let other = Moment {
            tid: 8,
            ..moment(130, 20)
        };
        assert_eq!(moment(100, 20).until(&other).known, 0);
    }

    #[test]
    fn polls_add_up_and_what_is_between_does_not() {
        let mut polled = PolledFigures {
            sum: Figures::none(ALL),
            in_poll: 1,
        };
        polled.end(&moment(100, 0), &moment(110, 3));
        // The call ends without another poll.
        polled.end(&moment(100, 0), &moment(500, 70));
        assert_eq!((polled.sum.off_ns, polled.sum.rss_pages), (10, 3));
        polled.begin();
        polled.end(&moment(500, 70), &moment(505, 69));
        assert_eq!((polled.sum.off_ns, polled.sum.rss_pages), (15, 2));
        assert_eq!(polled.sum.known, ALL);
        polled.begin();
        polled.begin();
        assert_eq!(polled.sum.known, 0, "an end was missed");
    }
}
