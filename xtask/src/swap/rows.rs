//! What a file says of the calls of a test binary, and whether that can be.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::command::{line, output};

/// What a file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// Functions that were called.
    pub functions: BTreeSet<String>,
    /// Calls by outcome; only those that there are.
    pub outcomes: BTreeMap<&'static str, u64>,
}

/// What `exoscope report --json` prints, as far as it is used here.
#[derive(Deserialize)]
struct Report {
    complete: bool,
    calls_counted: u64,
    calls_stored: u64,
    unmatched_exits: Vec<serde_json::Value>,
    functions: Vec<Function>,
}

#[derive(Deserialize)]
struct Function {
    function: String,
    file: String,
    calls: u64,
    ok: u64,
    err: u64,
    panic: u64,
    cancelled: u64,
    unfinished: u64,
    target_died: u64,
}

/// A line of `exoscope calls --json`, as far as it is used here.
#[derive(Clone, Copy, Deserialize)]
struct Call {
    call_id: i64,
    parent_id: Option<i64>,
    start_ns: i64,
    duration_ns: i64,
    self_ns: i64,
}

impl Rows {
    /// Reads the file about a test binary that was built in the folder `package`.
    ///
    /// # Errors
    /// Where calls are missing in it, or say what can not be.
    pub fn read(exoscope: &Path, file: &Path, package: &Path) -> Result<Self> {
        let printed = output(Command::new(exoscope).args(["report", "--json"]).arg(file))?;
        let report: Report = serde_json::from_str(&printed).context("what the report prints")?;
        let rows = report.rows(package)?;
        check(&calls(exoscope, file)?, rows.calls())?;
        Ok(rows)
    }

    /// All calls.
    pub fn calls(&self) -> u64 {
        self.outcomes.values().sum()
    }

    /// Adds what another file says.
    pub fn add(&mut self, other: Self) {
        self.functions.extend(other.functions);
        for (outcome, calls) in other.outcomes {
            *self.outcomes.entry(outcome).or_default() += calls;
        }
    }
}

impl Report {
    /// Checks that the file is complete, and that its functions are those of the package.
    fn rows(self, package: &Path) -> Result<Rows> {
        let (stored, counted) = (self.calls_stored, self.calls_counted);
        ensure!(
            self.complete && stored == counted,
            "calls are missing: {stored} of {counted} are there"
        );
        if let Some(unmatched) = self.unmatched_exits.first() {
            bail!("there are ends without a beginning: {unmatched}");
        }
        let mut rows = Rows::default();
        for function in self.functions {
            let outcomes = function.outcomes();
            let sum: u64 = outcomes.iter().map(|(_, calls)| calls).sum();
            let Function {
                function,
                file,
                calls,
                ..
            } = function;
            ensure!(
                sum == calls,
                "{function}: {calls} calls have {sum} outcomes"
            );
            let source = package.join(&file);
            ensure!(
                source.is_file(),
                "{function} is not of the package: it is in {file}"
            );
            if calls > 0 {
                rows.functions.insert(function);
            }
            for (outcome, calls) in outcomes.into_iter().filter(|(_, calls)| *calls > 0) {
                *rows.outcomes.entry(outcome).or_default() += calls;
            }
        }
        Ok(rows)
    }
}

impl Function {
    fn outcomes(&self) -> [(&'static str, u64); 6] {
        [
            ("ok", self.ok),
            ("err", self.err),
            ("panic", self.panic),
            ("cancelled", self.cancelled),
            ("unfinished", self.unfinished),
            ("target_died", self.target_died),
        ]
    }
}

/// The instrumented functions of a binary.
///
/// # Errors
/// Where it can't be read.
pub fn functions(exoscope: &Path, binary: &Path) -> Result<BTreeSet<String>> {
    #[derive(Deserialize)]
    struct Site {
        function: String,
    }
    let mut command = Command::new(exoscope);
    let printed = command.args(["sites", "--json"]).arg(binary).output()?;
    if String::from_utf8_lossy(&printed.stderr).contains("has no exoscope markers") {
        return Ok(BTreeSet::new());
    }
    let sites: Vec<Site> = serde_json::from_slice(&printed.stdout)
        .with_context(|| format!("what `{}` prints", line(&command)))?;
    Ok(sites.into_iter().map(|site| site.function).collect())
}

/// Every call of a file.
fn calls(exoscope: &Path, file: &Path) -> Result<Vec<Call>> {
    let mut command = Command::new(exoscope);
    command.args(["calls", "--json"]).arg(file);
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", line(&command)))?;
    let stdout = child.stdout.take().context("standard output is piped")?;
    let mut calls = Vec::new();
    for printed in BufReader::new(stdout).lines() {
        // One a line, between the lines that open and close the list.
        let printed = printed?;
        let printed = printed.trim_end_matches(',');
        if printed.starts_with('{') && printed.ends_with('}') {
            calls.push(serde_json::from_str(printed).context("a call that was printed")?);
        }
    }
    ensure!(child.wait()?.success(), "`{}` failed", line(&command));
    Ok(calls)
}

/// Checks that every call that has a parent began while that was open, and that no call has spent
/// more time itself than it took.
fn check(calls: &[Call], expected: u64) -> Result<()> {
    let by_number: HashMap<i64, Call> = calls.iter().map(|call| (call.call_id, *call)).collect();
    let rows = by_number.len() as u64;
    ensure!(rows == expected, "{rows} rows for {expected} calls");
    for call in calls {
        let Call {
            call_id,
            start_ns,
            duration_ns,
            self_ns,
            ..
        } = *call;
        ensure!(
            (0..=duration_ns).contains(&self_ns),
            "call {call_id} took {duration_ns} ns, of which itself {self_ns} ns"
        );
        let Some(parent_id) = call.parent_id else {
            continue;
        };
        let parent = by_number.get(&parent_id);
        let parent =
            parent.with_context(|| format!("call {call_id} has a parent without a row"))?;
        let open = parent.start_ns..=parent.start_ns + parent.duration_ns;
        ensure!(
            open.contains(&start_ns),
            "call {call_id} began at {start_ns}, when its parent {parent_id} was not open: {open:?}"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(complete: bool, stored: u64) -> Report {
        let function = Function {
            function: "theirs::load".to_owned(),
            file: "src/lib.rs".to_owned(),
            calls: 3,
            ok: 2,
            err: 1,
            panic: 0,
            cancelled: 0,
            unfinished: 0,
            target_died: 0,
        };
        Report {
            complete,
            calls_counted: 3,
            calls_stored: stored,
            unmatched_exits: Vec::new(),
            functions: vec![function],
        }
    }

    fn call(call_id: i64, parent_id: Option<i64>, start_ns: i64, duration_ns: i64) -> Call {
        Call {
            call_id,
            parent_id,
            start_ns,
            duration_ns,
            self_ns: 0,
        }
    }

    #[test]
    fn calls_add_up_by_outcome() {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .expect("a folder");
        let here = package.join("instrument");
        let mut rows = report(true, 3).rows(&here).expect("complete");
        rows.add(report(true, 3).rows(&here).expect("complete"));
        assert_eq!(rows.calls(), 6);
        assert_eq!(rows.outcomes, [("ok", 4), ("err", 2)].into());
        assert_eq!(rows.functions.len(), 1);
    }

    #[test]
    fn what_is_missing_or_of_elsewhere_is_an_error() {
        let error = |report: Report, package| report.rows(package).expect_err("wrong").to_string();
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let missing = "calls are missing: 2 of 3 are there";
        assert_eq!(error(report(false, 2), here), missing);
        let elsewhere = "theirs::load is not of the package: it is in src/lib.rs";
        assert_eq!(error(report(true, 3), here), elsewhere);
        let mut odd = report(true, 3);
        odd.functions[0].ok = 3;
        assert_eq!(error(odd, here), "theirs::load: 3 calls have 4 outcomes");
    }

    #[test]
    fn a_call_begins_while_its_parent_is_open() {
        let parent = call(1, None, 100, 50);
        assert!(check(&[parent, call(2, Some(1), 150, 900)], 2).is_ok());
        let error =
            |calls: &[Call], expected| check(calls, expected).expect_err("wrong").to_string();
        assert_eq!(
            error(&[parent, call(2, Some(1), 151, 1)], 2),
            "call 2 began at 151, when its parent 1 was not open: 100..=150"
        );
        assert_eq!(
            error(&[call(2, Some(1), 1, 1)], 1),
            "call 2 has a parent without a row"
        );
        assert_eq!(error(&[parent, parent], 2), "1 rows for 2 calls");
        let busy = Call {
            self_ns: 51,
            ..parent
        };
        assert_eq!(
            error(&[busy], 1),
            "call 1 took 50 ns, of which itself 51 ns"
        );
    }
}
