//! What people and programs read, as a whole.

use std::path::Path;

use clap::Parser;
use exoscope_abi::Outcome;
use serde_json::Value;

use super::*;
use crate::event::{
    AgentEvent, Call, ErrorDetail, Function, FunctionCounts, Level as EventLevel, OpenCall,
};
use crate::stats::sample::{Figures, Name, Snapshot, Switches, ThreadStep};
use crate::store::recover::recover;
use crate::store::tests::{BEGIN_NS, call, calls as batch_of, end, folder, open_call, store};

/// The commands as a command line has them.
#[derive(Parser)]
enum Cli {
    Report(ReportArgs),
    Calls(CallsArgs),
    Errors(ErrorsArgs),
    Tree(TreeArgs),
    InFlight(InFlightArgs),
}

/// What a command prints about a file, without styles.
fn printed(path: &Path, command: &str) -> String {
    let mut words: Vec<String> = vec!["exoscope".into()];
    words.extend(command.split(' ').map(str::to_owned));
    words.push(path.to_str().unwrap().to_owned());
    let mut out = Vec::new();
    match Cli::try_parse_from(words).unwrap() {
        Cli::Report(args) => report(&args, &mut out),
        Cli::Calls(args) => calls(&args, &mut out),
        Cli::Errors(args) => errors(&args, &mut out),
        Cli::Tree(args) => tree(&args, &mut out),
        Cli::InFlight(args) => in_flight(&args, &mut out),
    }
    .unwrap();
    String::from_utf8(out)
        .unwrap()
        .replace("\x1b[1m", "")
        .replace("\x1b[0m", "")
}

fn json(path: &Path, command: &str) -> Value {
    serde_json::from_str(&printed(path, command)).unwrap()
}

/// A finished file: 1,000 calls of `app::a`, of which one fails, and one of `app::b`.
fn finished(path: &Path, lost: u64) {
    let mut store = store(path);
    let quick = |id: u64| Call {
        duration_ns: id * 1000,
        self_ns: id * 500,
        ..call(id, None, 0, Outcome::Ok)
    };
    let mut batch = batch_of((1..1000).map(quick).collect());
    batch.calls.push(call(1000, Some(1001), 0, Outcome::Err));
    let outer = Call {
        duration_ns: 2_000_000,
        ..call(1001, None, 1, Outcome::Err)
    };
    batch.calls.push(outer);
    let text = |call| ErrorDetail {
        call,
        panic: false,
        kind: "io::Error".into(),
        message: "no\nspace".into(),
        truncated: false,
    };
    batch.errors = vec![text(1000), text(1001)];
    let lossy = FunctionCounts {
        lost_ring: lost,
        ..FunctionCounts::of_calls(1, 1 + lost)
    };
    batch.counts = Some(vec![FunctionCounts::of_calls(0, 1000), lossy]);
    store.write(&batch).unwrap();
    store.finish(&end()).unwrap();
}

#[test]
fn the_report_says_first_that_nothing_is_missing() {
    let (_folder, path) = folder();
    finished(&path, 0);
    let expected = "\
session 1: app -x (pid 42): 1,001 calls in 9.00 s, 111/s; the target exited with status 3
complete: every one of 1,001 calls counted in the kernel is in this file

function  calls   ok  err      p50      p90      p99      max    total    self
app::a    1,000  999    1   499 µs   899 µs   989 µs   999 µs   500 ms  250 ms
app::b        1    0    1  2.00 ms  2.00 ms  2.00 ms  2.00 ms  2.00 ms   90 ns

1 function without a call
";
    assert_eq!(printed(&path, "report"), expected);
}

#[test]
fn the_report_says_first_what_is_missing_and_what_to_do() {
    let (_folder, path) = folder();
    finished(&path, 1500);
    let report = printed(&path, "report");
    let lines: Vec<&str> = report.lines().collect();
    assert_eq!(
        lines[1..3],
        [
            "incomplete: 1,500 of 2,501 calls counted in the kernel are not in this file",
            "  app::b: 1,500 records lost: the ring was full (raise --ring-size)",
        ]
    );
    let report = json(&path, "report --json");
    assert_eq!(report["complete"], false);
    assert_eq!(report["calls_missing"], 1500);
    assert_eq!(report["functions"][0]["function"], "app::a");
    assert_eq!(report["functions"][0]["err"], 1);
    assert_eq!(report["sessions"][0]["exit_status"], 3);
}

#[test]
fn one_error_is_one_line_and_cannot_steer_the_terminal() {
    let (_folder, path) = folder();
    finished(&path, 0);
    let expected = "\
count  frames  first call  began in  error
    1       2        1000  app::a    io::Error: no\\nspace
";
    assert_eq!(printed(&path, "errors"), expected);
    let errors = json(&path, "errors --json");
    assert_eq!(errors["errors"][0]["message"], "no\nspace");
    assert_eq!(errors["errors"].as_array().unwrap().len(), 1);
}

#[test]
fn calls_are_listed_as_text_and_json() {
    let (_folder, path) = folder();
    finished(&path, 0);
    let expected = "\
call  parent  start (UTC)      duration    self  outcome  thread  function  error      kernel  polls  fields
1001       -  22:13:20.001001   2.00 ms   90 ns  err          77  app::b    no\\nspace
 999       -  22:13:20.000999    999 µs  500 µs  ok           77  app::a
";
    assert_eq!(printed(&path, "calls --slowest 2"), expected);
    let calls = json(&path, "calls --outcome ok --function app::* --json");
    assert_eq!(calls["calls"].as_array().unwrap().len(), 999);
    assert_eq!(
        calls["calls"][0]["start_unix_ns"],
        1_700_000_000_000_001_000_i64
    );
    assert_eq!(calls["calls"][0]["cpu_ns"], Value::Null);
    assert_eq!(
        printed(&path, "calls --outcome panic"),
        "no such call in this file\n"
    );
    assert_eq!(
        json(&path, "calls --outcome panic --json")["calls"],
        Value::Array(Vec::new())
    );
    let unknown = Cli::try_parse_from(["exoscope", "calls", "--outcome", "bad", "f"])
        .err()
        .unwrap();
    assert!(unknown.to_string().contains("target_died"), "{unknown}");
}

#[test]
fn calls_in_flight_are_listed_oldest_first() {
    let (_folder, path) = folder();
    let mut store = store(&path);
    let mut batch = batch_of(vec![call(1, None, 0, Outcome::Ok)]);
    let open = |id, start_ns| OpenCall {
        id,
        start_ns,
        ..open_call()
    };
    batch.open = Some(vec![open(5, 3_000), open(6, 2_000)]);
    batch.counts = Some(vec![FunctionCounts::of_calls(0, 3)]);
    store.write(&batch).unwrap();
    let listed = json(&path, "in-flight --json");
    assert_eq!(listed["in_flight"][0]["call_id"], 6);
    assert_eq!(listed["in_flight"][1]["function"], "app::a");
    assert!(
        printed(&path, "in-flight")
            .lines()
            .nth(1)
            .unwrap()
            .ends_with("     6       5  app::a")
    );
    let report = printed(&path, "report");
    assert!(
        report.contains(
            "1 call; still being written\ncomplete so far: of the calls counted in \
                             the kernel 1 is in this file and 2 are still open\n"
        ),
        "{report}"
    );
    store.finish(&end()).unwrap();
    assert_eq!(printed(&path, "in-flight"), "no call is in flight\n");
}

#[test]
fn a_process_and_a_file_list_calls_in_flight_alike() {
    let function = Function {
        path: "app::a".into(),
        file: "a.rs".into(),
        line: 1,
    };
    let call = |id| OpenCall { id, ..open_call() };
    let calls = [
        (function.clone(), call(2), 1_500),
        (function, call(1), 1_500),
    ];
    let mut out = Vec::new();
    print_in_flight(&calls, false, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    let rows: Vec<&str> = text.lines().skip(1).collect();
    assert_eq!(
        rows,
        [
            "1.50 µs     1       5  app::a",
            "1.50 µs     2       5  app::a"
        ]
    );
}

#[test]
fn a_file_without_calls_is_described_in_sentences() {
    let (_folder, path) = folder();
    store(&path).finish(&end()).unwrap();
    let expected = "\
session 1: app -x (pid 42): 0 calls in 9.00 s, 0/s; the target exited with status 3
no call was captured: no instrumented function that was chosen began one

3 functions without a call
";
    assert_eq!(printed(&path, "report"), expected);
    assert_eq!(printed(&path, "calls"), "no such call in this file\n");
    assert_eq!(
        printed(&path, "errors"),
        "no call in this file ended in an error or a panic\n"
    );
    assert_eq!(printed(&path, "in-flight"), "no call is in flight\n");
}

#[test]
fn calls_in_which_the_target_died_come_first_and_its_figures_follow() {
    let (_folder, path) = folder();
    let mut store = store(&path);
    let sample = |at: u64| Snapshot {
        at_ns: BEGIN_NS + at,
        source: "kernel+procfs".into(),
        figures: Figures {
            rss_bytes: Some(at * 1024),
            peak_rss_bytes: Some(at * 2048),
            swap_bytes: Some(0),
            cpu_user_ns: Some(1_000_000 * at),
            cpu_system_ns: Some(500_000 * at),
            minor_faults: Some(1_000 * at),
            major_faults: Some(at),
            threads: Some(20 - at),
            file_descriptors: Some(7),
            written_bytes: Some(4096 * at),
            read_bytes: Some(1),
            cgroup_memory_limit_bytes: Some(1 << 20),
            ..Figures::default()
        },
        ..Snapshot::default()
    };
    let mut first = sample(1);
    first.threads = vec![ThreadStep {
        number: 0,
        tid: 77,
        name: Some(Name::new(b"wor\x1bker")),
        start_ns: 0,
        cpu_ns: 0,
        runqueue_ns: 0,
        switches: Switches::default(),
    }];
    let mut batch = batch_of(
        (1..=12)
            .map(|id| call(id, None, 0, Outcome::TargetDied))
            .collect(),
    );
    batch.calls.push(call(13, None, 1, Outcome::Ok));
    batch.stats = vec![first, sample(9), sample(5)];
    batch.counts = Some(vec![
        FunctionCounts::of_calls(0, 12),
        FunctionCounts::of_calls(1, 1),
    ]);
    store.write(&batch).unwrap();
    store.finish(&end()).unwrap();
    let report = printed(&path, "report");
    let lines: Vec<&str> = report.lines().collect();
    assert_eq!(
        lines[1..8],
        [
            "  memory at most 18.0 KiB of 1.0 MiB allowed; CPU 12.0 ms (8.00 ms user, 4.00 ms system)",
            "  8,008 page faults, 8 of them from storage; at most 19 threads, 7 file descriptors; \
             32.0 KiB written",
            "complete: every one of 13 calls counted in the kernel is in this file",
            "",
            "12 calls were open when the target died:",
            "",
            "open for  call  thread  name          function",
        ]
    );
    assert_eq!(lines[8], "  112 ns    12      77  wor\\u{1b}ker  app::a");
    assert_eq!(
        lines[18],
        "and 2 more: see `exoscope calls --outcome target_died`"
    );
    let report = json(&path, "report --json");
    assert_eq!(report["calls_died"], 12);
    assert_eq!(report["target_died"][0]["call_id"], 12);
    assert_eq!(report["process_stats"][0]["samples"], 3);
}

/// Takes so many bytes, then is closed.
struct Closed(usize);

impl Write for Closed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let taken = bytes.len().min(self.0);
        self.0 -= taken;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_closed_pipe_can_be_told_from_other_failures() {
    let (_folder, path) = folder();
    finished(&path, 0);
    for json in [false, true] {
        let args = ReportArgs {
            file: path.clone(),
            json,
        };
        let listed = CallsArgs {
            file: path.clone(),
            function: vec![],
            outcome: None,
            slowest: None,
            json,
        };
        for error in [
            report(&args, &mut Closed(10)),
            calls(&listed, &mut Closed(10)),
        ] {
            let error = error.unwrap_err();
            let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
            assert_eq!(kind, Some(io::ErrorKind::BrokenPipe), "{error:#}");
        }
    }
}

/// A finished file with one call in a call in a call, and one beside them.
fn nested(path: &Path) {
    let mut store = store(path);
    let of = |id, parent, function, duration_ns, self_ns, outcome| Call {
        duration_ns,
        self_ns,
        ..call(id, parent, function, outcome)
    };
    store
        .write(&batch_of(vec![
            of(1, None, 0, 9_000, 1_000, Outcome::Ok),
            of(2, Some(1), 1, 8_000, 7_900, Outcome::Err),
            of(3, Some(2), 2, 100, 100, Outcome::Panic),
            of(4, None, 2, 1_000, 1_000, Outcome::Ok),
        ]))
        .unwrap();
    store.finish(&end()).unwrap();
}

#[test]
fn the_tree_is_drawn_with_totals() {
    let (_folder, path) = folder();
    nested(&path);
    let expected = "  total     self  calls  err  panic  function
9.00 µs  1.00 µs      1    0      0  app::a
8.00 µs  7.90 µs      1    1      0  └─ app::b
 100 ns   100 ns      1    0      1     └─ app::c
1.00 µs  1.00 µs      1    0      0  app::c
";
    assert_eq!(printed(&path, "tree"), expected);
}

#[test]
fn the_tree_can_be_cut_by_depth_and_share() {
    let (_folder, path) = folder();
    nested(&path);
    let functions = |command: &str| {
        let lines = printed(&path, command);
        let names = lines
            .lines()
            .skip(1)
            .filter_map(|line| line.rsplit(' ').next());
        names.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(functions("tree --depth 1"), ["app::a", "app::c"]);
    assert_eq!(functions("tree --min-percent 50"), ["app::a", "app::b"]);
    let tree = json(&path, "tree --json --depth 2");
    assert_eq!(tree["roots"][0]["children"][0]["function"], "app::b");
    assert_eq!(
        tree["roots"][0]["children"][0]["children"],
        Value::Array(Vec::new())
    );
    let none = printed(&path, "tree --depth 0");
    assert!(none.contains("no call is in this file, or all were left out"));
}

/// What `exoscope doctor FILE` prints, and whether nothing is missing.
fn diagnosed(path: &Path) -> (String, bool) {
    let mut out = Vec::new();
    let complete = diagnose(path, false, &mut out).unwrap();
    (String::from_utf8(out).unwrap(), complete)
}

#[test]
fn a_file_that_lacks_nothing_is_said_to() {
    let (_folder, path) = folder();
    finished(&path, 0);
    let expected = "\
ok       file           all of it can be read
ok       sessions       1 session; the target exited with status 3
ok       calls          each of 1,001 calls counted in the kernel is accounted for

nothing is missing in this file
";
    assert_eq!(diagnosed(&path), (expected.to_owned(), true));
}

#[test]
fn each_loss_is_told_with_its_cause_and_what_to_change() {
    let (_folder, path) = folder();
    let mut store = store(&path);
    let lossy = FunctionCounts {
        lost_ring: 5,
        lost_table: 1,
        unmatched: 2,
        lost_detail: 3,
        lost_fields: 4,
        replaced: 1,
        ..FunctionCounts::of_calls(0, 7)
    };
    let mut batch = batch_of(vec![call(1, None, 0, Outcome::Ok)]);
    batch.counts = Some(vec![lossy]);
    batch.events = ["first\x1b", "second"]
        .map(|text| AgentEvent::now(EventLevel::Warning, "spool", text.into()))
        .into();
    store.write(&batch).unwrap();
    store
        .record(&[], &[(9, "the spool was full".into())])
        .unwrap();
    store.finish(&end()).unwrap();
    let (said, complete) = diagnosed(&path);
    assert!(!complete);
    let lines: Vec<_> = said.lines().filter(|line| !line.starts_with(' ')).collect();
    assert_eq!(
        lines[2..],
        [
            "lost     calls          6 of 7 calls counted in the kernel are not in this file",
            "lost     rings          5 records of calls found no room: calls ended faster than the agent read",
            "lost     open calls     1 call was not followed: too many were open at once",
            "note     ends           1 call has an end that was never seen, and the outcome `unfinished`",
            "note     beginnings     2 calls had begun before the session, or had not been followed: their ends are in `unmatched_exits`",
            "lost     messages       3 messages of errors found no room",
            "lost     fields         the fields of 4 calls found no room",
            "lost     store          9 calls lost within the agent: the spool was full",
            "note     agent          spool: first\\u{1b} (and 1 more of this kind: see the view `agent_events`)",
            "",
            "something is missing in this file",
        ]
    );
    assert!(said.contains("\n                        give the rings more room with --ring-size"));
}

#[test]
fn calls_without_counts_are_not_said_to_be_all() {
    let (_folder, path) = folder();
    let mut store = store(&path);
    store
        .write(&batch_of(vec![call(1, None, 0, Outcome::Ok)]))
        .unwrap();
    store.finish(&end()).unwrap();
    let unknown = "completeness unknown: the kernel's counts are not in this file\n";
    let report = printed(&path, "report");
    assert!(report.contains(unknown), "{report}");
    assert_eq!(json(&path, "report --json")["complete"], false);
    let (said, complete) = diagnosed(&path);
    assert!(!complete, "{said}");
    let found = "\nlost     calls          1 call is in this file, and whether others are missing is unknown: ";
    assert!(said.contains(found), "{said}");
}

#[test]
fn counts_that_damage_made_too_large_for_a_sum_are_told_of() {
    let (_folder, path) = folder();
    let mut store = store(&path);
    let all = i64::MAX as u64;
    let counts = [0, 1].map(|function| FunctionCounts::of_calls(function, all));
    let mut batch = batch_of(vec![call(1, None, 0, Outcome::Ok)]);
    batch.counts = Some(counts.into());
    store.write(&batch).unwrap();
    store.finish(&end()).unwrap();
    let missing = " of 9,223,372,036,854,775,807 calls counted in the kernel are not in this file";
    let report = printed(&path, "report");
    assert!(report.contains(missing), "{report}");
    let (said, complete) = diagnosed(&path);
    assert!(!complete && said.contains(missing), "{said}");
}

#[test]
fn a_session_that_is_being_written_lacks_nothing() {
    let (_folder, path) = folder();
    let mut store = store(&path);
    let mut batch = batch_of(vec![call(1, None, 0, Outcome::Ok)]);
    batch.counts = Some(vec![FunctionCounts::of_calls(0, 3)]);
    store.write(&batch).unwrap();
    let (said, complete) = diagnosed(&path);
    assert!(complete, "{said}");
    assert!(said.contains("\nok       sessions       1 session; the last is being written\n"));
    assert!(said.contains(
        "note     calls          2 of 3 calls counted in the kernel are not in this file\n"
    ));
}

#[test]
fn a_session_that_was_cut_short_is_told_of_before_and_after_it_is_finished() {
    let (_folder, path) = folder();
    let mut store = store(&path);
    store
        .write(&batch_of(vec![call(1, None, 0, Outcome::Ok)]))
        .unwrap();
    drop(store);
    let (said, complete) = diagnosed(&path);
    assert!(!complete, "{said}");
    assert!(
        said.contains("\nlost     cut short      session 1 has no end, for its agent was killed")
    );
    let recover_it = format!("`exoscope recover {}`", path.display());
    assert!(said.contains(&recover_it), "{said}");
    recover(&path).unwrap();
    let (said, complete) = diagnosed(&path);
    assert!(!complete, "{said}");
    assert!(
        said.contains("\nok       sessions       1 session; interrupted\n"),
        "{said}"
    );
    assert!(said.contains(
        "\nlost     cut short      session 1 was cut short, without an end: nothing was in its spool; what the agent held"
    ));
}

#[test]
fn a_damaged_file_is_diagnosed_as_far_as_it_can_be_read() {
    let (_folder, path) = folder();
    finished(&path, 0);
    let whole = std::fs::read(&path).unwrap();
    let page = 8192;
    for at in [0, whole.len() / page / 2 * page, whole.len() - page] {
        let mut bytes = whole.clone();
        bytes[at..at + page].fill(0x5a);
        // The tables are told in the first page, and are to be known for ours.
        bytes[100..page].copy_from_slice(&whole[100..page]);
        std::fs::write(&path, bytes).unwrap();
        let (said, complete) = diagnosed(&path);
        assert!(!complete, "{at}: {said}");
        let recover_it = format!("`exoscope recover {}` saves", path.display());
        assert!(said.starts_with("lost     file "), "{at}: {said}");
        assert!(said.contains(&recover_it), "{at}: {said}");
    }
}
