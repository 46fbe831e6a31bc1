//! Sessions that were cut short: their agent was killed, or the machine went down. What is in their
//! spools goes into the file, once, and they get an end.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::fault::{Fault, fault};
use super::file::{Claim, beside, move_aside, move_back, remove};
use super::log;
use super::opened::Opened;
use super::salvage::salvage;
use super::sessions::Session;
use super::{SessionInfo, Store, pages, replace, texts, write};
use crate::event::unix_ns;
use crate::event::{AgentEvent, Level};
use crate::spool::segment::Reader;

/// The `end_reason` of sessions that were cut short.
pub const INTERRUPTED: &str = "interrupted";

/// The kind of the event that tells of it.
pub const RECOVERED: &str = "recovered";

/// What a spool gave.
#[derive(Debug, Default)]
struct Replayed {
    segments: usize,
    calls: u64,
    /// Calls that were in the file already.
    known: u64,
    /// What could not be read, in sentences.
    unreadable: Vec<String>,
    /// Calls that the file can't hold as they are told, and why.
    refused: Vec<(u64, String)>,
}

/// What to do where the folder of a session's spool is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SpoolGone {
    /// Nothing: it may come back.
    Refuse,
    /// Go on without what was in it, and say so.
    LeaveOut,
}

/// Gives an end to the sessions of a file that were cut short. Says what was done, a sentence for each
/// session.
///
/// # Errors
/// One sentence, where the path is no file of ours, or is being written, or can't be, or the folder of a
/// session's spool is not there. What has been replayed by then stays, and the rest waits in the spool.
pub fn recover(path: &Path) -> Result<Vec<String>> {
    recover_with(path, SpoolGone::Refuse)
}

/// The same; what was in a spool whose folder is not there is left out.
///
/// # Errors
/// As [`recover`].
pub fn recover_without_spool(path: &Path) -> Result<Vec<String>> {
    recover_with(path, SpoolGone::LeaveOut)
}

fn recover_with(path: &Path, spool_gone: SpoolGone) -> Result<Vec<String>> {
    let put_back = put_back(path)?;
    let salvaged = salvage_damaged(path)?;
    let claim = Arc::new(Claim::existing(path)?);
    let (opened, mut recovered) = finish_interrupted(Opened::new(&claim)?, spool_gone)
        .with_context(|| format!("can't recover '{}'", path.display()))?;
    opened.leave_single_file();
    recovered.splice(0..0, put_back.into_iter().chain(salvaged));
    Ok(recovered)
}

/// Gives a damaged file its name back, where whoever was to put another one in its place was killed. Says
/// so; `None` where the file is there.
fn put_back(path: &Path) -> Result<Option<String>> {
    if path.try_exists()? {
        return Ok(None);
    }
    let changed = |aside: &PathBuf| aside.metadata().and_then(|metadata| metadata.modified());
    let all = replace::all_aside(path).chain([beside(path, ".damaged")]);
    let last = all
        .filter_map(|aside| Some((changed(&aside).ok()?, aside)))
        .max();
    let Some((_, aside)) = last else {
        return Ok(None);
    };
    let _claim = Claim::ours(&aside)?;
    remove(&beside(path, ".new"));
    move_back(&aside, path)?;
    Ok(Some(format!(
        "{} had been put aside to be replaced, and has its name again",
        aside.display()
    )))
}

/// Puts a damaged file aside, and what can be read of it in its place. Says so; `None` where it is not
/// damaged.
fn salvage_damaged(path: &Path) -> Result<Option<String>> {
    let claim = Arc::new(Claim::ours(path)?);
    claim.check_not_newer()?;
    let sound = log::is_sound(&claim.path).map_err(Into::into);
    let sound = sound.and_then(|sound| {
        if !sound || !claim.begins_right() {
            return Ok(false);
        }
        let opened = Opened::new(&claim)?;
        let wrong = pages::wrong(&opened.connection)?;
        Ok(wrong.is_none() && texts::count_damaged(&opened.connection)? == 0)
    });
    match sound {
        Ok(true) => return Ok(None),
        Err(error) if fault(&error) == Fault::Transient => {
            return Err(error).with_context(|| format!("can't read '{}'", path.display()));
        }
        _ => {}
    }
    let (new, aside) = (beside(path, ".new"), beside(path, ".damaged"));
    if aside.exists() {
        let (path, aside) = (path.display(), aside.display());
        bail!(
            "'{path}' is damaged, and there is an earlier damaged file '{aside}': move that one away"
        );
    }
    remove(&new);
    move_aside(path, &aside)?;
    let lost = salvage(&aside, &new)
        .inspect_err(|_| {
            remove(&new);
            // What fails here leaves the file where the next try looks for it.
            let _ = move_back(&aside, path);
        })
        .with_context(|| format!("can't save what is left of '{}'", path.display()))?;
    fs::rename(&new, path)?;
    let aside = aside.display();
    Ok(Some(format!(
        "the file was damaged and is {aside} now; {lost}"
    )))
}

/// As [`recover`], for a file that is open.
///
/// # Errors
/// Where SQLite can't read or write.
pub(super) fn finish_interrupted(
    mut opened: Opened,
    spool_gone: SpoolGone,
) -> Result<(Opened, Vec<String>)> {
    let mut recovered = Vec::new();
    while let Some(session) = Session::interrupted(&opened.connection, &opened.claim.path)? {
        let mut store = Store {
            memory: write::Memory::of(&opened.connection, &session)?,
            opened,
            session,
            written: true,
            // A file that goes on breaking while it is recovered is not replaced.
            info: SessionInfo::now(String::new(), 0),
            functions: Vec::new(),
            stored: 0,
            seen: replace::Seen::default(),
            recovered: Vec::new(),
        };
        recovered.push(store.finish_interrupted(spool_gone)?);
        opened = store.opened;
    }
    // Files of sessions that were cut short before they had written anything.
    opened.connection.execute(
        "UPDATE session SET end_reason = ?1 WHERE end_reason IS NULL",
        [INTERRUPTED],
    )?;
    Ok((opened, recovered))
}

impl Store {
    fn finish_interrupted(&mut self, spool_gone: SpoolGone) -> Result<String> {
        let replayed = self.replay(spool_gone)?;
        let sentence = replayed.sentence(self.session.id);
        let mut events = vec![AgentEvent::now(Level::Warning, RECOVERED, sentence.clone())];
        for unreadable in &replayed.unreadable {
            events.push(AgentEvent::now(Level::Error, "lost", unreadable.clone()));
        }
        self.record(&events, &replayed.refused)?;
        // They are among those that are counted anew.
        self.memory.durations.written();
        complete_durations(&self.opened.connection)?;
        let ended_unix_ns = last_commit(&self.opened.connection, &self.session)?;
        self.end(&super::SessionEnd {
            ended_unix_ns,
            reason: INTERRUPTED.to_owned(),
            exit_status: None,
        })?;
        // All that they held is in the file.
        for segment in self.session.spool.segments().unwrap_or_default() {
            let _ = fs::remove_file(segment);
        }
        Ok(sentence)
    }

    /// Writes what the session's segments hold and the file does not.
    fn replay(&mut self, spool_gone: SpoolGone) -> Result<Replayed> {
        let mut replayed = Replayed::default();
        let folder = self.session.spool.folder.display().to_string();
        let segments = match self.session.spool.segments() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let gone = format!("is in the folder '{folder}', which is not there");
                if spool_gone == SpoolGone::Refuse {
                    let (session, path) = (self.session.id, self.file_path().display());
                    bail!(
                        "the spool of session {session} {gone}: bring that back, or `exoscope recover \
                         --without-spool {path}` leaves out what is in it"
                    );
                }
                replayed
                    .unreadable
                    .push(format!("its spool is left out, for it {gone}"));
                Vec::new()
            }
            segments => segments.with_context(|| format!("can't read the spool in '{folder}'"))?,
        };
        for path in segments {
            replayed.segments += 1;
            if let Err(error) = self.replay_segment(&path, &mut replayed)? {
                let path = path.display();
                replayed.unreadable.push(format!(
                    "the rest of a segment of the spool, {path}, is lost: {error:#}"
                ));
            }
        }
        Ok(replayed)
    }

    /// The outer error is that of the file, the inner one that of the segment.
    fn replay_segment(&mut self, path: &Path, replayed: &mut Replayed) -> Result<Result<()>> {
        let read = File::open(path).context("it can't be opened");
        let read = read.and_then(|file| Ok(Reader::new(Arc::new(file))?));
        let (mut reader, header) = match read {
            Ok((reader, header)) if header.key == self.session.spool.key => (reader, header),
            Ok(_) => return Ok(Err(anyhow::anyhow!("it belongs to another session"))),
            Err(error) => return Ok(Err(error)),
        };
        self.session.functions.clear();
        self.add_functions(&header.functions)?;
        loop {
            match reader.message() {
                Ok(Some((number, message))) => {
                    let calls = message.calls();
                    match self.write_message(number, &message) {
                        Ok(true) => replayed.calls += calls,
                        Ok(false) => replayed.known += calls,
                        Err(error) if fault(&error) == Fault::Refused => {
                            let why = format!("in the spool they make no sense: {error:#}");
                            replayed.refused.push((calls, why));
                        }
                        Err(error) => return Err(error),
                    }
                }
                Ok(None) => return Ok(Ok(())),
                Err(error) => return Ok(Err(error.into())),
            }
        }
    }
}

impl Replayed {
    fn sentence(&self, session: i64) -> String {
        let spool = match self {
            Self {
                segments: 0,
                unreadable,
                ..
            } if !unreadable.is_empty() => unreadable.join("; "),
            Self { segments: 0, .. } => "nothing was in its spool".to_owned(),
            Self {
                calls, known: 0, ..
            } => format!("{calls} calls came from its spool"),
            Self { calls, known, .. } => {
                format!("{calls} calls came from its spool, {known} were in the file already")
            }
        };
        format!("session {session} was cut short, without an end: {spool}")
    }
}

/// About when a session was cut short.
fn last_commit(connection: &Connection, session: &Session) -> Result<i64> {
    let looked = connection
        .query_row(
            "SELECT started_unix_ns + looked_ns - started_ns FROM session WHERE session_id = ?1",
            params![session.id],
            |row| row.get::<_, Option<i64>>(0),
        )
        .optional()?;
    Ok(looked.flatten().unwrap_or_else(unix_ns))
}

/// The durations of an agent's last half second die with it: those of functions that lack some are
/// counted anew, from their calls.
fn complete_durations(connection: &Connection) -> Result<()> {
    super::durations::register(connection)?;
    connection.execute_batch(
        "BEGIN IMMEDIATE;
         CREATE TEMP TABLE incomplete AS
           SELECT function_id FROM function_stat stat GROUP BY function_id
           HAVING sum(calls) <> (SELECT coalesce(sum(calls), 0) FROM duration_bucket bucket
                                 WHERE bucket.function_id = stat.function_id);
         DELETE FROM duration_bucket WHERE function_id IN incomplete;
         INSERT INTO duration_bucket
           SELECT function_id, bucket_middle(duration_ns) AS middle_ns, count(*) FROM call
           WHERE function_id IN incomplete GROUP BY 1, 2;
         DROP TABLE incomplete;
         COMMIT;",
    )?;
    Ok(())
}
