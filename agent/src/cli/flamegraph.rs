//! `exoscope flamegraph`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, ValueEnum};

use crate::flamegraph::{Heading, draw, total_ns};
use crate::query::flames::FlamesBy;
use crate::query::rows::FunctionRow;
use crate::query::tree::Figure;
use crate::query::{Database, open_readonly};
use crate::report::cut_stacks;
use crate::report::human::{counted, duration, printable, share, total};

/// Options of `exoscope flamegraph`.
#[derive(Debug, Parser)]
pub struct Args {
    /// A file, finished or being written.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The picture.
    #[arg(short, long, value_name = "SVG")]
    output: PathBuf,
    /// What a flame's width stands for: the wall, CPU or blocked time of captured calls; or samples
    /// of the program with all of its functions, running (from a session with --sample) or waiting
    /// (with --off-cpu).
    #[arg(long, value_enum, default_value_t = By::Wall)]
    by: By,
}

/// What `--by` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum By {
    Wall,
    Cpu,
    Blocked,
    Samples,
    OffCpu,
}

impl By {
    const fn flames(self) -> FlamesBy {
        match self {
            Self::Wall => FlamesBy::Calls(Figure::Wall),
            Self::Cpu => FlamesBy::Calls(Figure::Cpu),
            Self::Blocked => FlamesBy::Calls(Figure::Blocked),
            Self::Samples => FlamesBy::Samples,
            Self::OffCpu => FlamesBy::OffCpu,
        }
    }

    /// What the picture shows.
    const fn title(self) -> &'static str {
        match self {
            Self::Wall => "wall time of captured calls",
            Self::Cpu => "CPU time of captured calls",
            Self::Blocked => "blocked time of captured calls",
            Self::Samples => "CPU time by samples",
            Self::OffCpu => "time off the CPU by samples",
        }
    }

    /// How much time it is, and of what; and what is wrong with it, if anything.
    fn subtitle(self, database: &Database, total_ns: i64) -> Result<(String, Option<String>)> {
        let total = duration(total_ns);
        match self {
            Self::Wall => {
                let (calls, _) = calls(database)?;
                let calls = counted(calls, "call", "calls");
                Ok((format!("{total} in {calls}, waiting included"), None))
            }
            Self::Cpu | Self::Blocked => {
                let (calls, known) = calls(database)?;
                let all = counted(calls, "call", "calls");
                let of = format!("{total}, known of {} of {all}", share(known, calls));
                let little = known < calls / 2;
                let warning = format!(
                    "the time is known of {} of the calls: futures need --polls",
                    share(known, calls)
                );
                Ok((of, little.then_some(warning)))
            }
            Self::Samples | Self::OffCpu => {
                let sampling = match self {
                    Self::Samples => database.sampling()?,
                    _ => database.off_cpu_sampling()?,
                };
                let cut = cut_stacks(&sampling);
                let samples = counted(sampling.samples, "sample", "samples");
                let of = format!("{total} in {samples}");
                let subtitle = cut
                    .as_ref()
                    .map_or(of.clone(), |cut| format!("{of}; {cut}"));
                Ok((subtitle, cut))
            }
        }
    }

    /// Why there is nothing to draw, and what to do.
    const fn nothing(self) -> &'static str {
        match self {
            Self::Wall => "holds no call that took any time",
            Self::Cpu => {
                "has no call whose CPU time is known; capture with --call-stats cpu (which is the \
                 default) and futures with --polls, or draw it --by wall"
            }
            Self::Blocked => {
                "has no call of which it is known that it was blocked; capture with --call-stats \
                 cpu (which is the default) and futures with --polls, or draw it --by wall"
            }
            Self::Samples => "holds no samples; capture with --sample 99",
            Self::OffCpu => {
                "holds no samples of waiting threads; capture with --sample 99 --off-cpu"
            }
        }
    }
}

/// Draws a flame graph of a file.
///
/// # Errors
/// Where the file can't be read, holds nothing of what is asked for, or the picture can't be written.
pub fn flamegraph(args: &Args) -> Result<ExitCode> {
    if same_file(&args.file, &args.output) {
        bail!(
            "the picture would replace '{}': choose another file with --output",
            args.file.display()
        );
    }
    let database = open_readonly(&args.file)?;
    let flames = database.flames(args.by.flames())?;
    if flames.is_empty() {
        bail!("'{}' {}", args.file.display(), args.by.nothing());
    }
    let (subtitle, warning) = args.by.subtitle(&database, total_ns(&flames))?;
    if let Some(sentence) = warning {
        eprintln!("exoscope: warning: {sentence}");
    }
    let heading = Heading {
        title: format!("{}: {}", target(&database)?, args.by.title()),
        subtitle: Some(subtitle),
    };
    let picture = draw(&flames, heading)?;
    fs::write(&args.output, picture)
        .with_context(|| format!("can't write the picture '{}'", args.output.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// How many calls there are, and of how many the CPU time is known.
fn calls(database: &Database) -> Result<(i64, i64)> {
    let functions = database.functions()?;
    let sum = |column: fn(&FunctionRow) -> i64| total(functions.iter().map(column));
    Ok((sum(|row| row.calls), sum(|row| row.cpu_calls)))
}

fn same_file(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

/// What was looked into: the name of its binary.
fn target(database: &Database) -> Result<String> {
    let sessions = database.sessions()?;
    let executable = sessions
        .iter()
        .find_map(|session| session.executable.clone());
    let executable = PathBuf::from(executable.unwrap_or_default());
    let name = executable
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    Ok(printable(
        &name.unwrap_or_else(|| "unknown target".to_owned()),
    ))
}
