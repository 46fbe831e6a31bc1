//! A call that stays open until a line arrives.
//!
//! | function | calls | outcome |
//! |---|---|---|
//! | `held` | 1 | ok, in part 2 |

use truth::{Truth, gate, path};

#[exoscope::instrument]
#[inline(never)]
fn held() {
    gate::pause("holding");
}

/// Prints `holding PID` from inside the call and waits for a line.
pub fn run(truth: &mut Truth) {
    held();
    truth.ok(path!("held"));
}
