//! Functions to time, bare and marked side by side in one process, on command.
//!
//! Reads commands, one a line, from standard input and answers each with one line:
//!
//! | command | answer |
//! |---|---|
//! | `time FUNCTION CALLS` | `ns_per_call 2.31`: median of [`ROUNDS`] rounds of CALLS calls |
//! | `pair BARE MARKED CALLS` | `ns_bare 2.31 ns_marked 3.35 ns_added 1.02`: medians of [`PAIRS`] pairs of CALLS calls of each, in turn |
//! | `crowd FUNCTION CALLS THREADS` | `cpu_ns_per_call 2.31`: CPU time of THREADS threads that each make CALLS calls at once |
//! | `call FUNCTION CALLS` | `calls CALLS`, once they are made |
//! | `rss` | `rss_bytes N` |
//! | `threads` | `threads N` |
//! | `allocs` | `allocs N`: allocations since the start |
//! | `pid` | `pid N` |
//! | `quit` | none: the process ends, as it does at the end of its input |
//! | anything else | `error …` |
//!
//! No command but `crowd` allocates, so that two readings of `allocs` differ by what the markers allocated.

mod allocations;
mod functions;
mod process;

use std::fmt;
use std::io::{self, BufRead, Write};
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

/// Rounds of one `time`.
const ROUNDS: usize = 7;
/// Pairs of one `pair`.
const PAIRS: usize = 301;

/// Medians of pairs, in nanoseconds a call.
struct Pair {
    bare: f64,
    marked: f64,
    /// Of the difference within a pair: whatever the machine does for longer than one pair is in both.
    added: f64,
}

/// What one command is answered with.
enum Answer {
    NsPerCall(f64),
    CpuNsPerCall(f64),
    Pair(Pair),
    Calls(u64),
    Number(&'static str, u64),
    Error(&'static str),
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NsPerCall(ns) => write!(f, "ns_per_call {ns:.3}"),
            Self::CpuNsPerCall(ns) => write!(f, "cpu_ns_per_call {ns:.3}"),
            Self::Pair(Pair {
                bare,
                marked,
                added,
            }) => write!(
                f,
                "ns_bare {bare:.3} ns_marked {marked:.3} ns_added {added:.3}"
            ),
            Self::Calls(calls) => write!(f, "calls {calls}"),
            Self::Number(what, number) => write!(f, "{what} {number}"),
            Self::Error(sentence) => write!(f, "error {sentence}"),
        }
    }
}

/// The answer to a command, or `None` for `quit`.
fn answer(line: &str) -> Option<Answer> {
    let mut words = line.split_ascii_whitespace();
    Some(match words.next() {
        Some("time") => with_function(words, |run, calls| Answer::NsPerCall(time(run, calls))),
        Some("pair") => {
            let bare = words.next().and_then(functions::find);
            with_function(words, |marked, calls| match bare {
                Some(bare) => Answer::Pair(pair(bare, marked, calls)),
                None => UNKNOWN,
            })
        }
        Some("crowd") => {
            let (function, calls) = (words.next(), words.next());
            let threads = words.next().and_then(|word| word.parse().ok());
            let Some(threads) = threads.filter(|threads| *threads > 0) else {
                return Some(Answer::Error(
                    "the number of threads must be a whole number above 0",
                ));
            };
            with_function(function.into_iter().chain(calls), |run, calls| {
                Answer::CpuNsPerCall(crowd(run, calls, threads))
            })
        }
        Some("call") => with_function(words, |run, calls| {
            run(calls);
            Answer::Calls(calls)
        }),
        Some("rss") => Answer::Number("rss_bytes", process::rss_bytes()),
        Some("threads") => Answer::Number("threads", process::threads()),
        Some("allocs") => Answer::Number("allocs", allocations::count()),
        Some("pid") => Answer::Number("pid", std::process::id().into()),
        Some("quit") => return None,
        _ => Answer::Error(
            "unknown command, known are time, pair, crowd, call, rss, threads, allocs, pid, quit",
        ),
    })
}

/// The answer where a function is not in the table.
const UNKNOWN: Answer = Answer::Error("unknown function, see the table in functions.rs");

/// Reads `FUNCTION CALLS` and hands them to `act`.
fn with_function<'a>(
    mut words: impl Iterator<Item = &'a str>,
    act: impl FnOnce(functions::Run, u64) -> Answer,
) -> Answer {
    let Some(run) = words.next().and_then(functions::find) else {
        return UNKNOWN;
    };
    match words.next().and_then(|word| word.parse().ok()) {
        Some(calls) if calls > 0 => act(run, calls),
        _ => Answer::Error("the number of calls must be a whole number above 0"),
    }
}

/// Nanoseconds a call: the median of [`ROUNDS`] rounds.
fn time(run: functions::Run, calls: u64) -> f64 {
    median(&mut std::array::from_fn::<_, ROUNDS, _>(|_| {
        once(run, calls)
    }))
}

/// Nanoseconds a call of two functions that are called in turn, and how far they are apart.
fn pair(bare: functions::Run, marked: functions::Run, calls: u64) -> Pair {
    let pairs: [_; PAIRS] = std::array::from_fn(|_| [once(bare, calls), once(marked, calls)]);
    Pair {
        bare: median(&mut pairs.map(|[bare, _]| bare)),
        marked: median(&mut pairs.map(|[_, marked]| marked)),
        added: median(&mut pairs.map(|[bare, marked]| marked - bare)),
    }
}

/// Nanoseconds of CPU time a call, of threads that call at once.
fn crowd(run: functions::Run, calls: u64, threads: usize) -> f64 {
    let begin = Barrier::new(threads);
    let one = || {
        begin.wait();
        let before = process::thread_cpu_ns();
        run(calls);
        process::thread_cpu_ns() - before
    };
    let ns: u64 = thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        let times = running.into_iter().map(|thread| thread.join());
        times.map(|ns| ns.expect("no function panics")).sum()
    });
    ns as f64 / (calls * threads as u64) as f64
}

/// Nanoseconds a call of one run.
fn once(run: functions::Run, calls: u64) -> f64 {
    let begin = Instant::now();
    run(calls);
    begin.elapsed().as_nanos() as f64 / calls as f64
}

fn median<const N: usize>(values: &mut [f64; N]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[N / 2]
}

fn main() -> io::Result<()> {
    let mut input = io::stdin().lock();
    let mut output = io::stdout().lock();
    let mut line = String::with_capacity(256);
    while input.read_line(&mut line)? > 0 {
        let Some(answer) = answer(&line) else { break };
        writeln!(output, "{answer}")?;
        line.clear();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_what_it_is_asked() {
        assert_eq!(answer("call marked 5").unwrap().to_string(), "calls 5");
        assert!(
            answer("time bare 1000")
                .unwrap()
                .to_string()
                .starts_with("ns_per_call ")
        );
        let pair = answer("pair bare marked 1000").unwrap().to_string();
        let words: Vec<_> = pair.split(' ').step_by(2).collect();
        assert_eq!(words, ["ns_bare", "ns_marked", "ns_added"]);
        let crowd = answer("crowd bare 1000 3").unwrap().to_string();
        assert!(crowd.starts_with("cpu_ns_per_call "), "{crowd}");
        assert!(answer("rss").unwrap().to_string().starts_with("rss_bytes "));
        assert!(answer("quit").is_none());
    }

    #[test]
    fn says_what_it_can_not_do() {
        for line in [
            "",
            "dance",
            "time nothing 5",
            "time bare",
            "time bare 0",
            "pair nothing marked 5",
            "pair bare 5",
            "crowd bare 5",
            "crowd bare 5 0",
            "crowd nothing 5 2",
            "call bare many",
        ] {
            assert!(
                answer(line).unwrap().to_string().starts_with("error "),
                "{line}"
            );
        }
    }
}
