//! Process and thread series, against what the target's own `getrusage`, its commands, and the files of
//! `/proc` say.

use std::path::Path;
use std::process::Command;

use exoscope_tests::agent::{Bench, command, detach, is_attached};
use exoscope_tests::build::Build;
use exoscope_tests::cgroup::Cgroup;
use exoscope_tests::database::Database;
use exoscope_tests::eventually;
use exoscope_tests::process::Process;
use exoscope_tests::resources::{Resources, Usage};

use crate::bad_machines::without_iterators;

/// The target.
pub const RESOURCES: Build = Build::release("resources");
/// A sample every 20 ms: tests need not wait long.
const OFTEN: [&str; 2] = ["--stats-interval", "20"];
const MIB: i64 = 1 << 20;

/// A target that is sampled often.
struct Sampled {
    bench: Bench,
    target: Resources,
    agent: Process,
}

impl Sampled {
    fn start() -> Self {
        Self::by(|command| command)
    }

    /// With an agent that `prepare` changes.
    fn by(prepare: impl FnOnce(Command) -> Command) -> Self {
        let bench = Bench::new();
        let target = Resources::start(&RESOURCES.binary());
        let attach = prepare(bench.attach_command(target.pid(), &OFTEN));
        let mut agent = Process::start(&mut { attach });
        is_attached(&mut agent);
        let sampled = Self {
            bench,
            target,
            agent,
        };
        sampled.next_sample();
        sampled
    }

    /// Waits until a sample that was taken from now on is in the file, and gives back its time.
    fn next_sample(&self) -> i64 {
        let now = monotonic_ns();
        eventually("a sample", || {
            let at = self.last("at_ns")?;
            (at > now).then_some(at)
        })
    }

    /// A figure of the last sample.
    fn last(&self, column: &str) -> Option<i64> {
        let sql = format!("SELECT {column} FROM process_stats ORDER BY at_ns DESC LIMIT 1");
        let rows = self.bench.database().rows(&sql);
        rows.first()?[0].parse().ok()
    }

    /// The sources of the last sample.
    fn last_source(&self) -> String {
        let sql = "SELECT source FROM process_stats ORDER BY at_ns DESC LIMIT 1";
        self.bench.database().rows(sql)[0][0].clone()
    }

    /// Has a command carried out and sampled.
    fn does(&mut self, command: &str) -> Usage {
        let usage = self.target.does(command);
        self.next_sample();
        usage
    }

    /// How much a figure grows by a command.
    fn grows(&mut self, column: &str, command: &str) -> i64 {
        let before = self.last(column);
        self.does(command);
        self.last(column).expect("it is known") - before.expect("it is known")
    }

    fn finish(self) -> Database {
        detach(self.agent);
        self.bench.database()
    }
}

fn monotonic_ns() -> i64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

#[track_caller]
fn within(what: &str, found: i64, expected: i64, tolerance: i64) {
    assert!(
        (found - expected).abs() <= tolerance,
        "{what}: {found}, expected {expected} ± {tolerance}"
    );
}

/// Compares the last sample with what the target said before and what it says after: it is idle, but writes its
/// answer and waits for the next command, which may take a while on a busy machine.
fn agrees(sampled: &mut Sampled, before: Usage) {
    type Figure = fn(&Usage) -> i64;
    let cpu: Figure = |usage| usage.cpu_user_ns + usage.cpu_system_ns;
    // Ticks decide which part is which: 4 ms each on most machines, 10 ms on some.
    let ticks = cpu(&before) / 20 + 20_000_000;
    let figures: [(&str, Figure, i64); 7] = [
        (
            "cpu_user_ns + cpu_system_ns",
            cpu,
            (cpu(&before) / 100).max(2_000_000),
        ),
        ("cpu_user_ns", |usage| usage.cpu_user_ns, ticks),
        ("cpu_system_ns", |usage| usage.cpu_system_ns, ticks),
        ("minor_faults", |usage| usage.minor_faults, 5),
        ("major_faults", |usage| usage.major_faults, 1),
        ("voluntary_switches", |usage| usage.voluntary_switches, 5),
        (
            "involuntary_switches",
            |usage| usage.involuntary_switches,
            5,
        ),
    ];
    let found = figures.map(|(column, ..)| sampled.last(column));
    let after = sampled.target.does("usage");
    for ((column, figure, tolerance), found) in figures.into_iter().zip(found) {
        let (least, most) = (figure(&before) - tolerance, figure(&after) + tolerance);
        let found = found.unwrap_or_else(|| panic!("{column} is NULL"));
        assert!(
            (least..=most).contains(&found),
            "{column}: {found}, expected {least} to {most}"
        );
    }
}

/// What the target does to be compared.
const WORK: [&str; 6] = [
    "anon 30000000",
    "threads 3",
    "spin 200",
    "system 200",
    "sleep 30",
    "usage",
];

#[test]
fn figures_agree_with_getrusage_of_the_target() {
    let mut sampled = Sampled::start();
    for command in WORK {
        sampled.target.does(command);
    }
    // Threads that live too short to be sampled: the kernel knows what they did.
    let usage = sampled.does("brief 20");
    agrees(&mut sampled, usage);
    let database = sampled.finish();
    let sources = database.rows("SELECT DISTINCT source FROM process_stats");
    assert_eq!(sources, [["kernel+procfs"]]);
    never_decreases(&database);
}

#[test]
fn where_the_kernel_has_no_iterators_proc_tells_the_same() {
    let mut sampled = Sampled::by(without_iterators);
    for command in WORK {
        sampled.target.does(command);
    }
    let usage = sampled.does("usage");
    agrees(&mut sampled, usage);
    let database = sampled.finish();
    let sources = database.rows("SELECT DISTINCT source FROM process_stats");
    assert_eq!(sources, [["procfs"]]);
    let said = database.rows("SELECT message FROM agent_events WHERE kind = 'stats'");
    let lack = "kernel can't tell of threads, CPU time, faults and switches: ";
    assert!(said.iter().any(|row| row[0].starts_with(lack)), "{said:#?}");
    never_decreases(&database);
    threads_are_whole(&database);
}

/// Counts and times only grow.
fn never_decreases(database: &Database) {
    for column in [
        "cpu_user_ns",
        "cpu_system_ns",
        "runqueue_ns",
        "minor_faults",
        "major_faults",
        "voluntary_switches",
        "involuntary_switches",
        "cpu_pressure_some_ns",
        "memory_pressure_some_ns",
        "io_pressure_some_ns",
        "syscall_read_bytes",
    ] {
        let decreased = database.number(&format!(
            "SELECT count(*) FROM (SELECT {column} < lag({column}) OVER (ORDER BY at_ns) AS less
             FROM process_stats) WHERE less"
        ));
        assert_eq!(decreased, 0, "{column}");
    }
    let decreased = "SELECT count(*) FROM (SELECT cpu_ns < lag(cpu_ns) OVER w
         OR runqueue_ns < lag(runqueue_ns) OVER w AS less
       FROM thread_stats WINDOW w AS (PARTITION BY tid ORDER BY at_ns)) WHERE less";
    assert_eq!(database.number(decreased), 0);
}

/// The three parts of a thread's life are all of it, but for what it ran while the sample was taken.
fn threads_are_whole(database: &Database) {
    let odd = database.rows(
        "SELECT tid, at_ns - start_ns, cpu_ns, runqueue_ns, blocked_ns FROM thread_stats
         WHERE cpu_ns + runqueue_ns + blocked_ns - (at_ns - start_ns) NOT BETWEEN 0 AND 50000000
         LIMIT 5",
    );
    assert_eq!(odd, [[""; 0]; 0]);
}

#[test]
fn memory_is_told_apart_by_kind() {
    let mut sampled = Sampled::start();
    for (column, command, size) in [
        ("anon_bytes", "anon", 40 * MIB),
        ("shared_bytes", "shared", 24 * MIB),
    ] {
        let command = format!("{command} {size}");
        within(column, sampled.grows(column, &command), size, size / 50);
        within("rss", sampled.grows("rss_bytes", "free"), -size, size / 50);
        // The kernel notes a peak by counters that are some pages off.
        let peak = sampled.does("usage").peak_rss_bytes;
        let noted = sampled.last("peak_rss_bytes").expect("it is known");
        within("peak", noted, peak, peak / 50);
    }
    let file = sampled.bench.path().join("mapped");
    std::fs::write(&file, vec![1; 16 * MIB as usize]).expect("the folder is writable");
    let command = format!("file {}", file.display());
    within(
        "file",
        sampled.grows("file_bytes", &command),
        16 * MIB,
        MIB / 3,
    );
    let parts = "SELECT count(*) FROM process_stats
        WHERE abs(rss_bytes - anon_bytes - file_bytes - shared_bytes) > 262144";
    assert_eq!(sampled.finish().number(parts), 0);
}

/// Swap of a test, on a file; given back when the test ends.
struct Swap(std::path::PathBuf);

impl Swap {
    fn of(folder: &std::path::Path, bytes: i64) -> Self {
        let file = folder.join("swap");
        std::fs::write(&file, vec![0; bytes as usize]).expect("the folder is writable");
        for command in ["mkswap", "swapon"] {
            let done = Command::new(command).arg(&file).output();
            let done = done.unwrap_or_else(|error| panic!("can't start {command}: {error}"));
            assert!(done.status.success(), "{command}: {done:?}");
        }
        Self(file)
    }
}

impl Drop for Swap {
    fn drop(&mut self) {
        let done = Command::new("swapoff").arg(&self.0).status();
        assert!(done.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

#[test]
fn swapped_memory_is_counted() {
    let mut sampled = Sampled::start();
    let swap = Swap::of(sampled.bench.path(), 48 * MIB);
    sampled.does(&format!("anon {}", 24 * MIB));
    within(
        "swapped",
        sampled.grows("swap_bytes", "pageout"),
        24 * MIB,
        MIB,
    );
    let resident = sampled.last("anon_bytes").expect("it is known");
    assert!(resident < 2 * MIB, "{resident}");
    sampled.does("free");
    drop(swap);
}

#[test]
fn threads_and_files_are_counted_and_every_thread_has_its_rows() {
    let mut sampled = Sampled::start();
    let begin = sampled.last("at_ns").expect("there is a sample");
    assert_eq!(sampled.last("threads"), Some(1));
    assert_eq!(sampled.grows("threads", "threads 17"), 17);
    assert_eq!(sampled.grows("file_descriptors", "files 11"), 11);
    sampled.does("spin 300");
    let tid = sampled.target.pid();
    let database = sampled.finish();
    let idle = database.rows("SELECT DISTINCT tid FROM thread_stats WHERE name = 'idle'");
    assert_eq!(idle.len(), 17);
    let wrong = "SELECT count(*) FROM process_stats p WHERE threads !=
        (SELECT count(*) FROM thread_stats t WHERE t.at_ns = p.at_ns)";
    assert_eq!(database.number(wrong), 0);
    threads_are_whole(&database);
    never_decreases(&database);
    // A thread that sleeps is blocked, the one that computed is not.
    let grown = |column: &str, tid: &str| {
        database.number(&format!(
            "SELECT max({column}) - min({column}) FROM thread_stats
             WHERE tid = {tid} AND at_ns > {begin}"
        ))
    };
    let life = grown("at_ns", &idle[0][0]);
    within("asleep", grown("blocked_ns", &idle[0][0]), life, 5_000_000);
    within(
        "computing",
        grown("cpu_ns", &tid.to_string()),
        300_000_000,
        30_000_000,
    );
    // What is blocked in the process is blocked in its threads.
    let last = "at_ns = (SELECT max(at_ns) FROM process_stats)";
    let whole = database.number(&format!(
        "SELECT blocked_ns FROM process_stats WHERE {last}"
    ));
    let sum = database.number(&format!(
        "SELECT sum(blocked_ns) FROM thread_stats WHERE {last}"
    ));
    within("blocked", whole, sum, 50_000_000);
}

#[test]
fn waiting_for_a_cpu_is_counted() {
    let mut sampled = Sampled::start();
    let (waited, usage) = sampled.target.competes(4, 500);
    sampled.next_sample();
    agrees(&mut sampled, usage);
    assert!(waited > 1_200_000_000, "four threads had one CPU: {waited}");
    let database = sampled.finish();
    let rivals = "SELECT max(runqueue_ns) FROM thread_stats WHERE name = 'rival' GROUP BY tid";
    let rivals = database.rows(rivals);
    assert_eq!(rivals.len(), 4);
    let waits = rivals
        .iter()
        .map(|row| row[0].parse::<i64>().expect("a number"));
    within("threads", waits.sum(), waited, waited / 100 + 10_000_000);
    // The process waited as its threads did.
    let sums = "SELECT p.runqueue_ns, sum(t.runqueue_ns)
        FROM process_stats p JOIN thread_stats t USING (at_ns) GROUP BY at_ns ORDER BY at_ns DESC";
    let last = &database.rows(sums)[0];
    assert_eq!(last[0], last[1]);
    threads_are_whole(&database);
    never_decreases(&database);
}

#[test]
fn switches_are_those_of_the_thread() {
    let mut sampled = Sampled::start();
    sampled.target.does("threads 1");
    sampled.does("sleep 50");
    let main = sampled.target.pid();
    let database = sampled.finish();
    let grown = |of: &str| {
        database.number(&format!(
            "SELECT max(voluntary_switches) - min(voluntary_switches) FROM thread_stats WHERE {of}"
        ))
    };
    within("asleep", grown("name = 'idle'"), 0, 2);
    within("main", grown(&format!("tid = {main}")), 50, 10);
}

#[test]
fn bytes_are_counted_by_storage_and_by_system_calls() {
    let mut sampled = Sampled::start();
    let file = sampled.bench.path().join("file");
    for (command, storage, calls) in [
        ("write", "written_bytes", "syscall_written_bytes"),
        ("read", "read_bytes", "syscall_read_bytes"),
    ] {
        let command = format!("{command} {} {}", file.display(), 8 * MIB);
        let before = sampled.last(calls).expect("it is known");
        within(storage, sampled.grows(storage, &command), 8 * MIB, MIB / 4);
        let called = sampled.last(calls).expect("it is known") - before;
        within(calls, called, 8 * MIB, MIB / 4);
    }
}

#[test]
fn faults_that_read_are_told_apart() {
    const PAGES: i64 = 300;
    let mut sampled = Sampled::start();
    let file = sampled.bench.path().join("mapped");
    std::fs::write(&file, vec![1; 4096 * PAGES as usize]).expect("the folder is writable");
    let before = sampled.last("major_faults").expect("it is known");
    let usage = sampled.does(&format!("fault {}", file.display()));
    agrees(&mut sampled, usage);
    let found = sampled.last("major_faults").expect("it is known") - before;
    within("pages", found, PAGES, PAGES / 20);
}

/// The totals of three pressure files in `folder`, in the order of [`PRESSURES`].
fn pressures(folder: &Path, suffix: &str) -> Vec<i64> {
    let files = ["cpu", "memory", "io"].map(|name| {
        let file = folder.join(format!("{name}{suffix}"));
        std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file:?}: {error}"))
    });
    let totals = files.iter().flat_map(|text| text.lines());
    totals
        .map(|line| {
            let total = line
                .split("total=")
                .nth(1)
                .and_then(|total| total.parse().ok());
            let microseconds: i64 = total.unwrap_or_else(|| panic!("{line}"));
            microseconds * 1000
        })
        .collect()
}

const PRESSURES: [&str; 6] = [
    "cpu_pressure_some_ns",
    "cpu_pressure_full_ns",
    "memory_pressure_some_ns",
    "memory_pressure_full_ns",
    "io_pressure_some_ns",
    "io_pressure_full_ns",
];

/// Expects that each figure of the next sample lies between what the files say before and after.
fn pressure_is_that_of(sampled: &Sampled, prefix: &str, read: impl Fn() -> Vec<i64>) {
    let before = read();
    sampled.next_sample();
    let columns = PRESSURES.map(|column| format!("{prefix}{column}"));
    let last = format!(
        "SELECT {} FROM process_stats ORDER BY at_ns DESC LIMIT 1",
        columns.join(", ")
    );
    let found = sampled.bench.database().rows(&last);
    let after = read();
    assert_eq!((before.len(), after.len()), (columns.len(), columns.len()));
    for (index, column) in columns.iter().enumerate() {
        let found: i64 = found[0][index].parse().expect("it is known");
        let (before, after) = (before[index], after[index]);
        assert!(
            (before..=after).contains(&found),
            "{column}: {before} {found} {after}"
        );
    }
}

#[test]
fn pressure_is_that_of_the_machine_and_of_the_control_group() {
    let group = Cgroup::with_pressure();
    let mut sampled = Sampled::start();
    group.add(sampled.target.pid());
    let (waited, _) = sampled.target.competes(3, 300);
    pressure_is_that_of(&sampled, "", || pressures(Path::new("/proc/pressure"), ""));
    let of_group = || pressures(group.path(), ".pressure");
    pressure_is_that_of(&sampled, "cgroup_", of_group);
    // Two of three threads waited at any moment; some did all the time.
    let some = sampled
        .last("cgroup_cpu_pressure_some_ns")
        .expect("it is known");
    within("some", some, 300_000_000, 200_000_000);
    assert!(some < waited, "{some} {waited}");
    drop(sampled);
}

#[test]
fn a_control_group_is_told_of_also_when_the_target_is_moved_there() {
    let group = Cgroup::limited(64 << 20);
    let mut sampled = Sampled::start();
    let limit = "coalesce(cgroup_memory_limit_bytes, -1)";
    assert_ne!(sampled.last(limit), Some(64 * MIB));
    group.add(sampled.target.pid());
    sampled.next_sample();
    assert_eq!(sampled.last(limit), Some(64 * MIB));
    let grown = sampled.grows("cgroup_memory_bytes", &format!("anon {}", 20 * MIB));
    within("charged", grown, 20 * MIB, MIB);
    assert_eq!(sampled.last("cgroup_oom_kills"), Some(0));
    // More than fits, but for what the kernel can take back: the limit is reached.
    let file = sampled.bench.path().join("large");
    sampled.does(&format!("write {} {}", file.display(), 80 * MIB));
    assert!(sampled.last("cgroup_max_events") > Some(0));
    drop(sampled);
}

#[test]
fn the_interval_is_kept_and_zero_means_none() {
    for (interval, interval_ms, least) in [("0", 1, 0), ("200", 200, 5), ("1s", 1000, 2)] {
        let bench = Bench::new();
        let target = Resources::start(&RESOURCES.binary());
        let options = ["--stats-interval", interval, "--duration", "2s"];
        let end = bench.attach(target.pid(), &options).end();
        assert_eq!(end.status.code(), Some(0), "{:#?}", end.stderr);
        let found = "SELECT at_ns FROM process_stats ORDER BY at_ns";
        let times = bench.database().rows(found);
        if least == 0 {
            assert_eq!(times.len(), 0, "{times:#?}");
            continue;
        }
        let time = |row: Option<&Vec<String>>| row.and_then(|row| row[0].parse::<usize>().ok());
        let (first, last) = (time(times.first()), time(times.last()));
        let lasted = last
            .zip(first)
            .map(|(last, first)| (last - first) / 1_000_000);
        // A session lasts until nothing is attached any more. The first sample may be late, and the last is one
        // more.
        let most = lasted.map_or(0, |lasted| lasted / interval_ms + 3);
        assert!(
            (least..=most).contains(&times.len()),
            "{interval}: {times:#?}"
        );
    }
    for wrong in ["-1", "often", "100us", "2days"] {
        let option = format!("--stats-interval={wrong}");
        let end = command(&["attach", "--pid", "1", &option]);
        assert_eq!(end.status.code(), Some(2), "{wrong}: {:#?}", end.stderr);
        assert!(
            end.stderr.join("\n").contains("--stats-interval"),
            "{:#?}",
            end.stderr
        );
    }
}

#[test]
fn a_source_that_fails_for_a_while_is_replaced_and_comes_back() {
    let mut sampled = Sampled::start();
    let pid = sampled.agent.pid().to_string();
    let limit = |files: &str| {
        let status = Command::new("prlimit")
            .args(["--pid", &pid, &format!("--nofile={files}")])
            .status();
        assert!(status.expect("util-linux has it").success());
    };
    // It may open no more files: iterators are opened for each sample, other files stay open.
    limit("3:1024");
    sampled.does("anon 1000000");
    assert_eq!(sampled.last("threads"), None);
    assert!(sampled.last("rss_bytes").is_some());
    limit("1024:1024");
    // Each source is asked again at a moment of its own: `/proc` may be the first of the two.
    eventually("the kernel to tell again", || {
        (sampled.last_source() == "kernel+procfs").then_some(())
    });
    let database = sampled.finish();
    let said = database.rows(
        "SELECT level, message FROM agent_events WHERE kind = 'stats' AND message LIKE '% any more %'
         OR message LIKE '% again'",
    );
    let threads = "threads, CPU time, faults and switches";
    let lost = format!("kernel can't tell of {threads} any more (");
    assert!(
        said[0][0] == "warning" && said[0][1].starts_with(&lost),
        "{said:#?}"
    );
    let back = [
        "info".to_owned(),
        format!("kernel tells of {threads} again"),
    ];
    assert_eq!(said.last().map(Vec::as_slice), Some(&back[..]));
    let sources = database.rows("SELECT DISTINCT source FROM process_stats ORDER BY source");
    assert_eq!(sources, [["kernel+procfs"], ["procfs"]]);
    // Threads that were there before are the same ones after.
    let ids = "SELECT count(DISTINCT start_ns) FROM thread_stats";
    assert_eq!(database.number(ids), 1);
    never_decreases(&database);
}
