//! Which thread goes first where many want a CPU.
//!
//! Where a target keeps every CPU busy with many threads, the agent has its share of the time as one more
//! of them, and a ring fills while its reader waits for its turn. So the thread that reads the rings is
//! more urgent than others: it works for a moment and sleeps again, and what it read can wait in memory
//! and in the spool. Everything else of the agent takes its turn.

use rustix::process::{getpriority_process, setpriority_process};

/// Nice levels by which the reader of the rings is more urgent than the rest of the agent.
const LEVELS: i32 = 10;

/// While there is one, this thread is more urgent, and so is every thread that it starts, for good.
///
/// It takes `CAP_SYS_NICE` or a limit that allows it (`RLIMIT_NICE`), and where there is neither nothing
/// changes: then more is lost where CPU is scarce, and counted.
#[derive(Debug)]
pub struct Urgency {
    usual: Option<i32>,
}

impl Urgency {
    /// Begins.
    pub fn begin() -> Self {
        let usual = getpriority_process(None).ok();
        let raised = usual.filter(|usual| setpriority_process(None, usual - LEVELS).is_ok());
        Self { usual: raised }
    }
}

impl Drop for Urgency {
    fn drop(&mut self) {
        if let Some(usual) = self.usual {
            // To be less urgent is allowed to everyone.
            let _ = setpriority_process(None, usual);
        }
    }
}
