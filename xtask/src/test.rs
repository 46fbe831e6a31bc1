//! `cargo xtask test`: everything that must hold, and a summary at the end.
//!
//! What fails does not stop what comes after it. The last line is `N passed, N failed`: all tests,
//! and each check that has none (format, lints, documentation) as one.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::command::{cargo, show};
use crate::needs::Purpose;
use crate::tally::Tally;
use crate::{setup, workspace};

/// One thing to run.
struct Step {
    name: &'static str,
    command: Command,
}

/// How a step ended.
struct Done {
    name: &'static str,
    tally: Tally,
    took: Duration,
}

/// Installs what is missing, runs every step and prints the summary. The status is 0 where nothing
/// failed.
pub fn test() -> Result<ExitCode> {
    setup::prepare(Purpose::Test)?;
    let mut done = Vec::new();
    for step in steps() {
        eprintln!("\n=== {}", step.name);
        done.push(step.run()?);
    }
    Ok(summary(&done))
}

fn steps() -> Vec<Step> {
    let formats = formats().into_iter();
    let steps = formats.chain(lints()).chain(other_machine()).chain(tests());
    steps.chain([fuzz(), swap(), demo()]).collect()
}

/// The library for 64-bit ARM, where the compiler has a standard library for it. It is compiled, not run.
fn other_machine() -> Option<Step> {
    const TARGET: &str = "aarch64-unknown-linux-gnu";
    if !has_target(TARGET) {
        eprintln!(
            "not checked: the library for {TARGET}, for which there is no standard library; `rustup \
             target add {TARGET}` installs it"
        );
        return None;
    }
    let mut command = cargo();
    command.args(["build", "--package=exoscope", "--lib", "--all-features"]);
    command.args(["--target", TARGET]);
    Some(Step {
        name: "the library for 64-bit ARM",
        command,
    })
}

/// Whether the compiler has a standard library for a target.
fn has_target(target: &str) -> bool {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut command = Command::new(rustc);
    command.args(["--print=target-libdir", "--target", target]);
    let Ok(output) = command.output() else {
        return false;
    };
    let folder = String::from_utf8_lossy(&output.stdout);
    output.status.success() && Path::new(folder.trim()).is_dir()
}

/// Readers of foreign bytes, some dozen to a thousand times each.
fn fuzz() -> Step {
    let mut command = cargo();
    command.args(["run", "--quiet", "--package=xtask", "--", "fuzz", "--brief"]);
    command.arg("--seed=1");
    Step {
        name: "readers of foreign bytes",
        command,
    }
}

/// The attribute in published crates, those that take long left out.
fn swap() -> Step {
    let mut command = cargo();
    command.args(["run", "--quiet", "--package", "xtask", "--", "swap"]);
    Step {
        name: "attribute in published crates",
        command,
    }
}

/// The demo checks itself: its rows must be as many as the requests.
fn demo() -> Step {
    let file = workspace::root().join("target/demo.db");
    // A session would be added to the file of the last time.
    let _ = std::fs::remove_file(&file);
    let mut command = cargo();
    command.args([
        "run",
        "--quiet",
        "--package",
        "xtask",
        "--",
        "run",
        "--output",
    ]);
    command.arg(file);
    Step {
        name: "demo",
        command,
    }
}

/// The three workspaces are formatted one by one.
fn formats() -> [Step; 3] {
    let format = |name, folder| {
        let mut command = cargo();
        command
            .args(["fmt", "--all", "--check"])
            .current_dir(folder);
        Step { name, command }
    };
    [
        format("format", workspace::root().to_owned()),
        format("format of the BPF programs", workspace::ebpf()),
        format("format of the test targets", workspace::targets()),
    ]
}

/// Warnings are errors, in code with markers and without, and in documentation.
fn lints() -> [Step; 6] {
    let clippy = |name, arguments: &[&str]| {
        let mut command = cargo();
        command.arg("clippy").args(arguments);
        command.args(["--", "--deny=warnings"]);
        Step { name, command }
    };
    let all = ["--workspace", "--all-targets", "--all-features"];
    let library = [
        "--package=exoscope",
        "--package=exoscope-macros",
        "--all-targets",
    ];
    let mut programs = clippy("lints of the BPF programs", &["--all-features"]);
    // For this machine and not for BPF, for which rustup has no `core`: nothing is linked, so the
    // code is the same. The programs use intrinsics, which a stable compiler has to be told.
    programs.command.current_dir(workspace::ebpf());
    programs.command.env("RUSTC_BOOTSTRAP", "1");
    let targets = clippy(
        "lints of the test targets",
        &["--workspace", "--all-targets"],
    );
    // Ten thousand generated functions take long and say nothing new.
    let marked = [&all[..], &["--exclude=many"]].concat();
    let marked = clippy("lints of the test targets with markers", &marked);
    [
        clippy("lints", &all),
        clippy("lints of the library without markers", &library),
        programs,
        in_targets(targets),
        in_targets(marked),
        documentation(),
    ]
}

fn documentation() -> Step {
    let mut command = cargo();
    command
        .args(["doc", "--workspace", "--lib", "--no-deps", "--all-features"])
        .env("RUSTDOCFLAGS", "--deny=warnings");
    Step {
        name: "documentation",
        command,
    }
}

/// The privileged suite comes last of them, for it takes longest.
fn tests() -> [Step; 5] {
    let test = |name, arguments: &[&str]| {
        let mut command = cargo();
        command.args(["test", "--no-fail-fast"]).args(arguments);
        Step { name, command }
    };
    [
        test(
            "tests",
            &["--workspace", "--exclude=exoscope-tests", "--all-features"],
        ),
        test(
            "tests of the library without markers",
            &["--package=exoscope", "--package=exoscope-macros"],
        ),
        test(
            "what the library refuses without streams",
            &["--package=exoscope", "--features=enabled", "--test=refused"],
        ),
        in_targets(test("tests of the test targets", &["--workspace"])),
        test("privileged tests", &["--package=exoscope-tests"]),
    ]
}

/// Moves a step into the workspace of the test targets.
fn in_targets(mut step: Step) -> Step {
    step.command.current_dir(workspace::targets());
    step
}

impl Step {
    /// Runs the step, passing on what it prints.
    fn run(mut self) -> Result<Done> {
        let began = Instant::now();
        let mut child = show(&mut self.command)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", self.name))?;
        let mut tally = Tally::default();
        let stdout = child.stdout.take().context("standard output is piped")?;
        for line in BufReader::new(stdout).split(b'\n') {
            let line = line.with_context(|| format!("output of {}", self.name))?;
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            tally.read(&line);
        }
        let success = child.wait()?.success();
        count_run(&mut tally, success);
        Ok(Done {
            name: self.name,
            tally,
            took: began.elapsed(),
        })
    }
}

/// A run without tests is one check; one that failed without a failed test, for example because it
/// did not compile, is one failure.
fn count_run(tally: &mut Tally, success: bool) {
    if success && tally.passed + tally.failed == 0 {
        tally.passed = 1;
    }
    if !success && tally.failed == 0 {
        tally.failed = 1;
    }
}

/// Prints how every step ended, what failed, and last of all the sum.
fn summary(done: &[Done]) -> ExitCode {
    let mut sum = Tally::default();
    eprintln!("\n=== summary");
    for step in done {
        sum += &step.tally;
        let ignored = match step.tally.ignored {
            0 => String::new(),
            ignored => format!(", {ignored} ignored"),
        };
        let (name, seconds) = (step.name, step.took.as_secs_f64());
        eprintln!("{name:<40} {}{ignored} ({seconds:.1} s)", step.tally);
    }
    for name in &sum.failures {
        eprintln!("failed: {name}");
    }
    println!("{sum}");
    // Nobody is left to tell where standard output is closed.
    let _ = std::io::stdout().flush();
    if sum.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(script: &str) -> Tally {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let step = Step {
            name: "script",
            command,
        };
        step.run().expect("it starts").tally
    }

    #[test]
    fn a_check_without_tests_counts_as_one() {
        assert_eq!(run("true").to_string(), "1 passed, 0 failed");
        assert_eq!(run("exit 101").to_string(), "0 passed, 1 failed");
    }

    #[test]
    fn tests_are_counted() {
        let result = "test result: ok. 3 passed; 0 failed; 0 ignored";
        assert_eq!(
            run(&format!("echo '{result}'")).to_string(),
            "3 passed, 0 failed"
        );
    }

    #[test]
    fn what_does_not_compile_fails_beside_what_passed() {
        let result = "test result: ok. 3 passed; 0 failed; 0 ignored";
        assert_eq!(
            run(&format!("echo '{result}'; exit 101")).to_string(),
            "3 passed, 1 failed"
        );
    }

    #[test]
    fn a_target_that_nobody_has_is_not_there() {
        assert!(!has_target("no-such-target"));
        assert!(has_target("x86_64-unknown-linux-gnu"));
    }

    #[test]
    fn output_that_is_no_text_does_not_stop_the_step() {
        let script = r"printf '\377\n'; echo 'test result: ok. 2 passed; 0 failed'";
        assert_eq!(run(script).to_string(), "2 passed, 0 failed");
    }
}
