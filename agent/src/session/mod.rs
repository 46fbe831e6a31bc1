//! A session: from attaching to a target to a finished file.
//!
//! [`binaries`] finds what can be attached to, and [`code`] when to look again; [`attachment`] attaches,
//! [`engine`] owns the threads, of which [`writer`] is one ([`pulse`] is its sign of life) and [`urgency`]
//! says which goes first, [`watch`] waits for the end, and [`progress`] tells the person. [`capturing`] is
//! the session that has all of these.

pub mod attachment;
pub mod binaries;
pub mod capturing;
pub mod code;
pub mod engine;
pub mod progress;
pub mod pulse;
mod room;
pub mod urgency;
pub mod watch;
pub mod writer;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::ValueEnum;
use serde::Serialize;

use crate::attach::call_stats::CallStats;
use crate::attach::sampling::Sampling;
use crate::attach::{Capture, MarkerByte};
use crate::event::{Function, OpenCall};
use crate::preflight::checks;
use crate::preflight::self_test::SelfTest;
use crate::privileges;
use crate::report::human;
use crate::target::launch::Launched;
use crate::target::process::Target;
use crate::target::select::Selection;
use attachment::{Attachment, Plan};
use binaries::{Module, modules};
use capturing::Session;

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
