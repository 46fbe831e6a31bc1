//! `exoscope doctor FILE`: what a file lacks, why, and what to change.

use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use super::counts::{Counts, UNKNOWN};
use super::human::{count, counted, printable, total};
use super::summary::cut_stacks;
use super::write_json;
use crate::query::rows::{LossRow, LostCallsRow, SessionRow, WarningRow};
use crate::query::{Database, open_readonly};
use crate::store::file::{DAMAGED, damage, is_written};
use crate::store::recover::RECOVERED;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    /// As it should be.
    Ok,
    /// Worth knowing; nothing is lost.
    Note,
    /// Something that should be in the file is not.
    Lost,
}

/// One thing about a file.
#[derive(Debug, Serialize)]
struct Finding {
    level: Level,
    /// What it is about, in one or two words.
    about: &'static str,
    /// What was found, and why.
    found: String,
    /// What to change; `None` where there is nothing to do.
    remedy: Option<String>,
}

/// All that is to be said of a file; its JSON.
#[derive(Debug, Serialize)]
struct Diagnosis {
    /// Nothing that should be in the file is missing.
    complete: bool,
    findings: Vec<Finding>,
}

/// More room in the rings, or less to put there.
const FEWER_RECORDS: &str = "give the rings more room with --ring-size, or capture less: fewer functions with --functions \
     and --exclude, --call-stats none, or --capture exits";

/// Prints what a file lacks, why, and what to change. Gives whether nothing is missing.
///
/// # Errors
/// Where the file can't be read or `out` can't be written.
pub fn diagnose(file: &Path, json: bool, out: &mut dyn Write) -> Result<bool> {
    // First, because these must not be asked while SQLite has the file open.
    let damage = damage(file).ok().flatten();
    let written = is_written(file).unwrap_or(false);
    let diagnosis = match (open_readonly(file), damage) {
        (Ok(database), damage) => Diagnosis::of(&database, file, damage, written)?,
        (Err(_), Some(damage)) => Diagnosis::from(vec![of_file(Some(damage.to_owned()), file)]),
        (Err(error), None) => return Err(error),
    };
    let mut out = BufWriter::new(out);
    if json {
        write_json(&diagnosis, &mut out)?;
    } else {
        diagnosis.print(&mut out)?;
    }
    out.flush()?;
    Ok(diagnosis.complete)
}

impl From<Vec<Finding>> for Diagnosis {
    fn from(findings: Vec<Finding>) -> Self {
        Self {
            complete: !findings.iter().any(|finding| finding.level == Level::Lost),
            findings,
        }
    }
}

impl Diagnosis {
    fn of(database: &Database, file: &Path, damage: Option<&str>, written: bool) -> Result<Self> {
        let damage = damage.map(str::to_owned);
        let damage = damage.map_or_else(|| database.damage(), |damage| Ok(Some(damage)))?;
        let is_damaged = damage.is_some();
        let mut findings = vec![of_file(damage, file)];
        match of_rows(database, file, written) {
            Ok(more) => findings.extend(more),
            // What can't be read of a damaged file has been said.
            Err(_) if is_damaged => {}
            Err(error) => return Err(error),
        }
        Ok(findings.into())
    }

    fn print(&self, out: &mut dyn Write) -> Result<()> {
        for finding in &self.findings {
            let level = match finding.level {
                Level::Ok => "ok",
                Level::Note => "note",
                Level::Lost => "lost",
            };
            writeln!(out, "{level:8} {:14} {}", finding.about, finding.found)?;
            if let Some(remedy) = &finding.remedy {
                writeln!(out, "{:23} {remedy}", "")?;
            }
        }
        let verdict = if self.complete {
            "nothing is missing in this file"
        } else {
            "something is missing in this file"
        };
        Ok(writeln!(out, "\n{verdict}")?)
    }
}

/// What the rows of a file say.
fn of_rows(database: &Database, file: &Path, written: bool) -> Result<Vec<Finding>> {
    let counts = Counts::of(&database.completeness()?);
    let sessions = database.sessions()?;
    let live = written && sessions.iter().any(|session| session.end_reason.is_none());
    let mut findings = of_sessions(&sessions, file, written);
    findings.push(of_calls(&counts, live));
    findings.extend(of_counted(&database.counted_calls()?));
    findings.extend(of_losses(&database.losses()?));
    findings.extend(database.lost_calls()?.iter().map(of_lost_calls));
    if let Some(found) = cut_stacks(&database.sampling()?) {
        findings.push(note("stacks", found, None));
    }
    findings.extend(database.warnings()?.iter().map(of_warning));
    Ok(findings)
}

fn fine(about: &'static str, found: String) -> Finding {
    Finding {
        level: Level::Ok,
        about,
        found,
        remedy: None,
    }
}

fn note(about: &'static str, found: String, remedy: Option<&str>) -> Finding {
    Finding {
        level: Level::Note,
        about,
        found,
        remedy: remedy.map(str::to_owned),
    }
}

fn lost(about: &'static str, found: String, remedy: &str) -> Finding {
    Finding {
        level: Level::Lost,
        about,
        found,
        remedy: Some(remedy.to_owned()),
    }
}

/// Whether all of the file can be read.
fn of_file(damage: Option<String>, file: &Path) -> Finding {
    let Some(damage) = damage else {
        return fine("file", "all of it can be read".to_owned());
    };
    let recover = format!(
        "if no agent runs any more, `exoscope recover {}` saves what can be read, and counts the rest",
        file.display()
    );
    lost("file", printable(&damage).to_string(), &recover)
}

/// What is missing where an agent was killed.
const IN_MEMORY: &str = "what the agent held in memory then, of a second at most, is in no count";

/// How many sessions there are, and whether all have ended.
fn of_sessions(sessions: &[SessionRow], file: &Path, written: bool) -> Vec<Finding> {
    let all = counted(sessions.len() as i64, "session", "sessions");
    let has_no_end = |session: &&SessionRow| session.end_reason.is_none();
    let last = sessions
        .last()
        .and_then(|session| session.end_reason.as_deref());
    let mut findings = vec![match last {
        Some(end) => fine("sessions", format!("{all}; {}", printable(end))),
        None if written => fine("sessions", format!("{all}; the last is being written")),
        None => fine("sessions", all),
    }];
    if !written {
        let recover = format!(
            "`exoscope recover {}` finishes the file with what is in its spool",
            file.display()
        );
        findings.extend(sessions.iter().filter(has_no_end).map(|session| {
            let number = session.session_id;
            let found = format!(
                "session {number} has no end, for its agent was killed, or the machine went down: {IN_MEMORY}"
            );
            lost("cut short", found, &recover)
        }));
    }
    findings
}

/// Calls that have no rows because the agent wanted it so.
fn of_counted(counted_calls: &[LostCallsRow]) -> Option<Finding> {
    const MORE_ROOM: &str = "give the spool more room with --spool-size, or another disk with --spool-dir, or capture less: \
         fewer functions with --functions and --exclude, or --capture exits";
    let calls = total(counted_calls.iter().map(|row| row.calls));
    let because: Vec<_> = counted_calls
        .iter()
        .map(|row| row.reason.as_str())
        .collect();
    let because = because.join(", and ");
    (calls > 0).then(|| {
        let were = counted(calls, "call was", "calls were");
        let found = format!(
            "{were} counted and not recorded, because {}; `totals`, `histograms` and `counted_calls` have \
             what is known of them",
            printable(&because)
        );
        lost("counted", found, MORE_ROOM)
    })
}

/// Whether every call that the kernel counted is in the file.
fn of_calls(counts: &Counts, live: bool) -> Finding {
    let (found, remedy) = if counts.are_unknown() {
        let are = counted(counts.calls_stored, "call is", "calls are");
        (
            format!("{are} in this file, and whether others are missing is unknown: {UNKNOWN}"),
            "the agent was killed in its first second, or damage took them; `exoscope recover` says so then",
        )
    } else if counts.calls_missing > 0 {
        (
            counts.missing(),
            "what follows says why, as far as it is known; the view `completeness` has it by function",
        )
    } else {
        let all_calls = counted(counts.calls_counted, "call", "calls");
        let found = format!("each of {all_calls} counted in the kernel is accounted for");
        return fine("calls", found);
    };
    if live {
        let remedy = "the file is at most a second behind: look again";
        return note("calls", found, Some(remedy));
    }
    lost("calls", found, remedy)
}

/// What the kernel could not hand on.
fn of_losses(losses: &LossRow) -> Vec<Finding> {
    const MORE_OPEN: &str = "make room for more with --open-calls, or choose fewer functions with --functions \
         and --exclude, above all those that stay open for long";
    const NO_FIELDS: &str =
        "give the rings more room with --ring-size, or leave fields out with --no-fields";
    let calls = |number| counted(number, "call", "calls");
    let messages = losses.lost_detail.saturating_add(losses.lost_panics);
    let findings = [
        (losses.lost_ring, {
            let records = counted(losses.lost_ring, "record of a call", "records of calls");
            let found = format!("{records} found no room: calls ended faster than the agent read");
            lost("rings", found, FEWER_RECORDS)
        }),
        (losses.lost_table, {
            let were = counted(losses.lost_table, "call was", "calls were");
            let found = format!("{were} not followed: too many were open at once");
            lost("open calls", found, MORE_OPEN)
        }),
        (losses.replaced, {
            let have = counted(losses.replaced, "call has", "calls have");
            let found = format!("{have} an end that was never seen, and the outcome `unfinished`");
            note("ends", found, None)
        }),
        (losses.unmatched, {
            let or = if losses.lost_table > 0 {
                ", or had not been followed"
            } else {
                ""
            };
            let ends = match losses.unmatched {
                1 => "its end is",
                _ => "their ends are",
            };
            let found = format!(
                "{} had begun before the session{or}: {ends} in `unmatched_exits`",
                calls(losses.unmatched)
            );
            let remedy = "`exoscope run` sees a program from its first call";
            note("beginnings", found, Some(remedy))
        }),
        (messages, {
            let messages = counted(messages, "message of an error", "messages of errors");
            lost(
                "messages",
                format!("{messages} found no room"),
                FEWER_RECORDS,
            )
        }),
        (losses.lost_fields, {
            let found = format!("the fields of {} found no room", calls(losses.lost_fields));
            lost("fields", found, NO_FIELDS)
        }),
        (losses.lost_links, {
            let links = counted(losses.lost_links, "link", "links");
            let found = format!(
                "{links} found no room: calls in the tasks and threads that they were made for may have no parent"
            );
            lost("links", found, FEWER_RECORDS)
        }),
    ];
    let met = findings.into_iter().filter(|(number, _)| *number > 0);
    met.map(|(_, finding)| finding).collect()
}

/// Calls that reached the agent and were lost there.
fn of_lost_calls(row: &LostCallsRow) -> Finding {
    let calls = counted(row.calls, "call", "calls");
    let found = format!("{calls} lost within the agent: {}", printable(&row.reason));
    let remedy = if row.reason == DAMAGED {
        "exoscope did not do that: look at the disk, and for others that write the file"
    } else {
        "give the spool more room with --spool-size, or another disk with --spool-dir"
    };
    lost("store", found, remedy)
}

/// What the agent itself warned of: what it lost is told of above, in numbers.
fn of_warning(row: &WarningRow) -> Finding {
    if row.kind == RECOVERED {
        let found = format!("{}; {IN_MEMORY}", printable(&row.message));
        let remedy = "look for what killed the agent: of memory, the kernel's log tells";
        return lost("cut short", found, remedy);
    }
    let more = match row.count - 1 {
        0 => String::new(),
        more => format!(
            " (and {} more of this kind: see the view `agent_events`)",
            count(more)
        ),
    };
    note(
        "agent",
        format!(
            "{}: {}{more}",
            printable(&row.kind),
            printable(&row.message)
        ),
        None,
    )
}
