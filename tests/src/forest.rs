//! Trees of calls: those that a target expects, and those that the rows make.
//!
//! A target says what it expects as [`Case`]s, one JSON object each (`tests/targets/kinds` explains
//! them). Both sides become lines, one a call, its inner calls below it in the order of their start;
//! a line says everything about a row that is not a time or a number. So they are equal or not, and
//! a person can read where they differ.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use serde::Deserialize;

use crate::calls::{Calls, Outcomes};
use crate::database::Database;

/// What one case of a target expects.
#[derive(Debug, Deserialize)]
pub struct Case {
    /// Module path: the case's functions lie below it.
    #[serde(rename = "case")]
    pub path: String,
    rows: Vec<Expected>,
    /// It runs in a process of its own.
    pub alone: bool,
    /// How its process ends, as a shell puts it.
    pub status: u8,
    /// What a panic said inside `main`, and in none of the case's calls.
    main_said: Option<String>,
}

/// One call that a case expects.
#[derive(Debug, Deserialize)]
struct Expected {
    function: String,
    outcome: String,
    error: Option<String>,
    kind: Option<String>,
    cut: bool,
    fields: Option<String>,
    truncated: bool,
    items: Option<u64>,
    elsewhere: bool,
    apart: bool,
    outlives: bool,
    chain: u32,
    inside: Vec<Self>,
}

/// A row of the view `calls`.
struct Row {
    id: i64,
    parent: Option<i64>,
    function: String,
    tid: i64,
    start: i64,
    end: i64,
    text: String,
}

/// A call and how deep it lies.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    depth: usize,
    text: String,
}

/// How many lines before and after a difference are shown.
const SHOWN: usize = 12;

impl Case {
    /// The cases in a target's output; its other lines are passed over.
    pub fn read(lines: &[String]) -> Vec<Self> {
        let parsed = lines.iter().map(|line| serde_json::from_str(line));
        parsed.filter_map(Result::ok).collect()
    }

    /// The case's name for the target's command line.
    pub fn name(&self) -> &str {
        self.path
            .split_once("::")
            .map_or(&self.path, |(_, name)| name)
    }

    /// Expects no row to have fields.
    pub fn forget_fields(&mut self) {
        self.rows.iter_mut().for_each(Expected::forget_fields);
    }

    /// What its process is to have besides: one call of `main`.
    pub fn main(&self) -> Self {
        let krate = self.path.split("::").next().unwrap_or(&self.path);
        let outcome = if self.status == 0 {
            "ok"
        } else {
            "target_died"
        };
        let main = Expected {
            function: "main".to_owned(),
            outcome: outcome.to_owned(),
            error: self.main_said.clone(),
            kind: self.main_said.as_ref().map(|_| "panic".to_owned()),
            cut: false,
            fields: None,
            truncated: false,
            items: None,
            elsewhere: false,
            apart: true,
            outlives: false,
            chain: 1,
            inside: Vec::new(),
        };
        Self {
            path: krate.to_owned(),
            rows: vec![main],
            alone: false,
            status: self.status,
            main_said: None,
        }
    }

    fn lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        self.rows.iter().for_each(|row| row.lines(0, &mut lines));
        lines
    }

    /// Adds the calls by function.
    fn count(&self, calls: &mut Calls) {
        self.rows
            .iter()
            .for_each(|row| row.count(&self.path, calls));
    }

    /// Adds the lines that the view `errors` must have.
    fn errors(&self, errors: &mut BTreeMap<[String; 3], (u64, u64)>) {
        for row in &self.rows {
            row.errors(&self.path, 0, errors);
        }
    }
}

impl Expected {
    fn lines(&self, depth: usize, lines: &mut Vec<Line>) {
        let text = self.text();
        let mut first = text.clone();
        place(&mut first, self.elsewhere, self.apart, self.outlives);
        lines.push(Line { depth, text: first });
        // The others of a chain lie within the first and do nothing else.
        let chain = self.chain as usize;
        lines.extend((1..chain).map(|step| Line {
            depth: depth + step,
            text: text.clone(),
        }));
        let depth = depth + chain;
        self.inside.iter().for_each(|row| row.lines(depth, lines));
    }

    /// What the line of the call says of the row alone.
    fn text(&self) -> String {
        let error = self.error.as_ref().or(self.kind.as_ref());
        let items = self.items.map(|items| items.to_string());
        let flag = |set: bool| set.then(|| "1".to_owned());
        let (cut, truncated) = (flag(self.cut), flag(self.truncated));
        let rest = text(&[
            Some(&self.outcome),
            error,
            self.kind.as_ref(),
            cut.as_ref(),
            self.fields.as_ref(),
            truncated.as_ref(),
            items.as_ref(),
        ]);
        format!("{}{rest}", self.function)
    }

    fn forget_fields(&mut self) {
        (self.fields, self.truncated) = (None, false);
        self.inside.iter_mut().for_each(Self::forget_fields);
    }

    fn count(&self, path: &str, calls: &mut Calls) {
        let mut outcomes = Outcomes::default();
        let count = match self.outcome.as_str() {
            "ok" => &mut outcomes.ok,
            "err" => &mut outcomes.err,
            "panic" => &mut outcomes.panic,
            "cancelled" => &mut outcomes.cancelled,
            "unfinished" => &mut outcomes.unfinished,
            "target_died" => &mut outcomes.target_died,
            other => panic!("{path}: there is no outcome `{other}`"),
        };
        *count = u64::from(self.chain);
        calls.add(&format!("{path}::{}", self.function), outcomes);
        self.inside.iter().for_each(|row| row.count(path, calls));
    }

    fn failed(&self) -> bool {
        self.outcome == "err" || self.outcome == "panic"
    }

    /// `frames` calls around this one have failed with its error.
    fn errors(&self, path: &str, frames: u64, errors: &mut BTreeMap<[String; 3], (u64, u64)>) {
        let frames = if self.failed() {
            frames + u64::from(self.chain)
        } else {
            0
        };
        let last = self.inside.iter().rposition(Self::failed);
        for (at, row) in self.inside.iter().enumerate() {
            // Only the last inner call that failed gave its error to this one.
            let given = if Some(at) == last { frames } else { 0 };
            row.errors(path, given, errors);
        }
        if self.failed() && last.is_none() {
            let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
            let origin = [
                format!("{path}::{}", self.function),
                text(&self.kind),
                text(&self.error),
            ];
            let (count, farthest) = errors.entry(origin).or_default();
            *count += 1;
            *farthest = frames.max(*farthest);
        }
    }
}

/// What a line says of the row alone, but its function: outcome, error, its kind, whether the error was
/// cut, fields, whether these were truncated, items.
fn text([outcome, error, kind, cut, fields, truncated, items]: &[Option<&String>; 7]) -> String {
    let set = |flag: &Option<&String>| flag.is_some_and(|flag| flag != "0");
    let said = [
        outcome.map(|outcome| format!(" {outcome}")),
        error.map(|error| format!(" {error:?}")),
        kind.map(|kind| format!(" ({kind})")),
        set(cut).then(|| " cut".to_owned()),
        fields.map(|fields| format!(" {fields}")),
        set(truncated).then(|| " truncated".to_owned()),
        items.map(|items| format!(", items: {items}")),
    ];
    said.into_iter().flatten().collect()
}

/// What a line says of the row beside its parent.
fn place(text: &mut String, elsewhere: bool, apart: bool, outlives: bool) {
    let said = [
        (elsewhere, ", elsewhere"),
        (apart, ", apart"),
        (outlives, ", outlives"),
    ];
    for (_, word) in said.iter().filter(|(holds, _)| *holds) {
        text.push_str(word);
    }
}

/// Expects that a file's rows are those of `cases`, and no others: in the view `calls` as trees, in
/// `errors`, `functions` and `completeness` as they follow from these.
///
/// # Panics
/// Where they are not; the message shows every case that differs, as trees.
pub fn holds(database: &Database, cases: &[&Case], what: &str) {
    let found = Found::of(database, cases);
    let differences: Vec<_> = cases
        .iter()
        .filter_map(|case| difference(case, &found))
        .collect();
    assert!(
        differences.is_empty(),
        "{what}:\n{}",
        differences.join("\n")
    );
    let mut calls = Calls::default();
    let mut errors = BTreeMap::new();
    for case in cases {
        case.count(&mut calls);
        case.errors(&mut errors);
    }
    database.holds(&calls);
    let expected: Vec<Vec<String>> = errors
        .into_iter()
        .map(|(origin, (count, frames))| {
            origin
                .into_iter()
                .chain([count.to_string(), frames.to_string()])
                .collect()
        })
        .collect();
    let mut lines = database.rows("SELECT function, kind, message, count, frames FROM errors");
    lines.sort();
    for (line, other) in lines.iter().zip(&expected) {
        assert_eq!(
            line, other,
            "{what}: `errors` (left) and what follows from the calls (right)"
        );
    }
    assert_eq!(
        lines.len(),
        expected.len(),
        "{what}: lines of `errors`: {lines:#?}"
    );
}

/// How a case's rows differ from those that it expects, in words.
fn difference(case: &Case, found: &Found) -> Option<String> {
    let (expected, found) = (case.lines(), found.lines(&case.path));
    let same = expected
        .iter()
        .zip(&found)
        .take_while(|(a, b)| a == b)
        .count();
    (expected.len() != found.len() || same < found.len()).then(|| {
        format!(
            "case {}, expected:\n{}found:\n{}",
            case.name(),
            tree(&expected, same),
            tree(&found, same)
        )
    })
}

/// The lines around number `at`, indented.
fn tree(lines: &[Line], at: usize) -> String {
    let shown = at.saturating_sub(SHOWN)..(at + SHOWN).min(lines.len());
    let least = lines[shown.clone()]
        .iter()
        .map(|line| line.depth)
        .min()
        .unwrap_or(0);
    let mut tree = String::new();
    if shown.start > 0 {
        let _ = writeln!(tree, "    … {} rows", shown.start);
    }
    for line in &lines[shown.clone()] {
        let indent = 4 + 2 * (line.depth - least);
        let _ = writeln!(tree, "{:indent$}{}", "", line.text);
    }
    if shown.end < lines.len() {
        let _ = writeln!(tree, "    … {} rows", lines.len() - shown.end);
    }
    tree
}

/// The rows of a file.
struct Found {
    rows: Vec<Row>,
    /// Where the row with a number is.
    at: HashMap<i64, usize>,
    /// The rows inside each row, in the order of their start.
    inside: HashMap<usize, Vec<usize>>,
    /// Path of the case that each row belongs to.
    cases: Vec<String>,
    pid: i64,
}

impl Found {
    fn of(database: &Database, cases: &[&Case]) -> Self {
        let rows: Vec<Row> = database
            .rows(
                "SELECT call_id, parent_id, function, tid, start_ns, start_ns + duration_ns,
                   outcome, error, error_kind, error_truncated, fields, fields_truncated, items
                 FROM calls ORDER BY start_ns, call_id",
            )
            .into_iter()
            .map(Row::read)
            .collect();
        let at: HashMap<_, _> = rows
            .iter()
            .enumerate()
            .map(|(at, row)| (row.id, at))
            .collect();
        let mut inside: HashMap<usize, Vec<usize>> = HashMap::new();
        for (row, parent) in rows
            .iter()
            .enumerate()
            .filter_map(|(at, row)| Some((at, row.parent?)))
        {
            if let Some(parent) = at.get(&parent) {
                inside.entry(*parent).or_default().push(row);
            }
        }
        let cases = rows.iter().map(|row| owner(&row.function, cases)).collect();
        Self {
            rows,
            at,
            inside,
            cases,
            pid: database.number("SELECT pid FROM processes"),
        }
    }

    /// The lines of the rows of the case at `path`.
    fn lines(&self, path: &str) -> Vec<Line> {
        let mut lines = Vec::new();
        let at_top = |row: &usize| {
            self.cases[*row] == path
                && self
                    .parent(*row)
                    .is_none_or(|parent| self.cases[parent] != path)
        };
        let mut stack: Vec<(usize, usize)> = (0..self.rows.len())
            .rev()
            .filter(at_top)
            .map(|row| (0, row))
            .collect();
        while let Some((depth, row)) = stack.pop() {
            lines.push(Line {
                depth,
                text: self.line(row, path),
            });
            let inside = self.inside.get(&row).into_iter().flatten().rev();
            let own = inside.filter(|inner| self.cases[**inner] == path);
            stack.extend(own.map(|inner| (depth + 1, *inner)));
        }
        lines
    }

    fn parent(&self, row: usize) -> Option<usize> {
        let parent = self.rows[row].parent?;
        self.at.get(&parent).copied()
    }

    fn line(&self, at: usize, path: &str) -> String {
        let row = &self.rows[at];
        let function = row.function.strip_prefix(path).unwrap_or(&row.function);
        let mut text = format!("{}{}", function.trim_start_matches("::"), row.text);
        let Some(parent) = self.parent(at) else {
            place(&mut text, row.tid != self.pid, row.parent.is_none(), false);
            if row.parent.is_some() {
                text.push_str(", its parent is not there");
            }
            return text;
        };
        let outer = &self.rows[parent];
        place(&mut text, row.tid != outer.tid, false, row.end > outer.end);
        if row.start < outer.start {
            text.push_str(", begins before its parent");
        }
        if self.cases[parent] != path && !outer.function.ends_with("::main") {
            let _ = write!(text, ", inside {}", outer.function);
        }
        text
    }
}

/// Path of the case with the longest path that a function lies below.
fn owner(function: &str, cases: &[&Case]) -> String {
    let below = |case: &&&Case| {
        function
            .strip_prefix(case.path.as_str())
            .is_some_and(|rest| rest.starts_with("::"))
    };
    let longest = cases
        .iter()
        .filter(below)
        .max_by_key(|case| case.path.len());
    longest.map_or_else(|| "no case".to_owned(), |case| case.path.clone())
}

impl Row {
    fn read(columns: Vec<String>) -> Self {
        let number = |at: usize| columns[at].parse().expect("an integer");
        let said = |at: usize| Some(&columns[at]).filter(|text| *text != "-");
        Self {
            id: number(0),
            parent: said(1).map(|_| number(1)),
            function: columns[2].clone(),
            tid: number(3),
            start: number(4),
            end: number(5),
            text: text(&[6, 7, 8, 9, 10, 11, 12].map(said)),
        }
    }
}
