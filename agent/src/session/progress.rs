//! What a person sees while a session runs: one line on standard error, where it is a terminal.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytesize::ByteSize;
use indicatif::{HumanCount, ProgressBar, ProgressStyle};

use crate::capture::consumer::Progress;

/// The line.
pub struct Line {
    bar: ProgressBar,
    progress: Arc<Progress>,
    files: [PathBuf; 2],
    last: (Instant, u64),
}

impl Line {
    /// A line about a session that writes to `output`; it stays empty where `quiet`, and where
    /// standard error is no terminal.
    pub fn new(progress: Arc<Progress>, output: &Path, quiet: bool) -> Self {
        let bar = if quiet {
            ProgressBar::hidden()
        } else {
            ProgressBar::new_spinner()
        };
        let style = ProgressStyle::with_template("{spinner} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        let mut wal = output.as_os_str().to_owned();
        wal.push("-wal");
        let files = [output.to_owned(), wal.into()];
        Self {
            bar,
            progress,
            files,
            last: (Instant::now(), 0),
        }
    }

    /// Draws the line anew.
    pub fn tick(&mut self) {
        let calls = self.progress.calls.load(Ordering::Relaxed);
        let (then, before) = std::mem::replace(&mut self.last, (Instant::now(), calls));
        let seconds = then.elapsed().as_secs_f64().max(1e-3);
        let rate = ((calls - before) as f64 / seconds) as u64;
        let bytes = self
            .files
            .iter()
            .filter_map(|file| file.metadata().ok())
            .map(|file| file.len());
        self.bar.set_message(format!(
            "{} calls  {}/s  {} in flight  {} lost  {}",
            HumanCount(calls),
            HumanCount(rate),
            HumanCount(self.progress.open.load(Ordering::Relaxed)),
            HumanCount(self.progress.lost.load(Ordering::Relaxed)),
            ByteSize(bytes.sum()),
        ));
        self.bar.tick();
    }

    /// Prints a sentence above the line.
    pub fn say(&self, sentence: &str) {
        self.bar.suspend(|| eprintln!("exoscope: {sentence}"));
    }

    /// Takes the line away.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}
