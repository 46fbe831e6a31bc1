//! A child and a grandchild, each of which makes the calls of a part and exits with 0.
//!
//! | function | calls | outcome |
//! |---|---|---|
//! | `with_child` | 1 in the parent, 1 in the child | ok |
//!
//! The fork happens inside a call, which the new process has on its stack too and never leaves: it
//! began in the parent and is no call of the child. Every process prints the truth of its own pid.

use std::io::{self, Write};

use truth::{Truth, path};

/// Generations below the first process.
const GENERATIONS: u32 = 2;

/// Forks; the child runs `part`, has a child of its own, prints its truth as part 2 and exits.
pub fn run(part: &mut dyn FnMut(&mut Truth), truth: &mut Truth) {
    let mut generation = 0;
    with_child(&mut generation, part);
    truth.ok(path!("with_child"));
}

/// Returns in the process that called it only, after its child has ended.
#[exoscope::instrument]
#[inline(never)]
fn with_child(generation: &mut u32, part: &mut dyn FnMut(&mut Truth)) {
    // SAFETY: no other thread runs here, so the child finds every lock free.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "fork failed: {}", io::Error::last_os_error());
    if child > 0 {
        let status = wait_for(child);
        println!(
            r#"{{"pid":{},"child":{child},"wait_status":{status}}}"#,
            std::process::id()
        );
        return;
    }
    *generation += 1;
    be_child(generation, part);
}

/// The life of a child.
fn be_child(generation: &mut u32, part: &mut dyn FnMut(&mut Truth)) -> ! {
    let mut truth = Truth::default();
    part(&mut truth);
    if *generation < GENERATIONS {
        with_child(generation, part);
        truth.ok(path!("with_child"));
    }
    truth.print(2);
    // What can't be written is missed by the reader of the truth.
    let _ = io::stdout().flush();
    // SAFETY: ends this process at once; nothing of it is used afterwards.
    unsafe { libc::_exit(0) }
}

/// Status of the child as `waitpid` gives it: 0 for an exit with 0, the number of the signal (plus
/// 128 with a core dump) where one killed it.
fn wait_for(child: libc::pid_t) -> i32 {
    let mut status = 0;
    // SAFETY: `status` is a valid integer for the call to write.
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!(
        waited,
        child,
        "waitpid failed: {}",
        io::Error::last_os_error()
    );
    status
}
