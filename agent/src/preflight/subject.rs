//! The program that the self-test attaches to: this one, started again with a hidden command.
//!
//! It reads commands from standard input, a line each, and answers with a line each:
//! `calls N` makes N calls and answers with the nanoseconds they took; `fork N` makes N calls in a
//! forked child and answers with the child's wait status.

use std::hint::black_box;
use std::io::{BufRead as _, Write as _};
use std::time::Instant;

/// Full path of the function whose markers the self-test attaches to.
pub const FUNCTION: &str = "exoscope_agent::preflight::subject::call_me";

#[exoscope::instrument]
#[inline(never)]
fn call_me(number: u64) -> u64 {
    black_box(number)
}

fn calls(count: u64) -> u128 {
    let start = Instant::now();
    for number in 0..count {
        black_box(call_me(number));
    }
    start.elapsed().as_nanos()
}

/// Wait status of a forked child that makes `count` calls; -1 where there is no child.
fn forked_calls(count: u64) -> i32 {
    // SAFETY: this process has one thread, so the child may do anything.
    let child = unsafe { libc::fork() };
    if child == 0 {
        calls(count);
        // SAFETY: ends the child without running the parent's exit handlers.
        unsafe { libc::_exit(0) };
    }
    let mut status = -1;
    // SAFETY: `status` is valid for the call to write.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    status
}

/// Obeys commands until standard input ends.
///
/// # Errors
/// Where standard input or output breaks.
pub fn run() -> std::io::Result<()> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "ready")?;
    output.flush()?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let answer = match line.split_once(' ') {
            Some(("calls", count)) => count.parse().map(calls).unwrap_or_default() as i128,
            Some(("fork", count)) => i128::from(count.parse().map(forked_calls).unwrap_or(-1)),
            _ => -1,
        };
        writeln!(output, "{answer}")?;
        output.flush()?;
    }
    Ok(())
}
