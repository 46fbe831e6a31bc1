//! Many calls from everywhere at once: the six loads that the predecessor was tried with, in their
//! shape and size, or a number of times as large.
//!
//!     stress LOAD [--scale N] [--seed N]
//!
//! Prints `ready PID`, waits for a line, does the work, and prints how long that took and what it
//! did: one JSON object, and one a function ([`truth::Truth::print`]). The same seed does the same.

mod loads;

use std::process::ExitCode;
use std::time::Instant;

use loads::{Done, LOADS, Load};
use truth::gate;
use truth::options::Options;

fn main() -> ExitCode {
    match plan(Options::from_env()) {
        Ok((load, size)) => {
            run(load, size);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("stress: {error}");
            ExitCode::from(2)
        }
    }
}

/// How much of a load, and which.
#[derive(Clone, Copy)]
pub struct Size {
    /// How many times as large as the predecessor's.
    pub scale: u64,
    /// What random numbers begin with.
    pub seed: u64,
}

fn plan(mut options: Options) -> Result<(&'static Load, Size), String> {
    let size = Size {
        scale: options.value("--scale")?.unwrap_or(1),
        seed: options.value("--seed")?.unwrap_or(1),
    };
    let name = options.free("load")?;
    options.finish()?;
    let load = LOADS.iter().find(|load| load.name == name);
    let load = load.ok_or_else(|| {
        let names: Vec<&str> = LOADS.iter().map(|load| load.name).collect();
        format!("there is no load `{name}`, only {}", names.join(", "))
    })?;
    Ok((load, size))
}

fn run(load: &Load, size: Size) {
    gate::pause("ready");
    let begin = Instant::now();
    let Done { truth, items } = (load.run)(size);
    let did = serde_json::json!({
        "seconds": begin.elapsed().as_secs_f64(),
        "calls": truth.total(),
        "items": items,
    });
    println!("{did}");
    truth.print(1);
}
