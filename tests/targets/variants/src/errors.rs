//! Errors that travel, and values that are none.
//!
//! | function | calls a round | outcome |
//! |---|---|---|
//! | `load` → `read` → `parse` | 1 each | all three err in rounds 3, 8, 13, … ([`EVERY`], one error) |
//! | `boxed` | 1 | err in the same rounds |
//! | `find` | 1 | ok: its `None` is no error |

use std::error::Error;
use std::fmt;
use std::hint::black_box;
use std::num::ParseIntError;

use truth::{Truth, path};

/// One round in so many fails, the first time in round 3.
const EVERY: u64 = 5;

/// A text is no number.
#[derive(Debug)]
struct BadText(ParseIntError);

impl fmt::Display for BadText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bad text: {}", self.0)
    }
}

impl Error for BadText {}

impl From<ParseIntError> for BadText {
    fn from(error: ParseIntError) -> Self {
        Self(error)
    }
}

#[exoscope::instrument]
#[inline(never)]
fn parse(text: &str) -> Result<u64, ParseIntError> {
    text.parse()
}

#[exoscope::instrument]
fn read(text: &str) -> Result<u64, BadText> {
    let number = parse(text)?;
    Ok(number + 1)
}

#[exoscope::instrument]
fn load(text: &str) -> Result<u64, BadText> {
    let number = read(text)?;
    Ok(number * 2)
}

#[exoscope::instrument]
fn boxed(fail: bool) -> Result<(), Box<dyn Error>> {
    if fail {
        return Err("asked to fail".into());
    }
    Ok(())
}

#[exoscope::instrument]
fn find(n: u64) -> Option<u64> {
    (n % 2 == 1).then_some(n)
}

/// Makes the calls of round `n`.
pub fn round(n: u64, truth: &mut Truth) {
    let fail = n % EVERY == 3;

    let text = if fail { format!("{n}x") } else { n.to_string() };
    truth.result(
        &[path!("load"), path!("read"), path!("parse")],
        &load(&text),
    );

    truth.result(&[path!("boxed")], &boxed(fail));

    black_box(find(n));
    truth.ok(path!("find"));
}

#[cfg(test)]
mod tests {
    use truth::Outcome;

    use super::*;

    #[test]
    fn makes_the_calls_of_the_table() {
        let mut truth = Truth::default();
        (0..14).for_each(|n| round(n, &mut truth));
        for frame in
            ["load", "read", "parse", "boxed"].map(|name| format!("variants::errors::{name}"))
        {
            assert_eq!(truth.count(&frame, Outcome::Err), 3, "{frame}");
            assert_eq!(truth.count(&frame, Outcome::Ok), 11, "{frame}");
        }
        assert_eq!(truth.count("variants::errors::find", Outcome::Ok), 14);
        assert_eq!(truth.total(), 5 * 14);
    }
}
