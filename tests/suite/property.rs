//! Random programs, and rows that equal what the programs did: functions, parents, outcomes, errors,
//! threads, and the order and nesting of times.
//!
//! Every run takes other programs. The seed that it begins with is printed; with `EXOSCOPE_SEED`
//! a run begins with that one, so `EXOSCOPE_SEED=N cargo test -p exoscope-tests property` repeats what
//! failed. See `tests/targets/README.md` for how to run one tree alone.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use exoscope_tests::agent::Bench;
use exoscope_tests::build::Build;
use exoscope_tests::database::Database;
use exoscope_tests::process::Process;
use exoscope_tests::trees::compare::{
    Capture, Difference, ErrorLine, ErrorLines, calls, differences, errors,
};
use exoscope_tests::trees::log::Log;
use exoscope_tests::trees::rows::{Polls, Row, rows};
use exoscope_tests::trees::shrink::{nodes, shrink};

/// Trees of one configuration at least. There are seven, so a run takes 1,000 trees.
const TREES: usize = 150;
/// Calls of all these trees at least: 1,000,000 in a run.
const CALLS: usize = 150_000;
/// Calls of one tree at most; most have far fewer.
const SIZE: &str = "20000";
/// Memory for all records of a configuration, should the agent be slow: none may be lost.
const RING: &str = "256MiB";
/// Differences that a failure shows.
const SHOWN: usize = 12;
/// Runs, and the time, that are spent on finding a smaller tree that fails too.
const TRIES: usize = 80;
const PATIENCE: Duration = Duration::from_secs(60);
/// Calls of the run whose rows are falsified, at least; and of one of its trees, at most.
const LIED: &str = "500";
/// Rows of it that are.
const LIED_ABOUT: usize = 60;
/// How often a tree is run while it is made smaller: what depends on threads may not fail each time.
const REPEAT: &str = "20";

/// Functions that some configurations exclude: of every kind some, and the recursive ones.
const EXCLUDED: [&str; 10] = [
    "trees::sync::plain",
    "trees::sync::recursive",
    "trees::sync::Walker::boxed",
    "trees::sync::Held::drop",
    "trees::futures::leaf",
    "trees::futures::plain",
    "trees::futures::boxed",
    "trees::futures::recursive",
    "trees::iterators::returned",
    "trees::streams::block",
];

const TARGET: Build = Build::release("trees");

/// A way to capture.
#[derive(Clone, Copy, Debug)]
struct Configuration {
    capture: Capture,
    markers: &'static str,
    /// [`EXCLUDED`] is not captured: what is inside of it belongs to the next call outside.
    excluding: bool,
}

/// What one session said of what one process did.
struct Run {
    log: Log,
    rows: Vec<Row>,
    database: Database,
    /// The folder of the file.
    _bench: Bench,
}

impl Configuration {
    /// Runs the target from before `main` to its end.
    fn run(self, target: &Path, arguments: &[&str]) -> Run {
        let bench = Bench::new();
        let path = bench.path().join("log");
        let log = ["--log", path.to_str().expect("the folder's path is UTF-8")];
        let mode = if self.capture.exits { "exits" } else { "full" };
        let options = [
            "--capture",
            mode,
            "--markers",
            self.markers,
            "--ring-size",
            RING,
        ];
        let flags = [
            ("--no-fields", !self.capture.fields),
            ("--polls", self.capture.polls),
        ];
        let flags = flags.iter().filter(|(_, given)| *given);
        let mut options = [
            &options[..],
            &flags.map(|(flag, _)| *flag).collect::<Vec<_>>(),
        ]
        .concat();
        let mut arguments = [arguments, &log].concat();
        let untold = EXCLUDED.join(",");
        if self.excluding {
            options.extend(EXCLUDED.iter().flat_map(|path| ["--exclude", path]));
            arguments.extend(["--untold", &untold]);
        }
        let end = bench.run(&options, target, &arguments);
        assert_eq!(end.status.code(), Some(0), "{:#?}", end.stderr);
        let database = bench.database();
        Run {
            log: Log::parse(&fs::read_to_string(path).expect("the target wrote its log")),
            rows: rows(&database),
            database,
            _bench: bench,
        }
    }

    fn differences(self, run: &Run) -> Vec<Difference> {
        differences(&run.log, &run.rows, self.capture)
    }

    /// The text of the smallest tree of this seed that was found to fail, and what differs there.
    fn smallest(self, target: &Path, seed: u64) -> String {
        let seed = seed.to_string();
        let text = |without: &str| {
            let mut command = std::process::Command::new(target);
            command.args(["--print", "--size", SIZE]);
            command.args(["--seed", &seed, "--without", without]);
            Process::start(&mut command).end().stdout.join("\n")
        };
        let found = |without: &[u32]| {
            let without = list(without);
            let tree = ["--size", SIZE, "--seed", &seed, "--without", &without];
            let only = [&tree[..], &["--repeat", REPEAT]].concat();
            self.differences(&self.run(target, &only))
        };
        if found(&[]).is_empty() {
            return format!("alone, tree {seed} did not fail {REPEAT} times");
        }
        let until = Instant::now() + PATIENCE;
        let without = shrink(&nodes(&text("")), TRIES, |without| {
            Instant::now() < until && !found(without).is_empty()
        });
        let (tree, last) = (text(&list(&without)), shown(&found(&without)));
        format!(
            "the smallest part of it that fails:\n{tree}\n{last}\nwith --seed {seed} --without {}",
            list(&without)
        )
    }
}

fn list(numbers: &[u32]) -> String {
    let numbers: Vec<String> = numbers.iter().map(u32::to_string).collect();
    numbers.join(",")
}

/// The first differences, a line each.
fn shown(found: &[Difference]) -> String {
    let lines = found.iter().take(SHOWN);
    let lines: Vec<String> = lines
        .map(|one| format!("tree {}: {}", one.seed, one.text))
        .collect();
    format!("{} differences:\n{}", found.len(), lines.join("\n"))
}

/// Seed of the first tree: another one for every run and configuration, unless the environment says.
fn first_seed() -> u64 {
    if let Ok(seed) = std::env::var("EXOSCOPE_SEED") {
        return seed.parse().expect("EXOSCOPE_SEED is a number");
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("the clock is set").subsec_nanos().into()
}

/// Prints a line that the test harness does not keep for itself.
fn say(line: &str) {
    // Whoever closed standard error does not want to know.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Runs the trees of one configuration, and expects rows that equal them.
fn holds(configuration: Configuration) {
    let folder = Bench::new();
    // Semaphores of files that others capture differently lie elsewhere.
    let target = TARGET.copy_to(folder.path());
    let seed = first_seed();
    say(&format!(
        "property, {configuration:?}: EXOSCOPE_SEED={seed}"
    ));
    let (first, trees, calls) = (seed.to_string(), TREES.to_string(), CALLS.to_string());
    let run = configuration.run(
        &target,
        &[
            "--size", SIZE, "--seed", &first, "--trees", &trees, "--calls", &calls,
        ],
    );
    let (trees, calls) = (run.log.seeds.len(), run.log.calls.len());
    say(&format!(
        "property, {configuration:?}: {trees} trees, {calls} calls"
    ));
    assert!(trees >= TREES && calls >= CALLS);
    let found = configuration.differences(&run);
    if let Some(one) = found.first() {
        let all = shown(&found);
        panic!("{all}\n{}", configuration.smallest(&target, one.seed));
    }
    views_agree(&run, configuration.capture);
}

type Lie = fn(&mut Row);

/// What a call does not have that is not polled, or of which nobody captures that.
const NO_POLLS: Polls = Polls {
    polls: 0,
    polled_ns: 0,
    ready_ns: 0,
    suspended_ns: 0,
};

/// Ways to falsify a row, none of which the comparison may let pass, whichever row it happens to.
const LIES: [(&str, Lie); 9] = [
    ("parent", |row| row.parent = Some(row.id)),
    ("thread", |row| row.tid += 1),
    ("function", |row| row.function.push('s')),
    ("beginning", |row| row.start_ns = row.end_ns),
    ("end", |row| row.end_ns = row.start_ns),
    ("own time", |row| row.self_ns += 1),
    ("outcome", |row| row.outcome.push('s')),
    ("error", |row| row.error = Some("a lie".to_owned())),
    ("polls", |row| {
        row.polls = row.polls.map_or(Some(NO_POLLS), |_| None);
    }),
];

/// The views that sum up say the same as the rows.
fn views_agree(run: &Run, capture: Capture) {
    let database = &run.database;
    database.holds(&calls(&run.log, capture));
    let sums = "function, sum(duration_ns), sum(self_ns), min(duration_ns), max(duration_ns)";
    assert_eq!(
        database.rows("SELECT function, total_ns, self_ns, min_ns, max_ns FROM functions WHERE calls > 0 ORDER BY 1"),
        database.rows(&format!("SELECT {sums} FROM calls GROUP BY 1 ORDER BY 1")),
    );
    assert_eq!(error_lines(database), errors(&run.rows));
}

/// The view `errors`.
fn error_lines(database: &Database) -> ErrorLines {
    let lines = database.map(
        "SELECT function, message, origin_call_id, count, frames FROM errors",
        |row| {
            let line = ErrorLine {
                origin: row.get(2)?,
                count: row.get(3)?,
                frames: row.get(4)?,
            };
            Ok(((row.get(0)?, row.get(1)?), line))
        },
    );
    let count = lines.len();
    let lines: BTreeMap<_, _> = lines.into_iter().collect();
    assert_eq!(lines.len(), count, "a function and a message are one line");
    lines
}

const FULL: Configuration = Configuration {
    capture: Capture {
        exits: false,
        fields: true,
        polls: false,
    },
    markers: "fast",
    excluding: false,
};

const EXITS: Configuration = Configuration {
    capture: Capture {
        exits: true,
        ..FULL.capture
    },
    ..FULL
};

const WITHOUT_FIELDS: Capture = Capture {
    fields: false,
    ..FULL.capture
};

const POLLS: Configuration = Configuration {
    capture: Capture {
        polls: true,
        ..WITHOUT_FIELDS
    },
    ..FULL
};

#[test]
fn full_with_fast_markers() {
    holds(FULL);
}

#[test]
fn one_false_row_among_true_ones_is_found() {
    let folder = Bench::new();
    let seed = first_seed();
    say(&format!("property, false rows: EXOSCOPE_SEED={seed}"));
    let arguments = ["--size", LIED, "--seed", &seed.to_string(), "--calls", LIED];
    let mut run = POLLS.run(&TARGET.copy_to(folder.path()), &arguments);
    assert_eq!(POLLS.differences(&run), []);
    let step = run.rows.len().div_ceil(LIED_ABOUT);
    for place in (0..run.rows.len()).step_by(step) {
        for (what, lie) in LIES {
            let truth = run.rows[place].clone();
            lie(&mut run.rows[place]);
            let found = POLLS.differences(&run);
            assert!(
                !found.is_empty(),
                "nobody saw the false {what} of {truth:?}"
            );
            run.rows[place] = truth;
        }
    }
}

#[test]
fn full_with_safe_markers_without_fields() {
    holds(Configuration {
        capture: WITHOUT_FIELDS,
        markers: "safe",
        ..FULL
    });
}

#[test]
fn full_without_some_functions() {
    holds(Configuration {
        excluding: true,
        ..FULL
    });
}

#[test]
fn full_with_polls() {
    holds(POLLS);
}

#[test]
fn exits_with_fast_markers_without_fields() {
    holds(Configuration {
        capture: Capture {
            exits: true,
            ..WITHOUT_FIELDS
        },
        ..EXITS
    });
}

#[test]
fn exits_with_safe_markers() {
    holds(Configuration {
        markers: "safe",
        ..EXITS
    });
}

#[test]
fn exits_without_some_functions() {
    holds(Configuration {
        excluding: true,
        ..EXITS
    });
}
