//! Lines of a process's output, as they come.

use std::io::{BufRead as _, BufReader, Read};
use std::sync::mpsc::{Receiver, channel};

use crate::PATIENCE;

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
    /// # Panics
    /// Where the output ends, or [`PATIENCE`] does, before such a line came.
    pub fn until(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        loop {
            match self.receiver.recv_timeout(PATIENCE) {
                Ok(line) => {
                    self.seen.push(line);
                    if let Some(line) = self.seen.last().filter(|line| wanted(line)) {
                        return line.clone();
                    }
                }
                Err(error) => panic!("no {what} ({error}) after:\n{}", self.seen.join("\n")),
            }
        }
    }

    /// The lines that were read since the last time.
    pub fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.seen)
    }

    /// Every line that was not taken, to the end of the output.
    ///
    /// # Panics
    /// Where the output does not end within [`PATIENCE`].
    pub fn rest(mut self) -> Vec<String> {
        loop {
            match self.receiver.recv_timeout(PATIENCE) {
                Ok(line) => self.seen.push(line),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return self.seen,
                Err(error) => panic!("output without end ({error}):\n{}", self.seen.join("\n")),
            }
        }
    }
}
