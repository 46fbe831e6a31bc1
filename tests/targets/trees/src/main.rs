//! Random trees of calls, and a log of what became of them: the target of the property test.
//!
//! A tree is a [`program::Program`], made from a seed. It is run by bodies of instrumented functions
//! ([`sync`], [`futures`], [`streams`], [`iterators`]), which tell the [`log`] when they begin and end: what is
//! written there is what happened, whatever the program had planned. Trees follow each other in one
//! process, each with the next seed, so that addresses of calls are used again and again.

mod at;
mod body;
mod executor;
mod functions;
mod futures;
mod generate;
mod iterators;
mod log;
mod parcels;
mod program;
mod streams;
mod sync;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::process::ExitCode;

use functions::Function;
use log::Told;
use program::Program;
use truth::gate;
use truth::options::Options;

/// What the command line asks for.
struct Plan {
    /// Seed of the first tree.
    seed: u64,
    /// Trees at least.
    trees: u64,
    /// Calls of all trees at least.
    calls: usize,
    /// Calls of a tree at most.
    size: u32,
    /// How often each tree is run.
    repeat: u64,
    /// Calls to leave out, by number.
    without: Vec<u32>,
    /// Functions of which the log tells nothing, by path.
    untold: Vec<String>,
    /// Only print the trees.
    print: bool,
    /// Where the log goes.
    log: Option<PathBuf>,
    wait: bool,
}

impl Plan {
    fn parse(mut options: Options) -> Result<Self, String> {
        let plan = Self {
            seed: options.value("--seed")?.unwrap_or(1),
            trees: options.value("--trees")?.unwrap_or(1),
            calls: options.value("--calls")?.unwrap_or(0),
            size: options.value("--size")?.unwrap_or(12_000),
            repeat: options.value("--repeat")?.unwrap_or(1),
            without: numbers(&options.value::<String>("--without")?.unwrap_or_default())?,
            untold: paths(&options.value::<String>("--untold")?.unwrap_or_default())?,
            print: options.flag("--print"),
            log: options.value("--log")?,
            wait: options.flag("--wait-stdin"),
        };
        options.finish()?;
        Ok(plan)
    }

    fn tree(&self, place: u64) -> Program {
        let mut program = generate::program(self.seed.wrapping_add(place), self.size);
        program.leave_out(&self.without);
        program
    }

    fn run(&self) -> Vec<Told> {
        let untold = |function: &&Function| self.untold.iter().any(|path| path == function.path);
        log::prepare(self.size, functions::ALL.iter().map(untold).collect());
        let (mut done, mut calls) = (Vec::new(), 0);
        for place in 0.. {
            if place >= self.trees && calls >= self.calls {
                break;
            }
            // Futures that are forgotten may refer to it for ever.
            let program: &Program = Box::leak(Box::new(self.tree(place)));
            for _ in 0..self.repeat {
                run(program);
                let told = Told::take(program.seed);
                calls += told.calls();
                done.push(told);
            }
        }
        done
    }

    fn write(&self, done: &[Told]) -> io::Result<()> {
        if let Some(path) = &self.log {
            let mut file = BufWriter::new(File::create(path)?);
            log::write_functions(&mut file)?;
            for told in done {
                told.write(&mut file)?;
            }
            file.flush()?;
        }
        Ok(())
    }
}

/// Keeps from standard error what is written there, until it is dropped.
struct Silence(OwnedFd);

impl Silence {
    fn new() -> io::Result<Self> {
        let before = io::stderr().as_fd().try_clone_to_owned()?;
        redirect_stderr(File::options().write(true).open("/dev/null")?.as_fd())?;
        Ok(Self(before))
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        // Where it fails, errors are not seen; the status tells of them all the same.
        let _ = redirect_stderr(self.0.as_fd());
    }
}

fn redirect_stderr(to: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the descriptor is open, and standard error stays so.
    match unsafe { libc::dup2(to.as_raw_fd(), libc::STDERR_FILENO) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Numbers with commas between them.
fn numbers(text: &str) -> Result<Vec<u32>, String> {
    let parts = text.split(',').filter(|part| !part.is_empty());
    let number = |part: &str| {
        part.parse()
            .map_err(|error| format!("wrong number `{part}`: {error}"))
    };
    parts.map(number).collect()
}

/// Paths of functions with commas between them.
fn paths(text: &str) -> Result<Vec<String>, String> {
    let parts = text.split(',').filter(|part| !part.is_empty());
    let path = |part: &str| {
        let known = functions::ALL.iter().any(|function| function.path == part);
        known
            .then(|| part.to_owned())
            .ok_or_else(|| format!("there is no function `{part}`"))
    };
    parts.map(path).collect()
}

/// Does everything that a program does.
fn run(program: &'static Program) {
    for step in &program.steps {
        // What a step failed with is in the log.
        let _ = panic::catch_unwind(AssertUnwindSafe(|| body::take(0, step)));
    }
    parcels::clear();
}

fn main() -> ExitCode {
    let plan = match Plan::parse(Options::from_env()) {
        Ok(plan) => plan,
        Err(error) => {
            eprintln!("trees: {error}");
            return ExitCode::from(2);
        }
    };
    if plan.print {
        (0..plan.trees).for_each(|place| print!("{}", plan.tree(place)));
        return ExitCode::SUCCESS;
    }
    if plan.wait {
        gate::pause("ready");
    }
    let done = {
        // Panics are part of the work. A hook of our own would take the place of exoscope's.
        let _silence = Silence::new();
        plan.run()
    };
    let calls: usize = done.iter().map(Told::calls).sum();
    println!("ran {} trees of {calls} calls", done.len());
    if let Err(error) = plan.write(&done) {
        eprintln!("trees: can't write the log: {error}");
        return ExitCode::FAILURE;
    }
    if plan.wait {
        gate::pause("done");
    }
    ExitCode::SUCCESS
}
