//! `exoscope doctor`: what works on this machine, or what a file lacks.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use serde_json::json;

use super::{FAILED, LOST, printed};
use crate::kernel_types::KernelTypes;
use crate::preflight::checks::{self, Check};
use crate::preflight::grant;
use crate::preflight::self_test::{SelfTest, Trial};
use crate::preflight::sources::{self, Offer};
use crate::report;
use crate::stats::source::NULL;

/// Options of `exoscope doctor`.
#[derive(Debug, Parser)]
pub struct Args {
    /// A file, finished or being written: say what was lost in it, why, and what to change.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Print a unit of systemd that runs exoscope with the capabilities that it needs and nothing else,
    /// for /etc/systemd/system/exoscope@.service.
    #[arg(long, conflicts_with_all = ["file", "json"])]
    unit: bool,
}

/// Prints what works on this machine, or what a file lacks.
///
/// # Errors
/// Where standard output is broken, or the file can't be read.
pub fn doctor(args: &Args) -> Result<ExitCode> {
    if args.unit {
        return printed(|out| Ok(write!(out, "{}", grant::unit())?));
    }
    match &args.file {
        Some(file) => examine_file(file, args.json),
        None => examine_machine(args.json),
    }
}

/// Prints what a file lacks; exit status 3 where something is missing.
fn examine_file(file: &Path, json: bool) -> Result<ExitCode> {
    let mut complete = true;
    let printed = printed(|out| {
        complete = report::diagnose(file, json, out)?;
        Ok(())
    })?;
    Ok(if complete {
        printed
    } else {
        ExitCode::from(LOST)
    })
}

/// Prints every check and the self-test; exit status 1 where capture can't work.
fn examine_machine(json: bool) -> Result<ExitCode> {
    // Several checks look at them; that they can't be read, one of these says.
    let _types = KernelTypes::of_this_kernel();
    let mut checks = checks::all();
    let able = checks
        .iter()
        .all(|check| !check.required || check.result.is_ok());
    if able {
        checks.push(checks::sampling());
        checks.extend(checks::call_stats());
    }
    let self_test = able.then(|| SelfTest::run(true));
    let works =
        matches!(&self_test, Some(Ok(test)) if test.trials.iter().any(|t| t.result.is_ok()));
    let offers = sources::offers();
    printed(|out| {
        if json {
            print_json(out, &checks, self_test.as_ref(), &offers, works)
        } else {
            print_text(out, &checks, self_test.as_ref(), &offers, works)
        }
    })?;
    Ok(if works {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FAILED)
    })
}

fn print_text(
    out: &mut dyn Write,
    checks: &[Check],
    self_test: Option<&Result<SelfTest>>,
    offers: &[Offer],
    works: bool,
) -> Result<()> {
    for check in checks {
        match &check.result {
            Ok(found) => writeln!(out, "ok       {:14} {found}", check.name)?,
            Err(problem) => {
                let word = if check.required { "missing" } else { "without" };
                writeln!(out, "{word:8} {:14} {}", check.name, problem.what)?;
                writeln!(out, "{:23} {}", "", problem.remedy)?;
            }
        }
    }
    match self_test {
        Some(Ok(test)) => print_trials(out, test)?,
        Some(Err(error)) => writeln!(out, "missing  {:14} {error:#}", "self-test")?,
        None => writeln!(
            out,
            "missing  {:14} not run: something above is missing",
            "self-test"
        )?,
    }
    print_offers(out, offers)?;
    writeln!(
        out,
        "\nusers may look into their own processes without sudo after\n    sudo {}\n\
         and `exoscope doctor --unit` prints a service of systemd for all processes\n",
        grant::setcap()
    )?;
    Ok(writeln!(
        out,
        "{}",
        if works {
            "capture works here"
        } else {
            "capture can't work here"
        }
    )?)
}

fn print_trials(out: &mut dyn Write, test: &SelfTest) -> Result<()> {
    for Trial { byte, result } in &test.trials {
        match result {
            Ok(ns) => writeln!(
                out,
                "ok       {:14} {}: {ns:.0} ns a marker",
                "self-test",
                byte.describe()
            )?,
            Err(why) => writeln!(
                out,
                "without  {:14} {}: {why}",
                "self-test",
                byte.describe()
            )?,
        }
    }
    let chosen = match test.fast() {
        Some(byte) => format!("--markers auto takes the {}", byte.describe()),
        None => "--markers auto takes the breakpoint".to_owned(),
    };
    Ok(writeln!(out, "ok       {:14} {chosen}", "markers")?)
}

/// A line for what each source of stats can give, and one for each thing that it can't.
fn print_offers(out: &mut dyn Write, offers: &[Offer]) -> Result<()> {
    for of_source in offers.chunk_by(|one, next| one.source == next.source) {
        let name = format!("stats {}", of_source[0].source);
        let given = of_source.iter().filter(|offer| offer.result.is_ok());
        let given: Vec<_> = given.map(|offer| offer.part.what()).collect();
        if of_source[0].source == NULL {
            writeln!(
                out,
                "ok       {name:14} rows without figures, where no other source answers"
            )?;
        } else if !given.is_empty() {
            writeln!(out, "ok       {name:14} {}", given.join(", "))?;
        }
        for offer in of_source {
            if let Err(why) = &offer.result {
                writeln!(out, "without  {name:14} {}: {why}", offer.part.what())?;
            }
        }
    }
    Ok(())
}

fn print_json(
    out: &mut dyn Write,
    checks: &[Check],
    self_test: Option<&Result<SelfTest>>,
    offers: &[Offer],
    works: bool,
) -> Result<()> {
    let checks: Vec<_> = checks
        .iter()
        .map(|check| match &check.result {
            Ok(found) => {
                json!({"name": check.name, "required": check.required, "ok": true, "found": found})
            }
            Err(problem) => json!({
                "name": check.name, "required": check.required, "ok": false,
                "problem": problem.what, "remedy": problem.remedy,
            }),
        })
        .collect();
    let trials: Vec<_> = match self_test {
        Some(Ok(test)) => test.trials.iter().map(trial_json).collect(),
        _ => Vec::new(),
    };
    let fast = matches!(self_test, Some(Ok(test)) if test.fast().is_some());
    let failure = self_test
        .and_then(|test| test.as_ref().err())
        .map(|error| format!("{error:#}"));
    let sources: Vec<_> = offers
        .iter()
        .map(|offer| {
            json!({
                "source": offer.source, "part": offer.part.name(), "ok": offer.result.is_ok(),
                "problem": offer.result.as_ref().err(),
            })
        })
        .collect();
    let report = json!({
        "works": works,
        "checks": checks,
        "sources": sources,
        "self_test": {"trials": trials, "failure": failure},
        "markers_auto": if fast { "fast" } else { "safe" },
        "setcap": grant::setcap(),
        "unit": grant::unit(),
    });
    Ok(writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?)
}

fn trial_json(trial: &Trial) -> serde_json::Value {
    let byte = format!("{:?}", trial.byte).to_lowercase();
    match &trial.result {
        Ok(ns) => json!({"byte": byte, "ok": true, "ns_per_marker": ns}),
        Err(why) => json!({"byte": byte, "ok": false, "problem": why}),
    }
}
