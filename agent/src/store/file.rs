//! The file: whose it is, who may write it, and what is in it, all before SQLite opens it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::schema::{APPLICATION_ID, VERSION};

/// What every SQLite file begins with.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// Bytes of a SQLite file's header.
const HEADER_LEN: usize = 100;

/// A file that this process alone writes, until this is dropped.
///
/// It must outlive the SQLite connection: to close any descriptor of the file takes away the locks
/// that SQLite holds on it in this process.
#[derive(Debug)]
pub struct Claim {
    /// Absolute path.
    pub path: PathBuf,
    /// The file was not there before.
    pub created: bool,
    /// Open and locked.
    pub(super) file: File,
}

impl Claim {
    /// Creates the file, mode 0600 from its first byte and owned by the user who called `sudo`; or
    /// makes sure that what is there is a file of ours that nobody writes.
    ///
    /// # Errors
    /// One sentence, and nothing is touched, where the file is not ours, is of a newer version, is
    /// being written, or can't be written.
    pub fn new(path: &Path) -> Result<Self> {
        let shown = path.display();
        // Absolute, because SQLite gives a meaning of its own to names such as ":memory:".
        let path =
            std::path::absolute(path).with_context(|| format!("can't write the file '{shown}'"))?;
        match open(&path, true) {
            Ok(file) => Self::of_new(path, file),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Self::of_existing(path),
            Err(error) => Err(error).with_context(|| {
                format!("can't create the file '{shown}': choose another place with --output")
            }),
        }
    }

    /// Makes sure that there is a file of ours at `path` that nobody writes.
    ///
    /// # Errors
    /// As [`Self::new`], or where there is none.
    pub fn existing(path: &Path) -> Result<Self> {
        let shown = path.display();
        let path =
            std::path::absolute(path).with_context(|| format!("can't write the file '{shown}'"))?;
        Self::of_existing(path)
    }

    /// Makes sure that nobody writes the file at `path`, whatever it holds.
    ///
    /// # Errors
    /// Where there is none, or somebody does.
    pub fn of_any(path: &Path) -> Result<Self> {
        let path = std::path::absolute(path)?;
        let file = lock_existing(&path)?;
        Ok(Self {
            path,
            created: false,
            file,
        })
    }

    fn of_new(path: PathBuf, file: File) -> Result<Self> {
        let ready = give_to_caller(&file).and_then(|()| Ok(file.try_lock()?));
        if let Err(error) = ready {
            remove(&path);
            return Err(error).with_context(|| {
                format!(
                    "can't make '{}' the file of the user who called sudo: choose another place \
                     with --output",
                    path.display()
                )
            });
        }
        Ok(Self {
            path,
            created: true,
            file,
        })
    }

    fn of_existing(path: PathBuf) -> Result<Self> {
        let file = lock_existing(&path)?;
        check_header(&file)
            .with_context(|| format!("can't add a session to '{}'", path.display()))?;
        Ok(Self {
            path,
            created: false,
            file,
        })
    }

    /// Removes the file and what SQLite keeps beside it. The connection must be closed.
    pub fn remove(&self) {
        remove(&self.path);
    }

    /// Whether the file still begins as one of ours; true where that can't be read.
    pub fn begins_right(&self) -> bool {
        let mut header = [0; HEADER_LEN];
        match self.file.read_exact_at(&mut header, 0) {
            Ok(()) => check_header(&self.file).is_ok(),
            Err(error) => error.kind() != ErrorKind::UnexpectedEof,
        }
    }

    /// Bytes of the file and its write-ahead log.
    pub fn size_bytes(&self) -> u64 {
        let len = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
        len(&self.path) + len(&beside(&self.path, "-wal"))
    }
}

/// Opens a file that is there, and locks it.
fn lock_existing(path: &Path) -> Result<File> {
    let shown = path.display();
    let file = open(path, false).with_context(|| format!("can't write the file '{shown}'"))?;
    let metadata = file
        .metadata()
        .with_context(|| format!("can't read '{shown}'"))?;
    if !metadata.is_file() {
        bail!("'{shown}' is no regular file: choose another one with --output");
    }
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            bail!(
                "'{shown}' is being written by another session: choose another file with --output"
            )
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("can't lock the file '{shown}'"));
        }
    }
    Ok(file)
}

fn open(path: &Path, create: bool) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(create)
        .mode(0o600)
        // A pipe at this path must not make us wait for its other end.
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
}

/// Makes the user who called `sudo` the owner, where there is one.
fn give_to_caller(file: &File) -> io::Result<()> {
    let number = |name| std::env::var(name).ok()?.parse::<u32>().ok();
    match (number("SUDO_UID"), number("SUDO_GID")) {
        (Some(uid), Some(gid)) if rustix::process::geteuid().is_root() => {
            fchown(file, Some(uid), Some(gid))
        }
        _ => Ok(()),
    }
}

/// Fails unless the file begins as one of ours, of a version that this program knows.
fn check_header(file: &File) -> Result<()> {
    let mut header = [0; HEADER_LEN];
    match file.read_exact_at(&mut header, 0) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => bail!("it is no exoscope file"),
        Err(error) => return Err(error).context("it can't be read"),
    }
    // Both are big-endian: https://www.sqlite.org/fileformat.html#the_database_header
    let number = |at: usize| {
        i32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    if !header.starts_with(MAGIC) || number(68) != APPLICATION_ID {
        bail!("it is no exoscope file");
    }
    check_version(number(60))
}

/// Fails where `version` is newer than this program.
///
/// # Errors
/// One sentence.
pub fn check_version(version: i32) -> Result<()> {
    if version > VERSION {
        bail!(
            "it was written by a newer exoscope (file version {version}, this program knows \
             {VERSION}): use that one"
        );
    }
    Ok(())
}

/// The path of a file beside `path`, whose name goes on with `suffix`.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn remove(path: &Path) {
    for suffix in ["-wal", "-shm", "-journal", ""] {
        // What is not there needs no removing, and what can't be removed was reported by its cause.
        let _ = fs::remove_file(beside(path, suffix));
    }
}
