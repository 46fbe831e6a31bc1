//! What every failure looks like: one sentence, the documented exit status, and nothing else.

use std::path::Path;
use std::process::Command;

use exoscope_tests::agent::Bench;
use exoscope_tests::process::{End, Process};

/// Runs `command`, which must fail with exit status 1; gives back its one sentence.
pub fn of(command: &mut Command) -> String {
    sentence(&Process::start(command).end())
}

/// The one sentence of a failure.
pub fn sentence(end: &End) -> String {
    assert_eq!(end.status.code(), Some(1), "{end:#?}");
    assert_eq!(end.stdout, [""; 0], "{end:#?}");
    let [line] = &end.stderr[..] else {
        panic!("not one sentence: {end:#?}")
    };
    let sentence = line
        .strip_prefix("exoscope: ")
        .unwrap_or_else(|| panic!("who says so? {line}"));
    assert!(
        !sentence.contains("panicked") && !sentence.ends_with(['.', ' ']),
        "{sentence}"
    );
    sentence.to_owned()
}

/// Expects a sentence that says all of `parts`.
pub fn says(sentence: &str, parts: &[&str]) {
    for part in parts {
        assert!(
            sentence.contains(part),
            "`{part}` is missing in: {sentence}"
        );
    }
}

/// Expects that a failure left no file behind.
pub fn leaves_nothing(bench: &Bench) {
    assert_eq!(files(bench.path()), [""; 0], "left behind");
}

/// Names of the files in a folder, sorted.
pub fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    let mut names: Vec<String> = entries
        .map(|entry| {
            entry
                .expect("the folder is readable")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    names
}
