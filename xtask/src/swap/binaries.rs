//! The test binaries of a crate: built, run, and what their tests came to.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;

use super::crates::Crate;
use crate::command::{cargo, line, show, text};

/// How long one test binary may run.
const PATIENCE: Duration = Duration::from_secs(300);

/// How often it is looked at.
const POLL: Duration = Duration::from_millis(20);

/// What came of a build.
#[derive(Debug, Default)]
pub struct Built {
    /// Test binaries by the names of their targets.
    pub binaries: BTreeMap<String, PathBuf>,
    /// What the compiler warned of in the package itself: lint and message, and how often.
    pub warnings: BTreeMap<String, usize>,
}

/// Whether each test passed, by its name. What was ignored is not in it.
pub type Tests = BTreeMap<String, bool>;

/// Builds the tests of the package in `folder`. What it depends on is kept in `target`, and must
/// have been downloaded.
///
/// # Errors
/// Where they do not compile; the compiler's errors are printed.
pub fn build(krate: &Crate, folder: &Path, target: &Path) -> Result<Built> {
    let mut build = cargo();
    build
        .args(["test", "--no-run", "--offline", "--message-format=json"])
        .args(krate.features)
        .args(krate.tests)
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", target)
        // Neither is of use here, and both take long.
        .env("CARGO_INCREMENTAL", "0")
        .env("CARGO_PROFILE_DEV_DEBUG", "false");
    let output = show(&mut build)
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {}", line(&build)))?;
    let messages = String::from_utf8(output.stdout).context("messages of cargo")?;
    let messages = messages
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    let messages: Vec<Value> = messages.collect();
    if !output.status.success() {
        print_errors(&messages);
        bail!("`{}` failed in {}", line(&build), folder.display());
    }
    Ok(Built::of(&messages, folder))
}

fn print_errors(messages: &[Value]) {
    let errors = messages
        .iter()
        .filter(|message| message["message"]["level"] == "error");
    for error in errors {
        eprint!(
            "{}",
            error["message"]["rendered"].as_str().unwrap_or_default()
        );
    }
}

impl Built {
    /// Reads the messages of cargo about the package in `folder`.
    fn of(messages: &[Value], folder: &Path) -> Self {
        let mut built = Self::default();
        for message in messages {
            let target = &message["target"];
            let source = target["src_path"].as_str().unwrap_or_default();
            if !Path::new(source).starts_with(folder) {
                continue;
            }
            if let (Some(name), Some(executable), Some(true)) = (
                target["name"].as_str(),
                message["executable"].as_str(),
                message["profile"]["test"].as_bool(),
            ) {
                built.binaries.insert(name.to_owned(), executable.into());
            }
            let message = &message["message"];
            if message["level"] == "warning" {
                let lint = message["code"]["code"].as_str().unwrap_or_default();
                let text = message["message"].as_str().unwrap_or_default();
                *built.warnings.entry(format!("{lint}: {text}")).or_default() += 1;
            }
        }
        built
    }

    /// Warnings that were not there before. That an argument is unused is none: `tracing` uses all
    /// of them, and we what is named.
    pub fn new_warnings<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = &'a str> {
        let warnings = self.warnings.iter();
        let new = warnings.filter(|(text, count)| {
            !text.starts_with("unused_variables:") && before.warnings.get(*text) < Some(*count)
        });
        new.map(|(text, _)| text.as_str())
    }
}

/// Runs a test binary, or a command that runs it, in the folder of its package. What it prints goes
/// to the file `log`.
///
/// # Errors
/// Where it can't be started, does not end in time, or ran no test.
pub fn run(command: &mut Command, krate: &Crate, folder: &Path, log: &Path) -> Result<Tests> {
    for part in krate.without {
        command.arg("--skip").arg(part);
    }
    if krate.in_turn {
        command.arg("--test-threads=1");
    }
    let printed = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut child = command
        .current_dir(folder)
        .env("CARGO_MANIFEST_DIR", folder)
        .stdin(Stdio::null())
        .stdout(printed.try_clone()?)
        .stderr(printed)
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start {}", line(command)))?;
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if began.elapsed() > PATIENCE {
            // It may have ended just now; then there is nobody to kill.
            let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
            let _ = child.wait();
            bail!(
                "`{}` did not end within {PATIENCE:?}; see {}",
                line(command),
                log.display()
            );
        }
        thread::sleep(POLL);
    };
    let printed = fs::read(log)?;
    let printed = String::from_utf8_lossy(&printed);
    // A binary of which everything is left out says so, too.
    if !printed.contains("test result: ") {
        bail!(
            "`{}` ended with {} before its tests had; see {}",
            line(command),
            text(status),
            log.display()
        );
    }
    Ok(read(&printed))
}

/// Reads what the test harness prints.
fn read(printed: &str) -> Tests {
    let mut tests = Tests::new();
    for line in printed.lines() {
        let Some((name, outcome)) = line
            .strip_prefix("test ")
            .and_then(|line| line.rsplit_once(" ... "))
        else {
            continue;
        };
        match outcome.trim_end() {
            "ok" => tests.insert(name.to_owned(), true),
            "FAILED" => tests.insert(name.to_owned(), false),
            _ => continue,
        };
    }
    tests
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const KRATE: Crate = Crate {
        name: "theirs",
        version: "1.0.0",
        shows: "nothing",
        features: &[],
        tests: &[],
        without: &[],
        in_turn: false,
        quick: false,
        functions: 0,
        calls: 0,
    };

    fn run_script(script: &str) -> Result<Tests> {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = Command::new("sh");
        let log = folder.path().join("log");
        run(command.args(["-c", script]), &KRATE, folder.path(), &log)
    }

    #[test]
    fn the_tests_that_ran_are_told_from_what_else_is_printed() {
        let script = "echo 'test a::b ... ok'; echo 'test c - should panic ... FAILED'; \
            echo 'test slow ... ignored'; echo 'test of ours'; echo 'test result: FAILED. 1 passed'";
        let tests = run_script(script).expect("it ends");
        let expected = [("a::b", true), ("c - should panic", false)];
        assert_eq!(
            tests,
            expected
                .map(|(name, passed)| (name.to_owned(), passed))
                .into()
        );
    }

    #[test]
    fn a_binary_that_dies_is_an_error() {
        let error = run_script("echo 'test a ... ok'; kill -9 $$").expect_err("no result");
        let error = error.to_string();
        assert!(
            error.contains("ended with signal 9 before its tests had"),
            "{error}"
        );
    }

    #[test]
    fn binaries_and_warnings_are_those_of_the_package() {
        let message = |source: &str, mut message: Value| {
            message["target"] = json!({"name": "theirs", "src_path": source});
            message
        };
        let built = |executable: &str| json!({"executable": executable, "profile": {"test": true}});
        let warning = json!({"message": {
            "level": "warning", "code": {"code": "unused"}, "message": "unused: `a`",
        }});
        let bare = Built::of(
            &[
                message("/p/src/lib.rs", built("/t/theirs")),
                message("/other/src/lib.rs", built("/t/other")),
                message("/p/src/lib.rs", warning.clone()),
                message("/other/src/lib.rs", warning.clone()),
            ],
            Path::new("/p"),
        );
        assert_eq!(bare.binaries["theirs"], Path::new("/t/theirs"));
        assert_eq!(
            bare.warnings,
            [("unused: unused: `a`".to_owned(), 1)].into()
        );

        let twice = [
            message("/p/a.rs", warning.clone()),
            message("/p/b.rs", warning),
        ];
        let swapped = Built::of(&twice, Path::new("/p"));
        assert_eq!(
            swapped.new_warnings(&bare).collect::<Vec<_>>(),
            ["unused: unused: `a`"]
        );
        assert_eq!(bare.new_warnings(&swapped).count(), 0);
    }
}
