//! `cargo xtask swap`: our attribute in place of `tracing`'s, in code that nobody here wrote.
//!
//! cargo brings the published sources of crates that use `#[tracing::instrument]`; their own tests
//! run as published, then with the attribute swapped, then once more while their calls are captured.
//! The same tests must pass each time, the compiler must have nothing new to say, and every call
//! must be a row that can be. Nothing of theirs is part of this repository: all of it lies below
//! `target/swap`.

mod attributes;
mod binaries;
mod crates;
mod rows;
mod sources;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use binaries::{Built, Tests};
use clap::builder::PossibleValuesParser;
use crates::{CRATES, Crate};
use rows::Rows;
use sources::Sources;

use crate::{build, workspace};

/// Options of `cargo xtask swap`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Every crate, also those that take minutes.
    #[arg(long)]
    all: bool,
    /// Only these crates.
    #[arg(value_name = "CRATE", value_parser = PossibleValuesParser::new(CRATES.iter().map(|krate| krate.name)))]
    crates: Vec<String>,
}

/// Swaps the attribute in each crate and prints what came of it.
pub fn swap(args: &Args) -> Result<()> {
    let exoscope = build::build()?;
    let chosen = CRATES.iter().filter(|krate| args.choose(krate));
    let mut failed = Vec::new();
    let mut lines = Vec::new();
    for krate in chosen {
        eprintln!("\n=== {} {}: {}", krate.name, krate.version, krate.shows);
        match Trial::of(krate, &exoscope) {
            Ok(trial) => lines.push(trial.cells(krate)),
            Err(error) => {
                eprintln!("error: {}: {error:#}", krate.name);
                failed.push(krate.name);
            }
        }
    }
    print_table(&lines);
    ensure!(
        failed.is_empty(),
        "the swap failed in {}",
        failed.join(", ")
    );
    Ok(())
}

impl Args {
    fn choose(&self, krate: &Crate) -> bool {
        match self.crates.as_slice() {
            [] => self.all || krate.quick,
            names => names.iter().any(|name| name == krate.name),
        }
    }
}

/// What came of one crate.
struct Trial {
    /// Attributes in its sources.
    attributes: usize,
    /// Tests that passed as published: they are the measure.
    bare: usize,
    /// Tests of those that passed with our attribute.
    swapped: usize,
    /// Tests of those that passed while their calls were captured.
    captured: usize,
    /// Instrumented functions in the test binaries.
    functions: BTreeSet<String>,
    /// What was captured.
    rows: Rows,
}

impl Trial {
    /// Brings a crate, swaps the attribute, and runs its tests three times.
    fn of(krate: &Crate, exoscope: &Path) -> Result<Self> {
        let all = workspace::root().join("target/swap");
        let folder = all.join(format!("{}-{}", krate.name, krate.version));
        let sources = Sources::prepare(krate, &folder)?;
        let target = all.join("build");
        let bare = binaries::build(krate, &sources.bare, &target)?;
        let swapped = binaries::build(krate, &sources.swapped, &target)?;
        check_warnings(&bare, &swapped)?;
        let mut trial = Self {
            attributes: sources.attributes,
            bare: 0,
            swapped: 0,
            captured: 0,
            functions: BTreeSet::new(),
            rows: Rows::default(),
        };
        for (name, swapped) in &swapped.binaries {
            let bare = bare.binaries.get(name);
            let bare = bare.with_context(|| format!("{name} was not built as published"))?;
            let runs = Runs {
                krate,
                exoscope,
                folder: &folder,
                sources: &sources,
                name,
            };
            trial.add(&runs, bare, swapped)?;
        }
        trial.check(krate)?;
        Ok(trial)
    }

    /// Runs one test binary: as published, swapped, and captured.
    fn add(&mut self, runs: &Runs<'_>, bare: &Path, swapped: &Path) -> Result<()> {
        let measure = runs.run("bare", &mut Command::new(bare))?;
        self.bare += passed(&measure);
        let tests = runs.run("swapped", &mut Command::new(swapped))?;
        self.swapped += compare(&measure, &tests, "swapped")?;
        let functions = rows::functions(runs.exoscope, swapped)?;
        if functions.is_empty() {
            return Ok(());
        }
        self.functions.extend(functions);
        let (tests, rows) = runs.capture(swapped)?;
        self.captured += compare(&measure, &tests, "captured")?;
        self.rows.add(rows);
        Ok(())
    }

    /// Checks that so much was seen as is to be seen.
    fn check(&self, krate: &Crate) -> Result<()> {
        let (functions, calls) = (self.rows.functions.len(), self.rows.calls());
        ensure!(
            functions >= krate.functions && calls >= krate.calls,
            "{calls} calls of {functions} functions were captured; at least {} of {} are to be seen",
            krate.calls,
            krate.functions
        );
        Ok(())
    }

    /// The cells of its line in the table.
    fn cells(&self, krate: &Crate) -> [String; 8] {
        let outcomes = self.rows.outcomes.iter();
        let outcomes = outcomes.map(|(outcome, calls)| format!("{calls} {outcome}"));
        [
            format!("{} {}", krate.name, krate.version),
            self.attributes.to_string(),
            format!("{} of {}", self.rows.functions.len(), self.functions.len()),
            self.bare.to_string(),
            self.swapped.to_string(),
            self.captured.to_string(),
            self.rows.calls().to_string(),
            outcomes.collect::<Vec<_>>().join(", "),
        ]
    }
}

/// The runs of one test binary.
struct Runs<'a> {
    krate: &'a Crate,
    exoscope: &'a Path,
    folder: &'a Path,
    sources: &'a Sources,
    /// Its target.
    name: &'a str,
}

impl Runs<'_> {
    /// Runs it bare or swapped.
    fn run(&self, how: &str, command: &mut Command) -> Result<Tests> {
        let package = if how == "bare" {
            &self.sources.bare
        } else {
            &self.sources.swapped
        };
        let log = self.folder.join(format!("{}-{how}.log", self.name));
        binaries::run(command, self.krate, package, &log)
    }

    /// Runs it swapped while its calls are captured.
    fn capture(&self, binary: &Path) -> Result<(Tests, Rows)> {
        let file = self.folder.join(format!("{}.db", self.name));
        // A session would be added to the file of the last time.
        let _ = fs::remove_file(&file);
        let mut command = Command::new(self.exoscope);
        command.args(["run", "--quiet", "--output"]).arg(&file);
        let tests = self.run("captured", command.arg("--").arg(binary))?;
        let rows = Rows::read(self.exoscope, &file, &self.sources.swapped);
        let rows = rows.with_context(|| format!("in {}", file.display()))?;
        Ok((tests, rows))
    }
}

fn passed(tests: &Tests) -> usize {
    tests.values().filter(|passed| **passed).count()
}

/// Checks that what passed as published passes now; gives how many that are.
fn compare(bare: &Tests, tests: &Tests, how: &str) -> Result<usize> {
    let measure = bare
        .iter()
        .filter(|(_, passed)| **passed)
        .map(|(name, _)| name);
    let failed: Vec<&str> = measure
        .filter(|name| tests.get(*name) != Some(&true))
        .map(String::as_str)
        .collect();
    ensure!(
        failed.is_empty(),
        "passed as published, and not {how}: {}",
        failed.join(", ")
    );
    Ok(passed(bare))
}

/// Checks that the compiler says nothing new.
fn check_warnings(bare: &Built, swapped: &Built) -> Result<()> {
    let new: Vec<&str> = swapped.new_warnings(bare).collect();
    ensure!(
        new.is_empty(),
        "the compiler warns of what it did not warn of before: {}",
        new.join("; ")
    );
    Ok(())
}

/// Prints a line a crate: attributes in its sources, functions that were called of those in its tests,
/// tests that passed as published, swapped and captured, and the calls that were captured.
fn print_table(lines: &[[String; 8]]) {
    let head = [
        "crate",
        "attributes",
        "functions called",
        "tests published",
        "tests swapped",
        "tests captured",
        "calls",
        "outcomes",
    ];
    let head = head.map(str::to_owned);
    let lines: Vec<&[String; 8]> = std::iter::once(&head).chain(lines).collect();
    for line in &lines {
        let cells = line.iter().enumerate().map(|(column, cell)| {
            let width = lines
                .iter()
                .map(|line| line[column].len())
                .max()
                .unwrap_or(0);
            match column {
                0 | 7 => format!("{cell:width$}"),
                _ => format!("{cell:>width$}"),
            }
        });
        println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tests(tests: &[(&str, bool)]) -> Tests {
        let tests = tests
            .iter()
            .map(|(name, passed)| ((*name).to_owned(), *passed));
        tests.collect()
    }

    #[test]
    fn what_failed_as_published_is_no_measure() {
        let bare = tests(&[("a", true), ("needs a network", false)]);
        assert_eq!(compare(&bare, &bare, "swapped").expect("the same"), 1);
        let better = tests(&[("a", true), ("needs a network", true)]);
        assert_eq!(compare(&bare, &better, "swapped").expect("no worse"), 1);
    }

    #[test]
    fn what_fails_or_is_gone_after_the_swap_is_named() {
        let bare = tests(&[("a", true), ("b", true), ("c", true)]);
        let swapped = tests(&[("a", true), ("b", false)]);
        let error = compare(&bare, &swapped, "swapped").expect_err("worse");
        assert_eq!(
            error.to_string(),
            "passed as published, and not swapped: b, c"
        );
    }

    #[test]
    fn enough_crates_are_quick_for_every_test_run() {
        assert!(CRATES.iter().filter(|krate| krate.quick).count() >= 3);
        assert!(
            CRATES
                .iter()
                .all(|krate| krate.functions > 0 && krate.calls > 0)
        );
    }
}
