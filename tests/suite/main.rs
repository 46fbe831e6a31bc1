//! Tests of exoscope from outside. They need root and Linux on x86-64; without the rights they fail.

mod bad_binaries;
mod bad_input;
mod bad_machines;
mod call_stats;
mod deaths;
mod disabled;
mod doctor;
mod ends;
mod faults;
mod files;
mod kinds;
mod losses;
mod parents;
mod polls;
mod privileges;
mod property;
mod refusal;
mod samples;
mod selection;
mod self_times;
mod service;
mod stats;
mod steps;
mod stress;
mod tools;
mod variants;
mod why;

use exoscope_tests::build::Build;
use exoscope_tests::calls::Calls;
use exoscope_tests::database::Database;

/// The target of most tests, as users build for production.
const VARIANTS: Build = Build::release("variants");

/// The target of tests about futures that wait.
const AWAITS: Build = Build::release("awaits");

/// What the one process of a file said it did.
fn truth_of(database: &Database, lines: &[String]) -> Calls {
    let pid = database.number("SELECT pid FROM processes");
    Calls::told(lines, u32::try_from(pid).expect("a pid is positive"))
}
