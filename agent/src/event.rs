//! What `decode` and `assemble` hand to the store: events, without a trace of raw bytes or BPF.
//!
//! They can also be bytes, for the spool ([`crate::spool`]) and only for it: both ends are one version
//! of this program.

mod serial;

use std::borrow::Cow;
use std::time::{SystemTime, UNIX_EPOCH};

pub use exoscope_abi::Outcome;
use exoscope_abi::table;
use exoscope_abi::totals::HISTOGRAM_BUCKETS;
pub use exoscope_abi::totals::SessionLosses;
use serde::{Deserialize, Serialize};

use crate::stats::sample::Snapshot;

/// A function that the session may see calls of. Its index in the session's list is the
/// `function` of every event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Function {
    /// Full path, `crate::module::Type::name`.
    pub path: String,
    /// Source file as the compiler was given it.
    pub file: String,
    /// Line of the function, from 1.
    pub line: u32,
}

/// A call that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// Number of the call, unique in the session and never 0; about in the order of beginnings.
    pub id: u64,
    /// Number of the parent.
    pub parent: Option<u64>,
    /// Index of the function.
    pub function: u32,
    /// Thread that ended the call (for calls still open: that began it).
    pub tid: u32,
    /// `CLOCK_MONOTONIC` nanoseconds.
    pub start_ns: u64,
    /// Nanoseconds.
    pub duration_ns: u64,
    /// Nanoseconds less those of the captured calls made directly by this one, at least 0.
    pub self_ns: u64,
    /// How it ended.
    #[serde(with = "serial::outcome")]
    pub outcome: Outcome,
    /// Items that it gave, where it is a stream.
    pub items: Option<u32>,
    /// What the kernel counted meanwhile.
    pub figures: Figures,
}

/// What the kernel counted during a call or, with `--polls`, during its polls. What is not known is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// What is known: [`exoscope_abi::figures::CPU`] and the like.
    pub known: u32,
    /// Nanoseconds that the thread was on a CPU.
    pub cpu_ns: u64,
    /// Nanoseconds that it waited for one.
    pub runqueue_ns: u64,
    /// Nanoseconds that it waited for something else. The three are the duration or, with `--polls`,
    /// the time in polls.
    pub blocked_ns: u64,
    /// Page faults of the thread without reading.
    pub minor_faults: u32,
    /// Page faults of the thread that read.
    pub major_faults: u32,
    /// Switches from the thread to another one because it waited.
    pub voluntary_switches: u32,
    /// Switches from the thread to another one because its turn was over.
    pub involuntary_switches: u32,
    /// Bytes by which the resident memory of the process grew.
    pub rss_delta_bytes: i64,
}

/// How the time of a call was split that was polled. What neither time has of its duration, it was
/// suspended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallPolls {
    /// Number of the call.
    pub call: u64,
    /// Polls.
    pub polls: u64,
    /// Nanoseconds in polls: at most the duration.
    pub polled_ns: u64,
    /// Nanoseconds in which it had been woken and was not polled: at most what `polled_ns` leaves.
    pub ready_ns: u64,
}

/// Fields of a call, or what it returned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fields {
    /// Number of the call.
    pub call: u64,
    /// A JSON object.
    pub json: String,
    /// Something did not fit.
    pub truncated: bool,
}

/// What the error or panic of a call said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorDetail {
    /// Number of the call.
    pub call: u64,
    /// It is a panic that began in the call, and that the call may have caught.
    pub panic: bool,
    /// Type of the error as the compiler names it; `panic` for panics. Empty where unknown.
    pub kind: String,
    /// Message; invalid UTF-8 replaced.
    pub message: String,
    /// The target's message was longer than a record carries.
    pub truncated: bool,
}

/// The end of a call that began before the session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnmatchedExit {
    /// Index of the function.
    pub function: u32,
    /// Thread that ended the call.
    pub tid: u32,
    /// `CLOCK_MONOTONIC` nanoseconds of the end.
    pub at_ns: u64,
    /// How it ended.
    #[serde(with = "serial::outcome")]
    pub outcome: Outcome,
}

/// A call that has begun and not ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenCall {
    /// Number of the call.
    pub id: u64,
    /// Number of the parent.
    pub parent: Option<u64>,
    /// Index of the function.
    pub function: u32,
    /// Thread that began it.
    pub tid: u32,
    /// `CLOCK_MONOTONIC` nanoseconds.
    pub start_ns: u64,
    /// Nanoseconds in which calls made directly by it were open, less the moment since which there
    /// are `children`: [`exoscope_abi::table::OpenCall::child_ns`].
    pub child_ns: u64,
    /// Calls made directly by it that are open.
    pub children: u64,
}

impl OpenCall {
    /// Nanoseconds in which calls made directly by it were open, if it ended at `end_ns`.
    pub const fn child_ns_at(&self, end_ns: u64) -> u64 {
        table::child_ns_at(self.child_ns, self.children, end_ns)
    }
}

/// What the kernel counted for one function since the session began, apart from the records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionCounts {
    /// Index of the function.
    pub function: u32,
    /// Calls that began.
    pub calls: u64,
    /// Calls that ended with an error.
    pub err: u64,
    /// Calls that ended in a panic.
    pub panic: u64,
    /// Calls that were cancelled.
    pub cancelled: u64,
    /// Records lost because the ring was full.
    pub lost_ring: u64,
    /// Calls not followed because the table of open calls was full.
    pub lost_table: u64,
    /// Ends whose beginning was not seen.
    pub unmatched: u64,
    /// Calls whose end was never seen: another call began at the same address.
    pub replaced: u64,
    /// Error messages lost.
    pub lost_detail: u64,
    /// Fields or returned values lost.
    pub lost_fields: u64,
    /// Calls that were counted and not recorded, by decision of the agent.
    pub only_counted: u64,
    /// Ended calls by power of two of their nanoseconds.
    #[serde(with = "serial::histogram")]
    pub histogram: [u64; HISTOGRAM_BUCKETS],
}

impl FunctionCounts {
    /// So many calls of a function that began, and nothing else of it.
    pub const fn of_calls(function: u32, calls: u64) -> Self {
        Self {
            function,
            calls,
            err: 0,
            panic: 0,
            cancelled: 0,
            lost_ring: 0,
            lost_table: 0,
            unmatched: 0,
            replaced: 0,
            lost_detail: 0,
            lost_fields: 0,
            only_counted: 0,
            histogram: [0; HISTOGRAM_BUCKETS],
        }
    }
}

/// One function on a stack: that of an address, or one that the compiler put into it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Frame {
    /// Full name, demangled; `[libc.so.6]`, `[vdso]` or `[unknown]` where there is no name.
    pub function: String,
    /// Source file; `None` where it is not known.
    pub file: Option<String>,
    /// Line that was being executed, from 1; in a function with an inlined call, that of the call.
    pub line: Option<u32>,
    /// Name of the binary or library; empty where the address lies in none.
    pub module: String,
    /// The compiler put it into the function before it.
    pub inlined: bool,
}

/// A stack, as one or many samples found it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stack {
    /// Indices of the session's frames, the root first.
    pub frames: Vec<u32>,
    /// It does not reach the beginning of its thread.
    pub cut: bool,
}

/// A look at a thread of the target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Thread.
    pub tid: u32,
    /// `CLOCK_MONOTONIC` nanoseconds.
    pub at_ns: u64,
    /// Number of the innermost captured call of the thread; `None` where there is none or it is not
    /// known.
    pub call: Option<u64>,
    /// Index of the session's stack.
    pub stack: u32,
    /// Nanoseconds for which the thread had been off the CPU; `None` for a running thread.
    pub off_ns: Option<u64>,
}

/// Samples, with the frames and stacks that no batch has brought yet: their indices follow those of
/// earlier batches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Samples {
    /// New frames.
    pub frames: Vec<Frame>,
    /// New stacks.
    pub stacks: Vec<Stack>,
    /// The samples, in the order of their times on each CPU.
    pub samples: Vec<Sample>,
}

impl Samples {
    /// Adds what came after.
    pub fn append(&mut self, mut later: Self) {
        self.frames.append(&mut later.frames);
        self.stacks.append(&mut later.stacks);
        self.samples.append(&mut later.samples);
    }
}

/// Calls of a function that were counted and not recorded, while the agent was in a step of
/// degradation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountedCalls {
    /// Index of the function.
    pub function: u32,
    /// When the first step was taken, in nanoseconds since 1970.
    pub from_unix_ns: i64,
    /// When the last step was taken back, or the session ended.
    pub until_unix_ns: i64,
    /// How many.
    pub calls: u64,
    /// Why the first step was taken, in a few words.
    pub reason: String,
}

/// Severity of an agent event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Level {
    /// Worth knowing.
    Info,
    /// Something is missing or slower than it should be.
    Warning,
    /// Data was lost.
    Error,
}

/// Something that the agent did or met, in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentEvent {
    /// Nanoseconds since 1970.
    pub at_unix_ns: i64,
    /// Severity.
    pub level: Level,
    /// One word, stable: `attached`, `detached`, `lost`, `semaphore`, …
    pub kind: Cow<'static, str>,
    /// One sentence.
    pub message: String,
}

/// The wall clock, in nanoseconds since 1970.
pub fn unix_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(since.unwrap_or_default().as_nanos()).unwrap_or(i64::MAX)
}

impl AgentEvent {
    /// An event of this moment.
    pub fn now(level: Level, kind: &'static str, message: String) -> Self {
        Self {
            at_unix_ns: unix_ns(),
            level,
            kind: kind.into(),
            message,
        }
    }

    /// What a person is told of it at once.
    pub fn notice(&self) -> String {
        match self.level {
            Level::Info => self.message.clone(),
            _ => format!("warning: {}", self.message),
        }
    }
}

/// What one turn of the consumer hands to the writer: all of it is committed, or none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Ended calls, about in the order of their ends.
    pub calls: Vec<Call>,
    /// Polls of some of `calls`.
    pub polls: Vec<CallPolls>,
    /// Details of calls in this or an earlier batch.
    pub errors: Vec<ErrorDetail>,
    /// Fields of calls in this, an earlier or a later batch; several of one call add up.
    pub fields: Vec<Fields>,
    /// Ends without a beginning.
    pub unmatched: Vec<UnmatchedExit>,
    /// All open calls, where this turn looked: they replace those of the last look.
    pub open: Option<Vec<OpenCall>>,
    /// The kernel's counts of every function that has any, where this turn looked.
    pub counts: Option<Vec<FunctionCounts>>,
    /// What was lost of no known function, where this turn looked and there is any.
    #[serde(with = "serial::losses")]
    pub losses: Option<SessionLosses>,
    /// Calls that are the parents of others and have no row: they never ended where only ends are
    /// captured.
    pub unended: Vec<u64>,
    /// Samples of the target's stacks.
    pub samples: Samples,
    /// Calls that were only counted, of steps that have been taken back.
    pub counted: Vec<CountedCalls>,
    /// Agent events.
    pub events: Vec<AgentEvent>,
    /// Process and threads at one moment each.
    pub stats: Vec<Snapshot>,
}

/// What the writer is told, in the order in which it is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// Functions that later batches name: their indices follow those of earlier ones.
    Functions(Vec<Function>),
    /// Events to commit.
    Batch(Box<Batch>),
}

impl Message {
    /// Calls that it brings.
    pub fn calls(&self) -> u64 {
        match self {
            Self::Functions(_) => 0,
            Self::Batch(batch) => batch.calls.len() as u64,
        }
    }

    /// How much memory it takes, about: in things of the size of a call.
    pub fn weight(&self) -> usize {
        match self {
            Self::Functions(functions) => functions.len(),
            Self::Batch(batch) => batch.weight(),
        }
    }
}

impl Batch {
    fn weight(&self) -> usize {
        let texts = self.fields.iter().map(|fields| fields.json.len() / 64);
        let samples = self.samples.samples.len() + self.samples.stacks.len();
        let threads = self.stats.iter().map(|stats| 8 + stats.threads.len());
        1 + self.calls.len()
            + self.polls.len()
            + 2 * self.errors.len()
            + self.fields.len()
            + texts.sum::<usize>()
            + self.unmatched.len()
            + self.counted.len()
            + self.open.as_ref().map_or(0, Vec::len)
            + 8 * self.counts.as_ref().map_or(0, Vec::len)
            + samples
            + 2 * self.samples.frames.len()
            + threads.sum::<usize>()
    }
}
