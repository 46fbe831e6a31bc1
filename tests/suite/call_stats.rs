//! What the kernel counted of every call, against what the target's own thread could find out: the clock of
//! its CPU time, `getrusage`, and `/proc`.

use std::collections::BTreeMap;

use exoscope_tests::agent::{Bench, detach};
use exoscope_tests::database::Database;
use exoscope_tests::resources::{Bounds, Observed, Resources};

use crate::stats::RESOURCES;

const MS: i64 = 1_000_000;
const MIB: i64 = 1 << 20;

/// What a row of `calls` says.
#[derive(Clone, Copy, Debug)]
struct Row {
    duration_ns: i64,
    cpu_ns: i64,
    runqueue_ns: i64,
    blocked_ns: i64,
    minor_faults: i64,
    major_faults: i64,
    rss_delta_bytes: i64,
    voluntary_switches: i64,
    involuntary_switches: i64,
}

/// The first calls of a thread, which are left out: the kernel still prepares their markers, and that takes
/// time and faults which the observer sees.
const UNSTEADY: usize = 2;

/// How often a command is repeated until a call was observed closely, and how many calls of a function must
/// have been: of those, a time that is not exact would be noticed.
const TRIES: usize = 10;
const CLOSELY: usize = 3;

/// What was observed, and what the file says.
type Pair = (Observed, Row);

/// The columns, and what `--call-stats` calls them.
pub const COLUMNS: [(&str, &str); 8] = [
    ("cpu_ns", "cpu"),
    ("runqueue_ns", "cpu"),
    ("blocked_ns", "cpu"),
    ("minor_faults", "faults"),
    ("major_faults", "faults"),
    ("rss_delta_bytes", "memory"),
    ("voluntary_switches", "switches"),
    ("involuntary_switches", "switches"),
];

/// The folder of a session, and the calls that were observed in it.
fn captured(options: &[&str], commands: &[String]) -> (Bench, Vec<Observed>) {
    captured_in(Bench::new(), options, commands)
}

fn captured_in(bench: Bench, options: &[&str], commands: &[String]) -> (Bench, Vec<Observed>) {
    captured_by(bench, options, commands, |target, command| {
        target.observes(command)
    })
}

/// Likewise, for the times of the calls. How far the observer's times can differ from the call's is up to the
/// machine: other programs take the CPU between the two, and a hypervisor takes it at any moment.
fn captured_closely(bench: Bench, options: &[&str], commands: &[String]) -> (Bench, Vec<Observed>) {
    captured_by(bench, options, commands, |target, command| {
        let mut observed = Vec::new();
        for _ in 0..TRIES {
            let more = target.observes(command);
            let closely = more.iter().any(Observed::is_close);
            observed.extend(more);
            if closely {
                break;
            }
        }
        observed
    })
}

fn captured_by(
    bench: Bench,
    options: &[&str],
    commands: &[String],
    observe: fn(&mut Resources, &str) -> Vec<Observed>,
) -> (Bench, Vec<Observed>) {
    // A copy: sessions in other modes can't share a file.
    let mut target = Resources::start(&RESOURCES.copy_to(bench.path()));
    let agent = bench.attach(target.pid(), options);
    let observed = commands
        .iter()
        .flat_map(|command| observe(&mut target, command));
    let observed = observed.collect();
    detach(agent);
    (bench, observed)
}

/// Each observed call with its row: a thread's calls of a function are in the order of their beginnings.
fn pairs(database: &Database, observed: &[Observed]) -> Vec<Pair> {
    let mut by_thread: BTreeMap<(i64, &str), Vec<&Observed>> = BTreeMap::new();
    for one in observed {
        let of_thread = by_thread.entry((one.tid, &one.function)).or_default();
        of_thread.push(one);
    }
    let mut pairs = Vec::new();
    for ((tid, function), observed) in by_thread {
        let rows = rows(database, tid, function);
        assert_eq!(rows.len(), observed.len(), "{function} in thread {tid}");
        pairs.extend(observed.into_iter().cloned().zip(rows).skip(UNSTEADY));
    }
    pairs
}

fn rows(database: &Database, tid: i64, function: &str) -> Vec<Row> {
    rows_where(
        database,
        &format!("tid = {tid} AND function = '{function}'"),
    )
}

fn rows_where(database: &Database, condition: &str) -> Vec<Row> {
    let columns = COLUMNS.map(|(column, _)| column).join(", ");
    let rows = database.rows(&format!(
        "SELECT duration_ns, {columns} FROM calls WHERE {condition} ORDER BY start_ns"
    ));
    let number = |text: &String| {
        text.parse()
            .unwrap_or_else(|_| panic!("a figure is NULL where {condition}"))
    };
    rows.iter()
        .map(|row| Row {
            duration_ns: number(&row[0]),
            cpu_ns: number(&row[1]),
            runqueue_ns: number(&row[2]),
            blocked_ns: number(&row[3]),
            minor_faults: number(&row[4]),
            major_faults: number(&row[5]),
            rss_delta_bytes: number(&row[6]),
            voluntary_switches: number(&row[7]),
            involuntary_switches: number(&row[8]),
        })
        .collect()
}

/// The observed calls of one function.
fn of_function<'a>(pairs: &'a [Pair], function: &str) -> Vec<&'a Pair> {
    let function = format!("::{function}");
    let of_function = |pair: &&Pair| pair.0.function.ends_with(&function);
    pairs.iter().filter(of_function).collect()
}

/// Expects that a time of every call is the observed one within 1 % or 20 µs. Where nothing came between what
/// observes and the call, that is one number; elsewhere the call's lies between two.
///
/// Of calls that waited, one may be off: a hypervisor may take the CPU away where nobody can tell.
#[track_caller]
fn close(what: &str, pairs: &[&Pair], bounds: impl Fn(&Observed) -> Bounds, time: fn(&Row) -> i64) {
    let odd: Vec<_> = pairs
        .iter()
        .filter(|(observed, row)| !bounds(observed).hold(time(row)))
        .collect();
    let excused = odd.len() == 1 && odd[0].0.outside.voluntary_switches > 0;
    assert!(odd.is_empty() || excused, "{what}: {odd:#?}");
    let exact = pairs.iter().filter(|pair| bounds(&pair.0).are_close());
    assert!(
        exact.count() >= CLOSELY,
        "{what} was observed too seldom: {pairs:#?}"
    );
}

#[track_caller]
fn cpu_is_close(pairs: &[&Pair]) {
    close("CPU time", pairs, Observed::cpu, |row| row.cpu_ns);
}

/// What holds for every call of a function; gives the rows.
#[track_caller]
fn agree(pairs: &[&Pair]) -> Vec<Row> {
    for (observed, row) in pairs {
        let both = format!("{observed:#?} {row:#?}");
        let (outside, inside) = (&observed.outside, &observed.inside);
        let sum = row.cpu_ns + row.runqueue_ns + row.blocked_ns;
        assert_eq!(sum, row.duration_ns, "{both}");
        assert!(row.duration_ns <= outside.lasted_ns, "{both}");
        assert!(row.duration_ns >= inside.lasted_ns, "{both}");
        assert_eq!(row.minor_faults, outside.minor_faults, "{both}");
        assert_eq!(row.major_faults, outside.major_faults, "{both}");
        // A thread may leave its CPU between the call and who observes it, and at a marker, too.
        let voluntary = inside.voluntary_switches..=outside.voluntary_switches;
        assert!(voluntary.contains(&row.voluntary_switches), "{both}");
        let involuntary = inside.involuntary_switches..=outside.involuntary_switches;
        assert!(involuntary.contains(&row.involuntary_switches), "{both}");
    }
    pairs.iter().map(|pair| pair.1).collect()
}

/// A command, several times.
fn times(count: usize, command: &str) -> Vec<String> {
    vec![command.to_owned(); count]
}

#[test]
fn a_call_that_computes_was_on_a_cpu() {
    let commands = ["spin 1", "spin 20", "spin 50"].map(|command| times(5, command));
    let (bench, observed) = captured_closely(Bench::new(), &[], &commands.concat());
    let pairs = pairs(&bench.database(), &observed);
    let pairs = of_function(&pairs, "spins");
    cpu_is_close(&pairs);
    let rows = agree(&pairs);
    assert!(rows.len() >= 13, "{}", rows.len());
    for row in rows {
        assert!(row.cpu_ns >= MS && row.voluntary_switches == 0, "{row:#?}");
        assert_eq!(row.blocked_ns, 0, "{row:#?}");
    }
}

#[test]
fn a_call_that_waits_was_blocked() {
    let bench = Bench::new();
    let file = bench.path().join("stored");
    std::fs::write(&file, vec![1; 8 * MIB as usize]).expect("the folder is writable");
    let disk = format!("disk {}", file.display());
    let commands = ["sleep 30", "mutex 30", "pipe 30", &disk].map(|command| times(7, command));
    let (bench, observed) = captured_closely(bench, &[], &commands.concat());
    let pairs = pairs(&bench.database(), &observed);
    for function in ["sleeps", "waits_for", "waits_at", "reads"] {
        let pairs = of_function(&pairs, function);
        close("blocked", &pairs, Observed::blocked, |row| row.blocked_ns);
        close("waiting", &pairs, Observed::runqueue, |row| row.runqueue_ns);
        let rows = agree(&pairs);
        assert!(rows.len() >= 5, "{function}: {}", rows.len());
        for row in rows {
            // One that reads also sleeps for a moment.
            let (waits, switches) = if function == "reads" {
                (0, 1)
            } else {
                (30 * MS, 0)
            };
            assert!(row.blocked_ns >= waits, "{function}: {row:#?}");
            assert!(row.voluntary_switches > switches, "{function}: {row:#?}");
        }
    }
}

#[test]
fn threads_that_share_a_cpu_waited_for_it() {
    let (bench, observed) = captured_closely(Bench::new(), &[], &times(1, "rivals 4 600"));
    let pairs = pairs(&bench.database(), &observed);
    let pairs = of_function(&pairs, "takes_turns");
    cpu_is_close(&pairs);
    close("waiting", &pairs, Observed::runqueue, |row| row.runqueue_ns);
    let rows = agree(&pairs);
    assert!(rows.len() > 30, "{}", rows.len());
    let waited: i64 = rows.iter().map(|row| row.runqueue_ns).sum();
    assert!(waited > 1_000 * MS, "four threads had one CPU: {waited}");
    let blocked: i64 = rows.iter().map(|row| row.blocked_ns).sum();
    assert_eq!(blocked, 0, "they waited for nothing else");
}

#[test]
fn faults_are_those_of_the_call() {
    const PAGES: i64 = 300;
    let bench = Bench::new();
    let file = bench.path().join("stored");
    std::fs::write(&file, vec![1; 4096 * PAGES as usize]).expect("the folder is writable");
    let fault = format!("fault {}", file.display());
    let commands = ["touch 1", "touch 1000", "spin 1", &fault].map(|command| times(8, command));
    let (bench, observed) = captured_in(bench, &[], &commands.concat());
    let pairs = pairs(&bench.database(), &observed);
    let faults = |function| -> Vec<_> {
        let rows = agree(&of_function(&pairs, function)).into_iter();
        rows.map(|row| (row.minor_faults, row.major_faults))
            .collect()
    };
    let touched = [[(1, 0); 6].as_slice(), &[(1000, 0); 8]].concat();
    assert_eq!(faults("touches"), touched);
    assert_eq!(faults("spins"), [(0, 0); 6]);
    for (minor, major) in faults("faults") {
        assert!(
            major >= PAGES * 19 / 20 && minor + major >= PAGES,
            "{minor} {major}"
        );
    }
}

#[test]
fn memory_that_a_call_keeps_is_told() {
    for size in [1, 20, 200].map(|size| size * 1_000_000 / 4096 * 4096) {
        let keep = format!("keep {size}");
        let commands = [times(6, &keep), times(6, "free"), times(6, "spin 1")];
        let (bench, observed) = captured(&[], &commands.concat());
        let pairs = pairs(&bench.database(), &observed);
        for (function, expected) in [("keeps", size), ("frees", -size), ("spins", 0)] {
            for row in agree(&of_function(&pairs, function)) {
                assert!(
                    (row.rss_delta_bytes - expected).abs() <= expected.abs() / 50,
                    "{expected}: {row:#?}"
                );
            }
        }
    }
}

#[test]
fn a_future_that_moves_has_the_sums_of_its_polls_or_nothing() {
    let commands = ["roam 12", "stay 12", "spin 5"].map(|command| times(4, command));
    let (bench, observed) = captured_closely(Bench::new(), &["--polls"], &commands.concat());
    let database = bench.database();
    let calls = observed.len() as i64;
    let observed: Vec<_> = observed
        .into_iter()
        .filter(|one| one.function.ends_with("::roams"))
        .collect();
    assert!(observed.len() >= 8, "{}", observed.len());
    // The calls of a future that moves end in a thread each: they are in the order in which they ended.
    let rows = rows_where(&database, "function = 'resources::observed::roams'");
    assert_eq!(rows.len(), observed.len());
    let pairs: Vec<_> = observed.into_iter().zip(rows).skip(UNSTEADY).collect();
    cpu_is_close(&of_function(&pairs, "roams"));
    for (observed, row) in &pairs {
        let outside = &observed.outside;
        assert_eq!(row.minor_faults, outside.minor_faults, "{row:#?}");
        assert_eq!(row.major_faults, outside.major_faults, "{row:#?}");
    }
    let sums = "SELECT count(*) FROM calls
        WHERE cpu_ns + runqueue_ns + blocked_ns = coalesce(polled_ns, duration_ns)";
    assert_eq!(database.number(sums), calls);
}

#[test]
fn without_polls_a_future_that_is_suspended_has_nothing() {
    let commands = ["roam 1", "stay 1", "spin 1"].map(|command| times(1, command));
    let (bench, observed) = captured(&[], &commands.concat());
    assert_eq!(observed.len(), 3);
    for (column, _) in COLUMNS {
        let known = format!("SELECT function FROM calls WHERE {column} IS NOT NULL");
        let known = bench.database().rows(&known);
        assert_eq!(known, [["resources::observed::spins"]], "{column}");
    }
}

#[test]
fn each_stat_is_switched_off_by_itself() {
    for (chosen, left) in [
        ("none", ""),
        ("cpu", "cpu"),
        ("faults", "faults"),
        ("memory", "memory"),
        ("switches", "switches"),
        ("memory,cpu", "cpu memory"),
    ] {
        let commands = ["spin 1", "sleep 1", "keep 100000"].map(str::to_owned);
        let (bench, _) = captured(&["--call-stats", chosen], &commands);
        let database = bench.database();
        for (column, stat) in COLUMNS {
            let known = database.number(&format!("SELECT count({column}) FROM calls"));
            let expected = if left.contains(stat) { 3 } else { 0 };
            assert_eq!(known, expected, "{column} with --call-stats {chosen}");
        }
    }
}

#[test]
fn where_only_ends_are_seen_nothing_is_known_of_calls() {
    let (bench, _) = captured(&["--capture", "exits"], &times(2, "spin 1"));
    for (column, _) in COLUMNS {
        let known = format!("SELECT count({column}) FROM calls");
        assert_eq!(bench.database().number(&known), 0, "{column}");
    }
}
