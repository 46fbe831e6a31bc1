//! The programs that sample: an event on every CPU runs the one, the scheduler the other, as long as
//! the programs are loaded.

use std::os::fd::{AsFd as _, OwnedFd};

use aya::maps::{Array, HashMap, MapData, RingBuf};
use aya::programs::perf_event::{PerfEventConfig, PerfEventScope, SamplePolicy, SoftwareEvent};
use aya::programs::{PerfEvent, ProgramError};
use exoscope_abi::sample::{OFF_CPU_WORDS, SETTINGS_WORDS, SampleRecord, SampleSettings};

use super::programs::{Programs, ProgramsError, Relocated, with_causes};
use super::sys::{self, Purpose};
use crate::kernel_types::KernelTypes;

/// Least and most bytes of the ring of samples.
const RING_BOUNDS: (u64, u64) = (1 << 18, 1 << 26);

/// The section, and so the map, that holds the number of the process whose threads are followed.
const OFF_CPU_PROCESS: &str = ".data.off_cpu";
/// The type of the function that the scheduler calls at every switch.
const SWITCH: &str = "btf_trace_sched_switch";
/// Threads of a target that can be off the CPU: others are counted as lost.
const OFF_CPU_THREADS: u32 = 1 << 15;

/// What is sampled, how often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sampling {
    /// Samples a second on each CPU; 0 where none are wanted.
    pub hertz: u32,
    /// Threads that are off the CPU, too.
    pub off_cpu: bool,
}

/// What the programs and the agent share.
pub struct SampleMaps {
    ring: RingBuf<MapData>,
    settings: Array<MapData, [u64; SETTINGS_WORDS]>,
    lost: Array<MapData, u64>,
    off_cpu: HashMap<MapData, u32, [u64; OFF_CPU_WORDS]>,
}

impl SampleMaps {
    /// Hands every record that waits to `each`, as bytes.
    pub fn drain(&mut self, mut each: impl FnMut(&[u8])) {
        while let Some(record) = self.ring.next() {
            each(&record);
        }
    }

    /// Tells the program of the target.
    ///
    /// # Errors
    /// Where the kernel refuses the update.
    pub fn tell(&mut self, settings: &SampleSettings) -> Result<(), ProgramsError> {
        self.settings
            .set(0, settings.words(), 0)
            .map_err(|error| ProgramsError::Sampling(error.to_string()))
    }

    /// Hands the number and the words of every thread that left a CPU to `each`: an
    /// [`OffCpu`](exoscope_abi::sample::OffCpu).
    pub fn off_cpu(&self, mut each: impl FnMut(u32, [u64; OFF_CPU_WORDS])) {
        for (thread, words) in self.off_cpu.iter().flatten() {
            each(thread, words);
        }
    }

    /// Samples that did not fit into the ring.
    pub fn lost(&self) -> u64 {
        self.lost.get(&0, 0).unwrap_or(0)
    }
}

impl Programs {
    /// Samples, once the programs have been told of the target. `process` is its number, as the
    /// machine numbers it: threads of another one are not followed off the CPU.
    ///
    /// # Errors
    /// Where the kernel refuses a program or an event, and the second time.
    pub fn start_sampling(
        &mut self,
        sampling: Sampling,
        process: u64,
    ) -> Result<SampleMaps, ProgramsError> {
        let maps = SampleMaps {
            ring: self.take("SAMPLES", RingBuf::try_from)?,
            settings: self.take("SAMPLING", Array::try_from)?,
            lost: self.take("SAMPLES_LOST", Array::try_from)?,
            off_cpu: self.take("OFF_CPU", HashMap::try_from)?,
        };
        self.start_clock(sampling.hertz)?;
        if let Some(off_cpu) = &mut self.off_cpu {
            off_cpu.attach()?;
            self.set_word(OFF_CPU_PROCESS, process)?;
        }
        Ok(maps)
    }

    /// Runs `sample` so many times a second on every CPU.
    fn start_clock(&mut self, hertz: u32) -> Result<(), ProgramsError> {
        let cpus = aya::util::online_cpus()
            .map_err(|(path, error)| failed(&format!("can't list the CPUs in {path}: {error}")))?;
        let program: &mut PerfEvent = self.typed("sample")?;
        program.load().map_err(|error| refused(&error))?;
        let clock = PerfEventConfig::Software(SoftwareEvent::CpuClock);
        let period = SamplePolicy::Period(1_000_000_000 / u64::from(hertz));
        for cpu in cpus {
            let scope = PerfEventScope::AllProcessesOneCpu { cpu };
            program
                .attach(clock, scope, period, false)
                .map_err(|error| refused(&error))?;
        }
        Ok(())
    }

    fn typed<'a, T>(&'a mut self, name: &str) -> Result<T, ProgramsError>
    where
        T: TryFrom<&'a mut aya::programs::Program, Error = ProgramError>,
    {
        let program = self.ebpf.program_mut(name);
        let missing = || ProgramsError::Object(format!("it has no program `{name}`"));
        program
            .ok_or_else(missing)?
            .try_into()
            .map_err(|error| refused(&error))
    }
}

/// The program `off_cpu`, which runs at every switch of a CPU to another thread once it is attached.
pub(super) struct OffCpu {
    program: OwnedFd,
    link: Option<OwnedFd>,
}

impl OffCpu {
    /// Loads it: by the type of the tracepoint, whose arguments it then reads without a helper.
    pub(super) fn load(relocated: &Relocated) -> Result<Self, ProgramsError> {
        let types = KernelTypes::of_this_kernel();
        let switch = types.and_then(|types| types.type_alias(SWITCH));
        let switch = switch.map_err(|error| ProgramsError::OffCpu(error.to_string()))?;
        let program = relocated.load(Purpose::Tracepoint(switch), "off_cpu");
        Ok(Self {
            program: program.map_err(|error| ProgramsError::OffCpu(error.to_string()))?,
            link: None,
        })
    }

    fn attach(&mut self) -> Result<(), ProgramsError> {
        let link = sys::create_tracepoint_link(self.program.as_fd());
        self.link = Some(link.map_err(|error| ProgramsError::OffCpu(error.to_string()))?);
        Ok(())
    }
}

impl Sampling {
    /// Bytes of the ring: it holds the samples of a second. How many threads will be off the CPU,
    /// nobody knows.
    pub(super) fn ring_bytes(self, cpus: u32) -> u32 {
        if self.hertz == 0 {
            return 4096;
        }
        let sources = if self.off_cpu { 8 * cpus } else { cpus };
        let second = u64::from(self.hertz) * u64::from(sources) * size_of::<SampleRecord>() as u64;
        second
            .next_power_of_two()
            .clamp(RING_BOUNDS.0, RING_BOUNDS.1) as u32
    }

    /// Threads that there is room for.
    pub(super) const fn off_cpu_threads(self) -> u32 {
        if self.off_cpu { OFF_CPU_THREADS } else { 1 }
    }
}

fn refused(error: &ProgramError) -> ProgramsError {
    failed(&with_causes(error))
}

fn failed(what: &str) -> ProgramsError {
    ProgramsError::Sampling(what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_holds_a_second_within_bounds() {
        let ring_bytes = |hertz, cpus| {
            let off_cpu = false;
            Sampling { hertz, off_cpu }.ring_bytes(cpus)
        };
        assert_eq!(ring_bytes(0, 4), 4096);
        assert_eq!(ring_bytes(1, 1), 1 << 18);
        let size = ring_bytes(99, 8);
        assert!(size.is_power_of_two() && size as usize > 99 * 8 * size_of::<SampleRecord>());
        assert_eq!(ring_bytes(10_000, 512), 1 << 26);
    }
}
