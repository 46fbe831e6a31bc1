//! Loading: the maps through aya, then the programs for `uprobe_multi` links from the same bytes.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use aya::maps::{Array, HashMap, Map, MapData};
use aya::{Ebpf, EbpfLoader, Pod};
use aya_obj::Object;
use aya_obj::btf::BtfFeatures;
use exoscope_abi::figures::Offsets;
use exoscope_abi::{Phase, ring, table};

use super::call_stats::{Available, CallStat, CallStats};
use super::log::ProgramLog;
use super::sampling::{OffCpu, Sampling};
use super::sys::{self, Code, FunctionTypes, LoadError, Purpose};

/// The BPF object that is part of this program.
pub(super) static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/exoscope.bpf.o"));

/// What the programs are told before they are loaded.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Functions of the session; at least 1.
    pub functions: u32,
    /// Only ends are attached, and the target takes the starts.
    pub exits_only: bool,
    /// Polls and wake-ups are attached.
    pub polls: bool,
    /// Bytes of all ring buffers together.
    pub ring_bytes: u64,
    /// Buckets of the table of open calls: a power of two.
    pub table_buckets: u32,
    /// What is sampled.
    pub sampling: Sampling,
    /// What the kernel is asked about every call.
    pub call_stats: CallStats,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            functions: 1,
            exits_only: false,
            polls: false,
            ring_bytes: DEFAULT_RING_BYTES,
            table_buckets: table::buckets_for(table::DEFAULT_OPEN_CALLS),
            sampling: Sampling::default(),
            call_stats: CallStats::NONE,
        }
    }
}

/// Bytes of all ring buffers together, unless the user says otherwise.
pub const DEFAULT_RING_BYTES: u64 = 32 << 20;
/// The section, and so the map, that holds the phase.
const PHASE: &str = ".data.phase";
/// The map whose place [`Rings`] takes: how long a ring is, is not known when the object is built.
const RINGS: &str = "RINGS";
/// Least and most bytes of one CPU's ring buffer.
const RING_BOUNDS: (u64, u64) = (1 << 16, 1 << 28);
/// Shards of the totals at most: more CPUs share.
const MAX_SHARDS: u32 = 16;

/// Tokens that are remembered: the oldest ones are forgotten where there are more.
const MAX_LINKS: u32 = 1 << 14;

/// Wakers whose wake-ups are remembered, likewise: tasks that wait at one time.
const MAX_WAKERS: u32 = 1 << 16;

/// Why the programs could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ProgramsError {
    /// The kernel refused a program.
    #[error("the kernel refused the BPF program `{program}`: {reason}")]
    Rejected {
        /// Name of the program.
        program: String,
        /// What the system call said.
        reason: io::Error,
        /// What the verifier said; empty where it was not asked.
        log: String,
    },
    /// A map could not be made.
    #[error(
        "can't create the BPF map `{map}`: {reason}{}",
        how_to_get_room(reason)
    )]
    Map {
        /// Name of the map.
        map: String,
        /// What the system call said.
        reason: io::Error,
    },
    /// The maps could not be loaded.
    #[error("can't load the BPF maps: {0}; `exoscope doctor` says what is missing")]
    Maps(String),
    /// Stacks can't be sampled.
    #[error("can't sample stacks: {0}; leave out --sample, or see what `exoscope doctor` says")]
    Sampling(String),
    /// Threads can't be followed off the CPU.
    #[error("can't follow threads that leave a CPU: {0}; leave out --off-cpu")]
    OffCpu(String),
    /// The object that was built in is broken.
    #[error("the BPF object built into this program is broken: {0}; build exoscope again")]
    Object(String),
}

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Program {
    /// A call begins.
    Entry,
    /// A call ends without an error.
    Exit,
    /// A call ends with an error.
    Error,
    /// Fields of a call.
    Fields,
    /// A token stands for a call.
    Link,
    /// A panic begins.
    Panic,
    /// A stream or iterator hands on an error.
    ItemError,
    /// A poll begins.
    PollBegin,
    /// A poll ends.
    PollEnd,
    /// A waker wakes its task.
    Wake,
    /// Nothing, for `entry`.
    EmptyEntry,
    /// Nothing, for `exit` and `error`.
    EmptyEnd,
}

impl Program {
    const ALL: [Self; 12] = [
        Self::Entry,
        Self::Exit,
        Self::Error,
        Self::Fields,
        Self::Link,
        Self::Panic,
        Self::ItemError,
        Self::PollBegin,
        Self::PollEnd,
        Self::Wake,
        Self::EmptyEntry,
        Self::EmptyEnd,
    ];

    /// The function's name in the object.
    const fn name(self) -> &'static str {
        match self {
            Self::Entry => "entry",
            Self::Exit => "exit",
            Self::Error => "error",
            Self::Fields => "fields",
            Self::Link => "link",
            Self::Panic => "panic_begins",
            Self::ItemError => "item_error",
            Self::PollBegin => "poll_begin",
            Self::PollEnd => "poll_end",
            Self::Wake => "wake",
            Self::EmptyEntry => "empty_entry",
            Self::EmptyEnd => "empty_end",
        }
    }
}

/// The loaded programs with their maps. Nothing is attached yet.
pub struct Programs {
    pub(super) ebpf: Ebpf,
    programs: BTreeMap<Program, OwnedFd>,
    pub(super) off_cpu: Option<OffCpu>,
    rings: Rings,
    shards: u32,
    log: ProgramLog,
    lacking: Vec<(CallStat, String)>,
}

impl Programs {
    /// Creates the maps and loads the programs, without the stats that the kernel can't tell:
    /// [`Programs::lacking`] says which.
    ///
    /// # Errors
    /// Where the kernel refuses a map or a program.
    pub fn load(settings: &Settings) -> Result<Self, ProgramsError> {
        let mut available = Available::of(settings.call_stats);
        if settings.sampling.off_cpu {
            let found = available.find_threads();
            found.map_err(|error| ProgramsError::OffCpu(error.to_string()))?;
        }
        loop {
            match Self::load_asking(settings, &available) {
                Err(ProgramsError::Rejected {
                    program, reason, ..
                }) if available.stats != CallStats::NONE => available.lacks_all(&format!(
                    "the kernel refused the BPF program `{program}` that asks for it ({reason})"
                )),
                loaded => {
                    let mut programs = loaded?;
                    programs.lacking = available.lacking;
                    return Ok(programs);
                }
            }
        }
    }

    /// Loads what asks for all that is available.
    pub(super) fn load_asking(
        settings: &Settings,
        available: &Available,
    ) -> Result<Self, ProgramsError> {
        let cpus = possible_cpus()?;
        let shards = cpus.next_power_of_two().min(MAX_SHARDS);
        let calls = settings.table_buckets * table::WAYS as u32;
        let one_unless = |wanted: bool, entries| if wanted { entries } else { 1 };
        let asking = available.stats != CallStats::NONE;
        let offsets = words(&available.offsets);
        let rings = Rings::create(ring_size(settings.ring_bytes, cpus), cpus)?;
        let mut ebpf = EbpfLoader::new()
            .override_global("FUNCTIONS", &settings.functions, true)
            .override_global("SHARD_MASK", &(shards - 1), true)
            .override_global("TABLE_MASK", &(settings.table_buckets - 1), true)
            .override_global("RING_MASK", &(rings.size - 1), true)
            .override_global("CPUS", &cpus, true)
            .override_global("EXITS", &u32::from(settings.exits_only), true)
            .map_max_entries("TABLE", settings.table_buckets)
            .map_max_entries("TOTALS", shards * settings.functions)
            .map_max_entries("NUMBERS", cpus)
            .map_max_entries("LINKS", MAX_LINKS)
            .override_global("WITH_POLLS", &u32::from(settings.polls), true)
            .map_max_entries("POLLS", one_unless(settings.polls, calls))
            .map_max_entries("WAKERS", one_unless(settings.polls, MAX_WAKERS))
            .override_global("FIGURES", &available.stats.flags(), true)
            .override_global("MEMORY_CPUS", &available.memory_cpus, true)
            .override_global("OFFSETS", &offsets, true)
            .map_max_entries("BEGINNINGS", one_unless(asking, calls))
            .map_max_entries(
                "POLLED_FIGURES",
                one_unless(asking && settings.polls, calls),
            )
            .map_max_entries("SAMPLES", settings.sampling.ring_bytes(cpus))
            .map_max_entries("OFF_CPU", settings.sampling.off_cpu_threads())
            .load(OBJECT)
            .map_err(|error| ProgramsError::Maps(with_causes(&error)))?;
        let relocated = Relocated::with_maps_of(&ebpf, &rings)?;
        let programs = load_programs(&relocated)?;
        let off_cpu = settings.sampling.off_cpu;
        let off_cpu = off_cpu.then(|| OffCpu::load(&relocated)).transpose()?;
        let log = ProgramLog::of(&mut ebpf);
        Ok(Self {
            ebpf,
            programs,
            off_cpu,
            rings,
            shards,
            log,
            lacking: Vec::new(),
        })
    }

    /// The stats that were wanted and that the kernel can't tell, with the reasons.
    pub fn lacking(&self) -> &[(CallStat, String)] {
        &self.lacking
    }

    /// The descriptor of a program.
    pub fn program(&self, program: Program) -> BorrowedFd<'_> {
        self.programs[&program].as_fd()
    }

    /// The rings.
    pub fn rings(&self) -> &Rings {
        &self.rings
    }

    /// Shards of the totals.
    pub fn shards(&self) -> u32 {
        self.shards
    }

    /// A descriptor of the array map `name`.
    ///
    /// # Errors
    /// Where the object has no such array.
    pub fn array(&self, name: &str) -> Result<BorrowedFd<'_>, ProgramsError> {
        match self.ebpf.map(name) {
            Some(map) => Ok(map_fd(map)?),
            None => Err(ProgramsError::Object(format!("it has no map `{name}`"))),
        }
    }

    /// Takes the hash map `name`, which the programs go on using.
    ///
    /// # Errors
    /// Where the object has no such map, or it was taken before.
    pub fn take_hash_map<K: Pod, V: Pod>(
        &mut self,
        name: &str,
    ) -> Result<HashMap<MapData, K, V>, ProgramsError> {
        self.take(name, HashMap::try_from)
    }

    /// Takes a map of any kind, likewise.
    pub(super) fn take<T, E: std::error::Error>(
        &mut self,
        name: &str,
        typed: impl FnOnce(Map) -> Result<T, E>,
    ) -> Result<T, ProgramsError> {
        let map = self.ebpf.take_map(name);
        let map = map.ok_or_else(|| ProgramsError::Object(format!("it has no map `{name}`")))?;
        typed(map).map_err(|error| ProgramsError::Object(error.to_string()))
    }

    /// Begins or ends the session for all programs at one moment.
    ///
    /// # Errors
    /// Where the kernel refuses the update.
    pub fn set_phase(&mut self, phase: Phase) -> Result<(), ProgramsError> {
        self.set_word(PHASE, phase as u64)
    }

    /// Sets the only word of a section that is a map.
    pub(super) fn set_word(&mut self, section: &str, word: u64) -> Result<(), ProgramsError> {
        let map = self.ebpf.map_mut(section);
        let map = map.ok_or_else(|| ProgramsError::Object(format!("it has no map `{section}`")))?;
        Array::<_, u64>::try_from(map)
            .and_then(|mut array| array.set(0, word, 0))
            .map_err(|error| ProgramsError::Map {
                map: section.to_owned(),
                reason: io::Error::other(error),
            })
    }

    /// Prints what the programs of a debug build have logged.
    pub fn print_log(&mut self) {
        self.log.flush();
    }
}

/// The descriptor of a map of one of the kinds that the object has.
fn map_fd(map: &Map) -> Result<BorrowedFd<'_>, ProgramsError> {
    match map {
        Map::Array(data)
        | Map::HashMap(data)
        | Map::LruHashMap(data)
        | Map::PerCpuArray(data)
        | Map::RingBuf(data)
        | Map::Unsupported(data) => Ok(data.fd().as_fd()),
        _ => Err(ProgramsError::Object(
            "it has a map of an unknown kind".to_owned(),
        )),
    }
}

/// As the object holds it.
fn words(offsets: &Offsets) -> [u32; size_of::<Offsets>() / size_of::<u32>()] {
    [
        offsets.pid,
        offsets.tgid,
        offsets.cpu_time,
        offsets.cpu_time_at,
        offsets.run_delay,
        offsets.cfs_rq,
        offsets.rq,
        offsets.clock,
        offsets.clock_task,
        offsets.min_flt,
        offsets.maj_flt,
        offsets.nvcsw,
        offsets.nivcsw,
        offsets.mm,
        offsets.rss_count,
        offsets.rss_counters,
        offsets.rss_step,
        offsets.array_values,
    ]
}

fn possible_cpus() -> Result<u32, ProgramsError> {
    aya::util::nr_cpus()
        .map(|cpus| cpus as u32)
        .map_err(|(path, reason)| ProgramsError::Map {
            map: format!("RINGS: can't count the CPUs in {path}"),
            reason,
        })
}

/// An error and its causes in one line.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// What to do where a map can't be created, unless it may not be.
fn how_to_get_room(reason: &io::Error) -> &'static str {
    match reason.kind() {
        io::ErrorKind::PermissionDenied => "",
        _ => "; a smaller --ring-size needs less memory, and so does a smaller --open-calls",
    }
}

/// Bytes of one CPU's ring where all together have `total`.
fn ring_size(total: u64, cpus: u32) -> u32 {
    let each = (total / u64::from(cpus)).clamp(RING_BOUNDS.0, RING_BOUNDS.1);
    let power = if each.is_power_of_two() {
        each
    } else {
        each.next_power_of_two() / 2
    };
    power as u32
}

/// The array that holds the rings, one per CPU.
pub struct Rings {
    /// The array.
    pub map: OwnedFd,
    /// Bytes of one ring's data.
    pub size: u32,
    /// How many there are.
    pub cpus: u32,
}

impl Rings {
    fn create(size: u32, cpus: u32) -> Result<Self, ProgramsError> {
        let map = sys::create_array(RINGS, ring::value_size(size), cpus);
        map.map(|map| Self { map, size, cpus })
            .map_err(|reason| ProgramsError::Map {
                map: format!("{RINGS} of {cpus} times {size} bytes"),
                reason,
            })
    }
}

/// What kernels can tell of types from 6.6 on: all that aya asks about.
const FEATURES: BtfFeatures = BtfFeatures::new(true, true, true, true, true, true, true, true);

/// The object once more, with the maps put in.
pub(super) struct Relocated {
    object: Object,
    types: OwnedFd,
}

impl Relocated {
    fn with_maps_of(ebpf: &Ebpf, rings: &Rings) -> Result<Self, ProgramsError> {
        let broken = |error: &dyn std::error::Error| ProgramsError::Object(error.to_string());
        let mut object = Object::parse(OBJECT).map_err(|error| broken(&error))?;
        let types = load_types(&mut object)?;
        let maps = std::mem::take(&mut object.maps);
        let descriptors: Vec<_> = maps
            .iter()
            .filter_map(|(name, map)| {
                let fd = match name.as_str() {
                    RINGS => rings.map.as_fd(),
                    name => map_fd(ebpf.map(name)?).ok()?,
                };
                Some((name.as_str(), fd, map))
            })
            .collect();
        let sections: HashSet<usize> = object
            .functions
            .keys()
            .map(|(section, _)| *section)
            .collect();
        object
            .relocate_maps(
                descriptors
                    .iter()
                    .map(|(name, fd, map)| (*name, fd.as_raw_fd(), *map)),
                &sections,
            )
            .map_err(|error| broken(&error))?;
        object
            .relocate_calls(&sections)
            .map_err(|error| broken(&error))?;
        Ok(Self { object, types })
    }

    /// Loads a program.
    pub(super) fn load(&self, purpose: Purpose, name: &str) -> Result<OwnedFd, ProgramsError> {
        let object = &self.object;
        let function = object
            .programs
            .get(name)
            .and_then(|found| object.functions.get(&found.function_key()))
            .ok_or_else(|| ProgramsError::Object(format!("it has no program `{name}`")))?;
        let code = Code {
            instructions: &function.instructions,
            types: Some(FunctionTypes {
                types: self.types.as_fd(),
                functions: &function.func_info,
                size: function.func_info_rec_size,
            }),
            license: &object.license,
        };
        sys::load_for(purpose, name, code).map_err(|LoadError { source, log }| {
            ProgramsError::Rejected {
                program: name.to_owned(),
                reason: source,
                log,
            }
        })
    }
}

/// Tells the kernel the types of the object's functions.
fn load_types(object: &mut Object) -> Result<OwnedFd, ProgramsError> {
    let types = object.fixup_and_sanitize_btf(&FEATURES);
    let types = types.map_err(|error| ProgramsError::Object(error.to_string()))?;
    let types =
        types.ok_or_else(|| ProgramsError::Object("it does not describe its types".to_owned()))?;
    sys::load_types(&types.to_bytes()).map_err(|reason| ProgramsError::Map {
        map: ".BTF".to_owned(),
        reason,
    })
}

fn load_programs(relocated: &Relocated) -> Result<BTreeMap<Program, OwnedFd>, ProgramsError> {
    Program::ALL
        .into_iter()
        .map(|program| {
            let loaded = relocated.load(Purpose::UprobeMulti, program.name());
            Ok((program, loaded?))
        })
        .collect()
}
