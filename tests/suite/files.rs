//! The file: whose it is, who may read it, and what is in it while it is written.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use exoscope_tests::agent::{Bench, detach, is_attached};
use exoscope_tests::calls::{Calls, Outcomes};
use exoscope_tests::database::Database;
use exoscope_tests::eventually;
use exoscope_tests::process::{Process, Signal};

use crate::VARIANTS;

/// Runs a target through, captured by an agent, and gives back what it did.
fn capture(bench: &Bench, arguments: &[&str]) -> Calls {
    let mut target = Process::ready_target(&VARIANTS.binary(), arguments);
    let agent = bench.attach(target.pid(), &[]);
    target.go_on();
    let truth = Calls::told(&target.pauses_at("done"), target.pid());
    detach(agent);
    target.ends_well();
    truth
}

#[test]
fn a_file_takes_several_sessions() {
    let bench = Bench::new();
    let truths = [
        capture(&bench, &["--calls", "11"]),
        capture(&bench, &["--calls", "31"]),
    ];
    let database = bench.database();
    let mut sum = Calls::default();
    for (session, truth) in (1..).zip(&truths) {
        let calls = database.calls_where(&format!("session_id = {session}"));
        assert_eq!(calls.differences(truth), [""; 0], "session {session}");
        sum += truth;
    }
    database.holds(&sum);
    assert_eq!(
        database.number("SELECT count(*) FROM sessions WHERE end_reason = 'interrupted'"),
        2
    );
    assert_eq!(
        database.number("SELECT count(DISTINCT pid) FROM processes"),
        2
    );
}

#[test]
fn a_file_is_for_its_owner_only() {
    let bench = Bench::new();
    capture(&bench, &["--calls", "3"]);
    let metadata = bench.file().metadata().expect("it was written");
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    assert_eq!((metadata.uid(), metadata.gid()), (0, 0));
    let names: Vec<_> = std::fs::read_dir(bench.path())
        .expect("it is there")
        .collect();
    assert_eq!(names.len(), 1, "one file is left: {names:?}");
}

#[test]
fn a_file_belongs_to_the_user_who_called_sudo() {
    let bench = Bench::new();
    let mut target = Process::ready_target(&VARIANTS.binary(), &["--calls", "3"]);
    let mut command = bench.attach_command(target.pid(), &[]);
    let mut agent = Process::start(command.env("SUDO_UID", "4711").env("SUDO_GID", "4712"));
    is_attached(&mut agent);
    target.go_on();
    target.pauses_at("done");
    detach(agent);
    let metadata = bench.file().metadata().expect("it was written");
    assert_eq!((metadata.uid(), metadata.gid()), (4711, 4712));
    assert_eq!(
        metadata.permissions(),
        Permissions::from_mode(metadata.mode() & !0o177)
    );
    target.ends_well();
}

#[test]
fn a_file_being_written_can_be_read() {
    let bench = Bench::new();
    let mut target = Process::ready_target(&VARIANTS.binary(), &["--calls", "13", "--hold"]);
    let agent = bench.attach(target.pid(), &[]);
    target.go_on();
    let first = Calls::told(&target.pauses_at("holding"), target.pid());

    let database = bench.database();
    eventually("the calls of the first part", || {
        (database.functions() == first).then_some(())
    });
    assert_eq!(database.calls_where("true").differences(&first), [""; 0]);
    assert_eq!(
        database.number("SELECT sum(calls_missing) FROM completeness"),
        0
    );
    assert_eq!(
        database.number("SELECT count(*) FROM sessions WHERE end_reason IS NULL"),
        1
    );

    target.go_on();
    let mut all = Calls::told(&target.pauses_at("done"), target.pid());
    all += &first;
    detach(agent);
    // The reader from before sees the finished file, and so does a new one.
    database.holds(&all);
    bench.database().holds(&all);
    target.ends_well();
}

#[test]
fn calls_in_flight_are_shown_with_their_age() {
    let bench = Bench::new();
    let mut target = Process::ready_target(&VARIANTS.binary(), &["--calls", "5", "--hold"]);
    let agent = bench.attach(target.pid(), &[]);
    target.go_on();
    target.pauses_at("holding");

    let database = bench.database();
    let look = |older_than: u64| {
        let [row] = <[Vec<String>; 1]>::try_from(in_flight(&database)).ok()?;
        let age: u64 = row[2].parse().expect("an age is an integer");
        (age > older_than).then_some((row, age))
    };
    let (row, age) = eventually("the held call", || look(0));
    assert_eq!(
        row[..2],
        ["variants::hold::held".to_owned(), target.pid().to_string()]
    );
    eventually("the held call, older", || look(age));

    target.go_on();
    eventually("nothing in flight", || {
        in_flight(&database).is_empty().then_some(())
    });
    target.pauses_at("done");
    detach(agent);
    let held = bench.database().functions().of("variants::hold::held");
    assert_eq!(
        held,
        Outcomes {
            ok: 1,
            ..Outcomes::default()
        }
    );
    target.ends_well();
}

fn in_flight(database: &Database) -> Vec<Vec<String>> {
    database.rows("SELECT function, tid, age_ns FROM in_flight")
}

#[test]
fn a_file_of_an_agent_that_was_killed_is_readable_and_can_be_added_to() {
    let bench = Bench::new();
    let mut target = Process::ready_target(&VARIANTS.binary(), &["--calls", "7", "--hold"]);
    let agent = bench.attach(target.pid(), &[]);
    target.go_on();
    let first = Calls::told(&target.pauses_at("holding"), target.pid());
    let database = bench.database();
    eventually("the calls of the first part", || {
        (database.functions() == first).then_some(())
    });
    drop(database);
    agent.signal(Signal::KILL);
    agent.end();
    assert_eq!(bench.database().functions().differences(&first), [""; 0]);

    let mut all = capture(&bench, &["--calls", "7"]);
    all += &first;
    assert_eq!(bench.database().functions().differences(&all), [""; 0]);
    target.go_on();
    target.pauses_at("done");
    target.ends_well();
}
