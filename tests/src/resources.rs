//! The target `resources`: it uses memory, CPU, threads and files on command, and says how much.

use std::path::Path;

use serde::Deserialize;

use crate::process::Process;

/// What `getrusage` said to the target of itself.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Usage {
    /// CPU time in user mode.
    pub cpu_user_ns: i64,
    /// CPU time in the kernel.
    pub cpu_system_ns: i64,
    /// Page faults without reading.
    pub minor_faults: i64,
    /// Page faults that read.
    pub major_faults: i64,
    /// Switches because a thread waited.
    pub voluntary_switches: i64,
    /// Switches because its turn was over.
    pub involuntary_switches: i64,
    /// The most memory that was ever resident.
    pub peak_rss_bytes: i64,
}

/// What a thread used during a call.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Used {
    /// How long the call lasted.
    pub lasted_ns: i64,
    /// CPU time of its thread.
    pub cpu_ns: i64,
    /// Time in which its thread waited for a CPU.
    pub runqueue_ns: i64,
    /// Page faults without reading.
    pub minor_faults: i64,
    /// Page faults that read.
    pub major_faults: i64,
    /// Switches because its thread waited.
    pub voluntary_switches: i64,
    /// Switches because its thread's turn was over.
    pub involuntary_switches: i64,
}

/// What the target observed of one call.
#[derive(Clone, Debug, Deserialize)]
pub struct Observed {
    /// The function.
    #[serde(rename = "observed")]
    pub function: String,
    /// The thread that made the call, or that polled it last.
    pub tid: i64,
    /// With both markers and a little more.
    pub outside: Used,
    /// Without markers and a little less; zeros where it is not taken.
    pub inside: Used,
}

/// Between what and what a time of a call lies.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// At least, in nanoseconds.
    pub low: i64,
    /// At most.
    pub high: i64,
}

impl Observed {
    /// CPU time. What a hypervisor took counts as such until the kernel's next tick.
    pub fn cpu(&self) -> Bounds {
        Bounds {
            low: self.inside.cpu_ns,
            high: self.outside.cpu_ns + self.taken_away(),
        }
    }

    /// Time in which the thread waited for a CPU. What a hypervisor took from one that never waited for anything
    /// else counts as such from then on.
    pub fn runqueue(&self) -> Bounds {
        Bounds {
            low: self.inside.runqueue_ns,
            high: self.outside.runqueue_ns + self.taken_away(),
        }
    }

    /// All that the thread was neither on a CPU nor waiting for one.
    pub fn blocked(&self) -> Bounds {
        let (outside, inside) = (self.outside, self.inside);
        let rest = |of: Used, less: Used| of.lasted_ns - less.cpu_ns - less.runqueue_ns;
        if self.outside.voluntary_switches == 0 {
            return Bounds { low: 0, high: 0 };
        }
        if outside.runqueue_ns == inside.runqueue_ns {
            return Bounds {
                low: rest(inside, inside),
                high: rest(outside, outside),
            };
        }
        // It lost its CPU while it took the times, perhaps between one and the next.
        Bounds {
            low: rest(inside, outside),
            high: rest(outside, inside),
        }
    }

    /// Whether nothing came between what observes and the call.
    pub fn is_close(&self) -> bool {
        let times = [self.cpu(), self.runqueue(), self.blocked()];
        times.into_iter().all(Bounds::are_close)
    }

    /// Time in which a thread that never left its CPU of its own accord was neither on it nor waiting for
    /// it: a hypervisor had it.
    fn taken_away(&self) -> i64 {
        let Used {
            lasted_ns,
            cpu_ns,
            runqueue_ns,
            ..
        } = self.outside;
        if self.outside.voluntary_switches == 0 {
            (lasted_ns - cpu_ns - runqueue_ns).max(0)
        } else {
            0
        }
    }
}

impl Bounds {
    /// 1 % or 20 µs.
    fn tolerance(self) -> i64 {
        (self.high / 100).max(20_000)
    }

    /// Whether a time is what was observed, within 1 % or 20 µs.
    pub fn hold(self, time: i64) -> bool {
        (self.low - self.tolerance()..=self.high + self.tolerance()).contains(&time)
    }

    /// Whether nothing came between what observes and the call: the bounds are within 1 % or 20 µs of each
    /// other.
    pub fn are_close(self) -> bool {
        self.high - self.low <= self.tolerance()
    }
}

/// The running target.
pub struct Resources(pub Process);

impl Resources {
    /// Starts it.
    pub fn start(binary: &Path) -> Self {
        let mut process = Process::target(binary, &[]);
        process.pauses_at("ready");
        Self(process)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.0.pid()
    }

    /// Has threads compute on one CPU, and gives back for how many nanoseconds they waited for it, summed.
    ///
    /// # Panics
    /// Where it fails.
    pub fn competes(&mut self, threads: u32, milliseconds: u32) -> (i64, Usage) {
        self.0.tell(&format!("compete {threads} {milliseconds}"));
        let answer = self.0.prints("answer", |_| true);
        let waited = answer
            .strip_prefix("waited ")
            .and_then(|ns| ns.parse().ok());
        let waited = waited.unwrap_or_else(|| panic!("`compete` was answered by `{answer}`"));
        (waited, self.answer("compete"))
    }

    /// Has a command carried out, and gives back what it has used since its beginning.
    ///
    /// # Panics
    /// Where it fails.
    pub fn does(&mut self, command: &str) -> Usage {
        self.0.tell(command);
        self.answer(command)
    }

    /// Has calls made and observed.
    ///
    /// # Panics
    /// Where it fails.
    pub fn observes(&mut self, command: &str) -> Vec<Observed> {
        self.0.tell(&format!("observe {command}"));
        let mut observed = Vec::new();
        loop {
            let answer = self.0.prints("answer", |_| true);
            match serde_json::from_str(&answer) {
                Ok(one) => observed.push(one),
                Err(_) => {
                    assert!(answer.starts_with("used "), "`{command}`: {answer}");
                    return observed;
                }
            }
        }
    }

    fn answer(&mut self, command: &str) -> Usage {
        let answer = self.0.prints("answer", |_| true);
        let usage = answer.strip_prefix("used ");
        let usage = usage.unwrap_or_else(|| panic!("`{command}` was answered by `{answer}`"));
        serde_json::from_str(usage).expect("it tells what `getrusage` said")
    }
}
