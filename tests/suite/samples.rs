//! Samples: who used the CPU, in which call, under which names, and who waited.

use std::path::{Path, PathBuf};
use std::process::Command;

use exoscope_tests::agent::{Bench, command};
use exoscope_tests::build::Build;
use exoscope_tests::database::Database;
use exoscope_tests::process::{End, Process};
use serde_json::Value;

use crate::VARIANTS;

const FRAME_POINTERS: &[&str] = &["-Cforce-frame-pointers=yes"];
const HOT: Build = Build::release("hot").flags(FRAME_POINTERS);
/// Samples a second: out of step with anything that happens a thousand times a second.
const HERTZ: &str = "997";

/// Attaches to a target that waits, samples all that it does, and gives what it printed.
fn sampled(bench: &Bench, binary: &Path, arguments: &[&str], options: &[&str]) -> Vec<String> {
    let mut target = Process::ready_target(binary, arguments);
    let agent = bench.attach(target.pid(), &[&["--sample", HERTZ][..], options].concat());
    target.go_on();
    let lines = target.pauses_at("done");
    target.ends_well();
    let end = agent.end();
    assert_eq!(end.status.code(), Some(0), "{:#?}", end.stderr);
    lines
}

/// The number at `key` of the JSON line that a target printed.
fn told(lines: &[String], key: &str) -> f64 {
    let objects = lines
        .iter()
        .filter_map(|line| serde_json::from_str(line).ok());
    let number = objects
        .into_iter()
        .find_map(|object: Value| object[key].as_f64());
    number.unwrap_or_else(|| panic!("no {key} in {lines:#?}"))
}

/// Samples of running threads for which `condition` holds.
fn count(database: &Database, condition: &str) -> f64 {
    let sql = format!("SELECT count(*) FROM samples WHERE NOT off_cpu AND ({condition})");
    database.number(&sql) as f64
}

#[test]
fn a_hot_function_gets_its_share() {
    let bench = Bench::new();
    let arguments = ["share", "--cpu-ms", "1500", "--threads", "2"];
    let lines = sampled(&bench, &HOT.binary(), &arguments, &[]);
    let (large, small) = (told(&lines, "large_ns"), told(&lines, "small_ns"));
    let expected = large / (large + small);

    let database = bench.database();
    let within = |name: &str| count(&database, &format!("stack LIKE '%;hot::share::{name};%'"));
    let (in_large, in_small) = (within("large"), within("small"));
    let samples = in_large + in_small;
    // 3 s of CPU time at 997 Hz are 3,000 samples; a machine that is given less time than it counts
    // delivers fewer.
    assert!(samples >= 500.0, "only {samples} samples");
    // Were each sample drawn by itself, a share would be off by more than six standard deviations
    // once in 500 million runs; samples in even distances of uneven work are off by less. 1 % is for
    // what a function does outside of the time that it measures.
    let deviation = (expected * (1.0 - expected) / samples).sqrt();
    let found = in_large / samples;
    assert!(
        (found - expected).abs() <= 6.0 * deviation + 0.01,
        "{found} of {samples} samples in place of {expected}"
    );
    let elsewhere = count(&database, "true") - samples;
    assert!(elsewhere <= 0.05 * samples, "{elsewhere} samples elsewhere");
    assert_eq!(count(&database, "ns <> 1000000000 / 997"), 0.0);
}

#[test]
fn every_sample_knows_the_call_that_it_happened_in() {
    let bench = Bench::new();
    sampled(&bench, &HOT.binary(), &["calls", "--cpu-ms", "1500"], &[]);
    let rows = bench.database().rows(
        "SELECT substr(s.stack, instr(s.stack, '::spins_in_') + 11), c.function, count(*)
         FROM samples s LEFT JOIN calls c ON c.call_id = s.call_id
         WHERE s.stack LIKE '%;hot::calls::spins_in_%;hot::clock::spin%' GROUP BY 1, 2",
    );
    let mut seen = std::collections::BTreeSet::new();
    for row in &rows {
        let (spinner, _) = row[0].split_once(';').expect("it calls `spin`");
        assert_eq!(row[1], format!("hot::calls::{spinner}"), "{rows:#?}");
        seen.insert(spinner);
    }
    let all = ["blue", "drives", "inner", "moves", "outer", "red"];
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), all);
}

#[test]
fn samples_of_exits_mode_have_no_call() {
    let bench = Bench::new();
    // Two ways to capture at a time can't be attached to the same file.
    let options = ["--capture", "exits"];
    sampled(
        &bench,
        &HOT.copy_to(bench.path()),
        &["share", "--cpu-ms", "100"],
        &options,
    );
    let database = bench.database();
    assert!(count(&database, "true") > 0.0);
    assert_eq!(count(&database, "call_id IS NOT NULL"), 0.0);
}

/// Samples in calls of the plugin, by the function that they are said to be in.
fn plugin_samples(host: Build) -> Vec<Vec<String>> {
    let bench = Bench::new();
    let plugin = Build::release("plugin").flags(FRAME_POINTERS).binary();
    let plugin = plugin.to_str().expect("the target folder's path is UTF-8");
    let arguments = [plugin, "--calls", "1000", "--steps", "200000", "--reload"];
    sampled(
        &bench,
        &host.binary(),
        &arguments,
        &["--exclude", "plugin::step"],
    );
    bench.database().rows(
        "SELECT DISTINCT c.function FROM samples s LEFT JOIN calls c ON c.call_id = s.call_id
         WHERE s.stack LIKE '%;plugin::batch;%plugin::step%' ORDER BY 1",
    )
}

#[test]
fn a_library_has_its_own_chain_and_two_of_them_are_never_confused() {
    let host = Build::release("host").flags(FRAME_POINTERS);
    // Loaded again, the library may be found a moment later: until then nothing is said.
    let said = plugin_samples(host.disabled());
    assert!(said.iter().any(|row| row[0] == "plugin::batch"), "{said:?}");
    assert!(
        said.iter()
            .all(|row| ["-", "plugin::batch"].contains(&row[0].as_str())),
        "{said:?}"
    );
    // Which of the two binaries' open calls is the inner one, nobody can tell from outside.
    let said = plugin_samples(host);
    assert_eq!(said, [["-".to_owned()]]);
}

fn run_tool(command: &mut Command) {
    let status = command.status();
    let status = status.unwrap_or_else(|error| panic!("can't start {command:?}: {error}"));
    assert!(status.success(), "{command:?} ended with {status}");
}

/// A stripped copy of the target, and its debug information in a file beside it that it links to.
fn stripped(folder: &Path) -> (PathBuf, PathBuf) {
    let binary = HOT.copy_to(folder);
    let debug = folder.join("hot.debug");
    let objcopy = || Command::new("objcopy");
    run_tool(objcopy().arg("--only-keep-debug").args([&binary, &debug]));
    run_tool(objcopy().arg("--strip-all").arg(&binary));
    let link = format!("--add-gnu-debuglink={}", debug.display());
    run_tool(objcopy().arg(link).arg(&binary));
    (binary, debug)
}

/// Samples of the stripped target with a named function, and with its binary's name in place of one.
fn named_and_nameless(database: &Database) -> (f64, f64) {
    (
        count(
            database,
            "stack LIKE '%hot::share::large;%hot::clock::spin%'",
        ),
        count(database, "stack LIKE '%;[hot];[hot]%'"),
    )
}

#[test]
fn a_stripped_binary_has_names_by_its_debug_link() {
    let arguments = ["share", "--cpu-ms", "300"];
    let bench = Bench::new();
    let (binary, _) = stripped(bench.path());
    sampled(&bench, &binary, &arguments, &[]);
    let database = bench.database();
    let (named, nameless) = named_and_nameless(&database);
    assert!(named > 0.0 && nameless == 0.0, "{named} and {nameless}");
    let lines = database.number(
        "SELECT count(*) FROM frames WHERE function = 'hot::share::large' AND line > 0
           AND file LIKE '%hot/src/share.rs'",
    );
    assert!(lines > 0, "the file has no line of `large`");

    // A file that is not the one which was split off is not believed.
    let bench = Bench::new();
    let (binary, debug) = stripped(bench.path());
    std::fs::copy(VARIANTS.binary(), debug).expect("the folder is writable");
    sampled(&bench, &binary, &arguments, &[]);
    let (named, nameless) = named_and_nameless(&bench.database());
    assert!(named == 0.0 && nameless > 0.0, "{named} and {nameless}");
}

#[test]
fn hostile_stacks_are_told_apart_and_harm_nobody() {
    let bench = Bench::new();
    sampled(&bench, &HOT.binary(), &["garbage", "--cpu-ms", "600"], &[]);
    let database = bench.database();
    let astray = "stack LIKE '%hot::garbage::astray;%'";
    let garbage = count(&database, &format!("{astray} AND stack LIKE '[unknown];%'"));
    assert!(garbage > 0.0, "no stack led to addresses of no code");
    assert_eq!(
        count(&database, "stack LIKE '[unknown];%' AND NOT stack_cut"),
        0.0
    );
    assert_eq!(count(&database, "stack IS NULL"), 0.0);
    let called = count(&database, &format!("{astray} AND call_id IS NOT NULL"));
    assert!(called > 0.0, "the call does not depend on the stack");
}

/// What `exoscope` prints to standard output.
fn said(arguments: &[&str]) -> End {
    let end = command(arguments);
    assert_eq!(end.status.code(), Some(0), "{end:#?}");
    end
}

#[test]
fn stacks_without_frame_pointers_are_said_to_look_cut() {
    for (target, cut) in [(Build::release("hot"), true), (HOT, false)] {
        let bench = Bench::new();
        let arguments = ["share", "--cpu-ms", "300"];
        sampled(&bench, &target.binary(), &arguments, &[]);
        let file = bench.file();
        let file = file.to_str().expect("temporary folders have plain names");
        let report = said(&["report", file]).stdout.join("\n");
        assert!(report.contains(" at 997 Hz: "), "{report}");
        assert_eq!(
            report.contains("look cut: build the target with"),
            cut,
            "{report}"
        );

        let svg = bench.path().join("samples.svg");
        let svg_text = svg.to_str().expect("temporary folders have plain names");
        let end = said(&["flamegraph", file, "-o", svg_text, "--by", "samples"]);
        let warned = end.stderr.iter().any(|line| line.contains("look cut"));
        assert_eq!(warned, cut, "{:#?}", end.stderr);
        let picture = std::fs::read_to_string(svg).expect("the picture is there");
        assert_eq!(picture.contains("look cut"), cut);
        assert_eq!(picture.contains("__rust_begin_short_backtrace ("), !cut);
    }
}

#[test]
fn flame_graphs_are_drawn_of_what_there_is() {
    let bench = Bench::new();
    sampled(&bench, &HOT.binary(), &["calls", "--cpu-ms", "100"], &[]);
    let file = bench.file();
    let file = file.to_str().expect("temporary folders have plain names");
    let svg = bench.path().join("picture.svg");
    let svg_text = svg.to_str().expect("temporary folders have plain names");
    let draw = |by| command(&["flamegraph", file, "-o", svg_text, "--by", by]);

    let wall = draw("wall");
    assert_eq!(wall.status.code(), Some(0), "{wall:#?}");
    let picture = std::fs::read_to_string(&svg).expect("the picture is there");
    for part in [
        "hot: wall time of captured calls",
        "hot::calls::outer (",
        "hot::calls::red (",
    ] {
        assert!(picture.contains(part), "{part} is not in the picture");
    }
    let missing = draw("off-cpu");
    assert_eq!(missing.status.code(), Some(1), "{missing:#?}");
    let sentence = format!(
        "exoscope: '{file}' holds no samples of waiting threads; capture with --sample 99 --off-cpu"
    );
    assert_eq!(missing.stderr, [sentence]);
    let refused = command(&["flamegraph", file, "-o", file]);
    assert_eq!(refused.status.code(), Some(1), "{refused:#?}");
}

#[test]
fn waiting_threads_are_sampled_for_as_long_as_they_wait() {
    let bench = Bench::new();
    let options = ["--off-cpu"];
    let lines = sampled(&bench, &HOT.binary(), &["absent"], &options);
    let database = bench.database();
    let waited = |name: &str| {
        database.number(&format!(
            "SELECT coalesce(sum(s.ns), 0) FROM samples s JOIN calls c ON c.call_id = s.call_id
             WHERE s.off_cpu AND s.stack LIKE '%;hot::absent::{name};%'
               AND c.function = 'hot::absent::{name}'"
        )) as f64
    };
    // Longer than the period: each is a sample, with its time. What is left of the time the thread
    // ran, or was about to.
    let share = waited("sleeps") / told(&lines, "sleeps_ns");
    assert!((0.8..=1.0).contains(&share), "{share}");
    // Shorter than the period, which is 1 ms: one in a few is drawn. 4,000 naps of 0.2 ms and more
    // are 800 samples and more, so six standard deviations are 21 % of them, and the rest is for what
    // the thread did between.
    let share = waited("naps") / told(&lines, "naps_ns");
    assert!((0.6..=1.21).contains(&share), "{share}");
}
