//! Functions that are not chosen are not there, in no row and no count.

use exoscope_tests::agent::{Bench, detach};
use exoscope_tests::calls::Calls;
use exoscope_tests::process::Process;

use crate::VARIANTS;

/// Captures with `options`; the file must hold the calls of the functions for which `chosen` holds,
/// and know of no other function.
fn only(options: &[&str], chosen: impl Fn(&str) -> bool) {
    let bench = Bench::new();
    let mut target = Process::ready_target(&VARIANTS.binary(), &["--calls", "17"]);
    let agent = bench.attach(target.pid(), options);
    target.go_on();
    let truth = Calls::told(&target.pauses_at("done"), target.pid());
    detach(agent);
    let database = bench.database();
    let expected = truth.only(&chosen);
    assert!(expected.total() > 0, "the patterns choose something");
    database.holds(&expected);
    for row in
        database.rows("SELECT function FROM functions UNION SELECT function FROM completeness")
    {
        assert!(chosen(&row[0]), "{} was not chosen", row[0]);
    }
    target.ends_well();
}

#[test]
fn functions_chooses() {
    only(&["--functions", "variants::errors::*"], |path| {
        path.starts_with("variants::errors::")
    });
}

#[test]
fn patterns_add_up() {
    only(
        &["--functions", "*::job", "--functions", "*::Counter::*"],
        |path| path == "variants::workers::job" || path.contains("::Counter::"),
    );
}

#[test]
fn exclude_takes_out() {
    only(
        &["--exclude", "*::futures::*", "--exclude", "*::pl?in"],
        |path| !path.contains("::futures::") && path != "variants::sync::plain",
    );
}

#[test]
fn exclude_wins_over_functions() {
    only(
        &["--functions", "variants::errors::*", "--exclude", "*::read"],
        |path| path.starts_with("variants::errors::") && !path.ends_with("::read"),
    );
}
