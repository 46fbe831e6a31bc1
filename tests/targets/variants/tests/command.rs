//! The command line, as the suite uses it.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A running target and its lines.
struct Target {
    process: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Target {
    fn start(arguments: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_variants"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdin = process.stdin.take().unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        Self {
            process,
            stdin,
            stdout,
        }
    }

    /// Reads lines up to one that begins with `word`, which it leaves out.
    fn lines_until(&mut self, word: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            assert_ne!(
                self.stdout.read_line(&mut line).unwrap(),
                0,
                "no `{word}` in {lines:?}"
            );
            if line.starts_with(word) {
                assert_eq!(line.trim_end(), format!("{word} {}", self.process.id()));
                return lines;
            }
            lines.push(line);
        }
    }

    fn go_on(&mut self) {
        self.stdin.write_all(b"\n").unwrap();
    }
}

/// All lines of a run without input.
fn run(arguments: &[&str]) -> Vec<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_variants"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", output.status);
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

#[test]
fn waits_before_and_after_its_work() {
    let mut target = Target::start(&["--wait-stdin", "--calls", "3"]);
    assert!(target.lines_until("ready").is_empty());
    target.go_on();
    let lines = target.lines_until("done");
    assert!(
        lines
            .iter()
            .any(|line| line.contains(r#""part":2,"function":"variants::sync::plain","ok":3,"#))
    );
    assert!(
        target.process.try_wait().unwrap().is_none(),
        "must wait for a line"
    );
    target.go_on();
    assert!(target.process.wait().unwrap().success());
}

#[test]
fn holds_a_call_open_between_the_parts() {
    let mut target = Target::start(&["--wait-stdin", "--hold", "--calls", "1"]);
    target.lines_until("ready");
    target.go_on();
    let first = target.lines_until("holding");
    assert!(!first.is_empty() && first.iter().all(|line| line.contains(r#""part":1"#)));
    target.go_on();
    let second = target.lines_until("done");
    assert!(
        second
            .iter()
            .any(|line| line.contains(r#""function":"variants::hold::held","ok":1,"#))
    );
    target.go_on();
    assert!(target.process.wait().unwrap().success());
}

#[test]
fn both_children_exit_with_success_and_tell_their_truth() {
    let lines = run(&["--fork", "--calls", "2"]);
    let children: Vec<_> = lines
        .iter()
        .filter(|line| line.contains(r#""child":"#))
        .collect();
    assert_eq!(children.len(), 2);
    assert!(
        children
            .iter()
            .all(|line| line.ends_with(r#""wait_status":0}"#)),
        "{children:?}"
    );
    let plain = lines
        .iter()
        .filter(|line| line.contains(r#"sync::plain","ok":2,"#))
        .count();
    assert_eq!(
        plain, 4,
        "two parts of the first process and one of each child"
    );
}

#[test]
fn ends_as_it_is_told() {
    for (end, code, signal) in [
        ("return", Some(0), None),
        ("exit", Some(0), None),
        ("exec", Some(0), None),
        ("abort", None, Some(6)),
        ("kill", None, Some(9)),
    ] {
        let status = Command::new(env!("CARGO_BIN_EXE_variants"))
            .args(["--calls", "1", "--end", end])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert_eq!((status.code(), status.signal()), (code, signal), "{end}");
    }
}

#[test]
fn refuses_what_it_does_not_know() {
    let output = Command::new(env!("CARGO_BIN_EXE_variants"))
        .args(["--end", "leave"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("leave"));
}
