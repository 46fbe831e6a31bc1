//! `exoscope flamegraph`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, ValueEnum};

use crate::flamegraph::{Heading, draw};
use crate::query::flames::FlamesBy;
use crate::query::tree::Figure;
use crate::query::{Database, open_readonly};
use crate::report::cut_stacks;
use crate::report::human::printable;

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
    let cut = match args.by {
        By::Samples => cut_stacks(&database.sampling()?),
        By::Wall | By::Cpu | By::Blocked | By::OffCpu => None,
    };
    if let Some(sentence) = &cut {
        eprintln!("exoscope: warning: {sentence}");
    }
    let heading = Heading {
        title: format!("{}: {}", target(&database)?, args.by.title()),
        subtitle: cut,
    };
    let picture = draw(&flames, heading)?;
    fs::write(&args.output, picture)
        .with_context(|| format!("can't write the picture '{}'", args.output.display()))?;
    Ok(ExitCode::SUCCESS)
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
