//! A file read in every way that there is.

use std::path::Path;

use exoscope_agent::flamegraph::{Heading, draw};
use exoscope_agent::query::flames::FlamesBy;
use exoscope_agent::query::tree::Figure;
use exoscope_agent::query::{Database, open_readonly};
use exoscope_agent::report::{
    CallsArgs, ErrorsArgs, InFlightArgs, ReportArgs, TreeArgs, calls, diagnose, errors, in_flight,
    report, tree,
};
use rusqlite::Connection;

/// What makes the heads of tables bold.
const OUR_STYLES: [&str; 2] = ["\x1b[1m", "\x1b[0m"];

/// Fails unless SQLite finds the file sound.
pub fn assert_sound(path: &Path) {
    let connection = Connection::open(path).expect("it is there");
    let said: String = connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .expect("it can be checked");
    assert_eq!(said, "ok");
}

/// Fails unless the report can be made: text that damage has made no UTF-8 is sound to SQLite.
pub fn assert_readable(path: &Path) {
    let args = ReportArgs {
        file: path.to_owned(),
        json: false,
    };
    report(&args, &mut Vec::new()).expect("a recovered file can be read");
}

/// Reads a file in every way that there is; `bytes` say whether as JSON.
pub fn read_all(path: &Path, bytes: &[u8]) {
    let Ok(database) = open_readonly(path) else {
        return;
    };
    draw_all(&database);
    let _ = database.process_stats();
    drop(database);
    reports(path, bytes.len() % 2 == 1);
}

fn draw_all(database: &Database) {
    let figures = [Figure::Wall, Figure::Cpu, Figure::Blocked].map(FlamesBy::Calls);
    let others = [FlamesBy::Samples, FlamesBy::OffCpu];
    for by in figures.into_iter().chain(others) {
        let Ok(flames) = database.flames(by) else {
            continue;
        };
        let heading = Heading {
            title: format!("{by:?}"),
            subtitle: None,
        };
        if let Ok(picture) = draw(&flames, heading) {
            assert!(picture.ends_with(b"</svg>"), "a picture is cut short");
        }
    }
}

/// Prints every report; that one can't be made is no fault.
fn reports(file: &Path, json: bool) {
    let file = || file.to_owned();
    print(json, |out| report(&ReportArgs { file: file(), json }, out));
    print(json, |out| errors(&ErrorsArgs { file: file(), json }, out));
    print(json, |out| {
        in_flight(&InFlightArgs { file: file(), json }, out)
    });
    print(json, |out| diagnose(&file(), json, out));
    let slowest = CallsArgs {
        file: file(),
        function: Vec::new(),
        outcome: None,
        slowest: Some(10),
        json,
    };
    print(json, |out| calls(&slowest, out));
    let all = TreeArgs {
        file: file(),
        depth: None,
        min_percent: 0.0,
        json,
    };
    print(json, |out| tree(&all, out));
}

/// Fails where a report that was made is no JSON or, as text, would do something to a terminal.
fn print<T, E>(json: bool, make: impl FnOnce(&mut Vec<u8>) -> Result<T, E>) {
    let mut out = Vec::new();
    if make(&mut out).is_err() {
        return;
    }
    let text = String::from_utf8(out).expect("a report is text");
    if json {
        let values = serde_json::Deserializer::from_str(&text);
        for value in values.into_iter::<serde_json::Value>() {
            value.unwrap_or_else(|error| panic!("{error} in {text}"));
        }
    } else {
        let plain = OUR_STYLES
            .iter()
            .fold(text, |text, style| text.replace(style, ""));
        let of_terminals = |character: char| character.is_control() && character != '\n';
        assert!(!plain.contains(of_terminals), "{plain:?}");
    }
}
