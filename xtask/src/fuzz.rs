//! `cargo xtask fuzz`: every reader is given bytes that libFuzzer makes up, led by the branches that
//! they take.
//!
//! The folder `fuzz` is one of `cargo fuzz`, which is not needed: the fuzzer comes with a package, and
//! the compiler's own options make the readers tell which branches they take (`fuzz/coverage.sh`). Only
//! our packages do; code of others counts where it is generic, or inlined.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::command::{cargo, executable, output, show};
use crate::needs::Purpose;
use crate::{setup, workspace};

/// Seconds that a reader may take for one input. They count while the machine has no time for it, too.
const SLOWEST: u32 = 100;
/// MiB of memory that it may take.
const MEMORY: u32 = 1024;

/// Readers that take bytes for changes to a file, and how many bytes: a change or two leave the rest of the
/// file to be read, a hundred do not. Inputs are as long from the beginning, because runs are few.
const OF_CHANGES: [&str; 4] = ["database", "log", "recovery", "rows"];
const CHANGES: u32 = 96;

/// Runs of each reader with `--brief`, those with its seeds included, and of those that read whole files.
const BRIEF: u32 = 1000;
const BRIEF_OF_FILES: u32 = 40;
const OF_FILES: [&str; 6] = ["database", "log", "recovery", "replay", "rows", "symbols"];

/// Options of `cargo xtask fuzz`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only this reader: the name of a file in fuzz/fuzz_targets.
    target: Option<String>,
    /// Seconds for each.
    #[arg(long, default_value_t = 60, conflicts_with = "brief")]
    seconds: u64,
    /// What mutations begin with; 0 is another number each time.
    #[arg(long, default_value_t = 0)]
    seed: u32,
    /// As the tests do it: without optimization, which builds faster, a number of runs and not of seconds,
    /// so that a busy machine does no fewer, and without keeping what is new.
    #[arg(long)]
    brief: bool,
}

/// What came of a target.
struct Row {
    target: String,
    runs: u64,
    seconds: f64,
    /// Branches that were taken.
    branches: u64,
    /// Inputs that the reader did not survive.
    findings: Vec<PathBuf>,
}

/// Installs what is missing, builds the targets, and lets each run. The status is 1 where one found
/// something.
pub fn fuzz(args: &Args) -> Result<ExitCode> {
    setup::prepare(Purpose::Test)?;
    let targets = chosen(targets()?, args.target.as_deref())?;
    let programs = build(&targets, args.brief)?;
    let mut rows = Vec::new();
    for (target, program) in targets.iter().zip(&programs) {
        rows.push(run(target, program, args)?);
    }
    print(&rows);
    let clean = rows.iter().all(|row| row.findings.is_empty());
    Ok(ExitCode::from(u8::from(!clean)))
}

fn folder() -> PathBuf {
    workspace::root().join("fuzz")
}

/// Every target, by name.
fn targets() -> Result<Vec<String>> {
    let folder = folder().join("fuzz_targets");
    let entries = fs::read_dir(&folder).with_context(|| format!("can't read {folder:?}"))?;
    let mut names = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_stem().context("a target has a name")?;
        names.push(name.to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn chosen(targets: Vec<String>, wanted: Option<&str>) -> Result<Vec<String>> {
    let Some(wanted) = wanted else {
        return Ok(targets);
    };
    if !targets.iter().any(|target| target == wanted) {
        bail!(
            "there is no target '{wanted}'; there are {}",
            targets.join(", ")
        );
    }
    Ok(vec![wanted.to_owned()])
}

/// Builds the programs of targets, with the fuzzer and with readers that tell what they do.
fn build(targets: &[String], brief: bool) -> Result<Vec<PathBuf>> {
    let mut command = cargo();
    command.args(["build", "--package=exoscope-fuzz", "--features=libfuzzer"]);
    if brief {
        // These take most of the time of a run, and little to be optimized.
        for package in ["libfuzzer-sys", "libsqlite3-sys"] {
            let optimized = format!("profile.dev.package.{package}.opt-level=1");
            command.args(["--config", &optimized]);
        }
    } else {
        command.arg("--release");
    }
    for target in targets {
        command.args(["--bin", target]);
    }
    command.env("RUSTC_WORKSPACE_WRAPPER", folder().join("coverage.sh"));
    show(&mut command).arg("--message-format=json-render-diagnostics");
    let messages = output(&mut command)?;
    let program = |target: &String| {
        executable(&messages, target).with_context(|| format!("cargo made no program {target}"))
    };
    targets.iter().map(program).collect()
}

/// Runs a target to its end. What it says goes into `target/fuzz/TARGET.log`.
fn run(target: &str, program: &Path, args: &Args) -> Result<Row> {
    let output = workspace::root().join("target/fuzz");
    let log = output.join(format!("{target}.log"));
    let artifacts = folder().join("artifacts").join(target);
    let known = [folder().join("corpus"), folder().join("findings")].map(|all| all.join(target));
    let new = output.join(target);
    if args.brief {
        // The same bytes every time: nothing is left of the last time.
        let _ = fs::remove_dir_all(&new);
    }
    for folder in known.iter().chain([&artifacts, &new]) {
        fs::create_dir_all(folder).with_context(|| format!("can't create {folder:?}"))?;
    }
    let of_changes = OF_CHANGES.contains(&target);
    let log_file = File::create(&log).with_context(|| format!("can't create {log:?}"))?;
    let until = if args.brief {
        let of_files = OF_FILES.contains(&target);
        format!("-runs={}", if of_files { BRIEF_OF_FILES } else { BRIEF })
    } else {
        format!("-max_total_time={}", args.seconds)
    };
    eprintln!("fuzzing {target} ({until}): {}", log.display());
    let mut command = Command::new(program);
    command
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg(until)
        .arg(format!("-seed={}", args.seed))
        .arg(format!("-timeout={SLOWEST}"))
        .arg(format!("-rss_limit_mb={MEMORY}"))
        .arg("-print_final_stats=1")
        .args(of_changes.then(|| format!("-max_len={CHANGES}")))
        .args(of_changes.then_some("-len_control=0"))
        // What is new goes into the first folder.
        .args(args.brief.then_some(&new))
        .args(&known)
        .stderr(log_file);
    let began = Instant::now();
    let status = command
        .status()
        .with_context(|| format!("can't start {program:?}"))?;
    let said = fs::read(&log).with_context(|| format!("can't read {log:?}"))?;
    let said = String::from_utf8_lossy(&said);
    let mut row = Row {
        target: target.to_owned(),
        seconds: began.elapsed().as_secs_f64(),
        runs: last_number(&said, "stat::number_of_executed_units:"),
        branches: last_number(&said, " cov:"),
        findings: findings(&said),
    };
    row.findings.retain(|input| !survives(program, input));
    if !status.success() && findings(&said).is_empty() {
        // It ended otherwise: its words are all there is.
        row.findings.push(log);
    }
    Ok(row)
}

/// Whether a target has no trouble with an input that it kept: it was slow because the machine was. Then
/// the input is removed.
fn survives(program: &Path, input: &Path) -> bool {
    let mut command = Command::new(program);
    command
        .arg(format!("-timeout={SLOWEST}"))
        .arg(format!("-rss_limit_mb={MEMORY}"));
    let again = command.arg(input).stderr(Stdio::null()).status();
    let survives = again.is_ok_and(|status| status.success());
    if survives {
        // That it stays would do no harm.
        let _ = fs::remove_file(input);
    }
    survives
}

/// The number after the last `key` in what a target said; 0 where there is none.
fn last_number(said: &str, key: &str) -> u64 {
    let word = said.rsplit_once(key).map(|(_, rest)| rest);
    let word = word.and_then(|rest| rest.split_whitespace().next());
    word.and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// The inputs that a target kept.
fn findings(said: &str) -> Vec<PathBuf> {
    let paths = said
        .lines()
        .filter_map(|line| line.split_once("Test unit written to "));
    paths.map(|(_, path)| PathBuf::from(path)).collect()
}

/// Prints the table to standard output, and what was found to standard error.
fn print(rows: &[Row]) {
    println!(
        "{:<14} {:>10} {:>8} {:>9} {:>9}",
        "target", "runs", "seconds", "branches", "findings"
    );
    for row in rows {
        let Row {
            target,
            runs,
            seconds,
            branches,
            findings,
        } = row;
        let findings = findings.len();
        println!("{target:<14} {runs:>10} {seconds:>8.1} {branches:>9} {findings:>9}");
    }
    for (row, path) in rows
        .iter()
        .flat_map(|row| row.findings.iter().map(move |path| (row, path)))
    {
        let target = &row.target;
        eprintln!(
            "{target} did not survive {}, says target/fuzz/{target}.log; mended, it belongs into \
             fuzz/findings/{target}",
            path.display()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "#3\tINITED cov: 13 ft: 14\n#9\tNEW    cov: 17 ft: 31 corp: 2/8b\n\
        thread panicked\nTest unit written to /f/artifacts/elf/crash-5b\n\
        stat::number_of_executed_units: 5195\n";

    #[test]
    fn a_target_says_what_it_did_and_found() {
        assert_eq!(last_number(SAID, " cov:"), 17);
        assert_eq!(last_number(SAID, "stat::number_of_executed_units:"), 5195);
        assert_eq!(last_number("", " cov:"), 0);
        assert_eq!(findings(SAID), [PathBuf::from("/f/artifacts/elf/crash-5b")]);
        assert!(findings("Done 5195 runs\n").is_empty());
    }

    #[test]
    fn targets_are_files_and_chosen_by_name() {
        let all = targets().expect("they are there");
        assert!(all.iter().any(|name| name == "elf"));
        assert_eq!(
            chosen(all.clone(), Some("elf")).expect("it is one"),
            ["elf"]
        );
        let error = chosen(all, Some("elv")).expect_err("it is none");
        assert!(
            error
                .to_string()
                .starts_with("there is no target 'elv'; there are ")
        );
    }
}
