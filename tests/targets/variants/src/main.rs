//! Every kind of call, in odd numbers: the target of the tests that cover the build variants.
//!
//! The work is done in two parts of the same size. After each part the truth is printed, one JSON
//! line a function ([`truth::Truth::print`]); between them a call can be held open, or a child
//! forked. Each module documents how many calls of its functions a round or a part makes.

mod ending;
mod errors;
mod fork;
mod futures;
mod hold;
mod methods;
#[cfg(panic = "unwind")]
mod panics;
mod rate;
mod roaming;
mod sync;
mod workers;

use std::process::ExitCode;

use ending::Ending;
use truth::options::Options;
use truth::{Truth, gate};

/// What the command line asks for.
struct Plan {
    /// Rounds in a part.
    calls: u64,
    /// Worker threads in a part.
    threads: u64,
    /// Calls a second and seconds, in place of the two parts.
    rate: Option<(u64, u64)>,
    /// Not for so many seconds, but until a line comes on standard input.
    until_told: bool,
    /// Other functions too, until a line comes on standard input.
    mixed: bool,
    wait: bool,
    hold: bool,
    fork: bool,
    end: Ending,
}

impl Plan {
    fn parse(mut options: Options) -> Result<Self, String> {
        let seconds = options.value("--seconds")?.unwrap_or(1);
        let plan = Self {
            calls: options.value("--calls")?.unwrap_or(101),
            threads: options.value("--threads")?.unwrap_or(3),
            rate: options.value("--rate")?.map(|rate| (rate, seconds)),
            until_told: options.flag("--until-told"),
            mixed: options.flag("--mixed"),
            wait: options.flag("--wait-stdin"),
            hold: options.flag("--hold"),
            fork: options.flag("--fork"),
            end: options.value("--end")?.unwrap_or(Ending::Return),
        };
        options.finish()?;
        Ok(plan)
    }

    /// Does everything but the end.
    fn run(&self) {
        let mut truth = Truth::default();
        if let Some((rate, seconds)) = self.rate {
            if self.mixed {
                rate::whole(rate, &mut truth);
            } else if self.until_told {
                rate::until_told(rate, &mut truth);
            } else {
                rate::run(rate, seconds, &mut truth);
            }
            self.end.announce(&mut truth);
            truth.print(1);
            return;
        }
        self.part(&mut truth);
        truth.print(1);

        let mut truth = Truth::default();
        if self.hold {
            hold::run(&mut truth);
        }
        if self.fork {
            fork::run(&mut |truth| self.part(truth), &mut truth);
        }
        self.part(&mut truth);
        self.end.announce(&mut truth);
        truth.print(2);
    }

    /// One part of the work.
    fn part(&self, truth: &mut Truth) {
        for n in 0..self.calls {
            sync::round(n, truth);
            methods::round(n, truth);
            errors::round(n, truth);
            futures::round(n, truth);
        }
        #[cfg(panic = "unwind")]
        panics::part(truth);
        roaming::part(truth);
        workers::part(self.calls, self.threads, truth);
    }
}

fn main() -> ExitCode {
    let plan = match Plan::parse(Options::from_env()) {
        Ok(plan) => plan,
        Err(error) => {
            eprintln!("variants: {error}");
            return ExitCode::from(2);
        }
    };
    if plan.wait {
        gate::pause("ready");
    }
    plan.run();
    if plan.wait {
        gate::pause("done");
    }
    plan.end.run();
    ExitCode::SUCCESS
}
