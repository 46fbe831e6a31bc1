//! A target that makes a known number of calls at a steady rate, and the agent that captures it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};

use super::Account;
use crate::agent::is_attached;
use crate::build::{Build, exoscope};
use crate::calls::Calls;
use crate::database::Database;
use crate::process::{End, Process, Signal};
use crate::{PATIENCE, agent, eventually};

/// Calls a second of the target.
pub const RATE: u32 = 100_000;

/// A target at work, and its agent.
pub struct Scene {
    /// The target.
    pub target: Process,
    /// The agent.
    pub agent: Process,
    /// The file that it writes.
    pub file: PathBuf,
    seconds: u64,
    began: Instant,
}

/// What is left of a scene.
pub struct Left {
    /// Calls that the target made.
    pub made: u64,
    /// How the agent ended.
    pub agent: End,
    /// The file.
    pub file: PathBuf,
    target: String,
}

/// Starts a target that is to make calls for so many seconds, and waits for the word to begin.
pub fn target(seconds: u64) -> Process {
    target_at(RATE, seconds)
}

/// The same at another rate.
pub fn target_at(rate: u32, seconds: u64) -> Process {
    let (rate, seconds) = (rate.to_string(), seconds.to_string());
    let arguments = ["--rate", &rate, "--seconds", &seconds];
    Process::ready_target(&Build::release("variants").binary(), &arguments)
}

/// Has an agent attach to a process and write `file`.
pub fn attach(pid: u32, file: &Path, options: &[&str]) -> Process {
    let mut agent = Process::start(&mut attach_command(pid, file, options));
    is_attached(&mut agent);
    agent
}

/// `exoscope attach` to a process, as a command.
pub fn attach_command(pid: u32, file: &Path, options: &[&str]) -> Command {
    attach_by(Command::new(exoscope()), pid, file, options)
}

/// The same by another agent, or by one that is started in another way.
pub fn attach_by(mut agent: Command, pid: u32, file: &Path, options: &[&str]) -> Command {
    agent
        .args(["attach", "--pid", &pid.to_string(), "--output"])
        .arg(file)
        .args(options);
    agent
}

impl Scene {
    /// Has a target make calls for so many seconds, captured into `file`.
    pub fn begin(file: &Path, options: &[&str], seconds: u64) -> Self {
        let target = target(seconds);
        let agent = attach_command(target.pid(), file, options);
        Self::of(target, seconds, agent, file)
    }

    /// Has an agent attach to a target that waits, and lets that make its calls.
    pub fn of(target: Process, seconds: u64, mut agent: Command, file: &Path) -> Self {
        let mut agent = Process::start(&mut agent);
        is_attached(&mut agent);
        Self::attached(target, seconds, agent, file)
    }

    /// Lets a target that waits, and that an agent has attached to, make its calls.
    pub fn attached(mut target: Process, seconds: u64, agent: Process, file: &Path) -> Self {
        target.go_on();
        Self {
            target,
            agent,
            file: file.to_owned(),
            seconds,
            began: Instant::now(),
        }
    }

    /// Waits until calls are rows.
    pub fn has_rows(&self) {
        eventually("the first rows", || {
            stored(&self.file).filter(|rows| *rows > 0)
        });
    }

    /// Milliseconds from `ended` until more calls are rows than there were at `ended`.
    pub fn recovery_ms(&self, before: u64, ended: Instant) -> u64 {
        eventually("new rows", || {
            stored(&self.file).filter(|rows| *rows > before)
        });
        u64::try_from(ended.elapsed().as_millis()).expect("it is no age")
    }

    /// Waits for the target, ends the agent, and the target.
    pub fn end(mut self) -> Left {
        let pid = self.target.pid();
        let lines = self.target.pauses_at("done");
        let late = self
            .began
            .elapsed()
            .saturating_sub(Duration::from_secs(self.seconds));
        let made = Calls::told(&lines, pid).total();
        self.agent.signal(Signal::INT);
        let agent = self.agent.end();
        self.target.ends_well();
        Left {
            made,
            agent,
            file: self.file,
            target: format!("as ever, {:.1} s late", late.as_secs_f64()),
        }
    }
}

/// What an event says of a fault that is over: what comes before the seconds that it lasted, and after.
pub struct Told((&'static str, &'static str));

impl Told {
    /// Writes failed.
    pub const FAILED: Self = Self(("the file can be written again after ", " s"));
    /// Writes took longer than calls.
    pub const SLOW: Self = Self(("the file keeps up again: in ", " s"));
    /// One write took all the time.
    pub const BLOCKED: Self = Self(("the file takes writes again, after one of about ", " s"));
}

impl Left {
    /// Accounts for every call.
    ///
    /// # Panics
    /// Where the file is damaged, or holds a session without an end.
    pub fn account(&self, recovery_ms: Option<u64>) -> Account {
        account(&self.file, self.made, recovery_ms, &self.target)
    }

    /// Expects that the agent ended with this status.
    ///
    /// # Panics
    /// Where it did not.
    pub fn agent_ended_with(&self, status: i32) {
        let said = &self.agent.stderr;
        assert_eq!(self.agent.status.code(), Some(status), "{said:#?}");
    }

    /// Expects that the agent said this on standard error.
    ///
    /// # Panics
    /// Where it did not.
    pub fn agent_said(&self, part: &str) {
        let said = &self.agent.stderr;
        assert!(
            said.iter().any(|line| line.contains(part)),
            "no `{part}` in {said:#?}"
        );
    }

    /// Expects that the file tells of this.
    ///
    /// # Panics
    /// Where it does not.
    pub fn file_tells(&self, part: &str) {
        let events = self.events();
        assert!(
            events.iter().any(|event| event.contains(part)),
            "no `{part}` in {events:#?}"
        );
    }

    /// What the agent met, in sentences.
    fn events(&self) -> Vec<String> {
        let rows = Database::open(&self.file).rows("SELECT message FROM agent_events");
        rows.into_iter().flatten().collect()
    }

    /// Expects that the file tells that it could not be written, or not fast enough, for about so long.
    ///
    /// # Panics
    /// Where it does not.
    pub fn file_tells_of(&self, fault: &Told, lasted: Duration) {
        let (before, after) = fault.0;
        let events = self.events();
        let seconds = events.iter().filter_map(|event| {
            let (_, said) = event.split_once(before)?;
            said.split_once(after)?.0.parse::<f64>().ok()
        });
        let longest = seconds.fold(0.0, f64::max);
        assert!(
            longest > lasted.as_secs_f64() / 2.0,
            "nothing `{before}` {lasted:?} in {events:#?}"
        );
    }

    /// Has a file finished whose session was cut short.
    ///
    /// # Panics
    /// Where that fails.
    pub fn recover(&self) -> Vec<String> {
        recover(&self.file)
    }
}

/// Has a file finished whose session was cut short.
///
/// # Panics
/// Where that fails.
pub fn recover(file: &Path) -> Vec<String> {
    let end = agent::command(&["recover", file.to_str().expect("it is UTF-8")]);
    assert!(end.status.success(), "{:#?}", end.stderr);
    end.stdout
}

/// Accounts for every call that was made in the one session of a file.
///
/// # Panics
/// Where the file is damaged, or holds a session without an end.
pub fn account(file: &Path, made: u64, recovery_ms: Option<u64>, target: &str) -> Account {
    let database = open(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let text = |sql: &str| -> String {
        let row = database.query_row(sql, [], |row| row.get(0));
        row.unwrap_or_else(|error| panic!("{sql}: {error}"))
    };
    let number = |sql: &str| -> u64 {
        let row = database.query_row(sql, [], |row| row.get::<_, i64>(0));
        let number = row.unwrap_or_else(|error| panic!("{sql}: {error}"));
        u64::try_from(number).expect("a count")
    };
    assert_eq!(text("PRAGMA integrity_check"), "ok");
    is_private(file);
    assert_eq!(
        number("SELECT count(*) FROM sessions WHERE end_reason IS NULL"),
        0
    );
    let rows = number("SELECT count(*) FROM calls");
    assert_eq!(
        number("SELECT coalesce(sum(calls), 0) FROM functions"),
        rows,
        "sums and rows"
    );
    let in_kernel = number("SELECT coalesce(sum(lost), 0) FROM totals");
    let only_counted = number("SELECT coalesce(sum(only_counted), 0) FROM totals");
    let in_agent = number("SELECT coalesce(sum(calls), 0) FROM lost_calls");
    Account {
        made,
        rows,
        lost: in_kernel + in_agent,
        only_counted,
        recovery_ms,
        target: target.to_owned(),
        file: "whole".to_owned(),
    }
}

/// Expects that a file, and what is beside it, is for its owner alone.
fn is_private(file: &Path) {
    let folder = file.parent().expect("it is in a folder");
    let name = file.file_name().expect("it has a name").to_string_lossy();
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let entry = entry.expect("the folder is readable");
        if entry.file_name().to_string_lossy().starts_with(&*name) {
            let mode = entry.metadata().expect("it is there").permissions().mode();
            let path = entry.path();
            assert_eq!(mode & 0o077, 0, "others may use {}", path.display());
        }
    }
}

fn open(file: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(PATIENCE)?;
    Ok(connection)
}

/// Calls that are rows of a file by now; `None` where it can't be read just now.
pub fn stored(file: &Path) -> Option<u64> {
    number(
        file,
        "SELECT coalesce(sum(calls_stored), 0) FROM completeness",
    )
}

/// Calls that are rows of a file by now, or lost from it; `None` where it can't be read just now.
pub fn accounted(file: &Path) -> Option<u64> {
    number(
        file,
        "SELECT coalesce(sum(calls_stored), 0)
           + (SELECT coalesce(sum(calls), 0) FROM lost_calls) FROM completeness",
    )
}

fn number(file: &Path, sql: &str) -> Option<u64> {
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
    let rows = connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    rows.ok().and_then(|rows| u64::try_from(rows).ok())
}
