//! Methods: of a whole instrumented `impl` block, and one that carries the attribute itself.
//!
//! | function | calls a round | outcome |
//! |---|---|---|
//! | `Counter::new` | 1 | ok |
//! | `Counter::add` | 2 | ok |
//! | `Counter::take` | 1 | err when the round's number is even |
//! | `Counter::total` | 1 | ok |
//! | `Counter::read` | 1 | ok |

use std::hint::black_box;

use truth::{Outcome, Truth, path};

/// More was to be taken than there is.
#[derive(Debug)]
struct TooMuch;

/// Counts up and down.
struct Counter {
    value: u64,
}

#[exoscope::instrument]
impl Counter {
    fn new() -> Self {
        Self { value: 0 }
    }

    fn add(&mut self, n: u64) {
        self.value += black_box(n);
    }

    fn take(&mut self, n: u64) -> Result<u64, TooMuch> {
        self.value = self.value.checked_sub(n).ok_or(TooMuch)?;
        Ok(self.value)
    }

    fn total(self) -> u64 {
        self.value
    }
}

impl Counter {
    #[exoscope::instrument]
    fn read(&self) -> &u64 {
        &self.value
    }
}

/// Makes the calls of round `n`.
pub fn round(n: u64, truth: &mut Truth) {
    let mut counter = Counter::new();
    truth.ok(path!("Counter::new"));

    counter.add(n);
    counter.add(1);
    truth.add(path!("Counter::add"), Outcome::Ok, 2);

    let amount = if n.is_multiple_of(2) { n + 2 } else { n };
    truth.result(&[path!("Counter::take")], &counter.take(amount));

    black_box(counter.read());
    truth.ok(path!("Counter::read"));

    black_box(counter.total());
    truth.ok(path!("Counter::total"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makes_the_calls_of_the_table() {
        let mut truth = Truth::default();
        (0..7).for_each(|n| round(n, &mut truth));
        assert_eq!(
            truth.count("variants::methods::Counter::new", Outcome::Ok),
            7
        );
        assert_eq!(
            truth.count("variants::methods::Counter::add", Outcome::Ok),
            14
        );
        assert_eq!(
            truth.count("variants::methods::Counter::take", Outcome::Err),
            4
        );
        assert_eq!(
            truth.count("variants::methods::Counter::take", Outcome::Ok),
            3
        );
        assert_eq!(
            truth.count("variants::methods::Counter::total", Outcome::Ok),
            7
        );
        assert_eq!(
            truth.count("variants::methods::Counter::read", Outcome::Ok),
            7
        );
        assert_eq!(truth.total(), 42);
    }
}
