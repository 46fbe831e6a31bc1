//! Calls by function and outcome: what a target says it did, and what the rows say.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use serde::Deserialize;

/// How often the calls of one function ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// Returned, and no `Err`.
    pub ok: u64,
    /// Returned `Err`.
    pub err: u64,
    /// Unwound.
    pub panic: u64,
    /// Dropped before complete.
    pub cancelled: u64,
    /// Open at the end of the session.
    pub unfinished: u64,
    /// Open at the end of the target.
    pub target_died: u64,
}

impl Outcomes {
    /// All calls.
    pub fn total(&self) -> u64 {
        self.ok + self.err + self.panic + self.cancelled + self.unfinished + self.target_died
    }
}

impl AddAssign for Outcomes {
    fn add_assign(&mut self, other: Self) {
        self.ok += other.ok;
        self.err += other.err;
        self.panic += other.panic;
        self.cancelled += other.cancelled;
        self.unfinished += other.unfinished;
        self.target_died += other.target_died;
    }
}

/// Calls by the full path of their function; functions without calls do not occur.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calls(pub BTreeMap<String, Outcomes>);

/// A line of a target's truth.
#[derive(Deserialize)]
struct Line {
    pid: u32,
    function: String,
    ok: u64,
    err: u64,
    panic: u64,
    cancelled: u64,
    open: u64,
}

impl Calls {
    /// What the process `pid` said in `lines`. A call that it leaves open is one that it dies in.
    ///
    /// # Panics
    /// Where it said nothing.
    pub fn told(lines: &[String], pid: u32) -> Self {
        let mut calls = Self::default();
        for line in lines {
            // Other lines are those of other processes, or about something else.
            let Ok(line) = serde_json::from_str::<Line>(line) else {
                continue;
            };
            if line.pid == pid {
                calls.add(
                    &line.function,
                    Outcomes {
                        ok: line.ok,
                        err: line.err,
                        panic: line.panic,
                        cancelled: line.cancelled,
                        unfinished: 0,
                        target_died: line.open,
                    },
                );
            }
        }
        assert!(
            !calls.0.is_empty(),
            "process {pid} told no truth: {lines:#?}"
        );
        calls
    }

    /// Adds calls of a function.
    pub fn add(&mut self, function: &str, outcomes: Outcomes) {
        if outcomes.total() > 0 {
            *self.0.entry(function.to_owned()).or_default() += outcomes;
        }
    }

    /// Only the functions for which `chosen` holds.
    pub fn only(mut self, chosen: impl Fn(&str) -> bool) -> Self {
        self.0.retain(|function, _| chosen(function));
        self
    }

    /// Calls of one function; none where it does not occur.
    pub fn of(&self, function: &str) -> Outcomes {
        self.0.get(function).copied().unwrap_or_default()
    }

    /// Calls of all functions.
    pub fn total(&self) -> u64 {
        self.0.values().map(Outcomes::total).sum()
    }

    /// The functions whose calls differ from those of `other`, in words; empty where all are equal.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut functions: Vec<&String> = self.0.keys().chain(other.0.keys()).collect();
        functions.sort_unstable();
        functions.dedup();
        functions
            .into_iter()
            .filter(|function| self.of(function) != other.of(function))
            .map(|function| {
                format!(
                    "{function}: {:?} and {:?}",
                    self.of(function),
                    other.of(function)
                )
            })
            .collect()
    }
}

impl AddAssign<&Self> for Calls {
    fn add_assign(&mut self, other: &Self) {
        for (function, outcomes) in &other.0 {
            self.add(function, *outcomes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: [&str; 3] = [
        r#"{"pid":7,"part":1,"function":"a","ok":3,"err":1,"panic":0,"cancelled":0,"open":0}"#,
        r#"{"pid":8,"part":1,"function":"a","ok":9,"err":9,"panic":0,"cancelled":0,"open":0}"#,
        r#"{"pid":7,"part":2,"function":"a","ok":1,"err":0,"panic":0,"cancelled":0,"open":1}"#,
    ];

    #[test]
    fn parts_of_one_process_add_up() {
        let calls = Calls::told(&LINES.map(str::to_owned), 7);
        let expected = Outcomes {
            ok: 4,
            err: 1,
            target_died: 1,
            ..Outcomes::default()
        };
        assert_eq!(calls.of("a"), expected);
        assert_eq!(calls.total(), 6);
    }

    #[test]
    fn differences_name_the_function() {
        let lines = LINES.map(str::to_owned);
        let (one, other) = (Calls::told(&lines, 7), Calls::told(&lines, 8));
        assert!(one.differences(&other)[0].starts_with("a: "));
        assert!(one.differences(&one).is_empty());
        assert_eq!(one.differences(&Calls::default()).len(), 1);
    }
}
