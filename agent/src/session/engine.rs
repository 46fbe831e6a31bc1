//! The engine of a session: what is attached, and the threads behind it.
//!
//! The consumer thread drains the rings and queues batches; the writer thread commits them, and another one
//! copies what waits for it for long. The engine is what the rest of a session holds to attach more, to end,
//! and to be told of failures.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use exoscope_abi::sample::NO_PROCESS;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::attachment::{Attachment, Plan};
use super::binaries::Module;
use super::pulse::{Observer, Pulse};
use super::urgency::Urgency;
use super::writer::{Left, Writer, leave_to_spool};
use crate::capture::consumer::{Consumer, Offered, Outlet, Progress};
use crate::capture::governor::Governor;
use crate::capture::steps::Room;
use crate::event::{AgentEvent, Batch, Level, Message, Outcome};
use crate::panics::{Panics, point};
use crate::sample::{self, Sampler, namespace};
use crate::spool::queue::Queue;
use crate::store::{SessionEnd, Store};

/// How long the end of a session waits for a file that can't be written. What is not in it by then
/// waits in the spool.
const END_PATIENCE: Duration = Duration::from_secs(10);
/// How long the end waits for a spool that takes what a disk does not.
const SPILL_PATIENCE: Duration = Duration::from_secs(2);
/// How often somebody looks what waits in memory: after some looks it is copied.
const COPY_EVERY: Duration = Duration::from_millis(200);
/// How long the consumer waits for room before it looks whether a step is due.
const OFFER: Duration = Duration::from_millis(20);

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
    /// Nothing waits any more: whoever copies ends. Nobody waits for that, as a disk may hang.
    written: Arc<AtomicBool>,
    /// The writer's, with who looks at it.
    pulse: Arc<Pulse>,
    observer: Observer,
    left: Left,
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
    /// Starts the threads behind an attachment; the one that reads the rings has the urgency. The receiver
    /// hears why the session can't go on.
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
        let left = Left::of(&store);
        let pulse = Arc::new(Pulse::default());
        let mut writer = Writer::new(
            store,
            Arc::clone(&queue),
            Arc::clone(&progress),
            notice,
            Arc::clone(&pulse),
        );
        let guard = WriterGuard {
            queue: Arc::clone(&queue),
            failed: Some(failed.clone()),
        };
        let writer = spawn("writer", move || {
            let guard = guard;
            let written = writer.run();
            writer.rest();
            if written.is_ok() {
                guard.all_is_well();
            }
            (writer, written)
        })?;
        let written = Arc::new(AtomicBool::new(false));
        {
            let (written, queue) = (Arc::clone(&written), Arc::clone(&queue));
            spawn("copies", move || copy(&written, &queue))?;
        }
        let engine = Self {
            attachment,
            progress,
            stop,
            notices,
            queue,
            consumer,
            sampling,
            writer,
            written,
            pulse,
            observer: Observer::default(),
            left,
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
    pub fn notices(&mut self) -> Vec<String> {
        let mut notices: Vec<String> = self.notices.try_iter().collect();
        if let Some(event) = self.observer.look(&self.pulse) {
            notices.push(event.notice());
            self.record(vec![event]);
        }
        notices
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
        self.attachment.detach()?;
        self.queue.end_at(Instant::now() + END_PATIENCE);
        Ok(())
    }

    /// After [`Self::detach`]: takes what is left in the rings, ends open calls with `outcome` at `end_ns`, and
    /// finishes the file. Gives back what the person should know, too. A disk that does not let a write come
    /// to an end is not waited for.
    ///
    /// # Errors
    /// Where a thread died.
    pub fn finish(self, outcome: Outcome, end_ns: u64, end: SessionEnd) -> Result<Finished> {
        let (pulse, queue, left) = (
            Arc::clone(&self.pulse),
            Arc::clone(&self.queue),
            self.left.clone(),
        );
        let deadline = queue.deadline().unwrap_or_else(Instant::now);
        let ending = spawn("end", move || self.finish_all(outcome, end_ns, &end))?;
        let ended = pulse.wait(ending, deadline);
        match ended.map_err(|_| anyhow::anyhow!("the session's end panicked"))? {
            Some(finished) => finished,
            None => Ok(Finished {
                written: Err(stuck(&pulse, queue, left)),
                notices: Vec::new(),
            }),
        }
    }

    fn finish_all(self, outcome: Outcome, end_ns: u64, end: &SessionEnd) -> Result<Finished> {
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
        self.written.store(true, Ordering::Release);
        if written.is_ok() {
            self.queue.remove_copies();
        }
        let written = written.and_then(|()| writer.finish(end));
        Ok(Finished {
            written,
            notices: self.notices.try_iter().collect(),
        })
    }
}

/// How a session was finished.
pub struct Finished {
    /// Why the file is not.
    pub written: Result<()>,
    /// What the person should know, in sentences.
    pub notices: Vec<String>,
}

/// Leaves to the spool what waits for a write that does not come to an end; gives back what is to be said.
fn stuck(pulse: &Pulse, queue: Arc<Queue>, left: Left) -> anyhow::Error {
    let why = format!(
        "a write has not come to an end for {:.0} s",
        pulse.since().as_secs_f64()
    );
    let nothing = format!(
        "{why}, and the spool takes none either; {}",
        left.recovery()
    );
    let deadline = Instant::now() + SPILL_PATIENCE;
    let spilling = spawn("spill", move || leave_to_spool(&queue, &left, &why));
    match spilling.map(|spilling| pulse.wait(spilling, deadline)) {
        Ok(Ok(Some(spilled))) => spilled,
        Ok(_) => anyhow::anyhow!(nothing),
        Err(error) => error,
    }
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

/// The life of the thread that copies what waits: without it, nothing is lost but by a kill.
fn copy(written: &AtomicBool, queue: &Queue) {
    let mut panics = Panics::of("copies thread");
    while !written.load(Ordering::Acquire) && !panics.are_enough() {
        let looked = panics.catch(|| {
            point("copies");
            queue.keep_copies();
        });
        if looked.is_none() {
            queue.tell(vec![panics.event()]);
        }
        std::thread::sleep(COPY_EVERY);
    }
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
        let maps = attachment.start_sampling(plan.sampling, process)?;
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
