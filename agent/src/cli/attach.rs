//! `exoscope attach`, and the options that it shares with `run`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, ValueEnum};
use exoscope_abi::table::{DEFAULT_OPEN_CALLS, MAX_OPEN_CALLS};

use super::{LOST, Usage};
use crate::attach::Capture;
use crate::attach::call_stats::{CallStat, CallStats};
use crate::attach::programs::DEFAULT_RING_BYTES;
use crate::attach::sampling::Sampling;
use crate::session::{self, Markers, Options};
use crate::spool::DEFAULT_SPOOL_BYTES;
use crate::target::process::Target;
use crate::target::select::Selection;

/// Bounds of `--stats-interval`.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(1);
const LONGEST_INTERVAL: Duration = Duration::from_secs(86_400);

/// Options of `exoscope attach`.
#[derive(Debug, Parser)]
pub struct Args {
    /// The process to look into.
    #[arg(short, long, value_name = "PID")]
    pid: u32,
    #[command(flatten)]
    capture: CaptureArgs,
}

/// Options of `attach` and `run`.
#[derive(Debug, Parser)]
pub struct CaptureArgs {
    /// The database; a session is added to an exoscope file that exists. Default:
    /// exoscope-NAME-PID.db in the current folder.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Capture only functions whose full path matches; `*` is any text. Repeatable. What is not
    /// chosen costs what it costs detached.
    #[arg(long, value_name = "GLOB")]
    functions: Vec<String>,
    /// Leave out functions whose full path matches. Repeatable.
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,
    /// An instrumented library that the target will load: captured from its first call. Others are
    /// found within a quarter of a second. Repeatable.
    #[arg(long, value_name = "FILE")]
    library: Vec<PathBuf>,
    /// `full` fires at entry and end; `exits` at the end only: half the cost, but no calls in
    /// flight and no kernel figures per call. A call that never ends then has no row, and those
    /// that it made have no parent.
    #[arg(long, value_enum, default_value_t = CaptureMode::Full)]
    capture: CaptureMode,
    /// `safe` breakpoints, `fast` the kernel's rewritten nops, `auto` what the self-test allows. A target
    /// that makes children by the bare system call `clone`, around the C library, needs `safe`.
    #[arg(long, value_enum, default_value_t = Markers::Auto)]
    markers: Markers,
    /// Capture no fields, arguments and returned values: their functions then cost what others do.
    #[arg(long)]
    no_fields: bool,
    /// Split the time of futures and streams: how often and how long each was polled, how long it
    /// had been woken and waited for its next poll, and how long it was suspended. Costs two more
    /// markers a poll. Not with --capture exits.
    #[arg(long)]
    polls: bool,
    /// Take the stacks of the target's running threads so many times a second, each with the call
    /// that it happened in (not with --capture exits). The target needs frame pointers: build it
    /// with RUSTFLAGS='-C force-frame-pointers=yes'. 99 keeps out of step with what happens 100
    /// times a second.
    #[arg(long, value_name = "HZ", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    sample: Option<u32>,
    /// With --sample, also take the stacks of threads that are not running, each with how long it
    /// was away: it waits for a lock, a disk, a timer, or a CPU. Costs a microsecond or two each
    /// time that a thread of the target leaves a CPU.
    #[arg(long, requires = "sample")]
    off_cpu: bool,
    /// What the kernel is asked about every call, as a list: `cpu` (time on a CPU, waiting for one, and
    /// blocked), `faults`, `memory` (of the process) and `switches`; `none` costs least. Futures and
    /// streams have these stats only with --polls, then summed over their polls. Not with --capture
    /// exits.
    #[arg(
        long,
        value_name = "STATS",
        value_enum,
        value_delimiter = ',',
        default_value = "cpu,faults,memory,switches"
    )]
    call_stats: Vec<StatArg>,
    /// Memory of all ring buffers together, for example 64MiB. Each CPU has one, of 64 KiB to 256 MiB: the
    /// largest power of two that fits.
    #[arg(long, value_name = "BYTES", default_value_t = bytesize::ByteSize(DEFAULT_RING_BYTES))]
    ring_size: bytesize::ByteSize,
    /// Calls in flight that are followed at once; whatever begins beyond is counted as lost. Room for
    /// a thousand takes up to 300 kB of memory, with --call-stats none up to 180 kB.
    #[arg(long, value_name = "CALLS", default_value_t = DEFAULT_OPEN_CALLS,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_OPEN_CALLS)))]
    open_calls: u32,
    /// Disk space of the spool at most: files that hold calls while the database is slower than the
    /// target or can't be written. They are removed once their calls are in the database. From half of
    /// it on, calls of the busiest functions are counted and not recorded.
    #[arg(long, value_name = "BYTES", default_value_t = bytesize::ByteSize(DEFAULT_SPOOL_BYTES))]
    spool_size: bytesize::ByteSize,
    /// Folder of the spool, for example on another disk. Default: beside the database.
    #[arg(long, value_name = "DIR")]
    spool_dir: Option<PathBuf>,
    /// How often memory, CPU time and threads of the target are looked at, in milliseconds (or with
    /// a unit, such as 1s); 0 for never.
    #[arg(long, value_name = "MS", default_value = "100", value_parser = interval)]
    stats_interval: Interval,
    /// End the session after this time, for example 500ms, 30s or 5m.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
    /// Print nothing but errors.
    #[arg(short, long)]
    quiet: bool,
    /// Print a summary of the session to standard output as JSON.
    #[arg(long)]
    json: bool,
}

/// What `--stats-interval` takes.
#[derive(Clone, Copy, Debug)]
struct Interval(Option<Duration>);

fn interval(text: &str) -> Result<Interval, String> {
    let interval = match text.parse() {
        Ok(milliseconds) => Duration::from_millis(milliseconds),
        Err(_) => humantime::parse_duration(text)
            .map_err(|error| format!("it is neither milliseconds nor a time ({error})"))?,
    };
    if interval > LONGEST_INTERVAL {
        return Err("it is more than a day".to_owned());
    }
    if interval.is_zero() {
        return Ok(Interval(None));
    }
    if interval < SHORTEST_INTERVAL {
        return Err("less than 1 ms is not possible".to_owned());
    }
    Ok(Interval(Some(interval)))
}

/// A folder that is there, by its absolute path: whoever recovers a session may be elsewhere.
fn absolute_folder(path: &Path) -> Result<PathBuf> {
    let shown = path.display();
    let folder = path.canonicalize();
    let folder = folder.with_context(|| format!("can't use '{shown}' for --spool-dir"))?;
    if !folder.is_dir() {
        bail!("can't use '{shown}' for --spool-dir: it is no folder");
    }
    Ok(folder)
}

/// What `--capture` takes.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum CaptureMode {
    Full,
    Exits,
}

/// What `--call-stats` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum StatArg {
    Cpu,
    Faults,
    Memory,
    Switches,
    None,
}

impl StatArg {
    const fn stat(self) -> Option<CallStat> {
        match self {
            Self::Cpu => Some(CallStat::Cpu),
            Self::Faults => Some(CallStat::Faults),
            Self::Memory => Some(CallStat::Memory),
            Self::Switches => Some(CallStat::Switches),
            Self::None => None,
        }
    }
}

/// The stats of a list.
///
/// # Errors
/// Where it says none and some.
fn call_stats(list: &[StatArg]) -> Result<CallStats> {
    let stats: CallStats = list.iter().filter_map(|arg| arg.stat()).collect();
    if list.contains(&StatArg::None) && stats != CallStats::NONE {
        bail!(Usage(
            "--call-stats takes `none` alone, or a list without it"
        ));
    }
    Ok(stats)
}

impl CaptureArgs {
    /// The options of a session.
    ///
    /// # Errors
    /// Where options contradict each other or a pattern can't be read.
    pub fn options(&self) -> Result<Options> {
        if self.polls && matches!(self.capture, CaptureMode::Exits) {
            bail!(Usage(
                "--polls can't be used with --capture exits, where nothing is known of a call before \
                 its end: leave out one of them"
            ));
        }
        Ok(Options {
            output: self.output.clone(),
            selection: Selection::new(&self.functions, &self.exclude)?,
            libraries: self.library.clone(),
            capture: match self.capture {
                CaptureMode::Full => Capture::Full,
                CaptureMode::Exits => Capture::Exits,
            },
            fields: !self.no_fields,
            polls: self.polls,
            markers: self.markers,
            ring_bytes: self.ring_size.as_u64(),
            open_calls: self.open_calls,
            sampling: Sampling {
                hertz: self.sample.unwrap_or(0),
                off_cpu: self.off_cpu,
            },
            spool_folder: self.spool_dir.as_deref().map(absolute_folder).transpose()?,
            spool_bytes: self.spool_size.as_u64(),
            call_stats: call_stats(&self.call_stats)?,
            stats_interval: self.stats_interval.0,
            duration: self.duration,
            quiet: self.quiet,
            command_line: std::env::args().skip(1).collect::<Vec<_>>().join(" "),
        })
    }

    /// Prints what was asked for at the end of a session.
    ///
    /// # Errors
    /// Where standard output is broken.
    pub fn summarize(&self, summary: &session::Summary) -> Result<()> {
        if self.json {
            println!("{}", serde_json::to_string(summary)?);
        }
        Ok(())
    }
}

/// Captures from a running process.
///
/// # Errors
/// One sentence about what failed; nothing stays attached then.
pub fn attach(args: &Args) -> Result<ExitCode> {
    let options = args.capture.options()?;
    let target = Target::open(args.pid)?;
    let summary = session::attach(target, &options)?;
    args.capture.summarize(&summary)?;
    Ok(if summary.lost + summary.only_counted > 0 {
        ExitCode::from(LOST)
    } else {
        ExitCode::SUCCESS
    })
}
