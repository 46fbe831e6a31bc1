//! The command line: one file a command.

mod attach;
mod doctor;
mod flamegraph;
mod in_flight;
mod recover;
mod run;
mod sites;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::attach::programs::ProgramsError;
use crate::preflight::subject;
use crate::privileges;
use crate::report;

/// The hidden command by which this program becomes the subject of its own self-test.
pub const SUBJECT_COMMAND: &str = "__self-test-subject";

/// Exit statuses, as `--help` documents them.
const FAILED: u8 = 1;
const USAGE: u8 = 2;
const LOST: u8 = 3;

/// Looks into a running Rust program from outside it: every call of its instrumented functions
/// becomes a row in SQLite, with its outcome and the times that the kernel measured.
#[derive(Debug, Parser)]
#[command(
    name = "exoscope",
    version,
    propagate_version = true,
    after_help = "Exit status: 0 done; 1 failed; 2 wrong usage; 3 attach done, but calls have no row: \
                  lost, or only counted (the file says which). `run` exits with the status of the program."
)]
struct Cli {
    /// Say more when something fails: causes, and the verifier's log.
    #[arg(short, long, global = true)]
    verbose: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a program and capture from before its `main` to after its end.
    Run(run::Args),
    /// Capture from a running process until it ends, --duration, Ctrl-C or SIGTERM.
    Attach(attach::Args),
    /// Say what works on this machine, and what to do about what does not.
    Doctor(doctor::Args),
    /// List the instrumented functions of a binary or a process.
    Sites(sites::Args),
    /// Sum up a file per function, and say first whether its data is complete.
    ///
    /// Why the calls of a function took so long is in the last columns: time on a CPU, in the run queue (ready to
    /// run, while others had the CPU), blocked (waiting for anything else, such as a lock, data or a timer), and
    /// page faults, of which those marked `disk` had to read.
    Report(report::ReportArgs),
    /// List single calls of a file.
    ///
    /// Why a call took so long is in the column `kernel`: time on a CPU, in the run queue (ready to run, while
    /// others had the CPU) and blocked (waiting for anything else, such as a lock, data or a timer), which are its
    /// duration together; page faults, of which those marked `disk` had to read; and by how much the resident
    /// memory of the process, not of the call alone, changed meanwhile.
    Calls(report::CallsArgs),
    /// List the errors of a file by where they began.
    Errors(report::ErrorsArgs),
    /// Show the calls as a tree, merged by the path that led to them.
    Tree(report::TreeArgs),
    /// Draw a flame graph: of captured calls, or of samples of the running program.
    Flamegraph(flamegraph::Args),
    /// List the calls that have begun and not ended, oldest first.
    InFlight(in_flight::Args),
    /// Finish a file whose session was cut short: write what is in its spool, and give it an end.
    Recover(recover::Args),
    #[command(name = SUBJECT_COMMAND, hide = true)]
    Subject,
}

/// Options that contradict each other, in one sentence.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(&'static str);

/// Runs the command line and gives back the exit status.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = privileges::check_user().and_then(|()| run_command(cli.command));
    result.unwrap_or_else(|error| {
        complain(&error, cli.verbose);
        ExitCode::from(if error.is::<Usage>() { USAGE } else { FAILED })
    })
}

fn run_command(command: Command) -> anyhow::Result<ExitCode> {
    if !command.looks_into_processes() {
        privileges::give_up_all_but_files()?;
    }
    match command {
        Command::Run(args) => run::run(&args),
        Command::Attach(args) => attach::attach(&args),
        Command::Doctor(args) => doctor::doctor(&args),
        Command::Sites(args) => sites::sites(&args),
        Command::Report(args) => printed(|out| report::report(&args, out)),
        Command::Calls(args) => printed(|out| report::calls(&args, out)),
        Command::Errors(args) => printed(|out| report::errors(&args, out)),
        Command::Tree(args) => printed(|out| report::tree(&args, out)),
        Command::Flamegraph(args) => flamegraph::flamegraph(&args),
        Command::InFlight(args) => in_flight::in_flight(&args),
        Command::Recover(args) => recover::recover(&args),
        Command::Subject => subject::run()
            .map_err(Into::into)
            .map(|()| ExitCode::SUCCESS),
    }
}

impl Command {
    /// Whether it may need more than the right to read files.
    const fn looks_into_processes(&self) -> bool {
        match self {
            Self::Run(_) | Self::Attach(_) | Self::Doctor(_) => true,
            Self::Sites(args) => args.looks_into_a_process(),
            Self::InFlight(args) => args.looks_into_a_process(),
            _ => false,
        }
    }
}

/// Runs a command that prints to standard output. A reader that goes away is no failure.
fn printed(
    print: impl FnOnce(&mut dyn std::io::Write) -> anyhow::Result<()>,
) -> anyhow::Result<ExitCode> {
    let mut out = anstream::AutoStream::auto(std::io::stdout());
    let result = print(&mut out).and_then(|()| Ok(out.flush()?));
    match result {
        Err(error) if is_closed_pipe(&error) => Ok(ExitCode::SUCCESS),
        result => result.map(|()| ExitCode::SUCCESS),
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

/// Prints an error as one sentence; its causes are part of it.
fn complain(error: &anyhow::Error, verbose: bool) {
    let mut err = anstream::AutoStream::auto(std::io::stderr());
    // Where standard error is closed, nobody is left to tell.
    let _ = writeln!(err, "exoscope: {}", complaint(error, verbose));
}

/// What is said of an error: of a rejected program also what the verifier said, or how to see it.
fn complaint(error: &anyhow::Error, verbose: bool) -> String {
    match error.downcast_ref() {
        Some(ProgramsError::Rejected { log, .. }) if verbose => {
            format!("{error:#}; the verifier's log:\n{log}")
        }
        Some(ProgramsError::Rejected { log, .. }) if !log.is_empty() => {
            format!("{error:#}; run again with -v to see the verifier's log")
        }
        _ => format!("{error:#}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verifiers_log_is_shown_on_request() {
        let error = || {
            anyhow::Error::from(ProgramsError::Rejected {
                program: "entry".to_owned(),
                reason: std::io::Error::from_raw_os_error(libc::EACCES),
                log: "0: (95) exit".to_owned(),
            })
        };
        let short = complaint(&error(), false);
        assert!(
            short.starts_with("the kernel refused the BPF program `entry`: "),
            "{short}"
        );
        assert!(
            short.ends_with("run again with -v to see the verifier's log"),
            "{short}"
        );
        assert!(complaint(&error(), true).ends_with("the verifier's log:\n0: (95) exit"));
    }
}
