//! A row's parent is the innermost captured call in which its call began.

use std::collections::BTreeMap;

use exoscope_tests::agent::Bench;
use exoscope_tests::calls::Calls;
use exoscope_tests::database::Database;

use crate::{VARIANTS, truth_of};

/// Calls by the names of function and parent's function, without the crate; `-` for no parent.
type Pairs = BTreeMap<(String, String), u64>;

fn pairs(database: &Database) -> Pairs {
    let rows = database.rows(
        "SELECT c.function, p.function, count(*) FROM calls c
         LEFT JOIN calls p ON p.call_id = c.parent_id GROUP BY 1, 2",
    );
    let name = |path: &str| path.trim_start_matches("variants::").to_owned();
    let count = |text: &str| text.parse().expect("a count is an integer");
    rows.iter()
        .map(|row| ((name(&row[0]), name(&row[1])), count(&row[2])))
        .collect()
}

/// Captures a whole run and gives back the file with what the target said it did.
fn captured(options: &[&str]) -> (Database, Calls) {
    let bench = Bench::new();
    let end = bench.run(options, &VARIANTS.copy_to(bench.path()), &["--calls", "23"]);
    assert_eq!(end.status.code(), Some(0), "{:#?}", end.stderr);
    let database = bench.database();
    let truth = truth_of(&database, &end.stdout);
    (database, truth)
}

/// The pairs that the structure of the target makes out of its calls, `--exclude` apart.
fn expected(truth: &Calls) -> Pairs {
    const CHAINS: [&[&str]; 6] = [
        &["errors::load", "errors::read", "errors::parse"],
        &["futures::outer", "futures::inner"],
        &["futures::holder", "futures::abandoned"],
        &["panics::catches", "panics::passes", "panics::falls"],
        &["roaming::starts", "roaming::ends"],
        &["workers::job", "workers::step"],
    ];
    /// Levels of the recursion: only the first one has no parent.
    const LEVELS: u64 = 7;
    let total = |name: &str| truth.of(&format!("variants::{name}")).total();
    let mut pairs = Pairs::new();
    for chain in CHAINS {
        let mut parent = "-";
        for name in chain {
            pairs.insert(((*name).to_owned(), parent.to_owned()), total(name));
            parent = name;
        }
    }
    let recursive = "sync::recursive".to_owned();
    let outermost = total(&recursive) / LEVELS;
    pairs.insert((recursive.clone(), "-".to_owned()), outermost);
    pairs.insert(
        (recursive.clone(), recursive.clone()),
        outermost * (LEVELS - 1),
    );
    for function in truth.0.keys() {
        let name = function.trim_start_matches("variants::");
        if name != recursive && !CHAINS.iter().any(|chain| chain.contains(&name)) {
            pairs.insert((name.to_owned(), "-".to_owned()), total(name));
        }
    }
    pairs
}

/// Calls that began before their parent, or ended after it.
fn outside_of_parent(database: &Database) -> i64 {
    database.number(
        "SELECT count(*) FROM calls c JOIN calls p ON p.call_id = c.parent_id
         WHERE c.start_ns < p.start_ns OR c.start_ns + c.duration_ns > p.start_ns + p.duration_ns",
    )
}

/// Parents that are no rows.
fn without_row(database: &Database) -> i64 {
    database.number("SELECT count(*) FROM calls WHERE parent_id NOT IN (SELECT call_id FROM calls)")
}

#[test]
fn parents_are_those_of_the_program() {
    let (database, truth) = captured(&[]);
    assert_eq!(pairs(&database), expected(&truth));
    assert_eq!(outside_of_parent(&database), 0);
}

#[test]
fn parents_are_known_from_exits_alone() {
    let (database, truth) = captured(&["--capture", "exits"]);
    assert_eq!(pairs(&database), expected(&truth));
    assert_eq!(outside_of_parent(&database), 0);
}

#[test]
fn an_excluded_function_is_stepped_over() {
    for capture in ["full", "exits"] {
        let options = ["--capture", capture, "--exclude", "*::errors::read"];
        let (database, truth) = captured(&options);
        let mut expected = expected(&truth);
        let name = |function: &str| format!("errors::{function}");
        expected.remove(&(name("read"), name("load")));
        let parsed = expected.remove(&(name("parse"), name("read")));
        expected.insert(
            (name("parse"), name("load")),
            parsed.expect("it was called"),
        );
        assert_eq!(pairs(&database), expected, "{capture}");
        assert_eq!(without_row(&database), 0, "{capture}");
    }
}

#[test]
fn a_call_whose_outer_ones_are_all_excluded_has_no_parent() {
    for capture in ["full", "exits"] {
        let options = ["--capture", capture, "--functions", "*::errors::parse"];
        let (database, truth) = captured(&options);
        let total = truth.of("variants::errors::parse").total();
        let alone = ("errors::parse".to_owned(), "-".to_owned());
        assert_eq!(pairs(&database), Pairs::from([(alone, total)]), "{capture}");
        assert_eq!(without_row(&database), 0, "{capture}");
    }
}

#[test]
fn a_parent_is_kept_where_its_future_moves_to_another_thread() {
    let (database, _) = captured(&[]);
    let rows = database.rows(
        "SELECT p.function, c.tid <> c.pid, p.tid <> p.pid FROM calls c
         JOIN calls p ON p.call_id = c.parent_id WHERE c.function = 'variants::roaming::ends'",
    );
    let row = ["variants::roaming::starts", "1", "1"]
        .map(str::to_owned)
        .to_vec();
    assert_eq!(
        rows,
        [row.clone(), row],
        "one a part, both ended on a thread that is not the first"
    );
}

#[test]
fn one_error_is_one_line_at_the_function_where_it_began() {
    let (database, truth) = captured(&[]);
    let rows = database.rows(
        "SELECT function, kind, message, count, frames FROM errors
         WHERE function LIKE 'variants::errors::%' OR function LIKE 'variants::futures::%'
         ORDER BY function, message",
    );
    let failed = |name: &str| truth.of(&format!("variants::{name}")).err.to_string();
    let messages = |function: &str| {
        let of = rows
            .iter()
            .filter(|row| row[0] == format!("variants::{function}"));
        of.map(|row| (row[1].as_str(), row[3].as_str(), row[4].as_str()))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        messages("errors::parse"),
        [(
            "core::num::error::ParseIntError",
            failed("errors::parse").as_str(),
            "3"
        )]
    );
    assert_eq!(messages("errors::boxed").len(), 1);
    assert_eq!(
        messages("futures::inner"),
        [(
            "variants::futures::Refused",
            failed("futures::inner").as_str(),
            "2"
        )]
    );
    assert_eq!(
        rows.len(),
        3,
        "functions that the errors passed through have no line: {rows:#?}"
    );
}
