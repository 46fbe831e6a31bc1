//! A session that captures: it begins with everything attached, watches the target, and ends with the file.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use exoscope_abi::Phase;

use super::attachment::{Attached, Attachment, Plan};
use super::binaries::{self, Module};
use super::code::Code;
use super::engine::{Engine, StackSampler};
use super::progress::Line;
use super::urgency::Urgency;
use super::watch::{End, Signals, Watched};
use super::{Options, Summary, marker_byte};
use crate::attach::{AttachError, MarkerByte};
use crate::event::{AgentEvent, Function, Level, Outcome};
use crate::kernel_types::KernelTypes;
use crate::panics::{Panics, point};
use crate::preflight::checks;
use crate::privileges::{self, Needed};
use crate::stats::monitor::Monitor;
use crate::stats::sampler::Sampler;
use crate::stats::source::Subject;
use crate::store::{ProcessInfo, SessionInfo, Store};
use crate::target::ending::OomWitness;
use crate::target::launch::Launched;
use crate::target::process::Target;

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
pub struct Session<'a> {
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
    pub fn begin(
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
    pub fn sample_now(&self) {
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
    pub fn watch(mut self, launched: Option<Launched>) -> Result<Summary> {
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
