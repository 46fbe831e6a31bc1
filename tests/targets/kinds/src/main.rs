//! Every kind of function. Each module is a case: code, and beside it the rows that its calls must
//! give ([`case::Case`]).
//!
//! Prints what rows are expected, one JSON object a case, and then makes the calls: those of all
//! cases that need no process of their own, or those of one. `main` is instrumented as well, so it is
//! the parent of whatever the main thread calls.
#![allow(
    clippy::async_yields_async,
    clippy::complexity,
    clippy::perf,
    clippy::style,
    clippy::suspicious,
    reason = "functions of every form that there is, good style or not"
)]

mod allocations;
#[macro_use]
mod case;
mod closures;
mod executors;
mod fields;
mod functions;
mod futures;
mod iterators;
mod links;
mod methods;
mod operators;
#[cfg(panic = "unwind")]
mod panics;
mod processes;
mod results;
mod streams;
mod tasks;

use std::process::ExitCode;

use case::Case;
use truth::gate;
use truth::options::Options;

/// All cases, by file.
const CASES: &[&[Case]] = &[
    functions::CASES,
    results::CASES,
    methods::CASES,
    operators::CASES,
    closures::CASES,
    futures::CASES,
    tasks::CASES,
    executors::CASES,
    fields::CASES,
    streams::CASES,
    iterators::CASES,
    links::CASES,
    processes::CASES,
    #[cfg(panic = "unwind")]
    panics::CASES,
];

/// What the command line asks for.
struct Plan {
    cases: Vec<&'static Case>,
    /// Only says what there is.
    list: bool,
    wait: bool,
}

impl Plan {
    fn parse(mut options: Options) -> Result<Self, String> {
        let name = options.value::<String>("--case")?;
        let list = options.flag("--list");
        let ends = options.flag("--ends");
        let wait = options.flag("--wait-stdin");
        options.finish()?;
        let all = CASES.iter().copied().flatten();
        let cases: Vec<_> = match &name {
            Some(name) => all.filter(|case| case.name() == name).collect(),
            None if list => all.collect(),
            None => all
                .filter(|case| !case.is_alone() && (case.shows_at_ends() || !ends))
                .collect(),
        };
        match name {
            Some(name) if cases.is_empty() => Err(format!("there is no case `{name}`")),
            _ => Ok(Self { cases, list, wait }),
        }
    }

    fn run(&self) {
        for case in &self.cases {
            println!("{}", serde_json::json!(case));
        }
        if self.list {
            return;
        }
        if self.wait {
            gate::pause("ready");
        }
        self.cases.iter().for_each(|case| case.run());
        if self.wait {
            gate::pause("done");
        }
    }
}

#[exoscope::instrument]
fn main() -> ExitCode {
    match Plan::parse(Options::from_env()) {
        Ok(plan) => plan.run(),
        Err(error) => {
            eprintln!("kinds: {error}");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_case_lies_in_another() {
        let names: Vec<_> = CASES.iter().copied().flatten().map(Case::name).collect();
        for (at, name) in names.iter().enumerate() {
            for other in &names[at + 1..] {
                let (short, long) = if name.len() < other.len() {
                    (name, other)
                } else {
                    (other, name)
                };
                let inside = long
                    .strip_prefix(short)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
                assert!(!inside, "{name} and {other}");
            }
        }
    }

    #[test]
    fn every_case_that_returns_runs() {
        let cases = CASES.iter().copied().flatten();
        cases.filter(|case| !case.is_alone()).for_each(Case::run);
    }
}
