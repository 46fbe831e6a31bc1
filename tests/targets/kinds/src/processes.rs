//! Processes and threads that end, fork, and are interrupted, in the middle of calls.

use crate::case::Case;

/// The cases of this file.
pub const CASES: &[Case] = &[
    threads::CASE,
    thread_locals::CASE,
    forks::CASE,
    forks_and_executes::CASE,
    child_processes::CASE,
    signals::CASE,
    interrupted::CASE,
    before_main::CASE,
    after_main::CASE,
    main_returns::CASE,
    thread_ends::CASE,
    #[cfg(panic = "unwind")]
    thread_exits::CASE,
    exits::CASE,
    exits_elsewhere::CASE,
    exits_at_once::CASE,
    never_returns::CASE,
    aborts::CASE,
    killed::CASE,
    terminated::CASE,
    faults::CASE,
    overflows::CASE,
    executes::CASE,
    #[cfg(panic = "unwind")]
    panics_while_unwinding::CASE,
    #[cfg(panic = "unwind")]
    panics_out_of_c::CASE,
    #[cfg(panic = "abort")]
    panic_aborts::CASE,
];

/// Calls of several threads at once: each has its own chain.
pub mod threads {
    use std::sync::Barrier;
    use std::thread;

    use crate::case::ok;

    #[exoscope::instrument]
    fn first(together: &Barrier) {
        step();
        // The second begins only when the first has, and ends before it does.
        together.wait();
        together.wait();
        step();
    }

    #[exoscope::instrument]
    fn second(together: &Barrier) {
        step();
        together.wait();
    }

    #[exoscope::instrument]
    fn step() {}

    #[exoscope::instrument]
    fn both() {
        let together = Barrier::new(2);
        thread::scope(|scope| {
            scope.spawn(|| first(&together));
            scope.spawn(|| {
                together.wait();
                second(&together);
            });
        });
    }

    fn run() {
        both();
        thread::spawn(step).join().expect("it does not panic");
    }

    case!(run => [
        ok("both"),
        ok("first").on_thread().with(&[ok("step"), ok("step")]),
        ok("second").on_thread().with(&[ok("step")]),
        ok("step").on_thread(),
    ]);
}

/// Calls in a thread's last moments: destructors of its locals.
pub mod thread_locals {
    use std::thread;

    use crate::case::ok;

    struct Local;

    #[exoscope::instrument]
    impl Drop for Local {
        fn drop(&mut self) {
            last();
        }
    }

    #[exoscope::instrument]
    fn last() {}

    #[exoscope::instrument]
    fn body() {
        LOCAL.with(|_| ());
    }

    thread_local! {
        static LOCAL: Local = const { Local };
    }

    fn run() {
        thread::spawn(body).join().expect("it does not panic");
    }

    case!(run => [ok("body").on_thread(), ok("Local::drop").on_thread().with(&[ok("last")])]);
}

/// `fork`: what the child does is not captured, and does it no harm.
pub mod forks {
    use super::wait_for;
    use crate::case::ok;

    #[exoscope::instrument]
    fn forks() -> i32 {
        // SAFETY: the child makes calls of this module and ends by `_exit`.
        let child = unsafe { libc::fork() };
        assert!(child >= 0, "a child can be made");
        if child == 0 {
            let sum = (0..100).map(works).sum::<i32>();
            // SAFETY: ends the child.
            unsafe { libc::_exit(i32::from(sum != 4950)) };
        }
        works(child)
    }

    #[exoscope::instrument]
    fn works(number: i32) -> i32 {
        number
    }

    fn run() {
        assert_eq!(wait_for(forks()), 0, "the child lived");
        assert_eq!(works(1), 1);
    }

    case!(run => [ok("forks").with(&[ok("works")]), ok("works")]);
}

/// `fork` and `exec`, with calls in the child between the two.
pub mod forks_and_executes {
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use crate::case::ok;

    #[exoscope::instrument]
    fn starts() -> bool {
        let mut command = Command::new("true");
        let before = || {
            between();
            Ok(())
        };
        // SAFETY: the closure only makes a call.
        unsafe { command.pre_exec(before) };
        command.status().is_ok_and(|status| status.success())
    }

    #[exoscope::instrument]
    fn between() {}

    fn run() {
        between();
        assert!(starts(), "the child lived");
    }

    case!(run => [ok("between"), ok("starts")]);
}

/// Children without `fork` of ours.
pub mod child_processes {
    use std::process::{Command, Stdio};

    use crate::case::{err, ok};

    #[exoscope::instrument]
    fn output(program: &str) -> std::io::Result<Vec<u8>> {
        let child = Command::new(program)
            .arg("text")
            .stdout(Stdio::piped())
            .spawn()?;
        Ok(child.wait_with_output()?.stdout)
    }

    fn run() {
        assert_eq!(output("echo").ok(), Some(b"text\n".to_vec()));
        assert!(output("/no/such/program").is_err());
    }

    case!(run => [
        ok("output"),
        err("output", "std::io::error::Error", "No such file or directory (os error 2)"),
    ]);
}

/// Status of a child that ended: 0 where it exited with 0.
fn wait_for(child: libc::pid_t) -> i32 {
    let mut status = -1;
    // SAFETY: the status is an integer to be written.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    status
}

/// Sets the handler of a signal.
fn handle(signal: libc::c_int, handler: extern "C" fn(libc::c_int), flags: libc::c_int) {
    // SAFETY: an action of zeros is a valid one; its handler is a function for signals.
    let set = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = flags;
        libc::sigaction(signal, &raw const action, std::ptr::null_mut())
    };
    assert_eq!(set, 0, "the signal can be handled");
}

/// A handler that makes calls: they are inside of what it interrupts, on whatever stack.
pub mod signals {
    use std::ffi::c_int;

    use super::handle;
    use crate::case::ok;

    #[exoscope::instrument]
    extern "C" fn handler(_signal: c_int) {
        inner();
    }

    #[exoscope::instrument]
    fn inner() {}

    #[exoscope::instrument]
    fn raises() {
        before();
        // SAFETY: the signal is handled.
        unsafe { libc::raise(libc::SIGUSR1) };
        before();
    }

    #[exoscope::instrument]
    fn before() {}

    fn run() {
        handle(libc::SIGUSR1, handler, 0);
        raises();
        let mut stack = vec![0_u8; 64 << 10];
        let stack = libc::stack_t {
            ss_sp: stack.as_mut_ptr().cast(),
            ss_flags: 0,
            ss_size: stack.len(),
        };
        let mut old = stack;
        // SAFETY: the stack is as large as it says, and lives until the old one is set again.
        unsafe { libc::sigaltstack(&raw const stack, &raw mut old) };
        handle(libc::SIGUSR1, handler, libc::SA_ONSTACK);
        raises();
        // SAFETY: it was this thread's before.
        unsafe { libc::sigaltstack(&raw const old, std::ptr::null_mut()) };
    }

    const RAISES: crate::case::Row = ok("raises").with(&[
        ok("before"),
        ok("handler").with(&[ok("inner")]),
        ok("before"),
    ]);

    case!(run => [RAISES, RAISES]);
}

/// A call that waits, interrupted from another thread.
pub mod interrupted {
    use std::ffi::c_int;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;
    use std::time::Duration;

    use super::handle;
    use crate::case::{err, ok};

    static HANDLED: AtomicBool = AtomicBool::new(false);

    #[exoscope::instrument]
    extern "C" fn handler(_signal: c_int) {
        HANDLED.store(true, Ordering::Release);
    }

    #[exoscope::instrument]
    fn waits() -> std::io::Result<()> {
        let long = libc::timespec {
            tv_sec: 3600,
            tv_nsec: 0,
        };
        // SAFETY: the time is valid, and nobody asks what is left of it.
        let slept = unsafe { libc::nanosleep(&raw const long, std::ptr::null_mut()) };
        if slept == 0 {
            Ok(())
        } else {
            Err(std::io::Error::last_os_error())
        }
    }

    fn run() {
        handle(libc::SIGUSR2, handler, 0);
        // SAFETY: gives the number of this thread.
        let sleeper = unsafe { libc::pthread_self() };
        let sender = thread::spawn(move || {
            // By then the other thread sleeps.
            thread::sleep(Duration::from_millis(200));
            // SAFETY: the thread waits for this one.
            unsafe { libc::pthread_kill(sleeper, libc::SIGUSR2) };
        });
        assert!(waits().is_err());
        sender.join().expect("it does not panic");
        assert!(HANDLED.load(Ordering::Acquire));
    }

    case!(run => [
        err("waits", "std::io::error::Error", "Interrupted system call (os error 4)").with(&[
            ok("handler"),
        ]),
    ]);
}

/// Calls before `main`.
pub mod before_main {
    use std::ffi::{CStr, c_char, c_int};

    use crate::case::ok;

    #[used]
    #[unsafe(link_section = ".init_array")]
    static CONSTRUCTOR: extern "C" fn(c_int, *const *const c_char) = constructor;

    extern "C" fn constructor(count: c_int, arguments: *const *const c_char) {
        let last = usize::try_from(count).map_or(0, |count| count.saturating_sub(1));
        // SAFETY: the loader hands on as many arguments as it says.
        let last = unsafe { CStr::from_ptr(*arguments.add(last)) };
        if last.to_bytes() == b"processes::before_main" {
            early();
        }
    }

    #[exoscope::instrument]
    fn early() {
        inner();
    }

    #[exoscope::instrument]
    fn inner() {}

    fn run() {
        inner();
    }

    case!(run => [ok("early").apart().with(&[ok("inner")]), ok("inner")].alone());
}

/// Calls after `main`.
pub mod after_main {
    use crate::case::ok;

    extern "C" fn handler() {
        late();
    }

    #[exoscope::instrument]
    fn late() {
        inner();
    }

    #[exoscope::instrument]
    fn inner() {}

    fn run() {
        // SAFETY: the function may be called at exit.
        assert_eq!(unsafe { libc::atexit(handler) }, 0);
        inner();
    }

    case!(run => [ok("inner"), ok("late").apart().with(&[ok("inner")])].alone());
}

/// `main` returns while another thread is in a call.
pub mod main_returns {
    use std::sync::mpsc;
    use std::thread;

    use crate::case::died;

    #[exoscope::instrument]
    fn waits(begun: &mpsc::Sender<()>) {
        parks(begun);
    }

    #[exoscope::instrument]
    fn parks(begun: &mpsc::Sender<()>) {
        begun.send(()).expect("it is received");
        loop {
            thread::park();
        }
    }

    fn run() {
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || waits(&sender));
        receiver.recv().expect("it is sent");
    }

    case!(run => [died("waits").on_thread().with(&[died("parks")])].alone().needs_entries());
}

/// A thread that ends in the middle of a call, by the system call: nothing unwinds.
pub mod thread_ends {
    use std::ffi::c_void;

    use crate::case::{died, ok};

    #[exoscope::instrument]
    fn outer() {
        before();
        ends();
    }

    #[exoscope::instrument]
    fn before() {}

    #[exoscope::instrument]
    fn ends() {
        // SAFETY: the thread owns nothing that anybody waits for.
        unsafe { libc::syscall(libc::SYS_exit, 0) };
    }

    extern "C" fn body(_nothing: *mut c_void) -> *mut c_void {
        outer();
        std::ptr::null_mut()
    }

    fn run() {
        let mut thread = 0;
        // SAFETY: a thread of its own, which is waited for.
        unsafe {
            let (attributes, argument) = (std::ptr::null(), std::ptr::null_mut());
            let created = libc::pthread_create(&raw mut thread, attributes, body, argument);
            assert_eq!(created, 0);
            assert_eq!(libc::pthread_join(thread, std::ptr::null_mut()), 0);
        }
        before();
    }

    case!(run => [
        died("outer").on_thread().with(&[ok("before"), died("ends")]),
        ok("before"),
    ].alone().needs_entries());
}

/// `pthread_exit` in the middle of calls: it unwinds the thread's stack, and that is no panic.
#[cfg(panic = "unwind")]
pub mod thread_exits {
    use std::ffi::{c_int, c_void};
    use std::ptr::{null, null_mut};

    use libc::{pthread_attr_t, pthread_t};

    use crate::case::{cancelled, ok};

    type Body = extern "C-unwind" fn(*mut c_void) -> *mut c_void;

    // As glibc has them: with functions that may unwind.
    unsafe extern "C-unwind" {
        fn pthread_exit(value: *mut c_void) -> !;
        fn pthread_create(
            thread: *mut pthread_t,
            attributes: *const pthread_attr_t,
            body: Body,
            argument: *mut c_void,
        ) -> c_int;
    }

    struct Guard;

    #[exoscope::instrument]
    impl Drop for Guard {
        fn drop(&mut self) {}
    }

    #[exoscope::instrument]
    fn outer() {
        let _guard = Guard;
        before();
        ends();
    }

    #[exoscope::instrument]
    fn before() {}

    #[exoscope::instrument]
    fn ends() {
        // SAFETY: the thread has no frame of the standard library, which would catch what unwinds;
        // those that it has run their destructors as in a panic.
        unsafe { pthread_exit(null_mut()) }
    }

    extern "C-unwind" fn body(_nothing: *mut c_void) -> *mut c_void {
        outer();
        null_mut()
    }

    fn run() {
        let mut thread = 0;
        // SAFETY: a thread of its own, which is waited for.
        unsafe {
            let created = pthread_create(&raw mut thread, null(), body, null_mut());
            assert_eq!(created, 0);
            assert_eq!(libc::pthread_join(thread, null_mut()), 0);
        }
        before();
    }

    case!(run => [
        cancelled("outer").on_thread().with(&[
            ok("before"),
            cancelled("ends"),
            ok("Guard::drop"),
        ]),
        ok("before"),
    ]);
}

/// `process::exit` inside calls.
pub mod exits {
    use crate::case::{died, ok};

    #[exoscope::instrument]
    fn outer() {
        before();
        inner(3);
    }

    #[exoscope::instrument]
    fn before() {}

    #[exoscope::instrument]
    fn inner(status: i32) {
        std::process::exit(status);
    }

    fn run() {
        outer();
    }

    case!(run => [
        died("outer").with(&[ok("before"), died("inner")]),
    ].ends_process(3));
}

/// `process::exit` on another thread than the first.
pub mod exits_elsewhere {
    use std::thread;

    use crate::case::died;

    #[exoscope::instrument]
    fn exits() -> ! {
        std::process::exit(4)
    }

    #[exoscope::instrument]
    fn waits() {
        let _ = thread::spawn(|| exits()).join();
    }

    fn run() {
        waits();
    }

    case!(run => [died("waits"), died("exits").on_thread()].ends_process(4));
}

/// `_exit`, which runs no handler.
pub mod exits_at_once {
    use crate::case::{died, ok};

    #[exoscope::instrument]
    async fn outer() {
        before();
        inner().await;
    }

    #[exoscope::instrument]
    fn before() {}

    #[exoscope::instrument]
    async fn inner() {
        // SAFETY: ends the process; nothing of it is used afterwards.
        unsafe { libc::_exit(5) };
    }

    fn run() {
        pollster::block_on(outer());
    }

    case!(run => [
        died("outer").with(&[ok("before"), died("inner")]),
    ].ends_process(5));
}

/// `-> !` that ends the process.
pub mod never_returns {
    use crate::case::{died, err};

    #[exoscope::instrument]
    fn fails() -> Result<(), String> {
        Err("out of options".to_owned())
    }

    #[exoscope::instrument]
    fn quits() -> ! {
        let status = if fails().is_err() { 6 } else { 0 };
        std::process::exit(status)
    }

    fn run() {
        quits();
    }

    case!(run => [
        died("quits").with(&[err("fails", "alloc::string::String", "out of options")]),
    ].ends_process(6));
}

/// `process::abort`.
pub mod aborts {
    use crate::case::died;

    #[exoscope::instrument]
    fn outer() {
        inner();
    }

    #[exoscope::instrument]
    fn inner() {
        std::process::abort();
    }

    fn run() {
        outer();
    }

    case!(run => [died("outer").with(&[died("inner")])].ends_process(134));
}

/// `SIGKILL`.
pub mod killed {
    use crate::case::{died, ok};

    #[exoscope::instrument]
    fn outer() {
        before();
        inner();
    }

    #[exoscope::instrument]
    fn before() {}

    #[exoscope::instrument]
    fn inner() {
        // SAFETY: ends the process; nothing of it is used afterwards.
        unsafe { libc::raise(libc::SIGKILL) };
    }

    fn run() {
        outer();
    }

    case!(run => [
        died("outer").with(&[ok("before"), died("inner")]),
    ].ends_process(137));
}

/// A signal that nobody handles, in a call of another thread.
pub mod terminated {
    use std::thread;

    use crate::case::died;

    #[exoscope::instrument]
    fn waits() {
        let _ = thread::spawn(raises).join();
    }

    #[exoscope::instrument]
    fn raises() {
        // SAFETY: ends the process; nothing of it is used afterwards.
        unsafe { libc::raise(libc::SIGTERM) };
    }

    fn run() {
        waits();
    }

    case!(run => [died("waits"), died("raises").on_thread()].ends_process(143));
}

/// An access to memory that is not there.
pub mod faults {
    use crate::case::died;

    #[exoscope::instrument]
    fn faults(address: usize) -> u8 {
        // SAFETY: nothing is there: that is what ends the process.
        unsafe { (std::hint::black_box(address) as *const u8).read_volatile() }
    }

    fn run() {
        faults(8);
    }

    case!(run => [died("faults")].ends_process(139));
}

/// A stack that overflows: so deep that no bare function returns.
pub mod overflows {
    use std::hint::black_box;

    use crate::case::died;

    #[exoscope::instrument]
    fn outer() -> u8 {
        deep(0)
    }

    #[expect(unconditional_recursion, reason = "for its sake")]
    fn deep(depth: u64) -> u8 {
        let large = black_box([1; 4096]);
        deep(depth + 1) + large[7]
    }

    fn run() {
        outer();
    }

    case!(run => [died("outer")].ends_process(134));
}

/// Becomes another program inside a call.
pub mod executes {
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use crate::case::died;

    #[exoscope::instrument]
    fn becomes() {
        let error = Command::new("false").exec();
        panic!("exec failed: {error}");
    }

    fn run() {
        becomes();
    }

    case!(run => [died("becomes")].ends_process(1));
}

/// A destructor that panics while a panic unwinds: the runtime aborts.
#[cfg(panic = "unwind")]
pub mod panics_while_unwinding {
    use crate::case::{died, panic};

    struct Falls;

    #[exoscope::instrument]
    impl Drop for Falls {
        fn drop(&mut self) {
            panic!("in drop");
        }
    }

    #[exoscope::instrument]
    fn falls() {
        let _falls = Falls;
        panic!("the first");
    }

    #[exoscope::instrument]
    fn outer() {
        falls();
    }

    fn run() {
        outer();
    }

    // The second panic unwinds out of the destructor, and no further.
    case!(run => [
        died("outer").with(&[
            died("falls").said("panic in a destructor during cleanup").with(&[
                panic("Falls::drop").said("in drop"),
            ]),
        ]),
    ].ends_process(134));
}

/// A panic that would leave an `extern "C"` function: it unwinds that far, and there the runtime aborts.
#[cfg(panic = "unwind")]
pub mod panics_out_of_c {
    use crate::case::panic;

    #[exoscope::instrument]
    extern "C" fn boundary() {
        falls();
    }

    #[exoscope::instrument]
    fn falls() {
        panic!("towards C");
    }

    fn run() {
        boundary();
    }

    case!(run => [
        panic("boundary").with(&[panic("falls").said("towards C")]),
    ].ends_process(134).main_says("panic in a function that cannot unwind"));
}

/// Under `panic=abort` nothing unwinds.
#[cfg(panic = "abort")]
pub mod panic_aborts {
    use crate::case::{died, ok};

    struct Guard;

    #[exoscope::instrument]
    impl Drop for Guard {
        fn drop(&mut self) {}
    }

    #[exoscope::instrument]
    fn outer() {
        let _guard = Guard;
        before();
        falls();
    }

    #[exoscope::instrument]
    fn before() {}

    #[exoscope::instrument]
    fn falls() {
        panic!("abort");
    }

    fn run() {
        outer();
    }

    case!(run => [
        died("outer").with(&[ok("before"), died("falls").said("abort")]),
    ].ends_process(134));
}
