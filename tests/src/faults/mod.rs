//! Faults, and what becomes of calls, file and target: the cases behind `cargo xtask faults`.
//!
//! A case starts a target that makes a known number of calls ([`scene`]), has an agent capture them,
//! lets something go wrong, and accounts for every call afterwards: it is a row, or it was counted as
//! lost, or only counted. One file a family of cases.

pub mod agent;
pub mod around;
pub mod file;
pub mod found;
pub mod fuse;
pub mod memory;
pub mod mounts;
pub mod panics;
pub mod scene;
pub mod store;
pub mod target;

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use serde::Serialize;

/// How long work may take to go on after a fault has ended by itself.
pub const RECOVERY: Duration = Duration::from_secs(1);

/// How many, and which, where a case has something random.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// What the random numbers begin with.
    pub seed: u64,
    /// How often cases with random moments are run.
    pub count: u32,
    /// How long faults last that have a duration.
    pub lasts: Duration,
}

/// A case: its name, what is done, and the function that does it.
pub struct Case {
    /// The family, and a few words.
    pub name: &'static str,
    /// What is done, in a sentence.
    pub done: &'static str,
    /// It is part of the short selection.
    pub short: bool,
    /// Does it. It panics where something is not as it should be.
    pub run: fn(Options) -> Account,
}

/// Every case.
pub fn cases() -> impl Iterator<Item = &'static Case> {
    let families = [
        store::CASES,
        file::CASES,
        found::CASES,
        agent::CASES,
        memory::CASES,
        panics::CASES,
        target::CASES,
        around::CASES,
    ];
    families.into_iter().flatten()
}

/// What became of the calls of a case.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Account {
    /// Calls that the target says it made.
    pub made: u64,
    /// Calls that are rows.
    pub rows: u64,
    /// Calls that were counted as lost, by kernel or agent.
    pub lost: u64,
    /// Calls that were counted and not recorded.
    pub only_counted: u64,
    /// Milliseconds from the end of the fault until new rows could be read; `None` where the fault does
    /// not end by itself.
    pub recovery_ms: Option<u64>,
    /// What the target was like.
    pub target: String,
    /// What the file was like.
    pub file: String,
}

impl Account {
    /// Calls that are neither rows nor counted, or are there more than once.
    pub const fn unexplained(&self) -> u64 {
        self.made
            .abs_diff(self.rows + self.lost + self.only_counted)
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            made: self.made + other.made,
            rows: self.rows + other.rows,
            lost: self.lost + other.lost,
            only_counted: self.only_counted + other.only_counted,
            ..other
        }
    }

    /// Why it is not as it should be.
    fn failure(&self) -> Option<String> {
        let unexplained = self.unexplained();
        (unexplained > 0).then(|| format!("{unexplained} calls are unexplained"))
    }

    /// Work went on later than it should.
    fn is_late(&self) -> bool {
        let late = |ms| u128::from(ms) >= RECOVERY.as_millis();
        self.recovery_ms.is_some_and(late)
    }
}

/// A case that was run.
#[derive(Debug, Serialize)]
pub struct Row {
    case: &'static str,
    done: &'static str,
    #[serde(flatten)]
    account: Account,
    unexplained: u64,
    /// Why it failed.
    failure: Option<String>,
}

impl Row {
    /// Runs a case.
    pub fn of(case: &'static Case, options: Options) -> Self {
        let ended = catch_unwind(AssertUnwindSafe(|| (case.run)(options)));
        let (account, failure) = match ended {
            Ok(account) => {
                let failure = account.failure();
                (account, failure)
            }
            Err(panic) => (Account::default(), Some(said(&*panic))),
        };
        Self {
            case: case.name,
            done: case.done,
            unexplained: account.unexplained(),
            account,
            failure,
        }
    }

    /// Why it failed.
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// Work went on later than it should: on a machine that does nothing else, a failure.
    pub fn is_late(&self) -> bool {
        self.account.is_late()
    }
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("it panicked").to_owned()
}

/// The rows as a table.
pub fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{:34} {:>9} {:>9} {:>9} {:>9} {:>11} {:>9}  {:20} {}\n",
        "case", "made", "rows", "lost", "counted", "unexplained", "recovery", "target", "file"
    );
    for row in rows {
        let account = &row.account;
        let recovery = account
            .recovery_ms
            .map_or("-".to_owned(), |ms| format!("{ms} ms"));
        let _ = writeln!(
            text,
            "{:34} {:>9} {:>9} {:>9} {:>9} {:>11} {recovery:>9}  {:20} {}",
            row.case,
            account.made,
            account.rows,
            account.lost,
            account.only_counted,
            row.unexplained,
            account.target,
            account.file
        );
        let _ = writeln!(text, "    {}", row.done);
        if let Some(failure) = &row.failure {
            let _ = writeln!(text, "    FAILED: {failure}");
        }
        if row.is_late() {
            let _ = writeln!(text, "    LATE: work is to go on within {RECOVERY:?}");
        }
    }
    text
}
