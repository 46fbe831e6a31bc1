//! Starting a program so that it is attached to after `exec` and before its `main`.
//!
//! The program asks to be traced, so the kernel stops it when it has executed its new image. A
//! wrapper without markers (`env`, `nice`, a shell that ends with `exec`) is followed to the next
//! image. When the markers are there, the caller attaches, and [`Launched::release`] lets it go;
//! from then on nobody traces it.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::privileges;

/// How often a program without markers is looked at for a library that brings some.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A started program that waits for its release; killed where it is dropped before.
pub struct Launched {
    pid: libc::pid_t,
    released: bool,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With this status.
    Exited(i32),
    /// By this signal.
    Killed(i32),
}

impl End {
    /// The status that a shell would report.
    pub const fn status(self) -> i32 {
        match self {
            Self::Exited(status) => status,
            Self::Killed(signal) => 128 + signal,
        }
    }

    /// What a wait status says.
    pub(super) fn of(status: i32) -> Option<Self> {
        if libc::WIFEXITED(status) {
            Some(Self::Exited(libc::WEXITSTATUS(status)))
        } else if libc::WIFSIGNALED(status) {
            Some(Self::Killed(libc::WTERMSIG(status)))
        } else {
            None
        }
    }
}

/// What a wait met.
enum Event {
    Ended(End),
    Executed,
    Stopped(i32),
}

impl Launched {
    /// Starts `words[0]` with the rest as arguments and stops it at the first image for which
    /// `has_markers` holds.
    ///
    /// # Errors
    /// Where it can't be started, or ends before any markers appeared.
    pub fn start(
        words: &[String],
        mut has_markers: impl FnMut(u32) -> Result<bool>,
    ) -> Result<Self> {
        let (program, arguments) = words.split_first().context("no program was given")?;
        let mut command = Command::new(program);
        command.args(arguments);
        // SAFETY: `ptrace` has no effect on the memory of this process.
        let be_traced = || check(unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) });
        let prepare = move || privileges::pass_none_on().and_then(|()| be_traced());
        // SAFETY: `prepare` makes two system calls and nothing else, which is safe between `fork` and
        // `exec`.
        unsafe { command.pre_exec(prepare) };
        let child = command.spawn().with_context(|| {
            format!("can't start '{program}'; give the path of the program after `--`")
        })?;
        let mut launched = Self {
            pid: child.id() as libc::pid_t,
            released: false,
        };
        launched.await_markers(program, &mut has_markers)?;
        Ok(launched)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid as u32
    }

    fn await_markers(
        &mut self,
        program: &str,
        has_markers: &mut impl FnMut(u32) -> Result<bool>,
    ) -> Result<()> {
        let mut options_set = false;
        loop {
            match self.wait(true)? {
                Some(Event::Ended(end)) => {
                    self.released = true;
                    bail!(
                        "'{program}' ended with status {} and had no exoscope markers; build it with \
                         the feature that switches `exoscope/enabled` on",
                        end.status()
                    );
                }
                Some(Event::Executed) => {
                    if !options_set {
                        self.request(libc::PTRACE_SETOPTIONS, libc::PTRACE_O_TRACEEXEC)?;
                        options_set = true;
                    }
                    if has_markers(self.pid())? {
                        return Ok(());
                    }
                    self.request(libc::PTRACE_CONT, 0)?;
                }
                Some(Event::Stopped(signal)) => self.request(libc::PTRACE_CONT, signal)?,
                None if has_markers(self.pid()).unwrap_or(false) => return self.stop(),
                None => std::thread::sleep(LOOK_EVERY),
            }
        }
    }

    /// Stops the running program.
    fn stop(&mut self) -> Result<()> {
        // SAFETY: sends a signal to our own child, which has not been waited for.
        check(unsafe { libc::kill(self.pid, libc::SIGSTOP) }.into())
            .context("can't stop the program")?;
        loop {
            match self.wait(false)? {
                Some(Event::Stopped(libc::SIGSTOP)) => return Ok(()),
                Some(Event::Stopped(signal)) => self.request(libc::PTRACE_CONT, signal)?,
                Some(Event::Executed) => self.request(libc::PTRACE_CONT, 0)?,
                Some(Event::Ended(end)) => {
                    self.released = true;
                    bail!(
                        "the program ended with status {} before it was attached to",
                        end.status()
                    );
                }
                None => {}
            }
        }
    }

    fn wait(&self, poll: bool) -> Result<Option<Event>> {
        let mut status = 0;
        let flags = if poll { libc::WNOHANG } else { 0 };
        // SAFETY: `status` is valid for the call to write.
        let pid = unsafe { libc::waitpid(self.pid, &raw mut status, flags) };
        if pid < 0 {
            return Err(io::Error::last_os_error()).context("can't wait for the program");
        }
        if pid == 0 {
            return Ok(None);
        }
        if let Some(end) = End::of(status) {
            return Ok(Some(Event::Ended(end)));
        }
        let signal = libc::WSTOPSIG(status);
        Ok(Some(if signal == libc::SIGTRAP {
            Event::Executed
        } else {
            Event::Stopped(signal)
        }))
    }

    fn request(&self, request: libc::c_uint, data: i32) -> Result<()> {
        // SAFETY: these requests take no pointer, and the child is stopped.
        check(unsafe { libc::ptrace(request, self.pid, 0_usize, data as usize) })
            .context("can't control the started program")
    }

    /// Lets the program run, traced by nobody.
    ///
    /// # Errors
    /// Where it has been killed meanwhile.
    pub fn release(&mut self) -> Result<()> {
        self.request(libc::PTRACE_DETACH, 0)?;
        self.released = true;
        Ok(())
    }

    /// How the program ended, once it has.
    pub fn end(&self) -> Option<End> {
        let mut status = 0;
        // SAFETY: `status` is valid for the call to write.
        let pid = unsafe { libc::waitpid(self.pid, &raw mut status, libc::WNOHANG) };
        (pid == self.pid).then(|| End::of(status)).flatten()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: i32) {
        // SAFETY: sends a signal to our own child, which has not been waited for.
        unsafe { libc::kill(self.pid, signal) };
    }
}

impl Drop for Launched {
    fn drop(&mut self) {
        if !self.released {
            self.signal(libc::SIGKILL);
            let mut status = 0;
            // SAFETY: `status` is valid for the call to write.
            unsafe { libc::waitpid(self.pid, &raw mut status, 0) };
        }
    }
}

fn check(result: libc::c_long) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
