//! From what a source tells of threads to rows: what is new, what has ended, and the sums.
//!
//! The time of a thread's life has three parts: on a CPU and waiting for one, which the kernel counts,
//! and the rest, which is blocked time: asleep, waiting for a lock, for another thread, for data. The
//! kernel counts a wait for a CPU when it is over, and the CPU time of a running thread at ticks; until
//! then that time counts as blocked. So blocked time is exact as soon as the thread runs again, and may
//! decrease then by what it had waited for a CPU.

use std::collections::HashMap;

use super::sample::{Figures, Name, Switches, Task, Tasks, ThreadStep};

/// How much two sources may differ in when one thread began: `/proc` tells it in hundredths of a
/// second.
const START_TOLERANCE_NS: u64 = 20_000_000;

/// The threads of a process in the course of a session.
#[derive(Debug, Default)]
pub struct Threads {
    known: HashMap<u32, Known>,
    next_number: u32,
    /// Sums over the threads that ended in the session, as last seen.
    ended: Sums,
    /// What was told last.
    told: Sums,
    user_ns: u64,
    system_ns: u64,
}

/// A thread that lives.
#[derive(Debug)]
struct Known {
    number: u32,
    name: Name,
    start_ns: u64,
    cpu_ns: u64,
    runqueue_ns: u64,
    switches: Switches,
    /// Seen this time.
    seen: bool,
}

/// Sums over threads.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    runqueue_ns: u64,
    blocked_ns: u64,
    switches: Switches,
    minor_faults: u64,
    major_faults: u64,
}

impl Known {
    fn new(number: u32, task: &Task) -> Self {
        Self {
            number,
            name: task.name,
            start_ns: task.start_ns,
            cpu_ns: 0,
            runqueue_ns: 0,
            switches: Switches::default(),
            seen: true,
        }
    }

    fn is(&self, task: &Task) -> bool {
        self.start_ns.abs_diff(task.start_ns) <= START_TOLERANCE_NS
    }

    /// Takes over what was found; gives back whether it ran.
    fn update(&mut self, task: &Task) -> bool {
        let before = (self.cpu_ns, self.runqueue_ns, self.switches);
        // Two sources may differ in what is counted by then.
        self.cpu_ns = self.cpu_ns.max(task.cpu_ns);
        self.runqueue_ns = self.runqueue_ns.max(task.runqueue_ns);
        self.switches = self.switches.max(task.switches);
        self.seen = true;
        before != (self.cpu_ns, self.runqueue_ns, self.switches)
    }

    /// The rest of its life until `at_ns`.
    fn blocked_ns(&self, at_ns: u64) -> u64 {
        let lived = at_ns.saturating_sub(self.start_ns);
        lived.saturating_sub(self.cpu_ns.saturating_add(self.runqueue_ns))
    }

    fn step(&self, tid: u32, name: Option<Name>) -> ThreadStep {
        ThreadStep {
            number: self.number,
            tid,
            name,
            start_ns: self.start_ns,
            cpu_ns: self.cpu_ns,
            runqueue_ns: self.runqueue_ns,
            switches: self.switches,
        }
    }
}

impl Switches {
    fn max(self, other: Self) -> Self {
        Self {
            voluntary: self.voluntary.max(other.voluntary),
            involuntary: self.involuntary.max(other.involuntary),
        }
    }

    fn add(&mut self, other: Self) {
        self.voluntary = self.voluntary.saturating_add(other.voluntary);
        self.involuntary = self.involuntary.saturating_add(other.involuntary);
    }
}

impl Sums {
    fn add(&mut self, thread: &Known, at_ns: u64) {
        self.runqueue_ns = self.runqueue_ns.saturating_add(thread.runqueue_ns);
        self.blocked_ns = self.blocked_ns.saturating_add(thread.blocked_ns(at_ns));
        self.switches.add(thread.switches);
    }

    /// `later`, but for what is less in it and can't be.
    fn grown_to(self, later: Self) -> Self {
        Self {
            runqueue_ns: self.runqueue_ns.max(later.runqueue_ns),
            blocked_ns: later.blocked_ns,
            switches: self.switches.max(later.switches),
            minor_faults: self.minor_faults.max(later.minor_faults),
            major_faults: self.major_faults.max(later.major_faults),
        }
    }
}

impl Threads {
    /// Takes over what a source told at `at_ns`. `cpu_ns` is the CPU time of the process, exact, where
    /// that is known. Gives back the steps, and the numbers of the threads that have ended.
    pub fn update(
        &mut self,
        at_ns: u64,
        tasks: &Tasks,
        cpu_ns: Option<u64>,
        figures: &mut Figures,
    ) -> (Vec<ThreadStep>, Vec<u32>) {
        let mut ended = Vec::new();
        let mut steps = Vec::new();
        for task in &tasks.threads {
            steps.extend(self.update_one(at_ns, task, &mut ended));
        }
        self.known.retain(|_, thread| {
            let lives = std::mem::take(&mut thread.seen);
            if !lives {
                ended.push(thread.number);
                self.ended.add(thread, at_ns);
            }
            lives
        });
        self.tell_sums(at_ns, tasks, figures);
        self.tell_cpu(tasks, cpu_ns, figures);
        (steps, ended)
    }

    fn update_one(&mut self, at_ns: u64, task: &Task, ended: &mut Vec<u32>) -> Option<ThreadStep> {
        if let Some(other) = self.known.get(&task.tid)
            && !other.is(task)
        {
            ended.push(other.number);
            self.ended.add(other, at_ns);
            self.known.remove(&task.tid);
        }
        let mut is_new = false;
        let thread = self.known.entry(task.tid).or_insert_with(|| {
            is_new = true;
            self.next_number += 1;
            Known::new(self.next_number - 1, task)
        });
        let ran = thread.update(task);
        let named = is_new || thread.name != task.name;
        thread.name = task.name;
        (ran || named).then(|| thread.step(task.tid, named.then_some(task.name)))
    }

    fn tell_sums(&mut self, at_ns: u64, tasks: &Tasks, figures: &mut Figures) {
        let mut sums = self.ended;
        if let Some(switches) = tasks.ended_switches {
            sums.switches = switches;
        }
        for thread in self.known.values() {
            sums.add(thread, at_ns);
        }
        sums.minor_faults = tasks.minor_faults;
        sums.major_faults = tasks.major_faults;
        self.told = self.told.grown_to(sums);
        figures.runqueue_ns = Some(self.told.runqueue_ns);
        figures.blocked_ns = Some(self.told.blocked_ns);
        figures.voluntary_switches = Some(self.told.switches.voluntary);
        figures.involuntary_switches = Some(self.told.switches.involuntary);
        figures.minor_faults = Some(self.told.minor_faults);
        figures.major_faults = Some(self.told.major_faults);
        figures.threads = Some(tasks.threads.len() as u64);
    }

    /// Splits the CPU time in the ratio that ticks sampled, as the kernel does for `getrusage`;
    /// neither part decreases.
    fn tell_cpu(&mut self, tasks: &Tasks, cpu_ns: Option<u64>, figures: &mut Figures) {
        let sampled = tasks.sampled_user.saturating_add(tasks.sampled_system);
        let counted = || {
            let times = tasks.threads.iter().map(|thread| thread.cpu_ns);
            times.fold(0, u64::saturating_add)
        };
        let told = self.user_ns + self.system_ns;
        let total = cpu_ns.unwrap_or_else(counted).max(told);
        let system = match sampled {
            0 => 0,
            _ => {
                let part = u128::from(total) * u128::from(tasks.sampled_system);
                u64::try_from(part / u128::from(sampled)).unwrap_or(total)
            }
        };
        self.system_ns = system.clamp(self.system_ns, total - self.user_ns);
        self.user_ns = total - self.system_ns;
        figures.cpu_user_ns = Some(self.user_ns);
        figures.cpu_system_ns = Some(self.system_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(tid: u32, cpu_ns: u64, runqueue_ns: u64) -> Task {
        Task {
            tid,
            name: Name::new(b"worker"),
            start_ns: 1_000,
            cpu_ns,
            runqueue_ns,
            switches: Switches {
                voluntary: cpu_ns / 10,
                involuntary: 0,
            },
        }
    }

    fn tasks(threads: Vec<Task>) -> Tasks {
        Tasks {
            threads,
            ..Tasks::default()
        }
    }

    #[test]
    fn blocked_is_what_is_left_of_a_life() {
        let mut threads = Threads::default();
        let mut figures = Figures::default();
        let seen = tasks(vec![task(7, 300, 200)]);
        let (steps, ended) = threads.update(11_000, &seen, None, &mut figures);
        assert_eq!((steps.len(), ended.len()), (1, 0));
        assert_eq!(steps[0].name, Some(Name::new(b"worker")));
        assert_eq!(figures.blocked_ns, Some(10_000 - 300 - 200));
        // It did not run: nothing to store, and its blocked time grows all the same.
        let (steps, _) = threads.update(12_000, &seen, None, &mut figures);
        assert_eq!((steps.len(), figures.blocked_ns), (0, Some(10_500)));
        // It had waited for a CPU, which is told when it runs.
        let seen = tasks(vec![task(7, 310, 1_900)]);
        let (steps, _) = threads.update(13_000, &seen, None, &mut figures);
        assert_eq!((steps.len(), steps[0].name), (1, None));
        assert_eq!(figures.blocked_ns, Some(12_000 - 310 - 1_900));
        // Clocks that disagree leave nothing.
        threads.update(1_500, &seen, None, &mut figures);
        assert_eq!(figures.blocked_ns, Some(0));
    }

    #[test]
    fn threads_end_and_their_sums_stay() {
        let mut threads = Threads::default();
        let mut figures = Figures::default();
        let seen = tasks(vec![task(7, 100, 5), task(8, 50, 6)]);
        threads.update(2_000, &seen, None, &mut figures);
        assert_eq!(figures.threads, Some(2));
        assert_eq!(figures.voluntary_switches, Some(15));
        let seen = tasks(vec![task(8, 50, 6)]);
        let (steps, ended) = threads.update(3_000, &seen, None, &mut figures);
        assert_eq!((steps.len(), ended), (0, vec![0]));
        assert_eq!(figures.threads, Some(1));
        assert_eq!(figures.runqueue_ns, Some(11));
        assert_eq!(figures.voluntary_switches, Some(15));
        assert_eq!(figures.blocked_ns, Some(2_000 - 105 + 2_000 - 56));
        threads.update(4_000, &seen, None, &mut figures);
        assert_eq!(figures.blocked_ns, Some(2_000 - 105 + 3_000 - 56));
    }

    #[test]
    fn a_number_that_is_used_again_is_another_thread() {
        let mut threads = Threads::default();
        let mut figures = Figures::default();
        threads.update(2_000, &tasks(vec![task(7, 100, 0)]), None, &mut figures);
        let mut other = task(7, 10, 0);
        other.start_ns = 80_000_000;
        let (steps, ended) = threads.update(90_000_000, &tasks(vec![other]), None, &mut figures);
        assert_eq!((steps[0].number, steps[0].cpu_ns), (1, 10));
        assert_eq!(ended, [0]);
        // Another source that tells its beginning less exactly means the same thread.
        let mut same = task(7, 20, 0);
        same.start_ns = 70_000_000;
        let (steps, ended) = threads.update(99_000_000, &tasks(vec![same]), None, &mut figures);
        assert_eq!((steps[0].number, steps[0].start_ns), (1, 80_000_000));
        assert_eq!(ended, [0; 0]);
    }

    #[test]
    fn a_source_that_knows_the_switches_of_ended_threads_is_believed() {
        let mut threads = Threads::default();
        let mut figures = Figures::default();
        let mut seen = tasks(vec![task(7, 100, 0)]);
        seen.ended_switches = Some(Switches {
            voluntary: 1_000,
            involuntary: 2,
        });
        threads.update(2_000, &seen, None, &mut figures);
        assert_eq!(figures.voluntary_switches, Some(1_010));
        // One that does not know them tells less: the sum stays.
        threads.update(3_000, &tasks(vec![task(7, 100, 0)]), None, &mut figures);
        assert_eq!(figures.voluntary_switches, Some(1_010));
        assert_eq!(figures.involuntary_switches, Some(2));
    }

    #[test]
    fn cpu_time_is_split_as_ticks_say_and_no_part_decreases() {
        let mut threads = Threads::default();
        let mut figures = Figures::default();
        let mut split = |total, user, system| {
            let seen = Tasks {
                sampled_user: user,
                sampled_system: system,
                ..Tasks::default()
            };
            threads.update(0, &seen, Some(total), &mut figures);
            (figures.cpu_user_ns.unwrap(), figures.cpu_system_ns.unwrap())
        };
        assert_eq!(split(100, 0, 0), (100, 0));
        assert_eq!(split(200, 1, 1), (100, 100));
        assert_eq!(split(300, 1, 9), (100, 200));
        assert_eq!(split(400, 9, 1), (200, 200));
        assert_eq!(split(350, 1, 1), (200, 200), "the clock went back");
        assert_eq!(split(u64::MAX, u64::MAX / 2, 1).1, 200);
    }
}
