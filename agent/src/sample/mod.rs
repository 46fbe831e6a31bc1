//! Sampling: stacks of the target's threads, each with the call that it happened in.
//!
//! ring → [`mod@decode`] → [`stacks`] (with names from [`symbols`]) → batches for the store
//!
//! One thread does all of it, apart from that of the calls: giving names takes its time once for
//! each new function, and calls must not wait for it. Names are given while the target runs. What it
//! maps is opened when it is first seen ([`memory_map`]), so its end or a replaced file takes away
//! nothing but libraries that it had loaded in its last second at most.
//!
//! The program in the kernel finds a thread's innermost open call by the thread's own chain
//! ([`chains`]). That is exact for functions and futures alike, costs the target nothing, and needs
//! the table of open calls: with `--capture exits` no sample has a call.

pub mod chains;
pub mod debug_file;
pub mod decode;
pub mod memory_map;
pub mod namespace;
pub mod stacks;
pub mod symbols;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use anyhow::Result;
use exoscope_abi::sample::{ChainPlace, SampleSettings};

use crate::attach::sampling::{SampleMaps, Sampling};
use crate::capture::consumer::monotonic_ns;
use crate::event::{AgentEvent, Batch, Sample, Samples};
use crate::kernel_types::KernelTypes;
use crate::panics::{Panics, point};
use crate::session::binaries::Module;
use crate::target::process::Target;
use chains::{Chains, Known};
use decode::{RawSample, absent, decode};
use memory_map::MemoryMap;
use namespace::Identity;
use stacks::Stacks;

/// How often samples are taken from the ring.
const TURN: Duration = Duration::from_millis(200);
/// How long samples wait for others before they are written: a transaction costs more than a sample.
/// With the turn before, whoever reads the file while it is written is less than a second behind.
const GATHER: Duration = Duration::from_millis(600);
/// Samples that are written at once.
const MANY: usize = 1 << 12;
/// [`TURN`] while a binary is about to say where its chains are.
const SHORT_TURN: Duration = Duration::from_millis(5);
/// Longest pause between two looks at the target's memory map while addresses lie outside of it.
const MAP_PAUSE: Duration = Duration::from_secs(1);

/// Where `task_struct` has a thread's pointer, by which its thread-local variables are found.
#[cfg(target_arch = "x86_64")]
pub const THREAD_POINTER: &str = "thread.fsbase";
/// Where `task_struct` has a thread's pointer, by which its thread-local variables are found.
#[cfg(target_arch = "aarch64")]
pub const THREAD_POINTER: &str = "thread.uw.tp_value";

/// Takes samples of one target.
pub struct Sampler {
    target: Target,
    maps: SampleMaps,
    settings: SampleSettings,
    chains: Chains,
    /// When the program was last told of chains: it did not know all of them before.
    chains_told_ns: u64,
    /// Binaries that are about to be attached to.
    modules: Receiver<Module>,
}

/// How sampling went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Samples that did not fit into the ring.
    pub lost: u64,
    /// Records that made no sense.
    pub malformed: u64,
    /// Panics, each of which cost the samples of a turn.
    pub panics: Vec<AgentEvent>,
}

impl Sampler {
    /// A sampler of the process `pid`. Samples get calls where `with_calls` holds and the kernel
    /// tells where it keeps a thread's pointer.
    ///
    /// # Errors
    /// Where the process has ended.
    pub fn new(
        pid: u32,
        mut maps: SampleMaps,
        sampling: Sampling,
        modules: Receiver<Module>,
        with_calls: bool,
    ) -> Result<Self> {
        let identity = Identity::of(pid)?;
        let kernel = KernelTypes::of_this_kernel().ok();
        let offset = |path| {
            let member = kernel.as_ref()?.member("task_struct", path).ok()?;
            Some(u64::from(member.offset))
        };
        let thread_pointer = with_calls.then(|| offset(THREAD_POINTER)).flatten();
        let settings = SampleSettings {
            namespace_device: identity.device,
            namespace_inode: identity.inode,
            pid: identity.pid.into(),
            thread_pointer: thread_pointer.unwrap_or(0),
            period_ns: 1_000_000_000 / u64::from(sampling.hertz),
            ..SampleSettings::default()
        };
        maps.tell(&settings)?;
        let mut sampler = Self {
            target: Target::open(pid)?,
            maps,
            settings,
            chains: Chains::default(),
            chains_told_ns: 0,
            modules,
        };
        // The first samples have calls too, where the target says where its chains are.
        sampler.look_at_chains();
        Ok(sampler)
    }

    /// Takes samples until `stop`, or until `send` says that nobody takes batches any more; what is
    /// in the ring then is taken too.
    pub fn run(mut self, stop: &AtomicBool, mut send: impl FnMut(Batch) -> bool) -> Ended {
        let mut names = Names::new(&self.target);
        let mut ended = Ended::default();
        let mut panics = Panics::of("sampler");
        let mut gathered = Samples::default();
        let mut sent = Instant::now();
        loop {
            let last = stop.load(Ordering::Acquire);
            let turn = panics.catch(|| {
                point("sampler");
                let raw = self.turn(last, &mut ended);
                names.name(&self.target, raw)
            });
            if turn.is_none() {
                ended.panics.push(panics.event());
            }
            gathered.append(turn.unwrap_or_default());
            let due = last || sent.elapsed() >= GATHER || gathered.samples.len() >= MANY;
            let taken = !due || gathered == Samples::default() || {
                sent = Instant::now();
                send(Batch {
                    samples: std::mem::take(&mut gathered),
                    ..Batch::default()
                })
            };
            if last || !taken || panics.are_enough() {
                ended.lost = self.maps.lost();
                return ended;
            }
            std::thread::sleep(if self.chains.is_pending() {
                SHORT_TURN
            } else {
                TURN
            });
        }
    }

    /// The samples since the last turn; after the last one also those of threads that are still off
    /// the CPU.
    ///
    /// The chains are looked at after the ring is empty, and a sample from before they were told has
    /// no call: the program may have missed that of a library which has just been loaded.
    fn turn(&mut self, last: bool, ended: &mut Ended) -> Vec<RawSample> {
        let mut samples = Vec::new();
        self.maps.drain(|bytes| match decode(bytes) {
            Some(sample) => samples.push(sample),
            None => ended.malformed += 1,
        });
        self.look_at_chains();
        if last {
            let now = monotonic_ns();
            self.maps
                .off_cpu(|tid, words| samples.extend(absent(tid, &words, now)));
        }
        for sample in &mut samples {
            if sample.looked_up_ns() < self.chains_told_ns {
                sample.call = None;
            }
        }
        samples
    }

    fn look_at_chains(&mut self) {
        for module in self.modules.try_iter() {
            self.chains.add(&self.target, &module);
        }
        if self.settings.thread_pointer == 0 {
            return;
        }
        let Some(known) = self.chains.refresh(&self.target) else {
            return;
        };
        let places: &[ChainPlace] = match known {
            Known::All(places) => places,
            Known::Incomplete => &[],
        };
        self.settings.chain_count = places.len() as u64;
        self.settings.chains = Default::default();
        for (to, place) in self.settings.chains.iter_mut().zip(places) {
            *to = *place;
        }
        self.chains_told_ns = match self.maps.tell(&self.settings) {
            Ok(()) => monotonic_ns(),
            // The program goes on with what it knows, so none of its calls is to be trusted.
            Err(_) => u64::MAX,
        };
    }
}

/// What gives names to addresses.
struct Names {
    map: MemoryMap,
    read: Instant,
    /// How long the map is not read again: longer each time that this brought nothing new.
    pause: Duration,
    stacks: Stacks,
}

impl Names {
    fn new(target: &Target) -> Self {
        let mut map = MemoryMap::default();
        map.refresh(target);
        Self {
            map,
            read: Instant::now(),
            pause: Duration::ZERO,
            stacks: Stacks::default(),
        }
    }

    fn name(&mut self, target: &Target, raw: Vec<RawSample>) -> Samples {
        self.follow(target, &raw);
        let named = raw.into_iter().map(|sample| Sample {
            tid: sample.tid,
            at_ns: sample.at_ns,
            call: sample.call,
            stack: self.stacks.number(&self.map, &sample.stack),
            off_ns: sample.off_ns,
        });
        let samples = named.collect();
        Samples {
            frames: self.stacks.symbols.take_new(),
            stacks: self.stacks.take_new(),
            samples,
        }
    }

    /// Reads the memory map again where an address lies outside of it.
    fn follow(&mut self, target: &Target, raw: &[RawSample]) {
        let mut addresses = raw.iter().flat_map(|sample| &sample.stack);
        let stale = addresses.any(|address| self.map.find(*address).is_none());
        if !stale || self.read.elapsed() < self.pause {
            return;
        }
        self.read = Instant::now();
        if self.map.refresh(target) {
            self.stacks.forget_addresses();
            self.pause = Duration::ZERO;
        } else {
            self.pause = (self.pause * 2).clamp(TURN, MAP_PAUSE);
        }
    }
}
