//! The engine of a session: programs, links, and the two threads behind them.
//!
//! The consumer thread drains the rings and queues batches; the writer thread commits them. The
//! engine is what the rest of a session holds to attach more, to end, and to be told of failures.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use exoscope_abi::table::{self, DEFAULT_OPEN_CALLS};
use exoscope_abi::{Phase, probe::Probe, sample::NO_PROCESS};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::binaries::Module;
use super::room;
use super::urgency::Urgency;
use super::writer::Writer;
use crate::attach::call_stats::{CallStat, CallStats};
use crate::attach::programs::{Programs, Settings};
use crate::attach::sampling::Sampling;
use crate::attach::{BinaryPlan, Capture, Links, MarkerByte};
use crate::capture::consumer::{Consumer, Offered, Outlet, Progress};
use crate::capture::governor::Governor;
use crate::capture::ring::Ring;
use crate::capture::shared::{Losses, Numbered, OpenCalls, Polls, Shared, Totals};
use crate::capture::steps::Room;
use crate::event::{AgentEvent, Batch, Function, Level, Message, Outcome};
use crate::panics::Panics;
use crate::sample::{self, Sampler, namespace};
use crate::spool::queue::Queue;
use crate::store::Store;
use crate::target::process::{FileId, Target};
use crate::target::select::Selection;

/// Functions that libraries loaded during the session may bring.
const SPARE_FUNCTIONS: u32 = 1024;
/// How long the end of a session waits for a file that can't be written. What is not in it by then
/// waits in the spool.
const END_PATIENCE: Duration = Duration::from_secs(10);
/// How long the consumer waits for room before it looks whether a step is due.
const OFFER: Duration = Duration::from_millis(20);

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
    fn rings(&self) -> Result<Vec<Ring>> {
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
    fn shared(&mut self, with_polls: bool) -> Result<Shared> {
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

/// The threads behind an attachment.
pub struct Engine {
    /// Programs and links.
    pub attachment: Attachment,
    /// What the person is told.
    pub progress: Arc<Progress>,
    stop: Arc<AtomicBool>,
    notices: Receiver<String>,
    queue: Arc<Queue>,
    consumer: JoinHandle<(Consumer, Panics)>,
    sampling: Option<SamplerThread>,
    writer: JoinHandle<(Writer, Result<()>)>,
    sent_functions: usize,
    failed: UnboundedSender<&'static str>,
}

/// What takes samples, before there is a thread for it: the programs are loaded.
pub struct StackSampler {
    modules: Sender<Module>,
    sampler: Sampler,
}

/// The thread that takes samples.
struct SamplerThread {
    /// Tells it of binaries that are about to be attached to.
    modules: Sender<Module>,
    sampler: JoinHandle<sample::Ended>,
}

impl Engine {
    /// Starts the threads behind an attachment; the one that reads the rings has the urgency. The receiver hears why the session can't go on.
    ///
    /// # Errors
    /// Where the arrays can't be mapped.
    pub fn start(
        mut attachment: Attachment,
        stacks: Option<StackSampler>,
        store: Store,
        plan: &Plan<'_>,
        urgency: Urgency,
    ) -> Result<(Self, UnboundedReceiver<&'static str>)> {
        let progress = Arc::new(Progress::default());
        let stop = Arc::new(AtomicBool::new(false));
        let queue = Arc::new(Queue::new(store.spool().clone(), plan.spool_bytes));
        let (failed, failure) = unbounded_channel();
        let (notice, notices) = channel();
        let consumer = Consumer::new(
            attachment.rings()?,
            attachment.shared(plan.polls)?,
            plan.capture.exits_only(),
            Arc::clone(&progress),
            Governor::new(notice.clone()),
        );
        let consumer = {
            let (stop, queue) = (Arc::clone(&stop), Arc::clone(&queue));
            let failed = failed.clone();
            spawn("consumer", move || {
                consume(consumer, &stop, &queue, &failed)
            })?
        };
        drop(urgency);
        let sampling = stacks.map(|stacks| stacks.start(Arc::clone(&stop), Arc::clone(&queue)));
        let sampling = sampling.transpose()?;
        let mut writer = Writer::new(store, Arc::clone(&queue), Arc::clone(&progress), notice);
        let guard = WriterGuard {
            queue: Arc::clone(&queue),
            failed: Some(failed.clone()),
        };
        let writer = spawn("writer", move || {
            let guard = guard;
            let written = writer.run();
            if written.is_ok() {
                guard.all_is_well();
            }
            (writer, written)
        })?;
        let engine = Self {
            attachment,
            progress,
            stop,
            notices,
            queue,
            consumer,
            sampling,
            writer,
            sent_functions: 0,
            failed,
        };
        Ok((engine, failure))
    }

    /// Tells the writer of functions that were attached since the last time.
    pub fn announce_functions(&mut self) {
        let new = &self.attachment.functions()[self.sent_functions..];
        if !new.is_empty() {
            // There is always room for them.
            self.queue.push(Message::Functions(new.to_vec()));
            self.sent_functions = self.attachment.functions().len();
        }
    }

    /// Tells whoever samples of a binary that is about to be attached to.
    pub fn announce_module(&self, module: &Module) {
        if let Some(sampling) = &self.sampling {
            // A sampler that is gone samples nothing.
            let _ = sampling.modules.send(module.clone());
        }
    }

    /// What the person should know, in sentences, since the last time.
    pub fn notices(&self) -> Vec<String> {
        self.notices.try_iter().collect()
    }

    /// Hands batches to the writer from another thread, which has to end before
    /// [`Self::finish`]; says whether the writer takes more.
    pub fn sender(&self) -> impl FnMut(Batch) -> bool + Send + 'static {
        let queue = Arc::clone(&self.queue);
        move |batch| queue.push(Message::Batch(Box::new(batch)))
    }

    /// Has the session hear that it can't go on, and why.
    pub fn fail(&self, why: &'static str) {
        // A session that has ended does not listen.
        let _ = self.failed.send(why);
    }

    /// Records something that happened, whatever waits for the file.
    pub fn record(&self, happened: Vec<AgentEvent>) {
        self.queue.tell(happened);
    }

    /// Detaches. From now on nobody waits for the file longer than the end of a session may.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn detach(&mut self) -> Result<()> {
        self.attachment.set_phase(Phase::Ending)?;
        drop(std::mem::take(&mut self.attachment.links));
        self.queue.end_at(Instant::now() + END_PATIENCE);
        Ok(())
    }

    /// After [`Self::detach`]: takes what is left in the rings, ends open calls with `outcome` at `end_ns`, and
    /// gives back the writer with what it said, and what the person should know.
    ///
    /// # Errors
    /// Where a thread died.
    pub fn finish(self, outcome: Outcome, end_ns: u64) -> Result<Finished> {
        self.stop.store(true, Ordering::Release);
        let consumed = self.consumer.join();
        let (consumer, panics) = consumed.map_err(|_| anyhow::anyhow!("the consumer died"))?;
        finish(consumer, panics, &self.queue, outcome, end_ns);
        if let Some(sampling) = self.sampling {
            let batch = events(sampling.finish()?);
            self.queue.push(Message::Batch(Box::new(batch)));
        }
        self.queue.close();
        let ended = self.writer.join();
        let (writer, written) = ended.map_err(|_| anyhow::anyhow!("the writer died"))?;
        Ok(Finished {
            writer,
            written,
            notices: self.notices,
        })
    }
}

/// What is left of an engine.
pub struct Finished {
    /// It still has the file, without an end.
    pub writer: Writer,
    /// Why it did not write all.
    pub written: Result<()>,
    /// What the person should know, in sentences.
    pub notices: Receiver<String>,
}

/// However the writer thread ends: those who push don't wait for it, and the session hears of it.
struct WriterGuard {
    queue: Arc<Queue>,
    failed: Option<UnboundedSender<&'static str>>,
}

impl WriterGuard {
    fn all_is_well(mut self) {
        self.failed = None;
    }
}

impl Drop for WriterGuard {
    fn drop(&mut self) {
        if let Some(failed) = self.failed.take() {
            self.queue.end_at(Instant::now());
            let _ = failed.send("the file could not be written");
        }
    }
}

impl Outlet for Queue {
    fn offer(&self, batch: Box<Batch>) -> Offered<Box<Batch>> {
        match Self::offer(self, Message::Batch(batch), OFFER) {
            Offered::Taken => Offered::Taken,
            Offered::NotYet(Message::Batch(batch)) => Offered::NotYet(batch),
            // What was offered is a batch.
            Offered::NotYet(Message::Functions(_)) | Offered::Never => Offered::Never,
        }
    }

    fn room(&self) -> Room {
        Self::room(self)
    }
}

/// The life of the consumer thread: a panic costs a record at most.
fn consume(
    mut consumer: Consumer,
    stop: &AtomicBool,
    queue: &Queue,
    failed: &UnboundedSender<&'static str>,
) -> (Consumer, Panics) {
    let mut panics = Panics::of("consumer");
    while panics.catch(|| consumer.run(stop, queue)).is_none() {
        queue.panicked(panics.event(), consumer.take_held());
        if panics.are_enough() {
            // A session that has ended does not listen.
            let _ = failed.send("the consumer panicked time after time");
            break;
        }
    }
    (consumer, panics)
}

/// Takes what is left in the rings, and ends the calls that are still open.
fn finish(
    mut consumer: Consumer,
    mut panics: Panics,
    queue: &Queue,
    outcome: Outcome,
    end_ns: u64,
) {
    let send = |batch| {
        queue.push(Message::Batch(Box::new(batch)));
    };
    let mut drained = None;
    while drained.is_none() && !panics.are_enough() {
        drained = panics.catch(|| consumer.drain_rest(send));
        if drained.is_none() {
            queue.panicked(panics.event(), consumer.take_held());
        }
    }
    if panics
        .catch(|| consumer.finish(outcome, end_ns, send))
        .is_none()
    {
        queue.panicked(panics.event(), consumer.take_held());
    }
}

impl StackSampler {
    /// Samples the target of `plan`, of which `modules` are attached to, where that is asked for.
    ///
    /// # Errors
    /// Where stacks can't be sampled.
    pub fn new(
        attachment: &mut Attachment,
        plan: &Plan<'_>,
        modules: &[Module],
    ) -> Result<Option<Self>> {
        if plan.sampling.hertz == 0 {
            return Ok(None);
        }
        let process = if plan.sampling.off_cpu {
            namespace::machine_number(plan.target)?
        } else {
            NO_PROCESS
        };
        let maps = attachment.programs.start_sampling(plan.sampling, process)?;
        let (announce, announced) = channel();
        for module in modules {
            let _ = announce.send(module.clone());
        }
        let with_calls = !plan.capture.exits_only();
        let sampler = Sampler::new(
            plan.target.pid(),
            maps,
            plan.sampling,
            announced,
            with_calls,
        )?;
        Ok(Some(Self {
            modules: announce,
            sampler,
        }))
    }

    fn start(self, stop: Arc<AtomicBool>, queue: Arc<Queue>) -> Result<SamplerThread> {
        let sampler = self.sampler;
        let sampler = spawn("sampler", move || {
            sampler.run(&stop, |batch| queue.push(Message::Batch(Box::new(batch))))
        })?;
        Ok(SamplerThread {
            modules: self.modules,
            sampler,
        })
    }
}

impl SamplerThread {
    /// Waits for the thread, which has been told to stop, and gives back what went wrong.
    fn finish(self) -> Result<Vec<AgentEvent>> {
        let ended = self.sampler.join();
        let ended = ended.map_err(|_| anyhow::anyhow!("the sampler died"))?;
        let mut events = ended.panics;
        if ended.lost > 0 {
            let text = format!(
                "{} samples were lost: their ring was full; a lower --sample takes fewer",
                ended.lost
            );
            events.push(AgentEvent::now(Level::Error, "lost", text));
        }
        if ended.malformed > 0 {
            let text = format!("{} samples made no sense", ended.malformed);
            events.push(AgentEvent::now(Level::Error, "malformed", text));
        }
        Ok(events)
    }
}

fn spawn<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>> {
    std::thread::Builder::new()
        .name(format!("exo-{name}"))
        .spawn(run)
        .with_context(|| format!("can't start the {name} thread"))
}

/// A batch of events and nothing else.
fn events(events: Vec<AgentEvent>) -> Batch {
    Batch {
        events,
        ..Batch::default()
    }
}
