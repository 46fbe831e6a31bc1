//! What is attached to a target: the programs, and the links between them and its markers.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::{Context as _, Result, bail};
use exoscope_abi::table::{self, DEFAULT_OPEN_CALLS};
use exoscope_abi::{Phase, probe::Probe};

use super::binaries::Module;
use super::room;
use crate::attach::call_stats::{CallStat, CallStats};
use crate::attach::programs::{Programs, ProgramsError, Settings};
use crate::attach::sampling::{SampleMaps, Sampling};
use crate::attach::{BinaryPlan, Capture, Links, MarkerByte};
use crate::capture::ring::Ring;
use crate::capture::shared::{Losses, Numbered, OpenCalls, Polls, Shared, Totals};
use crate::event::Function;
use crate::target::process::{FileId, Target};
use crate::target::select::Selection;

/// Functions that libraries loaded during the session may bring.
const SPARE_FUNCTIONS: u32 = 1024;

/// What is captured of a target, and how.
pub struct Plan<'a> {
    /// The process.
    pub target: &'a Target,
    /// Which functions.
    pub selection: &'a Selection,
    /// Which ends.
    pub capture: Capture,
    /// Whether fields and returned values are captured.
    pub fields: bool,
    /// Whether polls and wake-ups are.
    pub polls: bool,
    /// Which byte of the markers.
    pub byte: MarkerByte,
    /// Bytes of all rings.
    pub ring_bytes: u64,
    /// Calls that find room in the table of open calls.
    pub open_calls: u32,
    /// What is sampled.
    pub sampling: Sampling,
    /// Bytes of the spool at most.
    pub spool_bytes: u64,
    /// What the kernel is asked about every call; in `exits` mode nothing.
    pub call_stats: CallStats,
}

impl<'a> Plan<'a> {
    /// Calls with their beginnings and ends, and nothing beside them. Nobody is to read the rings: what they
    /// lose is not missed.
    pub fn plain(target: &'a Target, selection: &'a Selection, byte: MarkerByte) -> Self {
        Self {
            target,
            selection,
            capture: Capture::Full,
            fields: false,
            polls: false,
            byte,
            ring_bytes: 0,
            open_calls: DEFAULT_OPEN_CALLS,
            sampling: Sampling::default(),
            spool_bytes: 0,
            call_stats: CallStats::NONE,
        }
    }
}

/// What was attached to one module.
#[derive(Clone, Debug, Default)]
pub struct Attached {
    /// Functions that were chosen.
    pub functions: usize,
    /// Sites that are attached to.
    pub sites: usize,
    /// What the person should know, in sentences.
    pub warnings: Vec<(&'static str, String)>,
}

/// Programs and links, without the threads.
pub struct Attachment {
    programs: Programs,
    links: Links,
    exits_only: bool,
    table_buckets: u32,
    capacity: u32,
    functions: Vec<Function>,
    numbers: HashMap<(String, String, u32), u32>,
    numbered: Numbered,
    modules: BTreeMap<FileId, Attached>,
}

impl Attachment {
    /// Loads the programs, with room for the functions of `modules` and some more.
    ///
    /// # Errors
    /// Where the kernel refuses maps or programs.
    pub fn load(plan: &Plan<'_>, modules: &[Module]) -> Result<Self> {
        let known: usize = modules
            .iter()
            .map(|module| module.binary.functions.len())
            .sum();
        let capacity = u32::try_from(known)
            .unwrap_or(u32::MAX)
            .saturating_add(SPARE_FUNCTIONS);
        let table_buckets = table::buckets_for(plan.open_calls);
        let programs = Programs::load(&Settings {
            functions: capacity,
            exits_only: plan.capture.exits_only(),
            polls: plan.polls,
            ring_bytes: plan.ring_bytes,
            table_buckets,
            sampling: plan.sampling,
            call_stats: match plan.capture {
                Capture::Full => plan.call_stats,
                _ => CallStats::NONE,
            },
        })?;
        Ok(Self {
            programs,
            links: Links::default(),
            exits_only: plan.capture.exits_only(),
            table_buckets,
            capacity,
            functions: Vec::new(),
            numbers: HashMap::new(),
            numbered: Numbered::default(),
            modules: BTreeMap::new(),
        })
    }

    /// The functions that are captured, by number.
    pub fn functions(&self) -> &[Function] {
        &self.functions
    }

    /// The modules that were looked at.
    pub fn modules(&self) -> &BTreeMap<FileId, Attached> {
        &self.modules
    }

    /// The rings.
    ///
    /// # Errors
    /// Where they can't be mapped.
    pub(super) fn rings(&self) -> Result<Vec<Ring>> {
        let rings = self.programs.rings();
        Ring::map_all(rings.map.as_fd(), rings.size, rings.cpus).context("can't map the rings")
    }

    /// The stats of calls that were wanted and that the kernel can't tell, with the reasons.
    pub fn lacking(&self) -> &[(CallStat, String)] {
        self.programs.lacking()
    }

    /// The table of open calls.
    ///
    /// # Errors
    /// Where it can't be mapped.
    pub fn open_calls(&self) -> Result<OpenCalls> {
        OpenCalls::new(self.programs.array("TABLE")?, self.table_buckets)
            .context("can't map the table of open calls")
    }

    /// The counts.
    ///
    /// # Errors
    /// Where they can't be mapped.
    pub fn totals(&self) -> Result<Totals> {
        Totals::new(
            self.programs.array("TOTALS")?,
            self.capacity,
            self.programs.shards(),
            self.exits_only,
        )
        .map(|totals| totals.of_numbered(Arc::clone(&self.numbered)))
        .context("can't map the counts")
    }

    /// Everything that is read beside the rings; the polls once.
    pub(super) fn shared(&mut self, with_polls: bool) -> Result<Shared> {
        let polls = if with_polls {
            let wakers = self.programs.take_hash_map("WAKERS")?;
            let slots = self.table_buckets as usize * table::WAYS;
            let polls = Polls::new(self.programs.array("POLLS")?, slots, wakers);
            Some(polls.context("can't map the polls of open calls")?)
        } else {
            None
        };
        let losses = Losses::new(self.programs.array("LOSSES")?);
        Ok(Shared {
            open_calls: self.open_calls()?,
            polls,
            totals: self.totals()?,
            losses: losses.context("can't map the counts of what is lost")?,
        })
    }

    /// Starts to take samples: `Programs::start_sampling`.
    pub(super) fn start_sampling(
        &mut self,
        sampling: Sampling,
        process: u64,
    ) -> Result<SampleMaps, ProgramsError> {
        self.programs.start_sampling(sampling, process)
    }

    /// Ends the session for all programs, and drops the links.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub(super) fn detach(&mut self) -> Result<()> {
        self.set_phase(Phase::Ending)?;
        drop(std::mem::take(&mut self.links));
        Ok(())
    }

    /// Prints what the programs of a debug build have logged.
    pub fn print_log(&mut self) {
        self.programs.print_log();
    }

    /// Begins or ends the session for all programs.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn set_phase(&mut self, phase: Phase) -> Result<()> {
        Ok(self.programs.set_phase(phase)?)
    }

    /// Loads the programs, attaches to the chosen functions of all `modules`, and begins.
    ///
    /// # Errors
    /// As [`Self::load`] and [`Self::attach`].
    pub fn begin(plan: &Plan<'_>, modules: &[Module]) -> Result<Self> {
        let mut attachment = Self::load(plan, modules)?;
        for module in modules {
            attachment.attach(plan, module)?;
        }
        attachment.set_phase(Phase::Capturing)?;
        Ok(attachment)
    }

    /// Attaches to the chosen functions of a module; gives back what was done.
    ///
    /// # Errors
    /// Where the kernel refuses, or the target has ended; nothing of the module is attached then.
    pub fn attach(&mut self, plan: &Plan<'_>, module: &Module) -> Result<Attached> {
        let mut attached = Attached::default();
        for (what, count) in &module.binary.rejected {
            let name = module.file.name.display();
            let text = format!("{count} markers of {name} are left out: {what}");
            attached.warnings.push(("rejected", text));
        }
        let numbers = self.number(&module.binary.functions, plan.selection)?;
        attached.functions = numbers.iter().flatten().count();
        if attached.functions > 0 {
            let byte = safest(plan.byte, module, &mut attached);
            let binary_plan = BinaryPlan {
                path: &module.file.open,
                binary: &module.binary,
                functions: &numbers,
                pid: plan.target.pid(),
                capture: plan.capture,
                fields: plan.fields,
                polls: plan.polls,
                byte,
            };
            attached.sites = binary_plan.sites();
            room::expect(plan.target, module, &numbers)?;
            self.links.append(binary_plan.attach(&self.programs)?);
            attached
                .warnings
                .extend(unraised(plan.target, module, &binary_plan)?);
        }
        self.modules.insert(module.id, attached.clone());
        Ok(attached)
    }

    /// Gives each chosen function its number in the session.
    fn number(
        &mut self,
        functions: &[Function],
        selection: &Selection,
    ) -> Result<Vec<Option<u32>>> {
        let mut numbers = Vec::with_capacity(functions.len());
        for function in functions {
            if !selection.contains(&function.path) {
                numbers.push(None);
                continue;
            }
            let key = (function.path.clone(), function.file.clone(), function.line);
            let next = self.functions.len() as u32;
            let number = *self.numbers.entry(key).or_insert(next);
            if number == next {
                if number >= self.capacity {
                    bail!(
                        "libraries loaded during the session bring more than {SPARE_FUNCTIONS} \
                         functions; choose fewer with --functions, or attach again"
                    );
                }
                self.functions.push(function.clone());
            }
            numbers.push(Some(number));
        }
        let numbered = self.functions.len() as u32;
        self.numbered.store(numbered, Ordering::Release);
        Ok(numbers)
    }
}

/// Fast markers need the fork guard beside them.
fn safest(byte: MarkerByte, module: &Module, attached: &mut Attached) -> MarkerByte {
    let guarded = module
        .binary
        .sites
        .iter()
        .any(|site| site.probe == Probe::ForkGuard);
    if guarded || !byte.is_fast() {
        return byte;
    }
    let name = module.file.name.display();
    let text = format!("{name} has no fork guard, so its markers are attached as breakpoints");
    attached.warnings.push(("markers", text));
    MarkerByte::Safe
}

/// Reads the semaphores back: one that is not raised means that something is silently missing.
fn unraised(
    target: &Target,
    module: &Module,
    plan: &BinaryPlan<'_>,
) -> Result<Option<(&'static str, String)>> {
    let offsets = plan.raised_semaphores();
    let values = target.read_semaphores(module.id, &offsets)?;
    // A library that is not loaded yet is raised by the kernel when it is mapped.
    let loaded = values.iter().any(Option::is_some);
    let down = values
        .iter()
        .filter(|value| loaded && value.unwrap_or(0) == 0)
        .count();
    Ok((down > 0).then(|| {
        let name = module.file.name.display();
        let text = format!(
            "{down} of {} semaphores of {name} were not raised by the kernel, so calls, fields or error \
             messages of their functions are missing",
            offsets.len()
        );
        ("semaphore", text)
    }))
}
