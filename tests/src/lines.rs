//! Lines of a process's output, as they come.

use std::io::{BufRead as _, BufReader, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};

use crate::Wait;

/// The lines that come out of a pipe. A thread reads them, so that the writer never waits.
pub struct Lines {
    receiver: Receiver<String>,
    seen: Vec<String>,
}

impl Lines {
    /// The lines of `pipe`; bytes that are not UTF-8 are replaced.
    pub fn of(pipe: impl Read + Send + 'static) -> Self {
        let (sender, receiver) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
                if sender
                    .send(String::from_utf8_lossy(&line).into_owned())
                    .is_err()
                {
                    break;
                }
            }
        });
        Self {
            receiver,
            seen: Vec::new(),
        }
    }

    /// Reads up to the first line that `wanted` holds for, and gives back that line.
    ///
    /// # Errors
    /// Where the output ends, or [`PATIENCE`](crate::PATIENCE) does, before such a line came.
    pub fn until(&mut self, wanted: impl Fn(&str) -> bool) -> Result<String, RecvTimeoutError> {
        loop {
            let line = self.next()?;
            self.seen.push(line.clone());
            if wanted(&line) {
                return Ok(line);
            }
        }
    }

    fn next(&self) -> Result<String, RecvTimeoutError> {
        let mut wait = Wait::begin();
        loop {
            match self.receiver.recv_timeout(Wait::STEP / 2) {
                Err(RecvTimeoutError::Timeout) if wait.goes_on() => (),
                next => return next,
            }
        }
    }

    /// The lines that have come and were not taken.
    pub fn so_far(&mut self) -> &[String] {
        self.seen.extend(self.receiver.try_iter());
        &self.seen
    }

    /// The lines that were read since the last time.
    pub fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.seen)
    }

    /// Every line that was not taken, to the end of the output.
    ///
    /// # Panics
    /// Where the output does not end within [`PATIENCE`](crate::PATIENCE).
    pub fn rest(mut self) -> Vec<String> {
        loop {
            match self.next() {
                Ok(line) => self.seen.push(line),
                Err(RecvTimeoutError::Disconnected) => return self.seen,
                Err(error) => panic!("output without end ({error}):\n{}", self.seen.join("\n")),
            }
        }
    }
}
