//! Where even the spool does not hold what the target does, calls are counted and not recorded, in
//! steps, and recorded again when there is room; and what becomes of the target is heard of at once.

use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use exoscope_tests::agent::{self, Bench};
use exoscope_tests::calls::{Calls, Outcomes};
use exoscope_tests::database::Database;
use exoscope_tests::eventually;
use exoscope_tests::faults::scene::stored;
use exoscope_tests::faults::store::lock;
use exoscope_tests::process::{Process, Signal};

use crate::VARIANTS;

/// What the agent's message of a step begins with.
const TAKEN: &str = "exoscope: warning: step ";
const BACK: &str = "exoscope: step ";
/// How the target is called.
const BUSY: [&str; 3] = ["--mixed", "--rate", "100000"];
/// Rings that hold what is made while the agent does not get on.
const RINGS: &str = "64MiB";
const FUNCTION: &str = "variants::rate::busy";

/// A target that calls more than the agent may spool while its file is locked.
struct Crowd {
    bench: Bench,
    target: Process,
    agent: Process,
}

impl Crowd {
    /// Lets the target call, and waits for the first rows.
    fn begin(rings: &str, options: &[&str]) -> Self {
        let bench = Bench::new();
        // Sessions with other options capture the same program meanwhile.
        let binary = VARIANTS.copy_to(bench.path());
        let mut target = Process::ready_target(&binary, &BUSY);
        let spool = ["--spool-size", "1MiB", "--ring-size", rings];
        let agent = bench.attach(target.pid(), &[&spool[..], options].concat());
        target.go_on();
        let file = bench.file();
        eventually("the first rows", || stored(&file).filter(|rows| *rows > 0));
        Self {
            bench,
            target,
            agent,
        }
    }

    /// Waits until the agent says this of a step.
    fn says(&mut self, prefix: &str, step: u8) {
        let said = format!("{prefix}{step} of 3, ");
        self.agent.says(&said, |line| line.starts_with(&said));
    }

    /// Takes all steps, and takes them back. Gives back what the target did, and the file.
    fn there_and_back(mut self) -> (Bench, Calls) {
        let locked = lock(&self.bench.file());
        self.says(TAKEN, 3);
        drop(locked);
        for step in [2, 1, 0] {
            self.says(BACK, step);
        }
        let rows = stored(&self.bench.file()).expect("it can be read");
        let file = self.bench.file();
        eventually("more rows", || stored(&file).filter(|more| *more > rows));
        self.target.go_on();
        let truth = Calls::told(&self.target.pauses_at("done"), self.target.pid());
        self.agent.signal(Signal::INT);
        let end = self.agent.end();
        assert_eq!(end.status.code(), Some(3), "{:#?}", end.stderr);
        let said =
            |line: &String| line.contains("nothing lost, ") && line.contains(" only COUNTED ");
        assert!(end.stderr.iter().any(said), "{:#?}", end.stderr);
        self.target.ends_well();
        (self.bench, truth)
    }
}

/// Totals are exact to the call, and every call is a row or was counted as having none.
fn all_are_counted(database: &Database, truth: &Calls) {
    let totals = database.map(
        "SELECT function, calls, err, only_counted, lost,
           (SELECT sum(calls) FROM histograms WHERE histograms.function = totals.function),
           (SELECT calls FROM functions WHERE functions.function = totals.function),
           (SELECT coalesce(sum(calls), 0) FROM counted_calls
            WHERE counted_calls.function = totals.function)
         FROM totals WHERE calls > 0",
        |row| {
            let count = |at| row.get::<_, i64>(at).map(i64::unsigned_abs);
            let counts = (count(1)?, count(2)?, count(3)?, count(4)?, count(5)?);
            Ok((row.get::<_, String>(0)?, counts, count(6)?, count(7)?))
        },
    );
    assert_eq!(totals.len(), truth.0.len(), "{totals:?}");
    // Where this machine was too busy for the agent once more, the call around all others may have ended then.
    let steps = steps(database);
    let taken_again = steps.last().is_some_and(|(step, _)| *step > 0)
        || steps.iter().filter(|(step, _)| *step == 0).count() > 1;
    for (function, (calls, err, only_counted, lost, ended), rows, told) in totals {
        let Outcomes { err: failed, .. } = truth.of(&function);
        let made = truth.of(&function).total();
        assert_eq!((calls, err, ended), (made, failed, made), "{function}");
        assert_eq!(rows + only_counted + lost, made, "{function}");
        assert_eq!(told, only_counted, "{function}");
        assert_eq!(lost, 0, "{function}");
        let whole = function == "variants::rate::whole";
        assert!(
            (only_counted > 0) != whole || whole && taken_again,
            "{function}"
        );
    }
}

/// When steps were taken, by the events: number and nanoseconds.
fn steps(database: &Database) -> Vec<(i64, i64)> {
    database.map(
        "SELECT cast(substr(message, 6, 1) AS INTEGER), at_unix_ns FROM agent_events
         WHERE kind IN ('degraded', 'restored') ORDER BY at_unix_ns",
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

#[test]
fn the_busiest_are_counted_first_and_nothing_is_lost_where_the_spool_is_not_enough() {
    let (bench, truth) = Crowd::begin(RINGS, &[]).there_and_back();
    let database = bench.database();
    all_are_counted(&database, &truth);

    let steps = steps(&database);
    let numbers: Vec<i64> = steps.iter().map(|(step, _)| *step).collect();
    let all = numbers.iter().position(|step| *step == 3);
    let all = all.expect("the last step was taken");
    assert!(numbers[..all].is_sorted(), "{numbers:?}");
    assert_eq!(numbers[all + 1..][..3], [2, 1, 0]);
    let [two, one, zero] = [1, 2, 3].map(|after| steps[all + after].1);
    let between = |from: i64, until: i64, what: &str| {
        database.number(&format!(
            "SELECT count(*) FROM calls WHERE start_unix_ns > {from} AND start_unix_ns < {until} AND {what}"
        ))
    };
    // Of the busy function there is what failed; the others are complete when only it is counted.
    let busy = |outcome: &str| format!("function = '{FUNCTION}' AND outcome = '{outcome}'");
    assert_eq!(between(two, one, &busy("ok")), 0);
    assert!(between(two, one, &busy("err")) > 0);
    assert!(between(one, zero, "function LIKE '%::seldom'") > 0);
    let orphans = "function LIKE '%::small' AND NOT EXISTS (
           SELECT 1 FROM calls seldom WHERE seldom.call_id = calls.parent_id)";
    assert_eq!(between(one, zero, orphans), 0);
    said(&bench);
}

/// Report and `doctor` say it first.
fn said(bench: &Bench) {
    let file: PathBuf = bench.file();
    let file = file.to_str().expect("a temporary folder's path is UTF-8");
    let report = agent::command(&["report", file]).stdout;
    let incomplete = |line: &String| line.starts_with("incomplete: ");
    let at = report.iter().position(incomplete).expect("it is said");
    assert!(
        report[at].ends_with(" in the totals below all the same"),
        "{report:#?}"
    );
    let said = |line: &String| {
        line.contains(" calls counted and not recorded between ") && line.contains(", because ")
    };
    assert!(
        report[at + 1].starts_with(&format!("  {FUNCTION}: ")),
        "{report:#?}"
    );
    assert!(said(&report[at + 1]), "{report:#?}");
    let table = |line: &String| line.starts_with("counted function ");
    assert!(report.iter().any(table), "{report:#?}");
    let doctor = agent::command(&["doctor", file]);
    assert_eq!(doctor.status.code(), Some(3));
    let found = |line: &String| line.starts_with("lost     counted ");
    assert!(doctor.stdout.iter().any(found), "{:#?}", doctor.stdout);
    let step =
        |line: &String| line.starts_with("note     agent ") && line.contains("degraded: step ");
    assert!(doctor.stdout.iter().any(step), "{:#?}", doctor.stdout);
}

#[test]
fn ends_alone_are_counted_likewise() {
    let (bench, truth) = Crowd::begin(RINGS, &["--capture", "exits"]).there_and_back();
    let database = bench.database();
    all_are_counted(&database, &truth);
    let parents = "SELECT count(*) FROM calls WHERE parent_id IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM calls parent WHERE parent.call_id = calls.parent_id)";
    assert_eq!(database.number(parents), 0);
}

#[test]
fn the_end_of_the_target_is_heard_of_however_much_waits() {
    // Little is left to be written when the file can be.
    let mut crowd = Crowd::begin("1MiB", &[]);
    let now = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("it is after 1970")
    };
    let locked = lock(&crowd.bench.file());
    crowd.says(TAKEN, 3);
    let killed = now();
    crowd.target.signal(Signal::KILL);
    // The end is to be known long before anything can be written.
    sleep(Duration::from_secs(2));
    let unlocked = now();
    drop(locked);
    let end = crowd.agent.end();
    assert_eq!(end.status.code(), Some(3), "{:#?}", end.stderr);
    let database = crowd.bench.database();
    let sessions = database.map("SELECT end_reason, ended_unix_ns FROM sessions", |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?))
    });
    let [(reason, ended)] = &sessions[..] else {
        panic!("not one session: {sessions:?}")
    };
    assert_eq!(reason, "the target was killed by signal 9 (SIGKILL)");
    let ended = Duration::from_nanos(ended.unsigned_abs());
    assert!(
        killed <= ended && ended < unlocked,
        "{killed:?} {ended:?} {unlocked:?}"
    );
    // A session that has ended waits for the file for ten seconds: what is not written then is counted.
    let lost = database.number("SELECT coalesce(sum(calls), 0) FROM lost_calls");
    let died =
        "SELECT count(*) FROM calls WHERE outcome = 'target_died' AND function LIKE '%::whole'";
    assert!(database.number(died) == 1 || lost > 0);
    let missing = "SELECT sum(calls_missing - calls_only_counted) - (SELECT sum(lost) FROM totals)
                   FROM completeness";
    assert!(
        database.number(missing) <= lost,
        "more is missing than {lost}"
    );
}
