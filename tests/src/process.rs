//! Processes that a test starts: targets, and the agent.

use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};

use crate::lines::Lines;
use crate::{PATIENCE, eventually};

/// A started process with its pipes. It is killed where the test ends before it.
pub struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    /// Its standard output.
    pub stdout: Lines,
    /// Its standard error.
    pub stderr: Lines,
}

/// A process that has ended.
#[derive(Debug)]
pub struct End {
    /// How.
    pub status: ExitStatus,
    /// What was not yet taken of its standard output.
    pub stdout: Vec<String>,
    /// What was not yet taken of its standard error.
    pub stderr: Vec<String>,
}

impl Process {
    /// Starts `command`.
    ///
    /// # Panics
    /// Where it can't be started.
    pub fn start(command: &mut Command) -> Self {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let started = eventually("a program that nobody writes", || match command.spawn() {
            // A process that another test is just starting has what that test or this one wrote to the
            // copy of a program still open, until it executes its own.
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => None,
            started => Some(started),
        });
        let mut child = started.unwrap_or_else(|error| panic!("can't start {command:?}: {error}"));
        let stdin = child.stdin.take();
        let stdout = Lines::of(child.stdout.take().expect("it is piped"));
        let stderr = Lines::of(child.stderr.take().expect("it is piped"));
        Self {
            child,
            stdin,
            stdout,
            stderr,
        }
    }

    /// Starts the target `binary`, whose panics are part of its work and need no backtrace.
    pub fn target(binary: &Path, arguments: &[&str]) -> Self {
        Self::start(
            Command::new(binary)
                .args(arguments)
                .env("RUST_BACKTRACE", "0"),
        )
    }

    /// Starts the target `binary` with `--wait-stdin` and waits until it is ready.
    pub fn ready_target(binary: &Path, arguments: &[&str]) -> Self {
        let mut target = Self::target(binary, &[arguments, &["--wait-stdin"]].concat());
        target.pauses_at("ready");
        target
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until a target pauses with `word`, and gives back the lines that it printed before.
    ///
    /// # Panics
    /// As [`Self::prints`].
    pub fn pauses_at(&mut self, word: &str) -> Vec<String> {
        self.prints(word, |line| line.split(' ').next() == Some(word));
        self.stdout.take()
    }

    /// Waits for a line on its standard output, and gives that back.
    ///
    /// # Panics
    /// Where its output ends before such a line, or [`PATIENCE`] does: with all that it said, and its status.
    pub fn prints(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let line = self.stdout.until(wanted);
        line.unwrap_or_else(|error| self.missing(what, error))
    }

    /// The same on its standard error.
    ///
    /// # Panics
    /// As [`Self::prints`].
    pub fn says(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let line = self.stderr.until(wanted);
        line.unwrap_or_else(|error| self.missing(what, error))
    }

    /// Tells why a line was waited for in vain.
    fn missing(&mut self, what: &str, why: RecvTimeoutError) -> ! {
        // Its output ends a moment before it does.
        let ended = (0..100).find_map(|_| {
            std::thread::sleep(Duration::from_millis(10));
            self.child.try_wait().ok().flatten()
        });
        let state = ended.map_or("runs".to_owned(), |status| {
            format!("has ended with {status}")
        });
        panic!(
            "no {what} ({why}) from process {}, which {state}, after:\n{}\nand on standard error:\n{}",
            self.pid(),
            self.stdout.so_far().join("\n"),
            self.stderr.so_far().join("\n"),
        )
    }

    /// Lets a target that pauses go on.
    ///
    /// # Panics
    /// Where it has ended.
    pub fn go_on(&mut self) {
        self.tell("");
    }

    /// Writes a line to its standard input.
    ///
    /// # Panics
    /// Where it has ended.
    pub fn tell(&mut self, line: &str) {
        let stdin = self
            .stdin
            .as_mut()
            .expect("its standard input is open until it ends");
        stdin
            .write_all(format!("{line}\n").as_bytes())
            .expect("it runs");
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// Where it has ended.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("it has not been waited for");
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child
            .try_wait()
            .expect("it is a child of this process")
            .is_none()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// Where it does not end within [`PATIENCE`].
    pub fn end(mut self) -> End {
        self.stdin = None;
        let what = format!("the end of process {} within {PATIENCE:?}", self.pid());
        let status = eventually(&what, || {
            self.child
                .try_wait()
                .expect("it is a child of this process")
        });
        let empty = || Lines::of(std::io::empty());
        End {
            status,
            stdout: std::mem::replace(&mut self.stdout, empty()).rest(),
            stderr: std::mem::replace(&mut self.stderr, empty()).rest(),
        }
    }

    /// Lets a target that pauses at its end go, and expects that all is well with it.
    ///
    /// # Panics
    /// Where its status is not 0.
    pub fn ends_well(mut self) {
        self.go_on();
        let end = self.end();
        assert!(
            end.status.success(),
            "the target ended with {}: {:#?}",
            end.status,
            end.stderr
        );
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended; then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(
        expected = "which has ended with exit status: 7, after:\nbegun\nand on standard error:\nthat is all"
    )]
    fn a_line_that_never_comes_is_told_with_how_the_process_ended() {
        let script = "echo begun; echo that is all >&2; exit 7";
        let mut process = Process::start(Command::new("sh").args(["-c", script]));
        process.prints("word", |line| line == "word");
    }
}
