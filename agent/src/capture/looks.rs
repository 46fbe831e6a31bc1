//! Looks at the table of open calls, and how to do without them.
//!
//! The table is large, and going through it takes milliseconds of CPU, however few calls are open. Every
//! beginning and every end of a call is counted apart from it; so while the counts stay as they are, so
//! does the table.

use crate::event::{FunctionCounts, OpenCall};

/// What was found at the last look.
#[derive(Debug, Default)]
pub struct Looks {
    counts: Vec<FunctionCounts>,
    open: Vec<OpenCall>,
    /// Looks in a row, up to the last one, at which the counts had not changed.
    unchanged: u32,
}

impl Looks {
    /// The open calls, as `scan` finds them, at a moment after that of `counts`.
    ///
    /// A call may have been counted, and not have reached the table yet, when the table is looked at. By
    /// the next look it has. So what was found counts only if nothing was counted for a while before.
    pub fn open(
        &mut self,
        counts: &[FunctionCounts],
        scan: impl FnOnce() -> Vec<OpenCall>,
    ) -> Vec<OpenCall> {
        if self.counts == counts {
            self.unchanged = self.unchanged.saturating_add(1);
        } else {
            self.unchanged = 0;
            self.counts = counts.to_vec();
        }
        if self.unchanged < 2 {
            self.open = scan();
        }
        self.open.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::open_call;

    #[test]
    fn the_table_is_looked_at_until_nothing_has_happened_for_a_while() {
        let mut looks = Looks::default();
        let mut look = |calls, found| {
            let mut scanned = false;
            let open = looks.open(&[FunctionCounts::of_calls(0, calls)], || {
                scanned = true;
                vec![open_call(); found]
            });
            (open.len(), scanned)
        };
        assert_eq!(look(1, 0), (0, true), "it has not reached the table");
        assert_eq!(look(1, 1), (1, true));
        assert_eq!(look(1, 9), (1, false));
        assert_eq!(look(1, 9), (1, false));
        assert_eq!(look(2, 2), (2, true));
        assert_eq!(look(3, 1), (1, true));
        assert_eq!(look(3, 0), (0, true));
        assert_eq!(look(3, 9), (0, false));
    }
}
