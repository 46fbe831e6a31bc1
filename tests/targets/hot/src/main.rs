//! Functions that use the CPU for known times, or leave it: the target of the tests of samples.
//!
//! `hot PART [--cpu-ms 1000] [--threads 1] [--wait-stdin]`, where PART is one of the modules
//! [`share`], [`calls`], [`garbage`], [`absent`]. `--cpu-ms` is the CPU time of each thread.

mod absent;
mod calls;
mod clock;
mod garbage;
mod share;

use std::process::ExitCode;

use truth::gate;
use truth::options::Options;

/// What the command line asks for.
struct Plan {
    part: String,
    cpu_ns: u64,
    threads: u64,
    wait: bool,
}

impl Plan {
    fn parse(mut options: Options) -> Result<Self, String> {
        let plan = Self {
            cpu_ns: options.value("--cpu-ms")?.unwrap_or(1000) * 1_000_000,
            threads: options.value("--threads")?.unwrap_or(1),
            wait: options.flag("--wait-stdin"),
            part: options.free("part")?,
        };
        options.finish()?;
        Ok(plan)
    }

    fn run(&self) -> Result<(), String> {
        match self.part.as_str() {
            "share" => share::run(self.threads, self.cpu_ns),
            "calls" => calls::run(self.cpu_ns),
            "garbage" => garbage::run(self.cpu_ns),
            "absent" => absent::run(),
            other => return Err(format!("there is no part `{other}`")),
        }
        Ok(())
    }
}

fn main() -> ExitCode {
    let worked = Plan::parse(Options::from_env()).and_then(|plan| {
        if plan.wait {
            gate::pause("ready");
        }
        plan.run()?;
        if plan.wait {
            gate::pause("done");
        }
        Ok(())
    });
    match worked {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hot: {error}");
            ExitCode::from(2)
        }
    }
}
