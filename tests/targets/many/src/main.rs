//! Ten thousand instrumented functions, to attach to ten, a thousand or all of them.
//!
//! | functions | how many | calls | outcome |
//! |---|---|---|---|
//! | `many::ten::*` | 10 | `--rounds` each | ok |
//! | `many::thousand::*` | 1,000 | `--rounds` each | ok |
//! | `many::rest::*` | 8,990 | `--rounds` each | ok |

use std::hint::black_box;
use std::process::ExitCode;

use truth::gate;
use truth::options::Options;

include!(concat!(env!("OUT_DIR"), "/functions.rs"));

/// A function's address.
type Function = fn(u64) -> u64;

/// Each module's name and functions.
fn modules() -> [(&'static str, &'static [Function]); 3] {
    [
        ("ten", &ten::TABLE),
        ("thousand", &thousand::TABLE),
        ("rest", &rest::TABLE),
    ]
}

/// Calls every function `rounds` times; returns the number of calls.
fn call_all(functions: &[Function], rounds: u64) -> u64 {
    let mut calls = 0;
    for _ in 0..rounds {
        for function in functions {
            black_box(black_box(function)(calls));
            calls += 1;
        }
    }
    calls
}

/// Prints a JSON line a module: `{"functions":10,"glob":"many::ten::*","calls":10}`.
fn run(rounds: u64) {
    for (name, functions) in modules() {
        let calls = call_all(functions, rounds);
        let many = functions.len();
        println!(r#"{{"functions":{many},"glob":"many::{name}::*","calls":{calls}}}"#);
    }
}

/// What the command line asks for: the rounds, and whether to wait.
fn parse(mut options: Options) -> Result<(u64, bool), String> {
    let plan = (
        options.value("--rounds")?.unwrap_or(1),
        options.flag("--wait-stdin"),
    );
    options.finish()?;
    Ok(plan)
}

fn main() -> ExitCode {
    let (rounds, wait) = match parse(Options::from_env()) {
        Ok(plan) => plan,
        Err(error) => {
            eprintln!("many: {error}");
            return ExitCode::from(2);
        }
    };
    if wait {
        gate::pause("ready");
    }
    run(rounds);
    if wait {
        gate::pause("done");
    }
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_functions_that_all_differ() {
        let results: std::collections::HashSet<u64> = modules()
            .iter()
            .flat_map(|(_, functions)| functions.iter())
            .map(|f| f(0))
            .collect();
        assert_eq!(results.len(), 10_000);
    }

    #[test]
    fn calls_each_function_once_a_round() {
        assert_eq!(call_all(&ten::TABLE, 3), 30);
    }
}
