//! What the kernel is asked about every call, and where its own types say that the answers lie.
//!
//! Each stat is found out by itself: what one of them lacks on this machine leaves the others.

use std::fmt;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use exoscope_abi::figures::{self, Offsets, RSS_COUNTERS, RSS_CPUS};

use super::programs::{ProgramsError, Relocated};
use super::sys::{self, Purpose};
use crate::kernel_types::{KernelTypes, TypesError};

/// The program that follows the target's threads.
const SCHED_PROGRAM: &str = "sched_switch";
/// The type of the tracepoint's function, by which the kernel knows the tracepoint.
const SCHED_TRACEPOINT: &str = "btf_trace_sched_switch";

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
    /// The kernel's types, where it was looked for.
    pub types: Option<Arc<KernelTypes>>,
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
        available.types = Some(types);
        available
    }

    /// Finds what one stat needs.
    fn find(&mut self, stat: CallStat, types: &KernelTypes) -> Result<(), String> {
        let offsets = &mut self.offsets;
        let of_task = |path: &str| offset(types, "task_struct", path);
        offsets.tgid = of_task("tgid")?;
        offsets.pid = of_task("pid")?;
        match stat {
            CallStat::Cpu => {
                offsets.cpu_time = of_task("se.sum_exec_runtime")?;
                offsets.run_delay = of_task("sched_info.run_delay")?;
                offsets.last_arrival = of_task("sched_info.last_arrival")?;
                offsets.arrivals = of_task("sched_info.pcount")?;
                offsets.cfs_rq = of_task("se.cfs_rq")?;
                offsets.rq = offset(types, "cfs_rq", "rq")?;
                offsets.clock = offset(types, "rq", "clock")?;
            }
            CallStat::Faults => {
                offsets.min_flt = of_task("min_flt")?;
                offsets.maj_flt = of_task("maj_flt")?;
            }
            CallStat::Switches => {
                offsets.nvcsw = of_task("nvcsw")?;
                offsets.nivcsw = of_task("nivcsw")?;
            }
            CallStat::Memory => {
                find_memory(offsets, types)?;
                self.memory_cpus = memory_cpus()?;
            }
        }
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

/// Has the target's threads followed, for as long as the descriptor lives.
pub(super) fn follow_threads(
    object: &Relocated,
    types: &KernelTypes,
) -> Result<OwnedFd, FollowError> {
    let tracepoint = types.type_alias(SCHED_TRACEPOINT)?;
    let program = object.load(Purpose::Tracepoint(tracepoint), SCHED_PROGRAM)?;
    sys::create_tracepoint_link(program.as_fd()).map_err(FollowError::Link)
}

/// Why threads can't be followed.
#[derive(Debug, thiserror::Error)]
pub(super) enum FollowError {
    /// The kernel's types are unknown, or it has no such tracepoint.
    #[error(transparent)]
    Types(#[from] TypesError),
    /// The program is refused.
    #[error(transparent)]
    Program(#[from] ProgramsError),
    /// The link is refused.
    #[error("the kernel refuses to run a program at its scheduler's switches ({0})")]
    Link(io::Error),
}

#[cfg(test)]
mod tests {
    use super::super::programs::{Programs, Settings};
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
    fn what_is_left_out_is_said_once() {
        let mut available = Available::of(CallStats::ALL);
        available.lacks(CallStat::Cpu, "it has none".to_owned());
        available.lacks_all("it has nothing");
        assert_eq!(available.stats, CallStats::NONE);
        let lacking: Vec<_> = available.lacking.iter().map(|(stat, _)| *stat).collect();
        assert_eq!(lacking, CallStat::ALL);
    }
}
