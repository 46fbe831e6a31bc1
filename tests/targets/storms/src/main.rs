//! Processes and threads that come and go while they are captured.
//!
//!     storms STORM [--count N]
//!
//! Prints `ready PID`, waits for a line, has the storm, prints how many children did not end well and
//! the truth about the calls of its own process, prints `done PID`, and waits for another line.
//!
//! | storm | what is done `--count` times | calls of `work` by this process |
//! |---|---|---|
//! | `calm` | nothing | 1 |
//! | `fork` | a child by `fork` makes calls and exits with 0 | 1 before each child |
//! | `clone` | the same by the bare system call `clone`, around the C library | 1 before each child |
//! | `threads` | a thread makes calls and ends; up to 16 at a time | `CALLS` each |
//! | `flight` | a future begins, and waits until all have begun and another line has come | 1 each |
//! | `exec` | the process executes its own binary anew | `CALLS` before each |

use std::future::poll_fn;
use std::hint::black_box;
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::pin::Pin;
use std::process::{Command, ExitCode};
use std::task::{Context, Poll, Waker};
use std::thread;

use truth::options::Options;
use truth::{Truth, gate, path};

/// Calls of a child, a thread, or an image of the process.
const CALLS: u64 = 100;
/// Threads at a time.
const THREADS: u64 = 16;

#[exoscope::instrument]
#[inline(never)]
fn work(n: u64) -> u64 {
    black_box(n) + 1
}

/// Makes calls, whose sum tells whether all were made.
fn calls() -> u64 {
    (0..CALLS).map(work).sum()
}

/// What [`calls`] gives.
const SUM: u64 = CALLS * (CALLS + 1) / 2;

/// A way to make a child: what `fork` returns.
type MakeChild = fn() -> libc::pid_t;

fn fork() -> libc::pid_t {
    // SAFETY: no other thread runs, so the child finds every lock free.
    unsafe { libc::fork() }
}

fn clone() -> libc::pid_t {
    // SAFETY: as `fork`, with nothing shared; the child keeps to calls of `work` and to `_exit`.
    unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) as libc::pid_t }
}

/// Has children that make calls; gives back how many did not end well.
fn children(count: u64, make: MakeChild, truth: &mut Truth) -> u64 {
    let lived = |n| {
        work(n);
        let child = make();
        assert!(child >= 0, "no child: {}", io::Error::last_os_error());
        if child == 0 {
            let sum = calls();
            // SAFETY: ends this process at once; nothing of it is used afterwards.
            unsafe { libc::_exit(i32::from(sum != SUM)) }
        }
        wait_for(child) == 0
    };
    let died = (0..count).filter(|n| !lived(*n)).count();
    truth.add(path!("work"), truth::Outcome::Ok, count);
    died as u64
}

/// Status of a child as `waitpid` gives it: 0 for an exit with 0.
fn wait_for(child: libc::pid_t) -> i32 {
    let mut status = -1;
    // SAFETY: `status` is a valid integer for the call to write.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    status
}

/// Has threads that make calls, up to [`THREADS`] at a time.
fn threads(count: u64, truth: &mut Truth) -> u64 {
    let mut wrong = 0;
    let mut left = count;
    while left > 0 {
        let some = left.min(THREADS);
        left -= some;
        let running: Vec<_> = (0..some).map(|_| thread::spawn(calls)).collect();
        let sums = running.into_iter().map(|thread| thread.join());
        wrong += sums.filter(|sum| !matches!(sum, Ok(SUM))).count() as u64;
    }
    truth.add(path!("work"), truth::Outcome::Ok, count * CALLS);
    wrong
}

/// Waits once.
#[exoscope::instrument]
async fn waits(n: u64) -> u64 {
    let mut polled = false;
    poll_fn(|_| match std::mem::replace(&mut polled, true) {
        true => Poll::Ready(()),
        false => Poll::Pending,
    })
    .await;
    n + 1
}

/// Has futures that are all in flight at once; gives back how many did not do what they should.
fn flight(count: u64, truth: &mut Truth) -> u64 {
    let mut futures: Vec<_> = (0..count).map(|n| Box::pin(waits(n))).collect();
    let early = poll_all(&mut futures, |_| Poll::Pending);
    gate::pause("flying");
    let wrong = poll_all(&mut futures, |n| Poll::Ready(n + 1));
    truth.add(path!("waits"), truth::Outcome::Ok, count);
    early + wrong
}

/// Polls each once; gives back how many said something else than what is right for their number.
fn poll_all(
    futures: &mut [Pin<Box<impl Future<Output = u64>>>],
    right: fn(u64) -> Poll<u64>,
) -> u64 {
    let mut context = Context::from_waker(Waker::noop());
    let mut wrong = 0;
    for (future, n) in futures.iter_mut().zip(0..) {
        wrong += u64::from(future.as_mut().poll(&mut context) != right(n));
    }
    wrong
}

/// Makes calls and becomes the same program once more, `count` times.
fn executes(count: u64, truth: &mut Truth) -> Result<(), String> {
    calls();
    truth.add(path!("work"), truth::Outcome::Ok, CALLS);
    let Some(left) = count.checked_sub(1) else {
        return Ok(());
    };
    truth.print(1);
    // What can't be written is missed by the reader of the truth.
    let _ = io::stdout().flush();
    let mut again = Command::new("/proc/self/exe");
    let failed = again.args(["exec", "--again", "--count", &left.to_string()]);
    Err(format!("can't execute again: {}", failed.exec()))
}

fn storm(mut options: Options) -> Result<(), String> {
    let count = options.value("--count")?.unwrap_or(10);
    let again = options.flag("--again");
    let name: String = options.free("storm")?;
    options.finish()?;
    if !again {
        gate::pause("ready");
    }
    let mut truth = Truth::default();
    let died = match name.as_str() {
        "calm" => {
            work(1);
            truth.ok(path!("work"));
            0
        }
        "fork" => children(count, fork, &mut truth),
        "clone" => children(count, clone, &mut truth),
        "threads" => threads(count, &mut truth),
        "flight" => flight(count, &mut truth),
        "exec" => {
            executes(count, &mut truth)?;
            0
        }
        _ => return Err(format!("there is no storm `{name}`")),
    };
    println!(r#"{{"died":{died}}}"#);
    truth.print(1);
    gate::pause("done");
    Ok(())
}

fn main() -> ExitCode {
    match storm(Options::from_env()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("storms: {error}");
            ExitCode::from(2)
        }
    }
}
