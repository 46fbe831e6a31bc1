//! How the process ends, where it does not return from `main`: in the middle of a call.
//!
//! | function | calls | outcome |
//! |---|---|---|
//! | `last` | 1 | open |

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::str::FromStr;

use truth::{Outcome, Truth, path};

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// `main` returns.
    Return,
    /// `process::exit(0)`.
    Exit,
    /// `process::abort()`.
    Abort,
    /// `SIGKILL`.
    Kill,
    /// Becomes the command `true`, under the same pid.
    Exec,
    /// Writes to memory until the OOM killer comes; where it does not, the process exits with status 1.
    Eat,
}

/// More than the control group of a process that is to eat may use.
const PLENTY: usize = 512 << 20;

impl FromStr for Ending {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        Ok(match word {
            "return" => Self::Return,
            "exit" => Self::Exit,
            "abort" => Self::Abort,
            "kill" => Self::Kill,
            "exec" => Self::Exec,
            "eat" => Self::Eat,
            _ => {
                return Err(format!(
                    "`{word}` is none of return, exit, abort, kill, exec, eat"
                ));
            }
        })
    }
}

impl Ending {
    /// Foresees the call that [`Ending::run`] makes.
    pub fn announce(self, truth: &mut Truth) {
        if self != Self::Return {
            truth.add(path!("last"), Outcome::Open, 1);
        }
    }

    /// Ends the process, or returns.
    pub fn run(self) {
        if self != Self::Return {
            last(self);
        }
    }
}

#[exoscope::instrument]
#[inline(never)]
fn last(ending: Ending) {
    match ending {
        Ending::Return => {}
        Ending::Exit => std::process::exit(0),
        Ending::Abort => std::process::abort(),
        Ending::Kill => {
            // SAFETY: a signal to this process; nothing of it is used afterwards.
            unsafe { libc::raise(libc::SIGKILL) };
        }
        Ending::Exec => panic!("exec failed: {}", Command::new("true").exec()),
        Ending::Eat => {
            std::hint::black_box(vec![1_u8; PLENTY]);
            std::process::exit(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_return_makes_no_call_and_every_other_end_leaves_one_open() {
        let mut truth = Truth::default();
        "return".parse::<Ending>().unwrap().announce(&mut truth);
        assert_eq!(truth.total(), 0);
        "kill".parse::<Ending>().unwrap().announce(&mut truth);
        assert_eq!(truth.count("variants::ending::last", Outcome::Open), 1);
        assert!("leave".parse::<Ending>().is_err());
    }
}
