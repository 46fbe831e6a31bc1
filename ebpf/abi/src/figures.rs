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
    /// Nanoseconds that the thread has been off the CPU since it is followed.
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
        Figures {
            off_ns: end.off_ns.wrapping_sub(self.off_ns),
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

/// What the kernel keeps of a thread, as far as it tells of its times off the CPU. The scheduler's clock
/// has another beginning than `CLOCK_MONOTONIC`; only differences count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Stay {
    /// When the thread last got a CPU, by the scheduler's clock.
    pub arrived_ns: u64,
    /// How often it has got one.
    pub arrivals: u64,
    /// Nanoseconds that it has waited for one.
    pub runqueue_ns: u64,
}

/// A thread of the target, as it was when it last left a CPU.
///
/// What a thread has been off the CPU is the time between two arrivals less the CPU time that the kernel
/// counts between them: its account is exact whenever the thread is off the CPU, and leaves out what a
/// hypervisor takes away. The kernel keeps the time of the latest arrival, so that only leaving has to be
/// seen. That is seen always: the program then runs in the thread itself. Its coming back is not, on
/// kernels that don't trace some of their own threads, which are those that leave then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Followed {
    /// When it left, in `CLOCK_MONOTONIC` nanoseconds; 0 before it has.
    pub out_ns: u64,
    /// Its CPU time by then.
    pub out_cpu_ns: u64,
    /// [`Stay::runqueue_ns`] then.
    pub out_runqueue_ns: u64,
    /// How long it had been off the CPU by then.
    pub out_off_ns: u64,
    /// What lets the time off the CPU begin with 0 when the thread is first followed.
    pub base_ns: u64,
    /// [`Stay::arrivals`] then, or when it was first followed; 0 for a thread that is not.
    pub arrivals: u64,
}
const _: () = assert!(size_of::<Followed>() == 48);

impl Followed {
    /// It leaves a CPU at `at_ns`, which is `clock_ns` by the scheduler's clock, and has used `cpu_ns` of
    /// CPU time.
    #[inline(always)]
    pub const fn leaves(&mut self, at_ns: u64, clock_ns: u64, cpu_ns: u64, stay: &Stay) {
        if self.out_ns == 0 {
            // When it arrived does not matter: its first absence begins now.
            self.base_ns = cpu_ns.wrapping_sub(clock_ns);
        } else {
            self.out_off_ns = self.off_ns(stay);
        }
        self.out_ns = at_ns;
        self.out_cpu_ns = cpu_ns;
        self.out_runqueue_ns = stay.runqueue_ns;
        self.arrivals = stay.arrivals;
    }

    /// Its times up to `at_ns`, a moment ago; the thread may have been off the CPU since. `None` where it
    /// left a CPU and nobody saw it.
    #[inline(always)]
    pub const fn times_at(&self, at_ns: u64, stay: &Stay) -> Option<TimesOff> {
        if self.out_ns > at_ns {
            return Some(TimesOff {
                off_ns: self.out_off_ns,
                runqueue_ns: self.out_runqueue_ns,
                since: 1,
            });
        }
        let left = self.out_ns != 0;
        if stay.arrivals != self.arrivals.wrapping_add(left as u64) {
            return None;
        }
        Some(TimesOff {
            off_ns: if left { self.off_ns(stay) } else { 0 },
            runqueue_ns: stay.runqueue_ns,
            since: 0,
        })
    }

    /// How long it has been off the CPU, now that it is back.
    #[inline(always)]
    const fn off_ns(&self, stay: &Stay) -> u64 {
        let of_arrival = stay.arrived_ns.wrapping_sub(self.out_cpu_ns);
        of_arrival.wrapping_add(self.base_ns)
    }
}

/// How long a thread has been off the CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimesOff {
    /// Nanoseconds in all.
    pub off_ns: u64,
    /// Nanoseconds of these that it waited for a CPU.
    pub runqueue_ns: u64,
    /// How often it was made to leave since the moment that was asked for.
    pub since: u32,
}

/// Where the programs find the counts in the structures of the running kernel, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Offsets {
    /// `task_struct.tgid`.
    pub tgid: u32,
    /// `task_struct.pid`.
    pub pid: u32,
    /// `task_struct.se.sum_exec_runtime`.
    pub cpu_time: u32,
    /// `task_struct.sched_info.run_delay`.
    pub run_delay: u32,
    /// `task_struct.sched_info.last_arrival`.
    pub last_arrival: u32,
    /// `task_struct.sched_info.pcount`.
    pub arrivals: u32,
    /// `task_struct.se.cfs_rq`, which leads to the queue of the thread's CPU.
    pub cfs_rq: u32,
    /// `cfs_rq.rq`.
    pub rq: u32,
    /// `rq.clock`.
    pub clock: u32,
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

    /// A thread that got its CPU for the `arrivals`th time.
    fn stay(arrived_ns: u64, arrivals: u64, runqueue_ns: u64) -> Stay {
        Stay {
            arrived_ns,
            arrivals,
            runqueue_ns,
        }
    }

    fn times(off_ns: u64, runqueue_ns: u64, since: u32) -> Option<TimesOff> {
        Some(TimesOff {
            off_ns,
            runqueue_ns,
            since,
        })
    }

    #[test]
    fn absences_add_up() {
        // The scheduler's clock is 1,000 ahead.
        let mut thread = Followed {
            arrivals: 5,
            ..Followed::default()
        };
        let first = stay(1_004, 5, 0);
        assert_eq!(thread.times_at(20, &first), times(0, 0, 0), "it never left");
        thread.leaves(30, 1_030, 900, &first);
        let second = stay(1_050, 6, 3);
        assert_eq!(thread.times_at(55, &second), times(20, 3, 0));
        // Of the 25 ns between its arrivals it uses 18, whatever the clock says.
        thread.leaves(70, 1_071, 918, &second);
        let third = stay(1_075, 7, 9);
        assert_eq!(thread.times_at(80, &third), times(27, 9, 0));
        assert_eq!(
            thread.times_at(65, &third),
            times(20, 3, 1),
            "before the last absence"
        );
    }

    #[test]
    fn a_thread_that_left_unseen_is_not_told_of_until_it_leaves_again() {
        let mut thread = Followed {
            arrivals: 5,
            ..Followed::default()
        };
        assert_eq!(thread.times_at(20, &stay(4, 6, 0)), None);
        thread.leaves(30, 1_030, 900, &stay(1_004, 5, 0));
        let unseen = stay(1_060, 7, 3);
        assert_eq!(thread.times_at(70, &unseen), None);
        // It used 10 in its unseen stay, and 5 in this one.
        thread.leaves(80, 1_080, 915, &unseen);
        assert_eq!(
            thread.times_at(95, &stay(1_090, 8, 3)),
            times(45, 3, 0),
            "of the 60 between 1,030 and 1,090 it used 15"
        );
    }
}
