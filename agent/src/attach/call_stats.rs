//! What the kernel is asked about every call, and where its own types say that the answers lie.
//!
//! Each stat is found out by itself: what one of them lacks on this machine leaves the others.

use std::fmt;

use exoscope_abi::figures::{self, Offsets, RSS_COUNTERS, RSS_CPUS};

use crate::kernel_types::{KernelTypes, TypesError};

/// A stat of every call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CallStat {
    /// Time on a CPU, waiting for one, and blocked.
    Cpu,
    /// Page faults.
    Faults,
    /// Change of resident memory.
    Memory,
    /// Switches to another thread.
    Switches,
}

impl CallStat {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Cpu, Self::Faults, Self::Memory, Self::Switches];

    /// What it is called where users choose it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Faults => "faults",
            Self::Memory => "memory",
            Self::Switches => "switches",
        }
    }

    /// What it tells, in words.
    pub const fn what(self) -> &'static str {
        match self {
            Self::Cpu => "time on a CPU, waiting for one, and blocked",
            Self::Faults => "page faults",
            Self::Memory => "change of resident memory",
            Self::Switches => "switches to other threads",
        }
    }

    const fn flag(self) -> u32 {
        match self {
            Self::Cpu => figures::CPU,
            Self::Faults => figures::FAULTS,
            Self::Memory => figures::MEMORY,
            Self::Switches => figures::SWITCHES,
        }
    }
}

/// Some of the stats.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct CallStats(u32);

impl CallStats {
    /// None of them.
    pub const NONE: Self = Self(0);
    /// All of them.
    pub const ALL: Self = Self(figures::ALL);

    /// As the programs want it.
    pub const fn flags(self) -> u32 {
        self.0
    }

    /// Whether a stat is among them.
    pub const fn contains(self, stat: CallStat) -> bool {
        self.0 & stat.flag() != 0
    }

    const fn without(self, stat: CallStat) -> Self {
        Self(self.0 & !stat.flag())
    }
}

impl FromIterator<CallStat> for CallStats {
    fn from_iter<I: IntoIterator<Item = CallStat>>(stats: I) -> Self {
        Self(stats.into_iter().fold(0, |flags, stat| flags | stat.flag()))
    }
}

impl fmt::Debug for CallStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stats = CallStat::ALL.into_iter();
        f.debug_set()
            .entries(stats.filter(|stat| self.contains(*stat)))
            .finish()
    }
}

/// The stats that this machine can tell, as far as it is known.
#[derive(Clone, Default)]
pub struct Available {
    /// What the programs ask for.
    pub stats: CallStats,
    /// Where they find it.
    pub offsets: Offsets,
    /// CPUs among which the counters of memory are spread.
    pub memory_cpus: u32,
    /// What was wanted and can't be had, with the reason.
    pub lacking: Vec<(CallStat, String)>,
}

impl Available {
    /// Looks for what the stats `wanted` need.
    pub fn of(wanted: CallStats) -> Self {
        let mut available = Self {
            stats: wanted,
            ..Self::default()
        };
        if wanted == CallStats::NONE {
            return available;
        }
        let types = match KernelTypes::of_this_kernel() {
            Ok(types) => types,
            Err(error) => {
                available.lacks_all(&error.to_string());
                return available;
            }
        };
        for stat in CallStat::ALL {
            if wanted.contains(stat)
                && let Err(why) = available.find(stat, &types)
            {
                available.lacks(stat, why);
            }
        }
        available
    }

    /// Finds what one stat needs.
    fn find(&mut self, stat: CallStat, types: &KernelTypes) -> Result<(), String> {
        let offsets = &mut self.offsets;
        let of_task = |path: &str| offset(types, "task_struct", path);
        offsets.pid = of_task("pid")?;
        match stat {
            CallStat::Cpu => {
                find_switches(offsets, types)?;
                offsets.cpu_time = of_task("se.sum_exec_runtime")?;
                offsets.cpu_time_at = of_task("se.exec_start")?;
                offsets.run_delay = of_task("sched_info.run_delay")?;
                offsets.cfs_rq = of_task("se.cfs_rq")?;
                offsets.rq = offset(types, "cfs_rq", "rq")?;
                offsets.clock = offset(types, "rq", "clock")?;
                offsets.clock_task = offset(types, "rq", "clock_task")?;
            }
            CallStat::Faults => {
                offsets.min_flt = of_task("min_flt")?;
                offsets.maj_flt = of_task("maj_flt")?;
            }
            CallStat::Switches => find_switches(offsets, types)?,
            CallStat::Memory => {
                find_memory(offsets, types)?;
                self.memory_cpus = memory_cpus()?;
            }
        }
        Ok(())
    }

    /// Finds what tells threads apart, whatever stats are wanted.
    ///
    /// # Errors
    /// Where the kernel does not describe its types, or has others.
    pub fn find_threads(&mut self) -> Result<(), TypesError> {
        let types = KernelTypes::of_this_kernel()?;
        self.offsets.pid = types.member("task_struct", "pid")?.offset;
        self.offsets.tgid = types.member("task_struct", "tgid")?.offset;
        Ok(())
    }

    /// Leaves a stat out.
    pub fn lacks(&mut self, stat: CallStat, why: String) {
        self.stats = self.stats.without(stat);
        self.lacking.push((stat, why));
    }

    /// Leaves all of them out, for one reason.
    pub fn lacks_all(&mut self, why: &str) {
        for stat in CallStat::ALL {
            if self.stats.contains(stat) {
                self.lacks(stat, why.to_owned());
            }
        }
    }
}

fn offset(types: &KernelTypes, structure: &str, path: &str) -> Result<u32, String> {
    let member = types.member(structure, path);
    member
        .map(|member| member.offset)
        .map_err(|error| error.to_string())
}

fn find_switches(offsets: &mut Offsets, types: &KernelTypes) -> Result<(), String> {
    offsets.nvcsw = offset(types, "task_struct", "nvcsw")?;
    offsets.nivcsw = offset(types, "task_struct", "nivcsw")?;
    Ok(())
}

/// The counters of memory: an array of them in `mm_struct`, whose shares of a CPU lie side by side.
fn find_memory(offsets: &mut Offsets, types: &KernelTypes) -> Result<(), String> {
    let text = |error: TypesError| error.to_string();
    let counters = types.member("mm_struct", "rss_stat").map_err(text)?;
    offsets.mm = offset(types, "task_struct", "mm")?;
    offsets.array_values = offset(types, "bpf_array", "pptrs")?;
    offsets.rss_count = counters.offset + offset(types, "percpu_counter", "count")?;
    offsets.rss_counters = counters.offset + offset(types, "percpu_counter", "counters")?;
    offsets.rss_step = types.size_of("percpu_counter").map_err(text)?;
    if counters.size != RSS_COUNTERS as u32 * offsets.rss_step {
        return Err("the kernel keeps its counters of memory in an unknown way".to_owned());
    }
    Ok(())
}

/// CPUs that may have a share of the counters.
fn memory_cpus() -> Result<u32, String> {
    let online = aya::util::online_cpus()
        .map_err(|(path, error)| format!("can't list the CPUs in {path}: {error}"))?;
    let cpus = online.into_iter().max().map_or(1, |last| last + 1);
    if cpus as usize > RSS_CPUS {
        return Err(format!(
            "it would take a look at each of {cpus} CPUs for each call, and more than {RSS_CPUS} take \
             too long"
        ));
    }
    Ok(cpus)
}

#[cfg(test)]
mod tests {
    use super::super::programs::{Programs, ProgramsError, Settings};
    use super::*;

    #[test]
    fn the_kernel_takes_the_programs_with_any_stats() {
        let stats = CallStat::ALL.into_iter();
        let each = stats.map(|stat| [stat].into_iter().collect());
        for wanted in each.chain([CallStats::ALL]) {
            for polls in [false, true] {
                let available = Available::of(wanted);
                assert_eq!(available.lacking, []);
                let settings = Settings {
                    polls,
                    ..Settings::default()
                };
                match Programs::load_asking(&settings, &available) {
                    Ok(programs) => drop(programs),
                    Err(ProgramsError::Rejected { program, log, .. }) => {
                        panic!("{program} with {wanted:?} (this test needs root): {log}")
                    }
                    Err(error) => panic!("{error} (this test needs root)"),
                }
            }
        }
    }

    #[test]
    fn times_come_with_the_switches_that_prove_them() {
        let all = Available::of(CallStats::ALL).offsets;
        let times = Available::of([CallStat::Cpu].into_iter().collect()).offsets;
        assert_ne!((times.nvcsw, times.nivcsw), (0, 0));
        assert_eq!((times.nvcsw, times.nivcsw), (all.nvcsw, all.nivcsw));
    }

    #[test]
    fn what_is_left_out_is_said_once() {
        let mut available = Available::of(CallStats::ALL);
        available.lacks(CallStat::Cpu, "it has none".to_owned());
        available.lacks_all("it has nothing");
        assert_eq!(available.stats, CallStats::NONE);
        let lacking: Vec<_> = available.lacking.iter().map(|(stat, _)| *stat).collect();
        assert_eq!(lacking, CallStat::ALL);
    }
}
