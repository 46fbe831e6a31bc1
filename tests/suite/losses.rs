//! What does not fit is lost, counted, and said.

use std::fs;

use exoscope_tests::agent::{self, Bench};
use exoscope_tests::build::Build;
use exoscope_tests::calls::Calls;
use exoscope_tests::process::{Process, Signal};

use crate::VARIANTS;

/// Messages of panics that fit into the smallest rings of two CPUs, generously.
const FIT: usize = 250;

#[test]
fn what_a_full_ring_loses_is_counted_exactly() {
    let bench = Bench::new();
    let mut target = Process::ready_target(&VARIANTS.binary(), &["--calls", "1501"]);
    let agent = bench.attach(target.pid(), &["--ring-size", "4096"]);
    agent.signal(Signal::STOP);
    target.go_on();
    let truth = Calls::told(&target.pauses_at("done"), target.pid());
    agent.signal(Signal::CONT);
    agent.signal(Signal::INT);
    let end = agent.end();
    assert_eq!(end.status.code(), Some(3), "{:#?}", end.stderr);
    assert!(
        end.stderr.iter().any(|line| line.contains(" LOST ")),
        "{:#?}",
        end.stderr
    );

    let database = bench.database();
    let rows = database.rows(
        "SELECT function, calls_counted, calls_stored, calls_missing, coalesce(reason, '')
         FROM completeness WHERE calls_counted > 0",
    );
    let mut lost = 0;
    for row in &rows {
        let number = |at: usize| row[at].parse::<u64>().expect("a count is an integer");
        assert_eq!(
            number(1),
            truth.of(&row[0]).total(),
            "calls counted of {}",
            row[0]
        );
        assert_eq!(number(1), number(2) + number(3), "{row:?}");
        let says = row[4].contains("lost: the ring was full (raise --ring-size)");
        assert_eq!(says, number(3) > 0, "{row:?}");
        lost += number(3);
    }
    assert_eq!(rows.len(), truth.0.len());
    assert!(lost > 0, "a stopped agent loses something");
    let stored = database.number("SELECT count(*) FROM calls");
    assert_eq!(
        stored,
        i64::try_from(truth.total() - lost).expect("a small number")
    );
    assert_eq!(database.functions(), database.calls_where("true"));
    target.ends_well();

    let file = bench.file();
    let file = file.to_str().expect("a temporary folder's path is UTF-8");
    let said = agent::command(&["doctor", file]);
    assert_eq!(said.status.code(), Some(3), "{:#?}", said.stderr);
    let rings = said
        .stdout
        .iter()
        .find(|line| line.starts_with("lost     rings"));
    assert!(rings.is_some(), "{:#?}", said.stdout);
}

#[test]
fn calls_in_flight_beyond_the_room_for_them_are_counted_and_the_others_are_followed() {
    const CALLS: i64 = 5_000;
    let followed = |options: &[&str]| -> i64 {
        let bench = Bench::new();
        let binary = Build::release("storms").copy_to(bench.path());
        let count = CALLS.to_string();
        let mut target = Process::target(&binary, &["flight", "--count", &count]);
        target.pauses_at("ready");
        let agent = bench.attach(target.pid(), options);
        target.go_on();
        target.pauses_at("flying");
        target.go_on();
        assert_eq!(target.pauses_at("done")[0], r#"{"died":0}"#);
        agent.signal(Signal::INT);
        let end = agent.end();
        target.ends_well();

        let database = bench.database();
        let stored = database.number("SELECT count(*) FROM calls WHERE outcome = 'ok'");
        let missing = database.rows(
            "SELECT calls_missing, coalesce(reason, '') FROM completeness
             WHERE function LIKE '%::waits'",
        );
        let [row] = &missing[..] else {
            panic!("not one function: {missing:?}")
        };
        let (lost, why) = (&row[0], &row[1]);
        assert_eq!(*lost, (CALLS - stored).to_string());
        let says = why.contains("the table of open calls was full (raise --open-calls)");
        assert_eq!(says, stored < CALLS, "{why}");
        let ends = "ends without a beginning: those calls began before the session, or had not been followed";
        assert_eq!(why.contains(ends), stored < CALLS, "{why}");
        let status = if stored < CALLS { 3 } else { 0 };
        assert_eq!(end.status.code(), Some(status), "{:#?}", end.stderr);
        stored
    };
    let few = followed(&["--open-calls", "1000"]);
    assert!((1_000..CALLS).contains(&few), "{few}");
    assert_eq!(followed(&["--open-calls", "5000"]), CALLS);
}

#[test]
fn links_and_messages_of_panics_that_are_lost_are_counted() {
    let bench = Bench::new();
    let binary = Build::release("trees").copy_to(bench.path());
    let log = bench.path().join("log");
    let log_file = log.to_str().expect("a temporary folder's path is UTF-8");
    let arguments = ["--seed", "7", "--calls", "60000", "--log", log_file];
    let mut target = Process::ready_target(&binary, &arguments);
    let options = ["--capture", "exits", "--ring-size", "4096"];
    let agent = bench.attach(target.pid(), &options);
    agent.signal(Signal::STOP);
    target.go_on();
    target.pauses_at("done");
    agent.signal(Signal::CONT);
    agent.signal(Signal::INT);
    assert_eq!(agent.end().status.code(), Some(3));
    target.ends_well();

    let log = fs::read_to_string(log).expect("the target wrote its log");
    let panics = ["stumble ", "panic "];
    let panics = |line: &&str| panics.iter().any(|word| line.starts_with(word));
    let panics = log.lines().filter(panics).count();
    assert!(panics > 2 * FIT, "panics: {panics}");
    let database = bench.database();
    let rows = database.rows(
        "SELECT calls_counted, calls_stored, calls_missing, reason FROM completeness
         WHERE function IS NULL",
    );
    let [row] = &rows[..] else {
        panic!("not one row of no function: {rows:?}")
    };
    assert_eq!(row[..3], ["0", "0", "0"]);
    let parts: Vec<&str> = row[3].split("; ").collect();
    let [of_panics, of_links] = parts[..] else {
        panic!("not two losses: {row:?}")
    };
    let counted = |text: &str| -> usize {
        let (number, _) = text.split_once(' ').expect("a number comes first");
        number.replace(',', "").parse().expect("a number")
    };
    let lost = counted(of_panics);
    assert!((panics - FIT..=panics).contains(&lost), "{row:?}, {panics}");
    assert!(of_panics.ends_with(" messages of panics lost (raise --ring-size)"));
    assert!(of_links.contains(" lost: the calls of tasks and threads "));
    assert!(counted(of_links) > 0);
    let file = bench.file();
    let file = file.to_str().expect("a temporary folder's path is UTF-8");
    let report = agent::command(&["report", file]);
    let said = format!("  {}", row[3]);
    assert!(report.stdout.contains(&said), "{:#?}", report.stdout);
}
