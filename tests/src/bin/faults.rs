//! `cargo xtask faults`: every fault against the real agent, and a table of what became of the calls.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use exoscope_tests::faults::{Options, Row, cases, table};

/// What is run.
#[derive(Debug, Parser)]
struct Args {
    /// Only the cases whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// Print the names of the cases, and do nothing.
    #[arg(long)]
    list: bool,
    /// What random moments begin with.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How often the agent is killed; storms, and what else is repeated, follow it.
    #[arg(long, default_value_t = 20)]
    count: u32,
    /// Seconds that faults last.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let options = Options {
        seed: args.seed,
        count: args.count,
        lasts: Duration::from_secs(args.seconds),
    };
    let chosen: Vec<_> = cases()
        .filter(|case| case.name.contains(&args.only))
        .collect();
    if chosen.is_empty() {
        let only = args.only;
        eprintln!("error: no case's name contains '{only}': `cargo xtask faults --list` has them");
        return ExitCode::FAILURE;
    }
    if args.list {
        for case in chosen {
            println!("{}", case.name);
        }
        return ExitCode::SUCCESS;
    }
    let count = chosen.len();
    let mut rows = Vec::new();
    for (number, case) in (1..).zip(chosen) {
        eprintln!("{number} of {count}: {}", case.name);
        rows.push(Row::of(case, options));
    }
    if args.json {
        let json = serde_json::to_string_pretty(&rows).expect("rows are plain data");
        println!("{json}");
    } else {
        print!("{}", table(&rows));
    }
    if rows
        .iter()
        .all(|row| row.failure().is_none() && !row.is_late())
    {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
