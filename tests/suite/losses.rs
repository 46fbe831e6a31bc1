//! What does not fit is lost, counted, and said.

use exoscope_tests::agent::Bench;
use exoscope_tests::calls::Calls;
use exoscope_tests::process::{Process, Signal};

use crate::VARIANTS;

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
}
