//! Input that can not work: processes, patterns, files and words.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use exoscope_tests::agent::{Bench, command, detach, is_attached};
use exoscope_tests::build::exoscope;
use exoscope_tests::memory::Traces;
use exoscope_tests::process::{Process, Signal};
use rusqlite::Connection;

use crate::VARIANTS;
use crate::refusal::{self, says};

/// A user without rights.
const NOBODY: u32 = 65534;
/// One more than the largest process id that Linux gives.
const NO_PID: u32 = 4_194_304;

/// A target that waits before its first call.
fn target() -> Process {
    Process::ready_target(&VARIANTS.binary(), &["--calls", "3"])
}

/// Expects that nothing is attached to a target, and that it does its work.
fn unharmed(mut target: Process) {
    assert_eq!(Traces::of(target.pid()), Traces::NONE);
    target.go_on();
    target.pauses_at("done");
    target.ends_well();
}

/// A copy of the agent that every user may run.
fn everybodys_agent(bench: &Bench) -> PathBuf {
    let copy = bench.path().join("exoscope");
    fs::copy(exoscope(), &copy).expect("the folder is writable");
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).expect("it is ours");
    copy
}

#[test]
fn no_such_process() {
    for (pid, part) in [
        (NO_PID, "there is no process 4194304"),
        (0, "0 is not a process id"),
    ] {
        let bench = Bench::new();
        says(&refusal::of(&mut bench.attach_command(pid, &[])), &[part]);
        refusal::leaves_nothing(&bench);
    }
}

#[test]
fn a_thread_is_no_process() {
    let this = fs::read_link("/proc/thread-self").expect("/proc is mounted");
    let thread = this
        .file_name()
        .and_then(|name| name.to_str()?.parse().ok());
    let thread: u32 = thread.expect("a thread has a number");
    assert_ne!(
        thread,
        std::process::id(),
        "tests run on threads of their own"
    );
    let bench = Bench::new();
    let sentence = refusal::of(&mut bench.attach_command(thread, &[]));
    says(
        &sentence,
        &[
            &format!("{thread} is a thread"),
            "give the id of its process",
        ],
    );
    refusal::leaves_nothing(&bench);
}

#[test]
fn a_process_of_another_user() {
    let (tools, bench) = (Bench::new(), Bench::new());
    let agent = everybodys_agent(&tools);
    let target = target();
    fs::set_permissions(bench.path(), fs::Permissions::from_mode(0o777)).expect("it is ours");
    let mut command = Command::new(agent);
    command.args(["attach", "--pid", &target.pid().to_string()]);
    let sentence = refusal::of(command.current_dir(bench.path()).uid(NOBODY).gid(NOBODY));
    says(&sentence, &["run exoscope"]);
    refusal::leaves_nothing(&bench);
    unharmed(target);
}

#[test]
fn a_process_without_markers() {
    let mut target = Process::ready_target(&VARIANTS.disabled().binary(), &["--calls", "3"]);
    let bench = Bench::new();
    let sentence = refusal::of(&mut bench.attach_command(target.pid(), &[]));
    says(&sentence, &["has no exoscope markers", "exoscope/enabled"]);
    refusal::leaves_nothing(&bench);
    target.go_on();
    target.pauses_at("done");
    target.ends_well();
}

#[test]
fn a_program_without_markers() {
    let bench = Bench::new();
    let sentence = refusal::of(&mut bench.run_command(&[], Path::new("true"), &[]));
    says(
        &sentence,
        &[
            "'true' ended with status 0 and had no exoscope markers",
            "exoscope/enabled",
        ],
    );
    let sentence = refusal::of(&mut bench.run_command(&[], Path::new("/no/such/program"), &[]));
    says(&sentence, &["can't start '/no/such/program'"]);
    refusal::leaves_nothing(&bench);
}

/// The process is killed at many moments of the attaching; whatever the moment, the agent ends, and
/// either there is a whole file or a sentence and none.
#[test]
fn a_process_that_ends_during_attaching() {
    for step in 0..24 {
        let bench = Bench::new();
        let target = target();
        let markers = if step % 2 == 0 { "safe" } else { "auto" };
        let mut command = bench.attach_command(target.pid(), &["--markers", markers, "--quiet"]);
        let agent = Process::start(&mut command);
        std::thread::sleep(Duration::from_millis(step * 12));
        target.signal(Signal::KILL);
        target.end();
        let end = agent.end();
        if end.status.code() == Some(0) {
            assert_eq!(bench.database().number("SELECT count(*) FROM sessions"), 1);
        } else {
            refusal::sentence(&end);
            refusal::leaves_nothing(&bench);
        }
    }
}

#[test]
fn a_pattern_that_matches_nothing() {
    let (bench, target) = (Bench::new(), target());
    let refused = |options: &[&str]| refusal::of(&mut bench.attach_command(target.pid(), options));
    says(
        &refused(&["--functions", "variants::error::lood"]),
        &[
            "no instrumented function matches",
            "near names: ",
            "'variants::errors::load'",
        ],
    );
    says(
        &refused(&["--exclude", "*"]),
        &["no function is left to capture"],
    );
    says(
        &refused(&["--functions", "a[b"]),
        &["can't read the pattern 'a[b'"],
    );
    refusal::leaves_nothing(&bench);
    unharmed(target);
}

#[test]
fn an_output_that_is_something_else() {
    let (bench, target) = (Bench::new(), target());
    fs::write(
        bench.file(),
        "my diary, more than the hundred bytes of a header ".repeat(9),
    )
    .unwrap();
    let diary = fs::read(bench.file()).unwrap();
    says(
        &refusal::of(&mut bench.attach_command(target.pid(), &[])),
        &["it is no exoscope file"],
    );
    assert_eq!(fs::read(bench.file()).unwrap(), diary);

    fs::remove_file(bench.file()).unwrap();
    let other = Connection::open(bench.file()).unwrap();
    other.execute_batch("CREATE TABLE accounts (id)").unwrap();
    other.close().unwrap();
    let accounts = fs::read(bench.file()).unwrap();
    says(
        &refusal::of(&mut bench.attach_command(target.pid(), &[])),
        &["it is no exoscope file"],
    );
    assert_eq!(fs::read(bench.file()).unwrap(), accounts);

    fs::remove_file(bench.file()).unwrap();
    fs::create_dir(bench.file()).unwrap();
    refusal::of(&mut bench.attach_command(target.pid(), &[]));
    assert_eq!(refusal::files(bench.path()), ["out.db"]);
    assert_eq!(refusal::files(&bench.file()), [""; 0]);
    unharmed(target);
}

#[test]
fn an_output_that_is_being_written() {
    let (bench, first, second) = (Bench::new(), target(), target());
    let agent = bench.attach(first.pid(), &[]);
    says(
        &refusal::of(&mut bench.attach_command(second.pid(), &[])),
        &["is being written"],
    );
    unharmed(second);
    detach(agent);
    unharmed(first);
}

#[test]
fn an_output_that_can_not_be_written() {
    let target = target();
    for place in ["/no/such/folder/out.db", "/proc/out.db"] {
        let mut command = Command::new(exoscope());
        command.args([
            "attach",
            "--pid",
            &target.pid().to_string(),
            "--output",
            place,
        ]);
        says(
            &refusal::of(&mut command),
            &["can't create the file", place, "--output"],
        );
        assert!(!Path::new(place).exists());
    }
    unharmed(target);
}

#[test]
fn a_session_on_a_taken_process_leaves_the_other_alone() {
    let (bench, other) = (Bench::new(), Bench::new());
    let mut target = target();
    let agent = bench.attach(target.pid(), &[]);
    let mut command = other.attach_command(target.pid(), &[]);
    let mut second = Process::start(&mut command);
    is_attached(&mut second);
    target.go_on();
    let lines = target.pauses_at("done");
    detach(second);
    detach(agent);
    let truth = exoscope_tests::calls::Calls::told(&lines, target.pid());
    bench.database().holds(&truth);
    other.database().holds(&truth);
    target.ends_well();
}

#[test]
fn words_that_make_no_command() {
    let wrong: [&[&str]; 8] = [
        &[],
        &["attach"],
        &["attach", "--pid", "x"],
        &["attach", "--pid", "1", "--markers", "quick"],
        &["attach", "--pid", "1", "--duration", "long"],
        &["attach", "--pid", "1", "--ring-size", "many"],
        &["run"],
        &["sites"],
    ];
    for words in wrong {
        let end = command(words);
        assert_eq!(end.status.code(), Some(2), "{words:?}: {end:#?}");
        assert!(
            !end.stderr.is_empty() && !end.stderr.join("").contains("panicked"),
            "{end:#?}"
        );
    }
}
