//! Work that is finished even where the agent is killed in the midst of it.
//!
//! When a link is created or dropped, the kernel changes the target's code page by page. Where the thread
//! that does it is about to be killed, it gets no more pages, and what is changed by then stays: probes
//! without a program, at which every call stops for nothing. A process of its own is not killed together
//! with the agent. It has the agent's memory and files, so it does what a function call would do; it
//! leaves the agent's group of processes, so that a signal to that doesn't reach it; and if the agent is
//! gone when it ends, so are the last descriptors of all links, and the kernel detaches.

use std::ffi::{c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::ptr;

/// Bytes of the stack on which the work is done.
const STACK: usize = 64 << 10;
/// The process shares memory and files, and the thread that starts it waits until it has ended.
const SHARED: c_int = libc::CLONE_VM | libc::CLONE_FILES | libc::CLONE_VFORK;

/// Does some work in a process of its own, or in this one where no other can be started.
///
/// The work is to be a few system calls. It must take no lock, not even that of the allocator: if the
/// agent is killed meanwhile, nobody is left to release it.
///
/// # Errors
/// [`io::ErrorKind::Interrupted`] where the process itself was killed.
pub fn apart<W: FnOnce() -> T, T>(work: W) -> io::Result<T> {
    let mut job = Job {
        work: Some(work),
        result: None,
    };
    let mut stack = vec![MaybeUninit::<u128>::uninit(); STACK / size_of::<u128>()];
    let top = stack.as_mut_ptr_range().end;
    let signals = Blocked::all();
    // SAFETY: `run` gets a job of its type. Stack and job are here until the process has ended, because
    // this thread waits for that; where the agent is killed instead, no thread is left that could free them.
    let process = unsafe { libc::clone(run::<W, T>, top.cast(), SHARED, (&raw mut job).cast()) };
    if process < 0 {
        job.run();
    } else {
        // SAFETY: it is a child that nobody else waits for, and no status is asked for.
        unsafe { libc::waitpid(process, ptr::null_mut(), libc::__WALL) };
    }
    drop(signals);
    job.result.ok_or_else(|| io::ErrorKind::Interrupted.into())
}

/// Work, and what came of it.
struct Job<W, T> {
    work: Option<W>,
    result: Option<T>,
}

impl<W: FnOnce() -> T, T> Job<W, T> {
    fn run(&mut self) {
        self.result = self.work.take().map(|work| work());
    }
}

/// The process: `job` is a `Job<W, T>`.
extern "C" fn run<W: FnOnce() -> T, T>(job: *mut c_void) -> c_int {
    // SAFETY: it names no other process. Where it fails, a signal to the group may come.
    unsafe { libc::setpgid(0, 0) };
    // SAFETY: the one caller, `apart`, gives a job of this type, and does not touch it before this has ended.
    let job = unsafe { &mut *job.cast::<Job<W, T>>() };
    job.run();
    0
}

/// Signals are not delivered to this thread, nor to a process that it starts; they are again when this
/// is dropped. So no handler runs in the process, whose memory is the agent's.
struct Blocked {
    before: libc::sigset_t,
}

impl Blocked {
    fn all() -> Self {
        let mut all = MaybeUninit::uninit();
        let mut before = MaybeUninit::uninit();
        // SAFETY: both are valid for the calls to write, and `all` is written first.
        let before = unsafe {
            libc::sigfillset(all.as_mut_ptr());
            libc::sigemptyset(before.as_mut_ptr());
            libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
            before.assume_init()
        };
        Self { before }
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // SAFETY: it is what the thread had.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, ptr::null_mut())
        };
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{Read as _, pipe};
    use std::os::fd::AsRawFd as _;
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_work_has_this_memory_and_these_files_and_another_process() {
        let mut here = 0;
        let (mut reader, writer) = pipe().expect("a pipe");
        let there = apart(|| {
            here = 7;
            drop(writer);
            // SAFETY: it asks for a number.
            unsafe { libc::getpid() }
        });
        let there = there.expect("nobody kills it");
        assert_eq!(here, 7);
        assert_ne!(there.unsigned_abs(), std::process::id());
        let mut bytes = Vec::new();
        reader
            .read_to_end(&mut bytes)
            .expect("the writer is closed");
        assert!(!fs::exists(format!("/proc/{there}")).expect("/proc is mounted"));
    }

    #[test]
    fn the_work_is_finished_though_the_process_that_wants_it_is_killed() {
        let (mut begun, begin) = pipe().expect("a pipe");
        let (mut done, end) = pipe().expect("a pipe");
        // SAFETY: beside system calls the child only allocates the stack of the work, which the C library
        // allows after `fork`.
        let killed = unsafe { libc::fork() };
        if killed == 0 {
            let work = || {
                tell(begin.as_raw_fd());
                // Until the killer is done.
                // SAFETY: it waits.
                unsafe { libc::usleep(300_000) };
                tell(end.as_raw_fd());
            };
            let _ = apart(work);
            // SAFETY: the child ends without handlers.
            unsafe { libc::_exit(0) };
        }
        drop((begin, end));
        let mut byte = [0];
        begun.read_exact(&mut byte).expect("the work begins");
        // SAFETY: it is the child, which was not waited for.
        unsafe {
            libc::kill(killed, libc::SIGKILL);
            let mut status = 0;
            libc::waitpid(killed, &raw mut status, 0);
            assert!(
                libc::WIFSIGNALED(status),
                "it was killed in the midst: {status}"
            );
        }
        done.read_exact(&mut byte).expect("the work is finished");
    }

    /// Writes a byte.
    fn tell(fd: c_int) {
        // SAFETY: the byte is valid to read.
        let written = unsafe { libc::write(fd, [1_u8].as_ptr().cast(), 1) };
        assert_eq!(written, 1);
    }

    #[test]
    fn killed_work_is_an_error() {
        let result = apart(|| {
            // SAFETY: it ends the process of the work, which holds nothing.
            unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
            std::thread::sleep(Duration::from_secs(60));
        });
        let error = result.expect_err("it was killed");
        assert_eq!(error.kind(), io::ErrorKind::Interrupted);
    }
}
