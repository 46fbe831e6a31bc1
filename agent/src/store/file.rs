//! The file: whose it is, who may write it, and what is in it, all before SQLite opens it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use rusqlite::{Connection, OpenFlags};

use super::log;
use super::schema::{self, APPLICATION_ID, VERSION};

/// What every SQLite file begins with.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// Bytes of a SQLite file's header.
const HEADER_LEN: usize = 100;
/// Why calls are lost that were in a file that was damaged.
pub const DAMAGED: &str = "the file was damaged";
/// What stands near the beginning of each file of ours, and of no other.
const TABLE: &[u8] = b"CREATE TABLE kernel_count (";

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

    /// Makes sure that the file at `path` is one of ours, which may be damaged, and that nobody writes
    /// it.
    ///
    /// # Errors
    /// Where there is none, it is not ours, or somebody does.
    pub fn ours(path: &Path) -> Result<Self> {
        let path = std::path::absolute(path)?;
        let file = lock_existing(&path, Purpose::Recovery)?;
        if version(&file)?.is_none() && !has_our_schema(&file)? {
            bail!(
                "{}: it is no exoscope file",
                Purpose::Recovery.failed(&path)
            );
        }
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
        let file = lock_existing(&path, Purpose::Session)?;
        let shown = path.display();
        let failed = Purpose::Session.failed(&path);
        if version(&file)?.is_none() && has_our_schema(&file)? {
            bail!(
                "{failed}: its header is damaged: `exoscope recover {shown}` saves what can be read"
            );
        }
        check_header(&file).context(failed)?;
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

    /// Fails where a newer program wrote the file, which may hold what this one does not know of. One with just
    /// the tables and views of this version has a damaged header where that says so.
    ///
    /// # Errors
    /// One sentence.
    pub fn check_not_newer(&self) -> Result<()> {
        let Some(Err(newer)) = version(&self.file)?.map(check_version) else {
            return Ok(());
        };
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        match schema::is_current(&connection) {
            Ok(false) => Err(newer).context(Purpose::Recovery.failed(&self.path)),
            _ => Ok(()),
        }
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

/// What a file that is there is wanted for.
#[derive(Clone, Copy)]
enum Purpose {
    Session,
    Recovery,
}

impl Purpose {
    /// What fails where `path` can't be had.
    fn failed(self, path: &Path) -> String {
        let shown = path.display();
        match self {
            Self::Session => format!("can't add a session to '{shown}'"),
            Self::Recovery => format!("can't recover '{shown}'"),
        }
    }

    /// What to do then, where that is not plain.
    fn remedy(self) -> &'static str {
        match self {
            Self::Session => ": choose another file with --output",
            Self::Recovery => "",
        }
    }
}

/// Opens a file that is there, and locks it.
fn lock_existing(path: &Path, purpose: Purpose) -> Result<File> {
    let (failed, remedy) = (purpose.failed(path), purpose.remedy());
    let file = open(path, false).context(failed.clone())?;
    if !file.metadata().context(failed.clone())?.is_file() {
        bail!("{failed}: it is no regular file{remedy}");
    }
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            bail!("{failed}: it is being written by another session{remedy}")
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).context(format!("{failed}: it can't be locked"));
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

/// Whether somebody is writing a file. It must not be asked while SQLite has the file open in this process.
///
/// # Errors
/// Where it can't be read.
pub fn is_written(path: &Path) -> Result<bool> {
    // Whoever writes it has a lock; this one is gone when the file is closed.
    Ok(File::open(path)?.try_lock_shared().is_err())
}

/// What is wrong with a file that nobody writes, seen from outside of SQLite, which would not say so;
/// `None` where it is being written. It must not be asked while SQLite has the file open in this process.
///
/// # Errors
/// Where it can't be read.
pub fn damage(path: &Path) -> Result<Option<&'static str>> {
    if is_written(path)? {
        return Ok(None);
    }
    let file = File::open(path)?;
    if version(&file)?.is_none() && has_our_schema(&file)? {
        return Ok(Some("its header is damaged"));
    }
    Ok((!log::is_sound(path)?).then_some("its log is damaged"))
}

/// Whether a file whose header is not one of ours has a table of ours nevertheless.
fn has_our_schema(file: &File) -> Result<bool> {
    let mut begin = vec![0; 1 << 20];
    let mut read = 0;
    loop {
        match file.read_at(&mut begin[read..], read as u64)? {
            0 => break,
            more => read += more,
        }
    }
    Ok(begin[..read].windows(TABLE.len()).any(|part| part == TABLE))
}

/// Fails unless the file begins as one of ours, of a version that this program knows.
fn check_header(file: &File) -> Result<()> {
    let version = version(file)?.context("it is no exoscope file")?;
    check_version(version)
}

/// The version in the header of a file; `None` where it does not begin as one of ours.
fn version(file: &File) -> Result<Option<i32>> {
    let mut header = [0; HEADER_LEN];
    match file.read_exact_at(&mut header, 0) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error).context("it can't be read"),
    }
    // Both are big-endian: https://www.sqlite.org/fileformat.html#the_database_header
    let number = |at: usize| {
        i32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    let ours = header.starts_with(MAGIC) && number(68) == APPLICATION_ID;
    Ok(ours.then(|| number(60)))
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

/// Removes a file and what SQLite keeps beside it.
pub(super) fn remove(path: &Path) {
    for suffix in ["-wal", "-shm", "-journal", ""] {
        // What is not there needs no removing, and what can't be removed was reported by its cause.
        let _ = fs::remove_file(beside(path, suffix));
    }
}

/// Gives a file and its log another name. Whenever this or [`move_back`] is cut short, the file does not have
/// its own name without its log.
///
/// # Errors
/// Where they can't be renamed; so for [`move_back`].
pub(super) fn move_aside(path: &Path, aside: &Path) -> io::Result<()> {
    fs::rename(path, aside)?;
    rename_log(path, aside)
}

/// Gives them their own name again.
pub(super) fn move_back(aside: &Path, path: &Path) -> io::Result<()> {
    rename_log(aside, path)?;
    fs::rename(aside, path)
}

/// Renames the log of a file, where it has one. What SQLite made of it goes: it makes that anew.
fn rename_log(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(beside(from, "-wal"), beside(to, "-wal")) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    match fs::remove_file(beside(from, "-shm")) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
