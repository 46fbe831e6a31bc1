//! What the program really did, told by the bodies themselves: nothing here knows exoscope.
//!
//! Two events a call, its body begins and its body ends, and one for each panic. They lie in an array
//! that is there before the first call; a place in it is taken by one addition, so the order of the
//! places is one that the events happened in, on every thread. Text is made of them after the work.

use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::io::{self, Write};
use std::panic::{catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::thread;

use crate::functions;
use crate::program::Node;

/// Number of a call, from 1; 0 is none.
pub type CallId = u32;

/// What a call gives back.
pub type Answer = Result<u64, Failure>;

/// The error that travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The call that returned it first.
    pub origin: CallId,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "call {} failed", self.origin)
    }
}

impl std::error::Error for Failure {}

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It returned a value, or its stream had no more items.
    Ok,
    /// It returned an error, or its stream's last item was one.
    Err,
    /// It unwound.
    Panic,
    /// Its future or stream was dropped.
    Cancelled,
}

impl Outcome {
    const ALL: [Self; 4] = [Self::Ok, Self::Err, Self::Panic, Self::Cancelled];

    /// The word for it in the log.
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Err => "err",
            Self::Panic => "panic",
            Self::Cancelled => "cancelled",
        }
    }
}

/// One event, as words: see [`Event::words`].
type Slot = [AtomicU64; 4];

/// Something that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The call that it happened to.
    pub call: CallId,
    /// Thread on which it happened.
    pub tid: u32,
    /// `CLOCK_MONOTONIC` nanoseconds.
    pub at_ns: u64,
    /// What happened.
    pub what: What,
}

/// What happened to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Its body began.
    Begin {
        /// Who made it.
        caller: Caller,
        /// Its function, by number.
        function: u32,
        /// Its place in the program.
        node: u32,
    },
    /// A panic began in its body, which catches it.
    Stumble {
        /// The call that the panic's message names: one that is left out, or this one.
        named: CallId,
    },
    /// A panic began in its body, and ends it.
    Panic {
        /// As in [`What::Stumble`].
        named: CallId,
    },
    /// Its stream gave an error, which need not be its last item.
    Fail {
        /// The call in which the error began.
        origin: CallId,
    },
    /// Its body ended.
    End {
        /// How.
        outcome: Outcome,
        /// The call in which its error began; 0 for none.
        origin: CallId,
        /// Items that it gave, where it is a stream.
        items: Option<u32>,
        /// The call that is then the innermost one that runs on the thread.
        outer: Caller,
    },
}

/// Whose child a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The call whose body made it, or first polled it; 0 for none.
    pub call: CallId,
    /// It runs elsewhere, and has that parent because it was asked for.
    pub linked: bool,
}

impl Caller {
    /// Nobody.
    pub const NONE: Self = Self::of(0);

    /// A call that does the work itself.
    pub const fn of(call: CallId) -> Self {
        Self {
            call,
            linked: false,
        }
    }

    /// A call that has the work done elsewhere.
    pub const fn linked(call: CallId) -> Self {
        Self { call, linked: true }
    }

    const LINKED: u32 = 1 << 31;

    fn word(self) -> u32 {
        self.call | if self.linked { Self::LINKED } else { 0 }
    }

    fn from_word(word: u32) -> Self {
        Self {
            call: word & !Self::LINKED,
            linked: word & Self::LINKED != 0,
        }
    }
}

/// No number of items.
const NO_ITEMS: u32 = u32::MAX;
/// In the words of an event, the number of an end with the first outcome.
const ENDS: u32 = 4;

impl Event {
    /// Call and thread; the time; what happened, and how, in the halves of a word; two more words.
    fn words(self) -> [u64; 4] {
        let pair = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low);
        let (tag, [one, two, three]) = match self.what {
            What::Begin {
                caller,
                function,
                node,
            } => (0, [caller.word(), function, node]),
            What::Stumble { named } => (1, [named, 0, 0]),
            What::Panic { named } => (2, [named, 0, 0]),
            What::Fail { origin } => (3, [origin, 0, 0]),
            What::End {
                outcome,
                origin,
                items,
                outer,
            } => {
                let items = items.unwrap_or(NO_ITEMS);
                (ENDS + outcome as u32, [outer.word(), origin, items])
            }
        };
        [
            pair(self.call, self.tid),
            self.at_ns,
            pair(tag, one),
            pair(two, three),
        ]
    }

    fn from_words([first, at_ns, third, fourth]: [u64; 4]) -> Self {
        let pair = |word: u64| ((word >> 32) as u32, word as u32);
        let ((call, tid), (tag, one), (two, three)) = (pair(first), pair(third), pair(fourth));
        let what = match tag {
            0 => What::Begin {
                caller: Caller::from_word(one),
                function: two,
                node: three,
            },
            1 => What::Stumble { named: one },
            2 => What::Panic { named: one },
            3 => What::Fail { origin: one },
            ends => What::End {
                outcome: Outcome::ALL[(ends - ENDS) as usize],
                origin: two,
                items: (three != NO_ITEMS).then_some(three),
                outer: Caller::from_word(one),
            },
        };
        Self {
            call,
            tid,
            at_ns,
            what,
        }
    }
}

/// The one log of the process.
struct Log {
    events: Box<[Slot]>,
    next_event: AtomicUsize,
    next_call: AtomicU32,
    /// What else is known of calls, by number modulo its length.
    known: Box<[Known]>,
    /// Functions that are left out, by number.
    left_out: Vec<bool>,
}

/// What is known of a call besides its events.
#[derive(Default)]
struct Known {
    caller: AtomicU32,
    /// It is left out: nobody captures its function.
    left_out: AtomicBool,
    polls: AtomicU32,
    /// Nanoseconds in polls, as the body sees them.
    polled_ns: AtomicU64,
}

static LOG: OnceLock<Log> = OnceLock::new();

fn log() -> &'static Log {
    LOG.get().expect("`prepare` comes first")
}

/// Makes room for a program of so many calls, of which those of the functions `left_out` are not told
/// of. The first one who asks decides.
pub fn prepare(calls: u32, left_out: Vec<bool>) {
    LOG.get_or_init(|| {
        let calls = calls as usize;
        Log {
            events: (0..3 * calls).map(|_| Slot::default()).collect(),
            next_event: AtomicUsize::new(0),
            next_call: AtomicU32::new(1),
            known: (0..calls).map(|_| Known::default()).collect(),
            left_out,
        }
    });
}

/// Takes out what happened since the last time, in its order. No call may be running.
fn take() -> Vec<Event> {
    let log = log();
    let events = log.next_event.swap(0, Relaxed);
    let words = |slot: &Slot| slot.each_ref().map(|word| word.load(Relaxed));
    let taken = log.events[..events].iter();
    taken.map(|slot| Event::from_words(words(slot))).collect()
}

/// How a call was polled so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Polled {
    /// The call.
    pub call: CallId,
    /// How often.
    pub polls: u32,
    /// Nanoseconds of it, as its body sees them.
    pub polled_ns: u64,
}

/// How those of the calls in `events` were polled that were. No call may be running.
fn polled(events: &[Event]) -> Vec<Polled> {
    let begun = events
        .iter()
        .filter(|event| matches!(event.what, What::Begin { .. }));
    let polled = begun.map(|event| {
        let known = known(event.call);
        Polled {
            call: event.call,
            polls: known.polls.load(Relaxed),
            polled_ns: known.polled_ns.load(Relaxed),
        }
    });
    polled.filter(|polled| polled.polls > 0).collect()
}

fn push(call: CallId, what: What) {
    let log = log();
    let event = Event {
        call,
        tid: tid(),
        at_ns: now(),
        what,
    };
    let place = log.next_event.fetch_add(1, Relaxed);
    for (slot, word) in log.events[place].iter().zip(event.words()) {
        slot.store(word, Relaxed);
    }
}

/// The number of a call of `node` that is about to be made.
pub fn announce(caller: Caller, node: &Node) -> CallId {
    let call = log().next_call.fetch_add(1, Relaxed);
    let known = known(call);
    known
        .left_out
        .store(log().left_out[node.function as usize], Relaxed);
    known.polls.store(0, Relaxed);
    known.polled_ns.store(0, Relaxed);
    adopt(call, caller);
    call
}

/// It will be another caller that polls `call`, which has not begun.
pub fn adopt(call: CallId, caller: Caller) {
    known(call).caller.store(caller.word(), Relaxed);
}

fn known(call: CallId) -> &'static Known {
    let known = &log().known;
    &known[call as usize % known.len()]
}

fn is_left_out(call: CallId) -> bool {
    call != 0 && known(call).left_out.load(Relaxed)
}

/// Whose child a call is that `caller` makes now: where that is left out, whoever is outside of it.
fn told(caller: Caller) -> Caller {
    if is_left_out(caller.call) {
        INNERMOST.get()
    } else {
        caller
    }
}

/// As [`Caller::linked`], of the call that runs now. Where it is left out, and nothing is outside of it,
/// what is linked belongs to whoever runs it, as if it were not.
pub fn link_to(call: CallId) -> Caller {
    match told(Caller::of(call)).call {
        0 => Caller::of(call),
        outer => Caller::linked(outer),
    }
}

/// The body of `call` panics, and catches it.
pub fn stumble(call: CallId) {
    push_panic(call, |named| What::Stumble { named });
    let _ = catch_unwind(|| panic!("call {call} stumbled"));
}

/// A panic that names `call` begins, as `what` makes an event of it.
fn push_panic(call: CallId, what: impl FnOnce(CallId) -> What) {
    let inside = told(Caller::of(call));
    // What is linked runs elsewhere: the panic is not its own.
    if inside.call != 0 && !inside.linked {
        push(inside.call, what(call));
    }
}

thread_local! {
    /// The call whose body is the innermost one that runs on this thread.
    static INNERMOST: Cell<Caller> = const { Cell::new(Caller::NONE) };
}

/// Does `work` as `caller` would do it.
pub fn within<T>(caller: Caller, work: impl FnOnce() -> T) -> T {
    /// Puts back what was the innermost call before, also where `work` unwinds.
    struct Back(Caller);
    impl Drop for Back {
        fn drop(&mut self) {
            INNERMOST.set(self.0);
        }
    }
    let _back = Back(INNERMOST.replace(caller));
    work()
}

/// A body that has begun; dropped without [`Open::end`], it unwinds or its future is dropped.
pub struct Open {
    call: CallId,
    /// Nothing is told of it, and it is never the innermost one.
    left_out: bool,
    /// The body is the innermost one of its thread, or further out: it is being run or dropped.
    entered: AtomicBool,
    /// What is next outside of it while it is entered.
    outer: AtomicU32,
    /// The body is being run, and not suspended: dropped like this, it unwinds.
    running: AtomicBool,
    /// Items that it has given; [`NO_ITEMS`] where it is neither a stream nor an iterator.
    items: AtomicU32,
    /// Being dropped while suspended, on a thread that did not unwind before: if it does now, a
    /// destructor of the body's own panicked.
    dropping: AtomicBool,
}

/// Dropped before the body that it belongs to.
struct Dropping<'a>(&'a Open);

impl Drop for Dropping<'_> {
    fn drop(&mut self) {
        self.0.dropping.store(!thread::panicking(), Relaxed);
        self.0.enter();
    }
}

/// The body of `call` begins.
pub fn begin(call: CallId, node: &Node) -> Open {
    let known = known(call);
    let left_out = known.left_out.load(Relaxed);
    let mut outer = Caller::NONE;
    if !left_out {
        let what = What::Begin {
            caller: told(Caller::from_word(known.caller.load(Relaxed))),
            function: node.function,
            node: node.number,
        };
        push(call, what);
        outer = INNERMOST.replace(Caller::of(call));
    }
    Open {
        call,
        left_out,
        entered: AtomicBool::new(true),
        outer: AtomicU32::new(outer.word()),
        running: AtomicBool::new(true),
        items: AtomicU32::new(NO_ITEMS),
        dropping: AtomicBool::new(false),
    }
}

impl Open {
    /// Awaits a body, which is being run while it is polled.
    pub async fn during<F: Future>(&self, body: F) -> F::Output {
        let mut body = pin!(body);
        let _dropping = Dropping(self);
        poll_fn(|context| self.resumed(|| body.as_mut().poll(context))).await
    }

    /// Runs a body from one suspension to the next: a poll of it.
    pub fn resumed<T>(&self, body: impl FnOnce() -> T) -> T {
        let (known, begun_ns) = (known(self.call), now());
        known.polls.fetch_add(1, Relaxed);
        let polled = self.advanced(body);
        known.polled_ns.fetch_add(now() - begun_ns, Relaxed);
        polled
    }

    /// Runs the body of an iterator from one item to the next.
    pub fn advanced<T>(&self, body: impl FnOnce() -> T) -> T {
        self.running.store(true, Relaxed);
        self.enter();
        let answer = body();
        self.leave();
        self.running.store(false, Relaxed);
        answer
    }

    /// From here to [`Open::leave`] the body is the innermost one of this thread.
    fn enter(&self) {
        if !self.left_out && !self.entered.swap(true, Relaxed) {
            let outer = INNERMOST.replace(Caller::of(self.call));
            self.outer.store(outer.word(), Relaxed);
        }
    }

    /// Gives what is next outside of the body, which is the innermost one again.
    fn leave(&self) -> Caller {
        let outer = Caller::from_word(self.outer.load(Relaxed));
        if !self.left_out {
            self.entered.store(false, Relaxed);
            INNERMOST.set(outer);
        }
        outer
    }

    /// The body is that of a stream or iterator, which has given so many items.
    pub fn gave(&self, items: u32) {
        self.items.store(items, Relaxed);
    }

    /// The body, that of a stream or iterator, gives an error.
    pub fn fails(&self, failure: Failure) {
        let origin = failure.origin;
        if !self.left_out {
            push(self.call, What::Fail { origin });
        }
    }

    /// The body panics.
    pub fn panic(&self) -> ! {
        self.running.store(true, Relaxed);
        push_panic(self.call, |named| What::Panic { named });
        panic!("call {} panicked", self.call)
    }

    /// The body unwinds, and the panic hook does not run.
    pub fn unwind(&self) -> ! {
        resume_unwind(Box::new(()))
    }

    /// The body ends with what it returns.
    pub fn end(self, answer: &Answer) {
        let (outcome, origin) = match answer {
            Ok(_) => (Outcome::Ok, 0),
            Err(failure) => (Outcome::Err, failure.origin),
        };
        self.ends(outcome, origin);
        std::mem::forget(self);
    }

    fn ends(&self, outcome: Outcome, origin: CallId) {
        if self.left_out {
            return;
        }
        self.enter();
        let items = self.items.load(Relaxed);
        let what = What::End {
            outcome,
            origin,
            items: (items != NO_ITEMS).then_some(items),
            outer: self.leave(),
        };
        push(self.call, what);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let of_itself = *self.running.get_mut() || *self.dropping.get_mut();
        let unwinds = of_itself && thread::panicking();
        let outcome = if unwinds {
            Outcome::Panic
        } else {
            Outcome::Cancelled
        };
        self.ends(outcome, 0);
    }
}

fn tid() -> u32 {
    thread_local! {
        static TID: Cell<u32> = const { Cell::new(0) };
    }
    if TID.get() == 0 {
        // SAFETY: the call takes nothing and can't fail.
        TID.set(unsafe { libc::gettid() }.cast_unsigned());
    }
    TID.get()
}

fn now() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid timespec for the call to write.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

/// Writes the lines that say which function has which number.
pub fn write_functions(to: &mut impl Write) -> io::Result<()> {
    for (number, function) in functions::ALL.iter().enumerate() {
        let field = if function.field { "field" } else { "bare" };
        writeln!(to, "function {number} {} {field}", function.path)?;
    }
    Ok(())
}

/// Everything that one run of a program did.
pub struct Told {
    /// What the program was made from.
    pub seed: u64,
    /// What happened, in its order.
    pub events: Vec<Event>,
    /// How its calls were polled.
    pub polled: Vec<Polled>,
}

impl Told {
    /// What has happened since the last time. No call may be running.
    pub fn take(seed: u64) -> Self {
        let events = take();
        let polled = polled(&events);
        Self {
            seed,
            events,
            polled,
        }
    }

    /// How many calls began.
    pub fn calls(&self) -> usize {
        let begins = |event: &&Event| matches!(event.what, What::Begin { .. });
        self.events.iter().filter(begins).count()
    }

    /// Writes the lines of the program.
    pub fn write(&self, to: &mut impl Write) -> io::Result<()> {
        writeln!(to, "tree {}", self.seed)?;
        for event in &self.events {
            writeln!(to, "{event}")?;
        }
        for polled in &self.polled {
            writeln!(
                to,
                "polled {} {} {}",
                polled.call, polled.polls, polled.polled_ns
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.what {
            What::Begin { .. } => "begin",
            What::Stumble { .. } => "stumble",
            What::Panic { .. } => "panic",
            What::Fail { .. } => "fail",
            What::End { .. } => "end",
        };
        write!(f, "{word} {} {} {}", self.call, self.tid, self.at_ns)?;
        match self.what {
            What::Begin {
                caller,
                function,
                node,
            } => write!(f, " {caller} {function} {node}"),
            What::Stumble { named } | What::Panic { named } => write!(f, " {named}"),
            What::Fail { origin } => write!(f, " {origin}"),
            What::End {
                outcome,
                origin,
                items,
                outer,
            } => {
                write!(f, " {outer} {} {origin}", outcome.word())?;
                items.map_or(Ok(()), |items| write!(f, " {items}"))
            }
        }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.linked { "linked" } else { "inside" };
        write!(f, "{} {how}", self.call)
    }
}
