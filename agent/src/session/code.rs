//! Whether a target may have loaded a library since the last look.

use std::time::{Duration, Instant};

use crate::target::process::Target;

/// How often the lines about a target's code are read where their sum has not changed.
const LINES_EVERY: Duration = Duration::from_secs(2);

/// What a target maps of code, by which it is told whether it may have loaded a library: reading every
/// library again would take more CPU than all else does while nothing happens.
#[derive(Default)]
pub struct Code {
    /// [`Target::bytes_of_libraries`].
    bytes: Option<u64>,
    /// [`Target::lines_of_code`], and when they were read.
    lines: Option<(String, Instant)>,
}

impl Code {
    /// The code now, where it is other than it was, or can't be told. A library that took the place of
    /// another one of the same size is found when the lines are read the next time.
    pub fn changed(&mut self, target: &Target) -> Option<Self> {
        let bytes = target.bytes_of_libraries().unwrap_or_default();
        if let Some((_, read)) = &self.lines
            && bytes.is_some()
            && bytes == self.bytes
            && read.elapsed() < LINES_EVERY
        {
            return None;
        }
        let lines = target.lines_of_code().ok();
        let lines = lines.map(|lines| (lines, Instant::now()));
        let code = Self { bytes, lines };
        if code.text().is_some() && code.text() == self.text() {
            *self = code;
            return None;
        }
        Some(code)
    }

    fn text(&self) -> Option<&str> {
        self.lines.as_ref().map(|(lines, _)| lines.as_str())
    }
}
