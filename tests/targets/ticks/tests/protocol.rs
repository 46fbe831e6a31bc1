//! The protocol, as the bench speaks it.

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

/// Sends a command and returns the number in the answer, whose first word must be `word`.
fn ask(
    input: &mut ChildStdin,
    output: &mut BufReader<ChildStdout>,
    command: &str,
    word: &str,
) -> f64 {
    writeln!(input, "{command}").unwrap();
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    let (first, number) = line.trim_end().split_once(' ').unwrap();
    assert_eq!(first, word, "{line}");
    number.parse().unwrap()
}

#[test]
fn answers_every_command_and_allocates_nothing() {
    let mut process = Command::new(env!("CARGO_BIN_EXE_ticks"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = process.stdin.take().unwrap();
    let mut output = BufReader::new(process.stdout.take().unwrap());
    let mut ask = |command: &str, word: &str| ask(&mut input, &mut output, command, word);

    assert_eq!(ask("pid", "pid"), f64::from(process.id()));
    let before = ask("allocs", "allocs");
    assert_eq!(ask("threads", "threads"), 1.0);
    assert!(ask("rss", "rss_bytes") > 100_000.0);
    for function in [
        "bare",
        "marked",
        "marked_err",
        "marked_outer",
        "marked_async",
    ] {
        assert!(ask(&format!("time {function} 1000"), "ns_per_call") > 0.0);
        assert_eq!(ask(&format!("call {function} 7"), "calls"), 7.0);
    }
    assert_eq!(ask("allocs", "allocs"), before, "no command may allocate");

    writeln!(input, "quit").unwrap();
    assert!(process.wait().unwrap().success());
}
