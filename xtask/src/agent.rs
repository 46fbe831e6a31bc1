//! The agent as the demo uses it: attached to a process from outside, then asked for its report.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use serde_json::Value;

use crate::command::{self, Background, output, text};

/// How long the agent may take to be attached: the self-test comes first.
const ATTACH_PATIENCE: Duration = Duration::from_secs(60);

/// How long the agent may take to detach and to finish its file.
const FINISH_PATIENCE: Duration = Duration::from_secs(60);

/// The exit status of an agent that lost records.
const LOST: i32 = 3;

/// An agent that is attached to a process.
pub struct Session {
    process: Background,
    /// Passes on what the agent says.
    talk: JoinHandle<()>,
}

impl Session {
    /// Attaches to a process and waits until it is said that it is attached.
    ///
    /// # Errors
    /// Where the agent ends before that, or takes too long.
    pub fn attach(exoscope: &Path, pid: u32, file: &Path) -> Result<Self> {
        let mut command = Command::new(exoscope);
        command
            .args(["attach", "--pid", &pid.to_string(), "--output"])
            .arg(file)
            .stderr(Stdio::piped());
        let mut process = Background::start("the agent", &mut command)?;
        let lines = process
            .lines_of_stderr()
            .context("standard error is piped")?;
        let (said, heard) = mpsc::channel();
        let talk = thread::spawn(move || {
            for line in lines {
                eprintln!("{line}");
                if line.contains("attached") {
                    // Nobody listens any more after the first time.
                    let _ = said.send(());
                }
            }
        });
        match heard.recv_timeout(ATTACH_PATIENCE) {
            Ok(()) => Ok(Self { process, talk }),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                bail!("the agent ended before it was attached to process {pid}")
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {
                bail!("the agent was not attached to process {pid} within {ATTACH_PATIENCE:?}")
            }
        }
    }

    /// Ends the session as Ctrl-C does, and waits until its file is finished.
    ///
    /// # Errors
    /// Where the agent does not end, says that records were lost, or failed.
    pub fn finish(mut self) -> Result<()> {
        let status = self.process.stop(Signal::INT, FINISH_PATIENCE)?;
        // It only reads a pipe that is closed now.
        let _ = self.talk.join();
        match status.code() {
            Some(0) => Ok(()),
            Some(LOST) => bail!("the agent lost records"),
            _ => bail!("the agent ended with {} when asked to", text(status)),
        }
    }
}

/// Prints the report about a file to standard output.
pub fn print_report(exoscope: &Path, file: &Path) -> Result<()> {
    command::run(Command::new(exoscope).arg("report").arg(file))
}

/// Calls in a file, counted by function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// Rows in all.
    pub calls: u64,
    /// Rows with outcome `err`.
    pub err: u64,
}

/// The rows of all functions whose path begins with `prefix`.
///
/// # Errors
/// Where the report can't be had, or holds something else than is documented.
pub fn rows(exoscope: &Path, file: &Path, prefix: &str) -> Result<Rows> {
    let report = output(Command::new(exoscope).args(["report", "--json"]).arg(file))?;
    let report = serde_json::from_str(&report).context("the report is no JSON")?;
    sum(&report, prefix)
}

/// Adds up the functions of a report.
fn sum(report: &Value, prefix: &str) -> Result<Rows> {
    let functions = report["functions"].as_array();
    let functions = functions.context("the report has no list of functions")?;
    let mut rows = Rows::default();
    for function in functions {
        let path = function["function"].as_str();
        let path = path.context("a function in the report has no path")?;
        if path.starts_with(prefix) {
            rows.calls += count(function, "calls")?;
            rows.err += count(function, "err")?;
        }
    }
    Ok(rows)
}

fn count(function: &Value, what: &str) -> Result<u64> {
    let count = function[what].as_u64();
    count.with_context(|| format!("a function in the report has no count {what:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_functions_of_a_module_are_added_up() {
        let report = json!({"functions": [
            {"function": "shop::http::get_item", "calls": 10, "ok": 9, "err": 1},
            {"function": "shop::http::order", "calls": 5, "ok": 3, "err": 2},
            {"function": "shop::store::item", "calls": 15, "ok": 15, "err": 0},
        ]});
        let rows = sum(&report, "shop::http::").expect("a report");
        assert_eq!(rows, Rows { calls: 15, err: 3 });
        let none = sum(&report, "other::").expect("a report");
        assert_eq!(none, Rows::default());
    }

    #[test]
    fn what_a_report_lacks_is_named() {
        let error = |report| sum(&report, "a").expect_err("incomplete").to_string();
        assert_eq!(error(json!([])), "the report has no list of functions");
        assert_eq!(
            error(json!({"functions": [{"function": "a::b", "calls": 1}]})),
            r#"a function in the report has no count "err""#
        );
    }

    #[test]
    fn an_agent_that_ends_at_once_was_never_attached() {
        let session = Session::attach(Path::new("true"), 1, Path::new("x.db"));
        let error = session.map(|_| ()).expect_err("it ends");
        assert_eq!(
            error.to_string(),
            "the agent ended before it was attached to process 1"
        );
    }
}
