//! One panic a part, through two frames, caught in a third. Not in builds with `panic=abort`.
//!
//! | function | calls a part | outcome |
//! |---|---|---|
//! | `catches` → `passes` → `falls` | 1 each | `catches` ok, the others panic |

use std::hint::black_box;
use std::panic;

use truth::{Outcome, Truth, path};

#[exoscope::instrument]
#[inline(never)]
fn falls(n: u64) -> u64 {
    assert!(black_box(n) == 0, "asked to panic by {n}");
    n
}

#[exoscope::instrument]
fn passes(n: u64) -> u64 {
    falls(n) + 1
}

#[exoscope::instrument]
fn catches(n: u64) -> bool {
    panic::catch_unwind(|| passes(n)).is_err()
}

/// Makes the calls of one part.
pub fn part(truth: &mut Truth) {
    assert!(catches(1), "the panic must arrive");
    truth.ok(path!("catches"));
    truth.add(path!("passes"), Outcome::Panic, 1);
    truth.add(path!("falls"), Outcome::Panic, 1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makes_the_calls_of_the_table() {
        let mut truth = Truth::default();
        part(&mut truth);
        assert_eq!(truth.count("variants::panics::falls", Outcome::Panic), 1);
        assert_eq!(truth.count("variants::panics::passes", Outcome::Panic), 1);
        assert_eq!(truth.count("variants::panics::catches", Outcome::Ok), 1);
        assert_eq!(truth.total(), 3);
    }
}
