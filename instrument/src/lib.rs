//! Markers that exoscope reads from outside: exact calls of a running program, at almost no cost
//! while nobody looks.
//!
//! ```
//! #[exoscope::instrument]
//! fn parse(text: &str) -> Result<u32, std::num::ParseIntError> {
//!     text.trim().parse()
//! }
//!
//! assert_eq!(parse(" 12 "), Ok(12));
//! ```
//!
//! Every execution of an instrumented function is one call: it begins in one `entry` marker and
//! ends in exactly one `exit` or `error` marker. A marker is a few `nop` instructions and a note in
//! the binary that says where they are. The agent, another process, has the kernel turn them into
//! probes while it looks. There is no thread, no buffer, no lock and no system call of ours in the
//! program, and the provider `exoscope` is there for other tools too:
//! `bpftrace -e 'usdt:./app:exoscope:entry { @[str(arg0)] = count(); }'`.
//!
//! # Switching it on
//!
//! Markers are compiled in with the feature `enabled`. Without it the attributes give back what they
//! got, token for token, this crate has no dependency but its macros, and the binary no trace of it.
//! Let a feature of your own switch it:
//!
//! ```toml
//! [dependencies]
//! exoscope = "0.1"
//!
//! [features]
//! profile = ["exoscope/enabled"]
//! ```
//!
//! # Kinds of functions
//!
//! What is one call, and so one row of the agent's file, and how it ends. Where nothing else is said, a
//! call is one execution of the function's body, and ends as `ok`, `err` or `panic`.
//!
//! | functions | their rows |
//! |---|---|
//! | `fn`, also within functions, in macros, behind `cfg` | one each execution |
//! | generic over types, numbers and lifetimes; `impl Trait` in arguments and results | as above; all instances are one function |
//! | recursive ones | one each level, the child of the one before; each takes 16 bytes more of the stack, and more [without optimization](#limits) |
//! | methods with any receiver (`self`, `&self`, `Pin<&mut Self>`, `Box<Self>`, `Arc<Self>`), associated functions, implementations for every type or for types of others | one each execution, with the name of the type in its path |
//! | defaults of traits, and calls through trait objects | one each execution, under the name of the block that has the code: the trait's, or that of its `impl` |
//! | methods of traits without a body | none: the attribute may stand there, and has no effect |
//! | operators and other traits of the language: `Deref`, `Index`, `Add`, `Iterator::next`, `Drop::drop`, `From`, `Display` | one each time the compiler or a library calls it, in the call in which that happens |
//! | closures, values of the `Fn` types | with [`call!`] in their body, one each time they run; a function that returns a closure is a call of its own execution |
//! | function pointers | those of the function that they point at |
//! | `unsafe`, `extern "C"` with a body | one each execution, whoever calls it |
//! | patterns in arguments, destructured as they were | one each execution |
//! | `#[inline]`, `#[inline(always)]` | one each execution; the function has a site wherever it was inlined |
//! | `#[track_caller]` | one each execution; `Location::caller()` is the caller's, but see the limits |
//! | `#[must_use]`, `#[deprecated]` and other attributes of the compiler | one each execution; they mean what they meant |
//! | `#[test]`, `main` | one; `main` is the parent of what the main thread calls |
//! | `#[tokio::main]`, `#[tokio::test]` before or after this attribute | one, the `async` body |
//! | `const fn` in an instrumented block or module, and what is under [`macro@skip`] | none: it stays as it is, token for token |
//! | in an instrumented `impl`, `trait` or inline `mod` | those of every function in it, each as in this table |
//!
//! | what a function returns | its outcome |
//! |---|---|
//! | `()`, references, `Option`, large values, anything that is no `Result` | `ok` |
//! | `Result` under any alias, with `anyhow`, a boxed or any other error, by `return`, `?`, a labelled `break` or as the last expression | `ok` or `err` |
//! | `!` | `panic`, or none while it runs |
//!
//! | panics and ends | rows |
//! |---|---|
//! | a panic unwinds through calls | each is a `panic`, with what the panic said; destructors that run meanwhile end as ever |
//! | it is caught, or goes on after that | calls inside of the `catch_unwind` are `panic`, those outside end as they return; one that is resumed is a `panic` in those too |
//! | in a destructor, while another one unwinds, in another thread | those of the calls through which it unwinds |
//! | `panic = "abort"`, `process::exit`, `abort`, a fatal signal, `exec` | all open calls are `target_died` |
//! | a thread ends in the middle of a call by the system call, or still runs when `main` returns | its open calls are `target_died` in the end |
//! | something else unwinds, such as `pthread_exit` | `cancelled` |
//! | `fork`, with `exec` or without | none of the child's calls |
//! | a signal's handler makes calls | children of the call that it interrupts |
//!
//! | functions | what is one call, and its outcome |
//! |---|---|
//! | `async fn`, also in traits, by `async_trait`, and recursive through a box | the future, from its first poll to its end: `ok`, `err`, `panic`, or `cancelled` where it was dropped before it was complete |
//! | `fn … -> impl Future`, with or without `Output = …` | the future that is returned; what runs before it is not part of the call |
//! | `fn … -> Pin<Box<dyn Future>>`, `BoxFuture`, `LocalBoxFuture` | the same |
//! | `async` blocks and closures, and whatever else is a future | with [`future!`], the future |
//! | futures under `select!`, `join!`, timeouts and `abort` | one each: they overlap, with one parent; who loses is `cancelled` |
//! | futures of `spawn`, `LocalSet` and other executors, polled by hand or on several threads | one each; its parent is the call in which it was first polled, so that of a task's has none unless [`current_call`] and [`InCall`] give it one |
//! | `spawn_blocking` and threads | those of the functions that run there, the same |
//! | a future that is never polled | none |
//! | a future that never completes | one that is in flight while it lives, and `unfinished` or `target_died` in the end |
//! | `fn … -> impl Stream`, `Pin<Box<dyn Stream>>`, `BoxStream`, `LocalBoxStream` (feature `stream`), also of `async-stream` | the stream, from its first poll until it has no more items, with their number: `ok`, `err` if its last item is an `Err`, `panic`, `cancelled`; none where it is never polled |
//! | `fn … -> impl Iterator` | the iterator, from its first `next`; else as a stream |
//! | streams and iterators with `items` | one for the whole, and one [each item](#items) |
//! | streams and iterators in the body of another function, and under combinators | with `stream!` and [`iterator!`], the same |
//!
//! - `err` is any `Result::Err`. The type decides, at compile time: no bound is added. The error's message
//!   is taken from `Display`, or else `Debug`, and is formatted only while somebody wants it, into 512
//!   bytes on the stack. An error that goes through several calls is `err` in each, and one line among
//!   the errors, at the call where it began.
//! - The message of an error that a stream or iterator ends with is that of its last item: each `Err` is
//!   formatted as it is handed on, while somebody wants messages, because it is gone by the time it shows
//!   that nothing follows.
//! - A call is known by the address of its state (on the stack, or in the future), not by its thread:
//!   futures move between threads.
//!
//! The attribute refuses what can not work, at your own tokens and with what to do instead: `const fn`,
//! functions of `extern` blocks and without a body, naked and variadic functions, generators (`gen fn`,
//! and functions that end in a `gen` block), closures, expressions, modules in files of their own, and
//! items that are no function.
//!
//! # Names
//!
//! The full path is `module::name`, with the type in between where the attribute stands on the `impl`
//! block or trait: `shop::cart::Cart::add`. `name = "…"` replaces what comes after the module. For a
//! method with an attribute of its own the agent finds the type in the binary's symbols.
//!
//! # Options
//!
//! They are those of `tracing::instrument`, so `use exoscope::instrument` may take its place:
//!
//! ```
//! use exoscope::instrument;
//!
//! #[instrument(name = "checkout", level = "info", skip_all, fields(%id, items = items.len()), err)]
//! async fn check_out(id: u64, items: Vec<String>) -> Result<(), std::io::Error> {
//!     Ok(())
//! }
//! # drop(check_out(1, Vec::new()));
//! ```
//!
//! | option | meaning here |
//! |---|---|
//! | `name = "…"`, `"…"` | the name |
//! | `err`, `err(Debug)`, `err(Display)`, `err(level = …)` | errors are always seen; `Debug` or `Display` says how their message is written |
//! | `fields(…)` | captured, see below |
//! | `args(a, b)` | captures these arguments; an addition to the options of `tracing` |
//! | `items` | each item of a stream or iterator is a call of its own too, see below; an addition to the options of `tracing` |
//! | `ret`, `ret(Debug)`, `ret(Display)` | captures the returned value as the field `return`; beside `err`, that of an `Ok` only |
//! | `skip(…)`, `skip_all` | accepted: arguments are never taken unless named, so the compiler may say that nothing uses one |
//! | `level`, `target`, `parent`, `follows_from`, and `level` in `err(…)` and `ret(…)` | accepted, and have no meaning from outside; their expressions are not evaluated |
//! | any other | a warning on a function, as with `tracing`, and no effect; an error on a block |
//!
//! On a block or module, options are those of each function in it, and what is about one function (`name`,
//! `fields`, `args`, `skip(…)`) is an error.
//!
//! # Items
//!
//! With `items` each item of a stream or iterator is a call, a child of the stream's, with the name
//! `NAME::item`. It begins in the first poll (or `next`) after the item before, is the parent of what
//! runs in the meantime, and ends with the item: `ok`, or `err` if that is an `Err`. One that ends
//! without an item, because no more came or the stream was dropped, is `cancelled`.
//!
//! ```
//! #[exoscope::instrument(items)]
//! fn halves(numbers: Vec<u32>) -> impl Iterator<Item = Result<u32, String>> {
//!     let half = |n: u32| (n % 2 == 0).then_some(n / 2).ok_or_else(|| format!("{n} is odd"));
//!     numbers.into_iter().map(half)
//! }
//! // One call of `halves`, and of `halves::item` one `ok`, one `err` and one `cancelled`.
//! assert_eq!(halves(vec![4, 5]).filter_map(Result::ok).collect::<Vec<_>>(), [2]);
//! ```
//!
//! # Polls
//!
//! With `exoscope attach --polls` the time of each future and stream is split. It was *polled*; it was
//! *ready*, from the first wake-up after a poll had begun to the next poll (or to its drop), though not
//! before that poll had ended; or it was *suspended*, and waited for something. Much ready time is an
//! executor that does not get to its tasks. While that is captured, each poll gets a waker of this
//! library, which forwards to the task's own. Nothing is allocated for it, but
//! [`Waker::will_wake`](core::task::Waker::will_wake) tells it from the task's own, and a program with
//! more than 16 kinds of wakers has no ready time for the calls that the others wake.
//!
//! # Fields
//!
//! `fields(…)` has the syntax of `tracing`: `a`, `%a`, `?a`, `self.b`, `a = expression`,
//! `a.b = %expression`, `"any text" = ?expression`, `{ CONSTANT } = expression`, and `display(…)` and
//! `debug(…)` in expressions.
//!
//! ```
//! #[exoscope::instrument(fields(user.id = id, name = %name.trim(), ?tags), ret)]
//! fn register(id: u64, name: &str, tags: &[&str]) -> usize {
//!     tags.len()
//! }
//! # register(1, " a ", &["b"]);
//! ```
//!
//! The expressions are evaluated only while somebody captures fields: when the call has begun and its
//! arguments are still whole, for futures in their first poll. Nothing is allocated: what they come to
//! is written to the stack, up to 2,016 bytes a call with their names and 4 bytes each. What does not
//! fit is cut, and the row says so (`fields_truncated`).
//!
//! `%` takes `Display` and `?` takes `Debug`. Otherwise the type decides, at compile time: numbers and
//! bools stay what they are, strings and paths are text, `[u8]` and C strings are bytes, an `Option`
//! is what is in it or nothing, and any other type is written by `Debug` or else `Display`. The file
//! has them as a JSON object: bytes as text with the escapes of Rust (`\xff`), a NUL as `\u0000`.
//!
//! Attribute macros that rewrite an `async fn`, such as `tokio::main` or `async_trait`, may stand
//! before or after this one.
//!
//! # Cost
//!
//! While nobody looks, a call costs less than 1 ns (measured on x86-64 for functions that return a number
//! or a `Result`), and up to 2 ns where something else is busy on the same core; so does a future that is
//! ready at once, and each poll. A value that a function returns is made where the caller
//! wants it, as ever, and only moved while somebody looks at it.
//!
//! | a call of | takes |
//! |---|---|
//! | a function | 16 bytes of the stack |
//! | an `async fn`, a future in a box | 24 bytes of the future |
//! | a function that returns `impl Future`, [`future!`] | 32 bytes of the future |
//! | a stream or iterator | 40 bytes of it, and 32 more with `items` |
//!
//! A future does not become larger otherwise: in a nest it is these bytes for each level that is open at
//! once. It stays `Send`, `Sync` and `Unpin` if it was, and asks for none of them.
//!
//! # Limits
//!
//! - The compiler looks into what a future holds, and so on, down to 128 types unless
//!   `#![recursion_limit = "…"]` says otherwise. A marked future is one type more for each level, beside
//!   the four of a bare one. So a nest of `async fn`s that await each other without a box may be 25 deep
//!   where a bare one may be 32 deep (Rust 1.95). A deeper one needs `#![recursion_limit = "256"]`, as the
//!   compiler then says, or a box on its way.
//! - Of functions that return a future, stream or iterator without being `async`, `fields` and `args`
//!   are captured where the last expression is an `async` block, alone or in `Box::pin(…)`, and not
//!   otherwise.
//! - A value of a type that is neither of the above nor has `Debug` or `Display` is left out, as is
//!   `tracing::field::Empty`: nothing can be recorded later.
//! - Without optimization a call takes more of the stack: some 130 bytes, and as much as the returned value
//!   once more; the poll of a future some 700 bytes, and as much as the returned value several times. What
//!   recurses so deep that it comes near the end of the stack has to be built with `opt-level = 1` or
//!   more, or to get a larger stack (`RUST_MIN_STACK` for threads).
//! - Arguments are dropped after a synchronous call has ended, unless its body moves them: the time of
//!   their destructors belongs to the caller.
//! - In a `#[track_caller]` function whose body has a `?`, or a macro that is not of the standard
//!   library, `Location::caller()` names a line of the function itself: the body runs in a closure then.
//! - Where a function returns a generic type, such as `T` or `T::Output`, that happens to be a
//!   `Result` for one caller, its errors are `ok`. So are other types that stand for failure.
//! - A boxed future or stream is wrapped inside the box the function makes: `Box::pin(…)`, `.boxed()`
//!   or `.boxed_local()` as the last expression, with no `return`, `?` or macro before it. Otherwise it
//!   is boxed once more, which is the one allocation of ours in the program.
//! - A function that returns a future, stream or iterator with more bounds than a call can keep, such as
//!   `impl Iterator + Clone` or `impl DoubleEndedIterator`, or an iterator in a box, is a call of its own
//!   execution: what it returns is not part of it.
//! - A panic in the `Display` or `Debug` of an error ends the message and goes no further, but the
//!   panic hook has then run.
//! - `process::exit` and `abort` run no destructor: the agent closes the calls that were open, when it
//!   sees the process end.
//! - The message of a panic is captured by a hook over the default one, which is set before `main`. A
//!   program that sets a hook of its own and does not call the one before it captures none.
//! - Under `panic = "abort"` nothing unwinds: the agent sees the process end, and has the message.
//! - A child made by a raw `clone` system call while fast markers are attached is not guarded: it dies of
//!   `SIGSEGV` at its first marked call. One of `fork` is. Where a program makes such children, look into it
//!   with `--markers safe`.
//! - Markers exist on Linux on x86-64. On 64-bit ARM they are compiled, with a single `nop`, and have
//!   not been run. Everywhere else a function runs its body and nothing else.
#![cfg_attr(not(feature = "enabled"), no_std)]

#[cfg(feature = "enabled")]
mod call;
#[cfg(feature = "enabled")]
mod chain;
#[cfg(all(feature = "enabled", target_os = "linux", target_arch = "x86_64"))]
mod chain_place;
#[cfg(feature = "enabled")]
mod contain;
#[cfg(feature = "enabled")]
mod detail;
#[cfg(feature = "enabled")]
mod fields;
#[cfg(all(feature = "enabled", target_os = "linux", target_arch = "x86_64"))]
mod fork_guard;
#[cfg(feature = "enabled")]
mod future;
#[cfg(all(feature = "enabled", target_os = "linux"))]
mod init;
#[cfg(feature = "enabled")]
mod inspect;
#[cfg(feature = "enabled")]
mod items;
#[cfg(feature = "enabled")]
mod iterator;
mod link;
mod macros;
#[cfg(feature = "enabled")]
mod marker;
#[cfg(all(feature = "enabled", target_os = "linux"))]
mod panic;
#[cfg(feature = "enabled")]
mod poll;
#[cfg(feature = "enabled")]
mod record;
#[cfg(feature = "enabled")]
mod returned;
#[cfg(all(feature = "enabled", feature = "stream"))]
mod stream;
#[cfg(feature = "enabled")]
mod token;
#[cfg(feature = "enabled")]
mod turns;
#[cfg(feature = "enabled")]
mod waker;

pub use exoscope_macros::{instrument, skip};
pub use link::{Call, InCall, Linked, current_call};

/// There are markers for this target; elsewhere a function runs its body and nothing else.
#[cfg(feature = "enabled")]
const SUPPORTED: bool = cfg!(all(
    target_os = "linux",
    any(
        all(target_arch = "x86_64", target_pointer_width = "64"),
        all(target_arch = "aarch64", target_endian = "little")
    )
));

/// What expansions use. Not part of the interface: it changes without notice.
#[cfg(feature = "enabled")]
#[doc(hidden)]
pub mod __private {
    pub use crate::call::{Open, State, body};
    pub use crate::fields::{Fields, capture};
    pub use crate::future::{MovableFutureCall, PinnedFutureCall};
    pub use crate::inspect::{
        Anything, Inspect, InspectAnything, InspectDebugged, InspectDebuggedFirst,
        InspectDisplayed, InspectOpaque, Kind, kind_of_output, unknown, with_output,
        with_output_of,
    };
    pub use crate::iterator::{IteratorCall, kind_of_next, with_next, with_next_of};
    pub use crate::marker::{Function, abi, joined, joined_len, or_tools};
    pub use crate::record::{
        AsDebug, AsDisplay, RecordAsDebug, RecordAsDisplay, RecordNothing, RecordTyped, debug,
        display,
    };
    pub use crate::returned::{PartInOk, PartWhole, RecordOption, Returned};
    #[cfg(feature = "stream")]
    pub use crate::stream::{StreamCall, kind_of_item, with_item, with_item_of};

    /// The type a function pointer returns.
    pub trait Returns {
        /// It.
        type Type;
    }
    impl<T> Returns for fn() -> T {
        type Type = T;
    }
    /// `!`, which can be written after an arrow only.
    pub type Never = <fn() -> ! as Returns>::Type;
}

/// What expansions use. Not part of the interface: it changes without notice.
#[cfg(not(feature = "enabled"))]
#[doc(hidden)]
pub mod __private {
    /// Runs a block as a closure, as it runs while markers are compiled in.
    #[inline(always)]
    pub fn body<R>(body: impl FnOnce() -> R) -> R {
        body()
    }
}
