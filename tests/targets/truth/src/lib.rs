//! What a target did, in its own words.
//!
//! A target counts every call that it makes of an instrumented function, by what it sees from
//! outside the function: the value that came back, the panic that it caught, the future that it
//! dropped. [`Truth`] holds these counts and prints them as JSON lines, and the rows that exoscope
//! stores must equal them. Nothing here knows exoscope.

pub mod gate;
pub mod options;

use std::collections::BTreeMap;
use std::fmt;

/// Full path of a function of the calling module, as exoscope names it.
#[macro_export]
macro_rules! path {
    ($function:expr) => {
        concat!(module_path!(), "::", $function)
    };
}

/// How a call ended, as its caller saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It returned, and not an `Err`.
    Ok,
    /// It returned `Err`.
    Err,
    /// It unwound.
    Panic,
    /// Its future was polled, and dropped before it was complete.
    Cancelled,
    /// It began and never ended: the process did.
    Open,
}

impl<T, E> From<&Result<T, E>> for Outcome {
    fn from(result: &Result<T, E>) -> Self {
        if result.is_ok() { Self::Ok } else { Self::Err }
    }
}

/// Calls of one function, by [`Outcome`] in the order of its variants.
type Counts = [u64; 5];

/// Calls by function and outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Truth(BTreeMap<&'static str, Counts>);

impl Truth {
    /// Adds `calls` calls of `function` that ended with `outcome`.
    pub fn add(&mut self, function: &'static str, outcome: impl Into<Outcome>, calls: u64) {
        self.0.entry(function).or_default()[outcome.into() as usize] += calls;
    }

    /// Adds one call of `function` that returned.
    pub fn ok(&mut self, function: &'static str) {
        self.add(function, Outcome::Ok, 1);
    }

    /// Adds one call of each of `frames`, through all of which `result` travelled.
    pub fn result<T, E>(&mut self, frames: &[&'static str], result: &Result<T, E>) {
        for frame in frames {
            self.add(frame, result, 1);
        }
    }

    /// Adds everything that `other` counted.
    pub fn merge(&mut self, other: &Self) {
        for (function, counts) in &other.0 {
            let mine = self.0.entry(function).or_default();
            for (sum, count) in mine.iter_mut().zip(counts) {
                *sum += count;
            }
        }
    }

    /// Calls of `function` that ended with `outcome`.
    pub fn count(&self, function: &str, outcome: Outcome) -> u64 {
        self.0
            .get(function)
            .map_or(0, |counts| counts[outcome as usize])
    }

    /// Calls of all functions.
    pub fn total(&self) -> u64 {
        self.0.values().flatten().sum()
    }

    /// Prints one JSON line a function to standard output, sorted by function:
    /// `{"pid":7,"part":1,"function":"a::b","ok":3,"err":1,"panic":0,"cancelled":0,"open":0}`.
    pub fn print(&self, part: u32) {
        print!(
            "{}",
            Lines {
                truth: self,
                pid: std::process::id(),
                part
            }
        );
    }
}

/// [`Truth`] as JSON lines.
struct Lines<'a> {
    truth: &'a Truth,
    pid: u32,
    part: u32,
}

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (function, [ok, err, panic, cancelled, open]) in &self.truth.0 {
            writeln!(
                f,
                r#"{{"pid":{},"part":{},"function":"{function}","ok":{ok},"err":{err},"panic":{panic},"cancelled":{cancelled},"open":{open}}}"#,
                self.pid, self.part,
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_counts_for_every_frame_that_it_travelled_through() {
        let mut truth = Truth::default();
        truth.result(&["outer", "inner"], &Err::<(), _>("no"));
        truth.result(&["outer"], &Ok::<_, ()>(1));
        assert_eq!(truth.count("outer", Outcome::Err), 1);
        assert_eq!(truth.count("outer", Outcome::Ok), 1);
        assert_eq!(truth.count("inner", Outcome::Err), 1);
        assert_eq!(truth.total(), 3);
    }

    #[test]
    fn merging_adds_up() {
        let mut one = Truth::default();
        one.add("a", Outcome::Panic, 2);
        let mut other = one.clone();
        other.add("b", Outcome::Cancelled, 5);
        one.merge(&other);
        assert_eq!(one.count("a", Outcome::Panic), 4);
        assert_eq!(one.count("b", Outcome::Cancelled), 5);
    }

    #[test]
    fn lines_are_json_objects_sorted_by_function() {
        let mut truth = Truth::default();
        truth.ok("b::two");
        truth.add("a::one", Outcome::Open, 3);
        let lines = Lines {
            truth: &truth,
            pid: 7,
            part: 2,
        }
        .to_string();
        assert_eq!(
            lines,
            "{\"pid\":7,\"part\":2,\"function\":\"a::one\",\"ok\":0,\"err\":0,\"panic\":0,\"cancelled\":0,\"open\":3}\n\
             {\"pid\":7,\"part\":2,\"function\":\"b::two\",\"ok\":1,\"err\":0,\"panic\":0,\"cancelled\":0,\"open\":0}\n",
        );
    }
}
