//! What a person sees while a session runs: one line on standard error, where it is a terminal.
//!
//! The line is drawn here and not by a library, because those pad it to the terminal's full width:
//! the `^C` that the terminal then echoes wraps, and the old line stays.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytesize::ByteSize;

use crate::capture::consumer::Progress;
use crate::report::human;

/// Goes to the start of the line and clears it.
const CLEAR: &str = "\r\x1b[2K";

/// The line.
pub struct Line {
    shown: bool,
    progress: Arc<Progress>,
    files: [PathBuf; 2],
    last: (Instant, u64),
}

impl Line {
    /// A line about a session that writes to `output`; it stays empty where `quiet`, and where
    /// standard error is no terminal.
    pub fn new(progress: Arc<Progress>, output: &Path, quiet: bool) -> Self {
        let mut wal = output.as_os_str().to_owned();
        wal.push("-wal");
        Self {
            shown: !quiet && std::io::stderr().is_terminal(),
            progress,
            files: [output.to_owned(), wal.into()],
            last: (Instant::now(), 0),
        }
    }

    /// Draws the line anew.
    pub fn tick(&mut self) {
        if !self.shown {
            return;
        }
        let count = |number: u64| human::count(i64::try_from(number).unwrap_or(i64::MAX));
        let calls = self.progress.calls.load(Ordering::Relaxed);
        let (then, before) = std::mem::replace(&mut self.last, (Instant::now(), calls));
        let seconds = then.elapsed().as_secs_f64().max(1e-3);
        let rate = ((calls - before) as f64 / seconds) as u64;
        let bytes = self.files.iter().filter_map(|file| file.metadata().ok());
        let only_counted = match self.progress.only_counted.load(Ordering::Relaxed) {
            0 => String::new(),
            calls => format!("  {} only counted", count(calls)),
        };
        print(&format!(
            "{CLEAR}{} calls  {}/s  {} in flight  {} lost{only_counted}  {}",
            count(calls),
            count(rate),
            count(self.progress.open.load(Ordering::Relaxed)),
            count(self.progress.lost.load(Ordering::Relaxed)),
            ByteSize(bytes.map(|file| file.len()).sum()),
        ));
    }

    /// Prints a sentence above the line.
    pub fn say(&self, sentence: &str) {
        self.clear();
        eprintln!("exoscope: {sentence}");
    }

    /// Takes the line away.
    pub fn clear(&self) {
        if self.shown {
            print(CLEAR);
        }
    }
}

fn print(text: &str) {
    let mut terminal = std::io::stderr().lock();
    // A terminal that is gone shows nothing.
    let _ = terminal
        .write_all(text.as_bytes())
        .and_then(|()| terminal.flush());
}
