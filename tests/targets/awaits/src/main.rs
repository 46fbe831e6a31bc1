//! Futures that wait, beside one another and for one another.
//!
//! Each module documents the calls that it makes; the truth about them is printed at the end.

mod joined;
mod meter;
mod polls;
mod runner;

use std::process::ExitCode;

use truth::Truth;
use truth::options::Options;

fn main() -> ExitCode {
    if let Err(error) = Options::from_env().finish() {
        eprintln!("awaits: {error}");
        return ExitCode::from(2);
    }
    let mut truth = Truth::default();
    joined::run(&mut truth);
    polls::run(&mut truth);
    truth.print(1);
    ExitCode::SUCCESS
}
