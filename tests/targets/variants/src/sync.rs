//! Synchronous functions.
//!
//! | function | calls a round | outcome |
//! |---|---|---|
//! | `plain` | 1 | ok |
//! | `generic` | 2, of two types | ok |
//! | `recursive` | [`DEPTH`] + 1 | ok |
//! | `inlined` | 3, at three sites | ok |

use std::hash::{DefaultHasher, Hash, Hasher};
use std::hint::black_box;

use truth::{Outcome, Truth, path};

/// Depth of the recursion.
const DEPTH: u64 = 6;

#[exoscope::instrument]
#[inline(never)]
fn plain(n: u64) -> u64 {
    black_box(n).rotate_left(7) ^ n
}

#[exoscope::instrument]
fn generic<T: Hash>(value: T) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[exoscope::instrument]
fn recursive(depth: u64) -> u64 {
    if depth == 0 {
        0
    } else {
        1 + recursive(black_box(depth - 1))
    }
}

#[exoscope::instrument]
#[inline(always)]
fn inlined(n: u64) -> u64 {
    black_box(n) + 1
}

/// Makes the calls of round `n`.
pub fn round(n: u64, truth: &mut Truth) {
    black_box(plain(n));
    truth.ok(path!("plain"));

    black_box(generic(n) ^ generic(n.to_string()));
    truth.add(path!("generic"), Outcome::Ok, 2);

    truth.add(path!("recursive"), Outcome::Ok, recursive(DEPTH) + 1);

    let first = inlined(n);
    let second = inlined(first * 3);
    black_box(inlined(second ^ first));
    truth.add(path!("inlined"), Outcome::Ok, 3);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makes_the_calls_of_the_table() {
        let mut truth = Truth::default();
        (0..7).for_each(|n| round(n, &mut truth));
        assert_eq!(truth.count("variants::sync::plain", Outcome::Ok), 7);
        assert_eq!(truth.count("variants::sync::generic", Outcome::Ok), 14);
        assert_eq!(
            truth.count("variants::sync::recursive", Outcome::Ok),
            7 * (DEPTH + 1)
        );
        assert_eq!(truth.count("variants::sync::inlined", Outcome::Ok), 21);
        assert_eq!(truth.total(), 7 * (1 + 2 + DEPTH + 1 + 3));
    }
}
