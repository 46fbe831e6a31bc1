//! The self-test: which byte of a marker is attached to on this machine.
//!
//! Kernels that rewrite a nop into a call make a marker twice as fast, and some of them break what
//! is traced: a rewritten nop needs a page that a forked child does not get. So the agent starts
//! itself as a subject, attaches, calls, forks and calls in the child, and times it. Only what
//! passes is used on a target.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result, bail};
use exoscope_abi::Phase;

use super::subject;
use crate::attach::programs::{Programs, Settings};
use crate::attach::{BinaryPlan, Capture, Links, MarkerByte};
use crate::capture::shared::Totals;
use crate::privileges;
use crate::target::elf::{self, Binary};

/// Calls that are counted, and calls that are timed.
const COUNTED: u64 = 500;
const TIMED: u64 = 4_000;

/// How one byte of the marker fared.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The byte.
    pub byte: MarkerByte,
    /// Nanoseconds for one hit, programs included; or why the byte can't be used.
    pub result: Result<f64, String>,
}

/// What the self-test found.
#[derive(Clone, Debug)]
pub struct SelfTest {
    /// Every byte that was tried, in the order of preference.
    pub trials: Vec<Trial>,
}

impl SelfTest {
    /// Tries the fast bytes until one passes; with `all` every byte, as `doctor` does.
    ///
    /// # Errors
    /// Where the subject can't be started, or BPF does not work at all.
    pub fn run(all: bool) -> Result<Self> {
        Self::of(Path::new("/proc/self/exe"), all)
    }

    /// As [`SelfTest::run`], with the command `exoscope` at `program` as the subject.
    ///
    /// # Errors
    /// As [`SelfTest::run`].
    pub fn of(program: &Path, all: bool) -> Result<Self> {
        let mut trials: Vec<Trial> = Vec::new();
        for byte in [MarkerByte::Ten, MarkerByte::Five, MarkerByte::Safe] {
            let passed = trials.iter().any(|trial| trial.result.is_ok());
            if all || (!passed && byte.is_fast()) {
                trials.push(Trial {
                    byte,
                    result: Subject::start(program)?.try_byte(byte)?,
                });
            }
        }
        Ok(Self { trials })
    }

    /// The fastest byte that passed and is fast, or `None`.
    pub fn fast(&self) -> Option<MarkerByte> {
        let passed = |trial: &&Trial| trial.byte.is_fast() && trial.result.is_ok();
        self.trials.iter().find(passed).map(|trial| trial.byte)
    }

    /// Why the fast bytes can't be used, in words.
    pub fn refusals(&self) -> String {
        let reasons: Vec<String> = self
            .trials
            .iter()
            .filter(|trial| trial.byte.is_fast())
            .filter_map(|trial| {
                let reason = trial.result.as_ref().err()?;
                Some(format!("{}: {reason}", trial.byte.describe()))
            })
            .collect();
        reasons.join("; ")
    }
}

impl MarkerByte {
    /// The byte in words.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Safe => "breakpoint on the 1-byte nop",
            Self::Ten => "call in place of the 10-byte nop",
            Self::Five => "call in place of the 5-byte nop",
        }
    }
}

/// A running subject.
struct Subject {
    child: Child,
    answers: BufReader<ChildStdout>,
}

impl Subject {
    fn start(program: &Path) -> Result<Self> {
        let mut command = Command::new(program);
        command
            .arg(crate::cli::SUBJECT_COMMAND)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        // SAFETY: it makes two system calls and nothing else, which is safe between `fork` and `exec`.
        unsafe { command.pre_exec(privileges::pass_none_on_for_good) };
        let mut child = command
            .spawn()
            .context("can't start this program again for its self-test; is /proc mounted?")?;
        let answers = child
            .stdout
            .take()
            .context("the self-test's subject has no output")?;
        let mut subject = Self {
            child,
            answers: BufReader::new(answers),
        };
        if subject.answer()? != "ready" {
            bail!("the self-test's subject did not start");
        }
        Ok(subject)
    }

    fn answer(&mut self) -> Result<String> {
        let mut line = String::new();
        self.answers
            .read_line(&mut line)
            .context("the self-test's subject does not answer")?;
        Ok(line.trim().to_owned())
    }

    /// Sends a command; `None` where the subject has died of it.
    fn ask(&mut self, command: &str) -> Option<i128> {
        let input = self.child.stdin.as_mut()?;
        writeln!(input, "{command}").ok()?;
        self.answer().ok()?.parse().ok()
    }

    /// Nanoseconds of one hit on `byte`, or why it can't be used.
    fn try_byte(mut self, byte: MarkerByte) -> Result<Result<f64, String>> {
        let path = PathBuf::from(format!("/proc/{}/exe", self.child.id()));
        let binary = elf::read(&path)?;
        let mut programs = Programs::load(&Settings {
            functions: 1,
            ring_bytes: 1 << 20,
            ..Settings::default()
        })?;
        let bare = self.ask(&format!("calls {TIMED}"));
        let functions = chosen(&binary)?;
        let plan = BinaryPlan {
            path: &path,
            binary: &binary,
            functions: &functions,
            pid: self.child.id(),
            capture: Capture::Full,
            fields: false,
            polls: false,
            byte,
        };
        let links = match plan.attach(&programs) {
            Ok(links) => links,
            Err(error) => return Ok(Err(refusal(&error))),
        };
        programs.set_phase(Phase::Capturing)?;
        let totals = Totals::new(programs.array("TOTALS")?, 1, programs.shards(), false)
            .context("can't map the totals")?;
        let result = self.measure(&totals, bare);
        self.end(links);
        Ok(result)
    }

    fn measure(&mut self, totals: &Totals, bare: Option<i128>) -> Result<f64, String> {
        let died = || "the subject of the self-test died".to_owned();
        self.ask(&format!("calls {COUNTED}")).ok_or_else(died)?;
        let counted: u64 = totals
            .snapshot()
            .iter()
            .map(|counts| counts.histogram.iter().sum::<u64>())
            .sum();
        if counted != COUNTED {
            return Err(format!("{counted} of {COUNTED} calls were seen"));
        }
        let status = self.ask(&format!("fork {COUNTED}")).ok_or_else(died)?;
        if status != 0 {
            return Err(format!("a forked child ended with wait status {status}"));
        }
        let attached = self.ask(&format!("calls {TIMED}")).ok_or_else(died)?;
        let bare = bare.ok_or_else(died)?;
        Ok((attached - bare).max(0) as f64 / (2 * TIMED) as f64)
    }

    /// Ends the subject and, without waiting for it, the links: detaching takes a moment.
    fn end(self, links: Links) {
        drop(self);
        std::thread::spawn(move || {
            // To close them needs none. Where they can't be given up, the thread ends soon all the same.
            let _ = privileges::give_up_all();
            drop(links);
        });
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Chooses the subject's function and nothing else.
fn chosen(binary: &Binary) -> Result<Vec<Option<u32>>> {
    let functions: Vec<Option<u32>> = binary
        .functions
        .iter()
        .map(|function| (function.path == subject::FUNCTION).then_some(0))
        .collect();
    if functions.iter().flatten().next().is_none() {
        bail!("this program has no markers of its own for the self-test; build it again");
    }
    Ok(functions)
}

fn refusal(error: &crate::attach::AttachError) -> String {
    match error {
        crate::attach::AttachError::Refused { reason, .. } => match reason.raw_os_error() {
            Some(524) => "the kernel does not probe this instruction".to_owned(),
            _ => format!("the kernel refused: {reason}"),
        },
        error => error.to_string(),
    }
}
