//! A session: from attaching to a target to a finished file.
//!
//! [`binaries`] finds what can be attached to, [`attachment`] attaches, [`engine`] owns the threads, of
//! which [`writer`] is one ([`pulse`] is its sign of life) and [`urgency`] says which goes first, [`watch`]
//! waits for the end, and [`progress`] tells the person.

pub mod attachment;
pub mod binaries;
pub mod engine;
pub mod progress;
pub mod pulse;
mod room;
pub mod urgency;
pub mod watch;
pub mod writer;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::ValueEnum;
use exoscope_abi::Phase;
use serde::Serialize;

use crate::attach::call_stats::CallStats;
use crate::attach::sampling::Sampling;
use crate::attach::{AttachError, Capture, MarkerByte};
use crate::event::{AgentEvent, Function, Level, OpenCall, Outcome};
use crate::kernel_types::KernelTypes;
use crate::panics::{Panics, point};
use crate::preflight::checks;
use crate::preflight::self_test::SelfTest;
use crate::privileges::{self, Needed};
use crate::report::human;
use crate::stats::monitor::Monitor;
use crate::stats::sampler::Sampler;
use crate::stats::source::Subject;
use crate::store::{ProcessInfo, SessionInfo, Store};
use crate::target::ending::OomWitness;
use crate::target::launch::Launched;
use crate::target::process::Target;
use crate::target::select::Selection;
use attachment::{Attached, Attachment, Plan};
use binaries::{Module, modules};
use engine::{Engine, StackSampler};
use progress::Line;
use urgency::Urgency;
use watch::{End, Signals, Watched};

/// What `--markers` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Markers {
    /// What the self-test allows.
    Auto,
    /// Breakpoints.
    Safe,
    /// The kernel's rewritten nops.
    Fast,
}

/// What a session is to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// The file, unless it is to be named after the target.
    pub output: Option<PathBuf>,
    /// Which functions.
    pub selection: Selection,
    /// Libraries that the target has not loaded yet, to be captured from their first call.
    pub libraries: Vec<PathBuf>,
    /// Which ends of a call.
    pub capture: Capture,
    /// Capture fields, arguments and returned values.
    pub fields: bool,
    /// Capture polls and wake-ups: with [`Capture::Full`] only.
    pub polls: bool,
    /// Which markers.
    pub markers: Markers,
    /// Bytes of all rings.
    pub ring_bytes: u64,
    /// Calls in flight that find room: with [`Capture::Full`] only.
    pub open_calls: u32,
    /// What is sampled.
    pub sampling: Sampling,
    /// Folder of the spool, unless that is to be beside the file.
    pub spool_folder: Option<PathBuf>,
    /// Bytes of the spool at most.
    pub spool_bytes: u64,
    /// What the kernel is asked about every call: with [`Capture::Full`] only.
    pub call_stats: CallStats,
    /// How often process and threads are sampled, if at all.
    pub stats_interval: Option<Duration>,
    /// How long at most.
    pub duration: Option<Duration>,
    /// Say nothing but errors.
    pub quiet: bool,
    /// The options as the user wrote them, for the file.
    pub command_line: String,
}

/// A session that has ended.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// The file.
    pub file: PathBuf,
    /// The process.
    pub pid: u32,
    /// Calls in the file.
    pub calls: u64,
    /// Calls that are missing because a ring or the table of open calls was full.
    pub lost: u64,
    /// Calls that were counted and not recorded, because there was no room on the way to the file.
    pub only_counted: u64,
    /// How long it captured, in nanoseconds.
    pub duration_ns: u64,
    /// Why it ended.
    pub end_reason: String,
    /// How the target ended, as a shell would report it, where it ended and that is known.
    pub exit_status: Option<i32>,
}

/// Captures from a running process.
///
/// # Errors
/// One sentence about what failed; nothing stays attached, and no file is left half-made.
pub fn attach(target: Target, options: &Options) -> Result<Summary> {
    let modules = with_libraries(modules(&target)?, options)?;
    if modules.is_empty() {
        // Without the right to look, nothing is found either.
        checks::require()?;
        bail!(
            "process {} ({}) has no exoscope markers; build it with the feature that switches \
             `exoscope/enabled` on, and start it again",
            target.pid(),
            target.name(),
        );
    }
    Session::begin(target, &modules, options, false)?.watch(None)
}

/// Starts a program and captures until it ends.
///
/// # Errors
/// As [`attach`]; the program is killed where it was started and can't be captured.
pub fn run(words: &[String], options: &Options) -> Result<Summary> {
    checks::require()?;
    let announced = !options.libraries.is_empty();
    let has_markers = |pid| Ok(announced || !modules(&Target::open(pid)?)?.is_empty());
    let mut launched = Launched::start(words, has_markers)?;
    let target = Target::open(launched.pid())?;
    let modules = with_libraries(modules(&target)?, options)?;
    let session = Session::begin(target, &modules, options, true)?;
    // What it has before its `main` is where its figures begin.
    session.sample_now();
    launched.release()?;
    session.watch(Some(launched))
}

/// Adds the libraries that the user announced and that are not loaded yet.
fn with_libraries(mut modules: Vec<Module>, options: &Options) -> Result<Vec<Module>> {
    for path in &options.libraries {
        let library = binaries::unloaded(path)?;
        if modules.iter().all(|module| module.id != library.id) {
            modules.push(library);
        }
    }
    Ok(modules)
}

/// Looks at a process for a moment: the calls that began meanwhile and are open at the end, oldest
/// first, each with its function and its age in nanoseconds.
///
/// # Errors
/// As [`attach`].
pub fn in_flight(target: &Target, duration: Duration) -> Result<Vec<(Function, OpenCall, u64)>> {
    let modules = modules(target)?;
    if modules.is_empty() {
        bail!(
            "process {} ({}) has no exoscope markers",
            target.pid(),
            target.name()
        );
    }
    checks::require()?;
    let selection = Selection::default();
    let plan = Plan::plain(target, &selection, marker_byte(Markers::Auto)?);
    let attachment = Attachment::begin(&plan, &modules)?;
    privileges::give_up_all()?;
    std::thread::sleep(duration);
    let now = crate::capture::consumer::monotonic_ns();
    let open = attachment.open_calls()?.snapshot();
    let functions = attachment.functions();
    Ok(open
        .into_iter()
        .filter_map(|(_, call)| {
            let function = functions.get(call.function as usize)?.clone();
            let age = now.saturating_sub(call.start_ns);
            Some((function, call, age))
        })
        .collect())
}

/// The byte of the markers to attach to.
fn marker_byte(markers: Markers) -> Result<MarkerByte> {
    if markers == Markers::Safe {
        return Ok(MarkerByte::Safe);
    }
    let test = SelfTest::run(false)?;
    match (test.fast(), markers) {
        (Some(byte), _) => Ok(byte),
        (None, Markers::Fast) => bail!(
            "fast markers don't pass the self-test on this machine ({}); use --markers safe",
            test.refusals()
        ),
        (None, _) => Ok(MarkerByte::Safe),
    }
}

/// How often the lines about a target's code are read where their sum has not changed.
const LINES_EVERY: Duration = Duration::from_secs(2);

/// What a target maps of code, by which it is told whether it may have loaded a library: reading every
/// library again would take more CPU than all else does while nothing happens.
#[derive(Default)]
struct Code {
    /// [`Target::bytes_of_libraries`].
    bytes: Option<u64>,
    /// [`Target::lines_of_code`], and when they were read.
    lines: Option<(String, Instant)>,
}

impl Code {
    /// The code now, where it is other than it was, or can't be told. A library that took the place of
    /// another one of the same size is found when the lines are read the next time.
    fn changed(&mut self, target: &Target) -> Option<Self> {
        let bytes = target.bytes_of_libraries().unwrap_or_default();
        if let Some((_, read)) = &self.lines
            && bytes.is_some()
            && bytes == self.bytes
            && read.elapsed() < LINES_EVERY
        {
            return None;
        }
        let lines = target.lines_of_code().ok();
        let lines = lines.map(|lines| (lines, Instant::now()));
        let code = Self { bytes, lines };
        if code.text().is_some() && code.text() == self.text() {
            *self = code;
            return None;
        }
        Some(code)
    }

    fn text(&self) -> Option<&str> {
        self.lines.as_ref().map(|(lines, _)| lines.as_str())
    }
}

/// Everything that takes capabilities to load, to attach, or to open.
struct Prepared {
    attachment: Attachment,
    attached: Vec<Attached>,
    stacks: Option<StackSampler>,
    monitor: Option<(Monitor, Duration)>,
    witness: Option<(OomWitness, Subject)>,
}

impl Prepared {
    fn new(
        target: &Target,
        modules: &[Module],
        options: &Options,
        byte: MarkerByte,
    ) -> Result<Self> {
        let plan = Session::plan(target, options, byte);
        let mut attachment = Attachment::load(&plan, modules)?;
        let attached = modules
            .iter()
            .map(|module| attachment.attach(&plan, module))
            .collect::<Result<Vec<_>>>()?;
        // Then its number may have become another process's, whoever may look into that.
        if target.is_gone() {
            bail!(AttachError::Ended { pid: target.pid() });
        }
        let stacks = StackSampler::new(&mut attachment, &plan, modules)?;
        // A target that has ended meanwhile is not watched.
        let witness = Subject::of(target).ok();
        Ok(Self {
            attachment,
            attached,
            stacks,
            monitor: monitor(target, options)?,
            witness: witness.map(|subject| (OomWitness::of(&subject), subject)),
        })
    }
}

/// A session that captures.
struct Session<'a> {
    options: &'a Options,
    target: Target,
    byte: MarkerByte,
    output: PathBuf,
    engine: Engine,
    sampler: Option<Sampler>,
    witness: Option<(OomWitness, Subject)>,
    failure: tokio::sync::mpsc::UnboundedReceiver<&'static str>,
    /// The target's code when libraries were last looked for.
    code: Code,
    /// Taken when the wait begins.
    signals: Option<Signals>,
    line: Line,
    began: Instant,
    /// The same by the wall clock and by `CLOCK_MONOTONIC`, in nanoseconds, as the file has it.
    started: (i64, u64),
}

impl<'a> Session<'a> {
    /// Attaches to everything that was found, and begins. `launched` says that the target was started for
    /// the session.
    fn begin(
        target: Target,
        modules: &[Module],
        options: &'a Options,
        launched: bool,
    ) -> Result<Self> {
        let functions: Vec<Function> = modules
            .iter()
            .flat_map(|module| module.binary.functions.clone())
            .collect();
        if functions.is_empty() {
            bail!(unusable(&target, modules));
        }
        options.selection.check(&functions)?;
        checks::require()?;
        // Several of what begins here look at them; what needs them, and has none, says so.
        let _types = KernelTypes::of_this_kernel();
        let byte = marker_byte(options.markers)?;
        let output = options
            .output
            .clone()
            .unwrap_or_else(|| default_output(&target));
        let signals = Some(Signals::listen()?);
        let info = SessionInfo {
            spool_folder: options.spool_folder.clone(),
            ..SessionInfo::now(options.command_line.clone(), options.sampling.hertz)
        };
        let started = (info.started_unix_ns, info.started_ns);
        let mut store = Store::open(&output, info)?;
        let prepared = store
            .add_process(&process_info(&target, modules))
            .and_then(|()| Prepared::new(&target, modules, options, byte));
        let recovered = store.recovered().to_vec();
        // Before the right to it is given up.
        let urgency = Urgency::begin();
        let prepared = prepared.and_then(|prepared| {
            give_up_privileges(&target, &store, launched)?;
            Ok(prepared)
        });
        let Prepared {
            attachment,
            attached,
            stacks,
            monitor,
            witness,
        } = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                // The first failure is the one to tell; the file is as it was either way.
                let _ = store.abandon();
                return Err(error);
            }
        };
        let plan = Self::plan(&target, options, byte);
        let (mut engine, failure) = Engine::start(attachment, stacks, store, &plan, urgency)?;
        engine.announce_functions();
        engine.attachment.set_phase(Phase::Capturing)?;
        let sampler =
            monitor.map(|(monitor, interval)| Sampler::start(monitor, interval, engine.sender()));
        let sampler = sampler.transpose()?;
        let line = Line::new(engine.progress.clone(), &output, options.quiet);
        let began = Instant::now();
        let session = Self {
            options,
            target,
            byte,
            output,
            engine,
            sampler,
            witness,
            failure,
            code: Code::default(),
            signals,
            line,
            began,
            started,
        };
        for sentence in recovered {
            session.say(&sentence);
        }
        session.tell_attached(&attached);
        session.tell_lacking();
        Ok(session)
    }

    fn plan<'b>(target: &'b Target, options: &'b Options, byte: MarkerByte) -> Plan<'b> {
        Plan {
            target,
            selection: &options.selection,
            capture: options.capture,
            fields: options.fields,
            polls: options.polls,
            byte,
            ring_bytes: options.ring_bytes,
            open_calls: options.open_calls,
            sampling: options.sampling,
            spool_bytes: options.spool_bytes,
            call_stats: options.call_stats,
        }
    }

    /// Says and records what was attached, and what the person should know of it.
    fn tell_attached(&self, attached: &[Attached]) {
        let functions: usize = attached.iter().map(|one| one.functions).sum();
        let sites: usize = attached.iter().map(|one| one.sites).sum();
        let markers = if self.byte.is_fast() { "fast" } else { "safe" };
        let sentence = format!(
            "attached to {} (process {}): {functions} functions at {sites} sites with {markers} \
             markers; writing {}",
            self.target.name(),
            self.target.pid(),
            self.output.display(),
        );
        self.say(&sentence);
        let mut events = vec![AgentEvent::now(Level::Info, "attached", sentence)];
        for (kind, warning) in attached.iter().flat_map(|one| one.warnings.clone()) {
            self.say(&format!("warning: {warning}"));
            events.push(AgentEvent::now(Level::Warning, kind, warning));
        }
        self.engine.record(events);
    }

    /// Says and records what the kernel can't tell of calls: one sentence a reason.
    fn tell_lacking(&self) {
        let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
        for (stat, why) in self.engine.attachment.lacking() {
            match reasons.iter_mut().find(|(reason, _)| reason == why) {
                Some((_, stats)) => stats.push(stat.what()),
                None => reasons.push((why, vec![stat.what()])),
            }
        }
        let events = reasons.into_iter().map(|(why, stats)| {
            let sentence = format!("calls are captured without {}: {why}", stats.join(", "));
            self.say(&format!("warning: {sentence}"));
            AgentEvent::now(Level::Warning, "call_stats", sentence)
        });
        self.engine.record(events.collect());
    }

    /// Has a sample taken, where that is asked for.
    fn sample_now(&self) {
        if let Some(sampler) = &self.sampler {
            sampler.look();
        }
    }

    fn say(&self, sentence: &str) {
        if !self.options.quiet {
            self.line.say(sentence);
        }
    }

    /// Attaches to libraries that the target has loaded since the last time.
    fn attach_new_modules(&mut self) -> Result<()> {
        let found = binaries::unseen_modules(&self.target, self.engine.attachment.modules())?;
        if found.is_empty() {
            return Ok(());
        }
        let plan = Self::plan(&self.target, self.options, self.byte);
        let mut attached = Vec::new();
        for module in &found {
            self.engine.announce_module(module);
            attached.push(self.engine.attachment.attach(&plan, module)?);
        }
        self.engine.announce_functions();
        self.tell_attached(&attached);
        Ok(())
    }

    /// Waits for the end of the session and finishes its file.
    fn watch(mut self, launched: Option<Launched>) -> Result<Summary> {
        let signals = match self.signals.take() {
            Some(signals) => signals,
            None => Signals::listen()?,
        };
        let mut panics = Panics::of("session");
        let end = panics.catch(|| signals.until_end(&mut self, launched.as_ref()));
        let end = end.unwrap_or_else(|| {
            self.engine.record(vec![panics.event()]);
            Ok(End::failed("the session panicked"))
        })?;
        self.line.clear();
        let duration = self.began.elapsed();
        let progress = self.engine.progress.clone();
        self.engine.detach()?;
        if let Some(sampler) = self.sampler.take() {
            sampler.stop();
        }
        let for_store = end.for_store(self.started);
        let left = self.engine.finish(end.outcome(), end.at_ns, for_store)?;
        for notice in left.notices.iter().filter(|_| !self.options.quiet) {
            eprintln!("exoscope: {notice}");
        }
        if let Err(error) = left.written {
            bail!(
                "the session could not be finished: {error:#}; what was committed before is in {}",
                self.output.display()
            );
        }
        if end.failed {
            bail!(
                "{}, and the session has ended: what was captured until then is in {}",
                end.reason,
                self.output.display()
            );
        }
        let load =
            |count: &std::sync::atomic::AtomicU64| count.load(std::sync::atomic::Ordering::Relaxed);
        let summary = Summary {
            file: self.output,
            pid: self.target.pid(),
            calls: load(&progress.calls),
            lost: load(&progress.lost),
            only_counted: load(&progress.only_counted),
            duration_ns: u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX),
            end_reason: end.reason,
            exit_status: end.exit_status,
        };
        if !self.options.quiet {
            eprintln!("exoscope: {}", summary.sentence());
        }
        Ok(summary)
    }
}

impl Watched for Session<'_> {
    fn target(&self) -> &Target {
        &self.target
    }

    fn duration(&self) -> Option<Duration> {
        self.options.duration
    }

    fn failure(&mut self) -> &mut tokio::sync::mpsc::UnboundedReceiver<&'static str> {
        &mut self.failure
    }

    fn target_has_ended(&mut self) {
        self.sample_now();
    }

    fn oom_killed(&mut self) -> bool {
        let pid = self.target.pid();
        let witness = self.witness.as_mut();
        witness.is_some_and(|(witness, _)| witness.killed(pid))
    }

    fn tick(&mut self) {
        point("session");
        if let Some((witness, subject)) = &mut self.witness {
            witness.follow(subject);
        }
        self.engine.attachment.print_log();
        for notice in self.engine.notices() {
            self.say(&notice);
        }
        self.line.tick();
    }

    fn look_for_modules(&mut self) {
        let Some(code) = self.code.changed(&self.target) else {
            return;
        };
        match self.attach_new_modules() {
            Ok(()) => self.code = code,
            // A target that is ending has no maps; its end is seen by itself.
            Err(_) if self.target.has_ended() => {}
            // It has become another program, such as a set-user-ID one.
            Err(_) if !privileges::is_open(self.target.process()) => {
                self.engine
                    .fail("the target may not be looked into any more");
            }
            Err(error) => {
                let sentence = format!("a library of the target is not captured: {error:#}");
                self.say(&format!("warning: {sentence}"));
                self.engine
                    .record(vec![AgentEvent::now(Level::Warning, "library", sentence)]);
            }
        }
    }
}

impl Summary {
    fn sentence(&self) -> String {
        let seconds = Duration::from_nanos(self.duration_ns).as_secs_f64();
        let calls = human::count(i64::try_from(self.calls).unwrap_or(i64::MAX));
        let file = self.file.display();
        let lost = match self.lost {
            0 => "nothing lost".to_owned(),
            lost => format!("{lost} LOST (a larger --ring-size helps)"),
        };
        let only_counted = match self.only_counted {
            0 => String::new(),
            calls => format!(", {calls} only COUNTED (`exoscope doctor {file}` says why)"),
        };
        format!(
            "{calls} calls in {seconds:.1} s, {lost}{only_counted}; `exoscope report {file}` sums them up"
        )
    }
}

/// What samples the target, and how often, where that is asked for.
fn monitor(target: &Target, options: &Options) -> Result<Option<(Monitor, Duration)>> {
    let Some(interval) = options.stats_interval else {
        return Ok(None);
    };
    match Subject::of(target) {
        Ok(subject) => Ok(Some((Monitor::new(subject), interval))),
        // Its end is told by itself.
        Err(_) if target.has_ended() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Gives up the capabilities that a session does not need while it runs.
fn give_up_privileges(target: &Target, store: &Store, launched: bool) -> Result<()> {
    let file = store.file_path();
    let folder = file.parent().unwrap_or(Path::new("/"));
    privileges::give_up(&Needed {
        target: target.process(),
        paths: &[file, folder, &store.spool().folder],
        signals: launched,
    })
}

fn process_info(target: &Target, modules: &[Module]) -> ProcessInfo {
    let link = target.executable_link();
    let executable = modules.iter().find(|module| module.file.open == link);
    let build_id = executable.map(|module| module.binary.build_id.clone());
    ProcessInfo {
        pid: target.pid(),
        command: target.command(),
        executable: target.executable().display().to_string(),
        build_id: build_id.filter(|id| !id.is_empty()),
    }
}

/// Why none of the markers that were found is attached to.
fn unusable(target: &Target, modules: &[Module]) -> String {
    let rejected = modules.iter().flat_map(|module| &module.binary.rejected);
    let reasons: Vec<String> = rejected
        .map(|(what, count)| format!("{count} times: {what}"))
        .collect();
    format!(
        "no marker of process {} ({}) can be used ({}); build the program again",
        target.pid(),
        target.name(),
        reasons.join("; "),
    )
}

/// `exoscope-NAME-PID.db` in the current folder.
fn default_output(target: &Target) -> PathBuf {
    let executable = target.executable();
    let name = executable
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    let name: String = name
        .unwrap_or_else(|| target.name())
        .trim_end_matches(" (deleted)")
        .chars()
        .map(|c| {
            if c.is_alphanumeric() || "-_.".contains(c) {
                c
            } else {
                '_'
            }
        })
        .collect();
    PathBuf::from(format!("exoscope-{name}-{}.db", target.pid()))
}

/// How the session ended, for the file.
impl End {
    fn outcome(&self) -> Outcome {
        if self.target_ended {
            Outcome::TargetDied
        } else {
            Outcome::Unfinished
        }
    }

    /// How the session ended that began at `started`, for its file. The wall clock may have been set
    /// meanwhile, so it is not asked again.
    fn for_store(&self, started: (i64, u64)) -> crate::store::SessionEnd {
        let (unix_ns, ns) = started;
        let lasted = i64::try_from(self.at_ns.saturating_sub(ns)).unwrap_or(i64::MAX);
        let ended_unix_ns = unix_ns.saturating_add(lasted);
        crate::store::SessionEnd {
            ended_unix_ns,
            reason: self.reason.clone(),
            exit_status: self.exit_status,
        }
    }
}
