//! The spool: what waits between the threads that make events and the one that writes them.
//!
//! A little waits in memory ([`queue`]), and is copied where it waits for long. Where the file is slower
//! than the target, or can't be written, the rest goes to append-only files ([`segment`]), bounded in size,
//! and from there into the file in order. Every message has a number, and the file holds the number of the last one
//! that is in it: so what is replayed, also after a crash, is never there twice.
//!
//! Segments survive the agent, not the machine: nothing waits until they are on the disk.

mod copies;
mod pushing;
pub mod queue;
pub mod segment;
mod state;

use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Bytes of all segments of a session, unless the user says otherwise.
pub const DEFAULT_SPOOL_BYTES: u64 = 1 << 30;

/// Where the segments of one session are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The folder that they are written to.
    pub folder: PathBuf,
    /// The folder of the session's file, where they are found, too: whoever moves the file takes them along.
    beside: PathBuf,
    /// What their names begin with: the name of the session's file.
    pub name: String,
    /// What is in their names and headers: a number that no other session has.
    pub key: u64,
}

impl Place {
    /// The place beside `file`, or in `folder`.
    pub fn new(file: &Path, folder: Option<&Path>, key: u64) -> Self {
        let beside = file.parent().unwrap_or(Path::new("."));
        let name = file.file_name().unwrap_or(OsStr::new("exoscope"));
        Self {
            folder: folder.unwrap_or(beside).to_owned(),
            beside: beside.to_owned(),
            name: name.to_string_lossy().into_owned(),
            key,
        }
    }

    /// Path of the segment whose first message has this number.
    pub fn segment(&self, number: u64) -> PathBuf {
        self.named(format_args!("{number:020}"))
    }

    /// The same for a segment that holds copies: it is read as any other is.
    fn copy(&self, number: u64) -> PathBuf {
        self.named(format_args!("{number:020}-copy"))
    }

    fn named(&self, number: std::fmt::Arguments<'_>) -> PathBuf {
        let Self {
            folder, name, key, ..
        } = self;
        folder.join(format!("{name}-spool-{key:016x}-{number}"))
    }

    /// The segments that are there, in their order. The file may have got another name meanwhile.
    ///
    /// # Errors
    /// Where the folder can't be read, or is not there and they are not beside the file either.
    pub fn segments(&self) -> io::Result<Vec<PathBuf>> {
        let mut segments = Vec::new();
        let read = self.add_segments(&self.folder, &mut segments);
        if self.beside != self.folder {
            // Who may not look there has taken none along.
            let _ = self.add_segments(&self.beside, &mut segments);
        }
        match read {
            Err(error) if segments.is_empty() || error.kind() != ErrorKind::NotFound => {
                return Err(error);
            }
            _ => {}
        }
        segments.sort();
        Ok(segments.into_iter().map(|(_, path)| path).collect())
    }

    /// Adds those in `folder`, each with its number.
    fn add_segments(&self, folder: &Path, to: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
        let mark = format!("-spool-{:016x}-", self.key);
        for entry in folder.read_dir()? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if let Some((_, number)) = name.split_once(&mark) {
                to.push((number.to_owned(), folder.join(&name)));
            }
        }
        Ok(())
    }
}
