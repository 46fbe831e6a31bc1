//! The agent as the demo uses it: attached to a process from outside, then asked for its report.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use serde_json::Value;

use crate::command::{self, Background, line, output, text};

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
    /// Attaches to a process with more `options`, and waits until it is said that it is attached.
    ///
    /// # Errors
    /// Where the agent ends before that, or takes too long.
    pub fn attach(exoscope: &Path, pid: u32, file: &Path, options: &[String]) -> Result<Self> {
        let mut command = Command::new(exoscope);
        command
            .args(["attach", "--pid", &pid.to_string(), "--output"])
            .arg(file)
            .args(options)
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

/// Rows of a file, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// Rows in all.
    pub calls: u64,
    /// Rows with outcome `err`.
    pub err: u64,
}

/// Counts the rows of functions whose path matches `glob`.
///
/// # Errors
/// Where the rows can't be had, or hold something else than is documented.
pub fn rows(exoscope: &Path, file: &Path, glob: &str) -> Result<Rows> {
    let mut command = Command::new(exoscope);
    command
        .args(["calls", "--json", "--function", glob])
        .arg(file);
    count_rows(&json(&mut command)?)
}

/// Fails where the kernel counted calls that are no rows.
pub fn expect_complete(exoscope: &Path, file: &Path) -> Result<()> {
    let report = json(Command::new(exoscope).args(["report", "--json"]).arg(file))?;
    ensure!(
        report["complete"] == true,
        "the report says that calls are missing: {} of {}",
        report["calls_missing"],
        report["calls_counted"]
    );
    Ok(())
}

/// Runs a command that prints JSON.
fn json(command: &mut Command) -> Result<Value> {
    let text = output(command)?;
    serde_json::from_str(&text).with_context(|| format!("`{}` printed no JSON", line(command)))
}

fn count_rows(printed: &Value) -> Result<Rows> {
    let calls = printed["calls"].as_array();
    let mut rows = Rows::default();
    for call in calls.context("the printed calls hold no list of calls")? {
        let outcome = call["outcome"].as_str();
        let outcome = outcome.context("a printed call has no outcome")?;
        rows.calls += 1;
        rows.err += u64::from(outcome == "err");
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use serde_json::json;

    use super::*;

    #[test]
    fn rows_and_errors_are_counted() {
        let printed = json!({"calls": [
            {"function": "shop::http::get_item", "outcome": "ok"},
            {"function": "shop::http::order", "outcome": "err"},
            {"function": "shop::http::order", "outcome": "cancelled"},
        ]});
        let rows = count_rows(&printed).expect("calls");
        assert_eq!(rows, Rows { calls: 3, err: 1 });
        let none = count_rows(&json!({"calls": []})).expect("no calls");
        assert_eq!(none, Rows::default());
    }

    #[test]
    fn what_the_calls_lack_is_named() {
        let error = |printed| count_rows(&printed).expect_err("incomplete").to_string();
        assert_eq!(error(json!([])), "the printed calls hold no list of calls");
        assert_eq!(
            error(json!({"calls": [{}]})),
            "a printed call has no outcome"
        );
    }

    #[test]
    fn what_is_no_json_is_named_by_its_command() {
        let error = json(Command::new("echo").arg("no")).expect_err("no JSON");
        assert_eq!(error.to_string(), "`echo no` printed no JSON");
    }

    /// An agent that only prints a report.
    fn reporter(folder: &Path, report: &str) -> PathBuf {
        let program = folder.join("exoscope");
        fs::write(&program, format!("#!/bin/sh\necho '{report}'\n")).expect("a program");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("executable");
        program
    }

    #[test]
    fn a_missing_call_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let complete = reporter(folder.path(), r#"{"complete": true}"#);
        assert!(expect_complete(&complete, Path::new("x.db")).is_ok());
        let report = r#"{"complete": false, "calls_missing": 2, "calls_counted": 9}"#;
        let error = expect_complete(&reporter(folder.path(), report), Path::new("x.db"));
        assert_eq!(
            error.expect_err("two are missing").to_string(),
            "the report says that calls are missing: 2 of 9"
        );
    }

    #[test]
    fn an_agent_that_ends_at_once_was_never_attached() {
        let session = Session::attach(Path::new("true"), 1, Path::new("x.db"), &[]);
        let error = session.map(|_| ()).expect_err("it ends");
        assert_eq!(
            error.to_string(),
            "the agent ended before it was attached to process 1"
        );
    }
}
