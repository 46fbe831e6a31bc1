//! The commands of this workspace: `cargo xtask COMMAND`, one file a command.
//!
//! | command | what it does |
//! |---|---|
//! | [`setup`] | installs what building and testing need |
//! | [`build`] | the release build of the agent |
//! | [`demo`] (`run`) | a real service under load, captured from outside, its rows compared |
//! | [`test`] | format, lints, documentation and all tests |
//! | [`swap`] | our attribute in crates that nobody here wrote |
//! | [`bench`] | what it costs, measured |
//! | [`bench`] (`stress`) | many calls from everywhere at once, each accounted for |
//! | [`faults`] | what becomes of calls, target and file when something goes wrong |
//! | [`fuzz`] | what reads foreign bytes, given bytes that nobody vouches for |
//!
//! Everything that a command says goes to standard error, but for results.

mod agent;
mod bench;
mod build;
mod command;
mod demo;
mod faults;
mod fuzz;
mod h2load;
mod needs;
mod service;
mod setup;
mod swap;
mod tally;
mod test;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The commands of the exoscope workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Install what is missing to build and to test: Debian packages by apt-get, and bpf-linker
    /// into target/tools. Does nothing where nothing is missing.
    Setup(setup::Args),
    /// Build the agent for release: target/release/exoscope.
    Build,
    /// The demo: build a web service with markers, attach to it, drive it with h2load, print the
    /// report, and compare the rows with the requests that h2load counted.
    Run(demo::Args),
    /// Check format, lints and documentation and run all tests, the privileged ones too.
    Test,
    /// Swap `#[tracing::instrument]` for our attribute in published crates, run their own tests
    /// before and after, and capture their calls. Needs root, and the registry the first time.
    Swap(swap::Args),
    /// Measure what a marker, attaching and the agent cost.
    Bench(bench::Args),
    /// The loads that the predecessor was tried with, in their size and 10 and 100 times as large:
    /// how fast, next to the floor of the same run, and whether every call is a row. Needs root.
    Stress(bench::StressArgs),
    /// Let everything go wrong that can, and print what became of calls, target and file. Needs root.
    Faults(faults::Args),
    /// Let libFuzzer make up bytes for everything that reads foreign ones: binaries, rings, the spool,
    /// files. Prints a table; ends with status 1 where something panics, hangs or uses up memory.
    Fuzz(fuzz::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().task {
        Task::Setup(args) => setup::setup(&args).map(|()| ExitCode::SUCCESS),
        Task::Build => build::build().map(|_| ExitCode::SUCCESS),
        Task::Run(args) => demo::demo(&args).map(|()| ExitCode::SUCCESS),
        Task::Test => test::test(),
        Task::Swap(args) => swap::swap(&args).map(|()| ExitCode::SUCCESS),
        Task::Bench(args) => bench::bench(&args).map(|()| ExitCode::SUCCESS),
        Task::Stress(args) => bench::stress(&args).map(|()| ExitCode::SUCCESS),
        Task::Faults(args) => faults::faults(&args).map(|()| ExitCode::SUCCESS),
        Task::Fuzz(args) => fuzz::fuzz(&args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
