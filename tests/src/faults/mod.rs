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

/// Characters of a line of the table.
const WIDTH: usize = 100;
/// What is said of a case stands below it, so far to the right.
const INDENT: &str = "    ";

/// The rows as a table, with a sum below it.
pub fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{:38} {:>9} {:>9} {:>7} {:>8} {:>12} {:>9}\n",
        "case", "made", "rows", "lost", "counted", "unexplained", "recovery"
    );
    for row in rows {
        row.print(&mut text);
    }
    let _ = writeln!(text, "\n{}", sum(rows));
    text
}

impl Row {
    fn print(&self, text: &mut String) {
        let account = &self.account;
        let recovery = account
            .recovery_ms
            .map_or("-".to_owned(), |ms| format!("{ms} ms"));
        let _ = writeln!(
            text,
            "{:38} {:>9} {:>9} {:>7} {:>8} {:>12} {recovery:>9}",
            self.case,
            account.made,
            account.rows,
            account.lost,
            account.only_counted,
            self.unexplained,
        );
        wrap(text, self.done);
        if let Some(failure) = &self.failure {
            // It may be a list of many lines.
            let _ = writeln!(text, "{INDENT}FAILED: {failure}");
        } else {
            let Account { target, file, .. } = account;
            wrap(text, &format!("Target: {target}. File: {file}."));
        }
        if self.is_late() {
            let _ = writeln!(text, "{INDENT}LATE: work is to go on within {RECOVERY:?}");
        }
    }
}

/// Appends a sentence in lines that are not too long.
fn wrap(text: &mut String, sentence: &str) {
    let mut line = INDENT.to_owned();
    for word in sentence.split(' ') {
        if line.chars().count() + word.chars().count() > WIDTH {
            let _ = writeln!(text, "{}", line.trim_end());
            line.replace_range(INDENT.len().., "");
        }
        line.push_str(word);
        line.push(' ');
    }
    let _ = writeln!(text, "{}", line.trim_end());
}

/// What is to be known of all rows.
fn sum(rows: &[Row]) -> String {
    let failed = rows.iter().filter(|row| row.failure.is_some()).count();
    let late = rows.iter().filter(|row| row.is_late()).count();
    let unexplained: u64 = rows.iter().map(|row| row.unexplained).sum();
    let recovery = |row: &&Row| row.account.recovery_ms;
    let slowest = rows.iter().max_by_key(recovery);
    let slowest = slowest.and_then(|row| Some((recovery(&row)?, row.case)));
    let slowest = slowest.map_or(String::new(), |(ms, case)| {
        format!("\nslowest recovery: {ms} ms ({case})")
    });
    let cases = rows.len();
    format!("{cases} cases, {failed} failed, {late} late; {unexplained} calls unexplained{slowest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(recovery_ms: Option<u64>, failure: Option<&str>) -> Row {
        let account = Account {
            made: 1_000_000,
            rows: 999_999,
            recovery_ms,
            target: "as ever".to_owned(),
            file: "whole".to_owned(),
            ..Account::default()
        };
        Row {
            case: store::CASES[0].name,
            done: "words ".repeat(30).leak().trim_end(),
            unexplained: account.unexplained(),
            failure: failure.map(str::to_owned),
            account,
        }
    }

    #[test]
    fn the_table_fits_a_terminal_and_sums_up() {
        let table = table(&[
            row(Some(7), None),
            row(Some(1000), None),
            row(None, Some("it")),
        ]);
        assert!(
            table.lines().all(|line| line.chars().count() <= WIDTH),
            "{table}"
        );
        assert_eq!(
            table.matches("    Target: as ever. File: whole.").count(),
            2
        );
        assert_eq!(table.matches("    FAILED: it").count(), 1);
        let name = store::CASES[0].name;
        let sum = format!(
            "\n3 cases, 1 failed, 1 late; 3 calls unexplained\nslowest recovery: 1000 ms ({name})\n"
        );
        assert!(table.ends_with(&sum), "{table}");
    }

    #[test]
    fn names_of_cases_differ_and_fit_their_column() {
        let mut names: Vec<&str> = cases().map(|case| case.name).collect();
        assert!(names.iter().all(|name| name.len() <= 38), "{names:?}");
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
