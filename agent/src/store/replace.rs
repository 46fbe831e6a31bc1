//! The file is gone, or damaged: another one takes its place and goes on with the session.
//!
//! While the old one is open, all of it can be read, also when it was deleted or renamed: then the new
//! one is its copy. A damaged one is put aside, and the new one has what can be read of it. The old
//! connection is closed before the new file gets its name: SQLite removes logs by name. Where the agent is
//! killed before that, [`recover`](super::recover) finds the old one by the name that it was given.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, params};

use super::Store;
use super::file::{Claim, DAMAGED, beside, move_aside, remove};
use super::log;
use super::opened::Opened;
use super::salvage::salvage;
use crate::event::unix_ns;

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// It, or a part of it, has lost its name; what is open can be read.
    Gone(&'static str),
    /// It does not hold what was written.
    Damaged(String),
}

/// What was last seen of a file.
#[derive(Debug, Default)]
pub(super) struct Seen {
    len: u64,
    log: Option<(u64, u64)>,
    index: Option<(u64, u64)>,
    /// Where the damaged file was put that is to be replaced.
    aside: Option<PathBuf>,
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

impl Store {
    /// Looks at the file from outside of SQLite.
    pub fn look(&mut self) -> Option<Wrong> {
        let claim = &self.opened.claim;
        let open = claim.file.metadata().ok()?;
        match fs::metadata(&claim.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Some(Wrong::Gone("it was deleted or renamed"));
            }
            Ok(named) if identity(&named) != identity(&open) => {
                return Some(Wrong::Gone("another file got its name"));
            }
            _ => {}
        }
        if open.len() < self.seen.len {
            return Some(Wrong::Damaged("it was truncated".to_owned()));
        }
        if !claim.begins_right() {
            return Some(Wrong::Damaged("its header was overwritten".to_owned()));
        }
        self.seen.len = open.len();
        let log = look_beside(&claim.path, "-wal", &mut self.seen.log);
        if log == Some(Ok(())) && !log::begins_right(&claim.path) {
            return Some(Wrong::Damaged(
                "its log was truncated or overwritten".to_owned(),
            ));
        }
        let index = look_beside(&claim.path, "-shm", &mut self.seen.index);
        match (log, index) {
            (Some(Err(Missing)), _) => Some(Wrong::Gone("its log was deleted or renamed")),
            (_, Some(Err(Missing))) => {
                Some(Wrong::Gone("the index of its log was deleted or renamed"))
            }
            _ => None,
        }
    }

    /// Puts another file in the place of this one, and says what was done. It may be called again
    /// where it failed.
    ///
    /// # Errors
    /// Where there is no room for another file, or it can't be written.
    pub fn replace(&mut self, wrong: &Wrong) -> Result<String> {
        let path = self.opened.claim.path.clone();
        let new = beside(&path, ".new");
        remove(&new);
        let copied = match wrong {
            Wrong::Gone(_) if self.seen.aside.is_none() => self.copy_to(&new).is_ok(),
            _ => false,
        };
        let (what, said) = match wrong {
            Wrong::Gone(what) => ((*what).to_owned(), "all of it was copied".to_owned()),
            Wrong::Damaged(what) => (what.clone(), String::new()),
        };
        let said = if copied {
            // The old file, wherever it is, is to hold all by itself.
            let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
            let _ = self.opened.connection.query_row(checkpoint, [], |_| Ok(()));
            self.close_old()?;
            said
        } else {
            let aside = self.put_aside()?;
            let lost = salvage(&aside, &new)
                .with_context(|| format!("can't save what is left of '{}'", aside.display()))?;
            format!("it is {} now; {lost}", aside.display())
        };
        let path = if copied && self.has_its_name() {
            // All of it is in its copy.
            fs::rename(&new, &path)
                .with_context(|| format!("can't replace '{}' by its copy", path.display()))?;
            path
        } else {
            into_place(&new, &path)?
        };
        self.take_over(&path, copied)?;
        let path = path.display();
        Ok(format!(
            "the file was replaced by another one, {path}: {what}; {said}"
        ))
    }

    /// Whether the path still leads to the file that is open.
    fn has_its_name(&self) -> bool {
        let claim = &self.opened.claim;
        match (fs::metadata(&claim.path), claim.file.metadata()) {
            (Ok(named), Ok(open)) => identity(&named) == identity(&open),
            _ => false,
        }
    }

    /// Copies all that the open file holds.
    fn copy_to(&self, new: &Path) -> Result<()> {
        Claim::new(new)?;
        let copied = self.opened.connection.backup("main", new, None::<fn(_)>);
        copied.inspect_err(|_| drop(fs::remove_file(new)))?;
        Ok(())
    }

    /// Closes the file, and removes what it leaves behind under its name.
    fn close_old(&mut self) -> Result<()> {
        let path = self.opened.claim.path.clone();
        let nothing = Connection::open_in_memory()?;
        drop(std::mem::replace(&mut self.opened.connection, nothing));
        for suffix in ["-wal", "-shm"] {
            let _ = fs::remove_file(beside(&path, suffix));
        }
        Ok(())
    }

    /// Gives the damaged file and its log another name, and closes it as it is.
    fn put_aside(&mut self) -> Result<PathBuf> {
        if let Some(aside) = &self.seen.aside {
            return Ok(aside.clone());
        }
        let path = self.opened.claim.path.clone();
        let aside = free_aside(&path);
        move_aside(&path, &aside)
            .with_context(|| format!("can't put '{}' aside", path.display()))?;
        self.seen.aside = Some(aside.clone());
        // What it remembers of the file is not to be written to it.
        let keep = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
        let _ = self.opened.connection.set_db_config(keep, true);
        self.close_old()?;
        Ok(aside)
    }

    /// Goes on with the session in the file at `path`.
    fn take_over(&mut self, path: &Path, copy: bool) -> Result<()> {
        let claim = Arc::new(Claim::existing(path)?);
        self.opened = Opened::new(&claim)?;
        self.seen = Seen::default();
        self.restore_session()?;
        self.memory.forget();
        self.memory
            .reread(&self.opened.connection, &self.session, copy)?;
        Ok(())
    }

    /// Writes what must not be missing of the session, where it could not be read.
    fn restore_session(&mut self) -> Result<()> {
        let (session, info) = (&self.session, &self.info);
        let transaction = self.opened.connection.transaction()?;
        transaction.execute(
            "INSERT OR IGNORE INTO session (session_id, started_unix_ns, started_ns, host, kernel,
               agent_version, options, sample_hertz, call_base)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            params![
                session.id,
                info.started_unix_ns,
                session.started_ns,
                info.host,
                info.kernel,
                info.agent_version,
                info.options,
                (info.sample_hertz > 0).then_some(info.sample_hertz),
                session.call_base
            ],
        )?;
        let before = &session.before;
        transaction.execute(
            "INSERT OR REPLACE INTO writing VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                session.id,
                session.message,
                before.frames,
                before.stacks,
                before.threads,
                session.spool.key.cast_signed(),
                info.spool_folder
                    .as_ref()
                    .map(|folder| folder.to_string_lossy())
            ],
        )?;
        for (id, function) in session.functions.iter().zip(&self.functions) {
            transaction.execute(
                "INSERT OR IGNORE INTO function VALUES (?1, ?2, ?3, ?4)",
                params![id, function.path, function.file, function.line],
            )?;
        }
        let stored: i64 = transaction.query_row(
            "SELECT coalesce(sum(calls), 0) FROM function_stat WHERE session_id = ?1",
            [session.id],
            |row| row.get(0),
        )?;
        let known: i64 = transaction.query_row(
            "SELECT coalesce(sum(calls), 0) FROM lost_call
             WHERE session_id = ?1 AND reason = ?2",
            params![session.id, DAMAGED],
            |row| row.get(0),
        )?;
        let missing = self.stored - stored - known;
        if missing > 0 {
            transaction.execute(
                "INSERT INTO lost_call VALUES (?1, ?2, ?3, ?4)",
                params![session.id, unix_ns(), missing, DAMAGED],
            )?;
        }
        transaction.commit()?;
        Ok(())
    }
}

/// A name for a damaged file that no file has.
fn free_aside(path: &Path) -> PathBuf {
    let mut numbers = 1_u32..;
    loop {
        let aside = aside(path, numbers.next().unwrap_or(u32::MAX));
        if !aside.exists() {
            return aside;
        }
    }
}

/// The name that a damaged file is given, the first one 1.
fn aside(path: &Path, number: u32) -> PathBuf {
    beside(path, &format!(".damaged-{number}"))
}

/// The files that were put aside in the place of one.
pub(super) fn all_aside(path: &Path) -> impl Iterator<Item = PathBuf> {
    let numbered = (1..).map(|number| aside(path, number));
    numbered.take_while(|aside| aside.exists())
}

/// A file was there once, and is not any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Missing;

/// Whether a file beside another is the one that was there before; `None` where there never was one.
fn look_beside(
    path: &Path,
    suffix: &str,
    seen: &mut Option<(u64, u64)>,
) -> Option<Result<(), Missing>> {
    match fs::metadata(beside(path, suffix)) {
        Ok(metadata) => {
            let known = *seen.get_or_insert(identity(&metadata));
            let same = known == identity(&metadata);
            Some(if same { Ok(()) } else { Err(Missing) })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => seen.map(|_| Err(Missing)),
        Err(_) => None,
    }
}

/// Gives a new file its name: that of the old one or, where that is taken, one like it.
fn into_place(new: &Path, path: &Path) -> Result<PathBuf> {
    let mut number = 1;
    let mut place = path.to_owned();
    loop {
        let flags = rustix::fs::RenameFlags::NOREPLACE;
        let here = rustix::fs::CWD;
        match rustix::fs::renameat_with(here, new, here, &place, flags) {
            Ok(()) => return Ok(place),
            Err(rustix::io::Errno::EXIST) => {
                number += 1;
                place = beside(path, &format!(".{number}"));
            }
            // File systems without it can't tell; nobody is in the way but by chance.
            Err(rustix::io::Errno::INVAL) if !place.exists() => fs::rename(new, &place)?,
            Err(error) => {
                return Err(error).with_context(|| {
                    format!("can't give the new file its name, {}", place.display())
                });
            }
        }
        if !new.exists() {
            return Ok(place);
        }
    }
}
