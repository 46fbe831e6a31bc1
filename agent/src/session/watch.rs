//! Waiting for the end of a session: the target's, the user's, or the writer's.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::capture::consumer::monotonic_ns;
use crate::target::ending;
use crate::target::launch::{self, Launched};
use crate::target::process::Target;

/// How often the progress line is drawn, and how often new libraries are looked for.
const TICK: Duration = Duration::from_millis(250);
/// How often a started program that has ended is asked for its status, and how long.
const STATUS_WAIT: (Duration, u32) = (Duration::from_millis(2), 500);

/// What is watched.
pub trait Watched {
    /// The process.
    fn target(&self) -> &Target;
    /// How long at most.
    fn duration(&self) -> Option<Duration>;
    /// Hears why the session can't go on.
    fn failure(&mut self) -> &mut UnboundedReceiver<&'static str>;
    /// Called a few times a second.
    fn tick(&mut self);
    /// Called a few times a second: the target may have loaded a library.
    fn look_for_modules(&mut self);
    /// The target has ended, and nobody here has waited for it yet.
    fn target_has_ended(&mut self);
    /// Whether the OOM killer ended the target, which `SIGKILL` did.
    fn oom_killed(&mut self) -> bool;
}

/// Hears the signals that end a session. Made before there is a file: a Ctrl-C from then on ends the
/// session as soon as it has begun, and leaves nothing half-made.
pub struct Signals {
    runtime: Runtime,
    interrupts: Signal,
    terminations: Signal,
}

impl Signals {
    /// Listens from now on.
    ///
    /// # Errors
    /// Where the kernel refuses the handlers.
    pub fn listen() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (interrupts, terminations) = {
            let _within = runtime.enter();
            (
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
            )
        };
        Ok(Self {
            runtime,
            interrupts,
            terminations,
        })
    }

    /// Waits until the session is to end.
    ///
    /// # Errors
    /// Where the process can't be waited for.
    pub fn until_end(
        mut self,
        watched: &mut impl Watched,
        launched: Option<&Launched>,
    ) -> Result<End> {
        let signals = (&mut self.interrupts, &mut self.terminations);
        self.runtime.block_on(until_end(signals, watched, launched))
    }
}

/// How a session ended.
#[derive(Clone, Debug)]
pub struct End {
    /// In a few words.
    pub reason: String,
    /// The target ended.
    pub target_ended: bool,
    /// The agent could not go on.
    pub failed: bool,
    /// Its status, where that is known.
    pub exit_status: Option<i32>,
    /// `CLOCK_MONOTONIC` nanoseconds.
    pub at_ns: u64,
}

impl End {
    fn now(reason: &'static str) -> Self {
        Self {
            reason: reason.to_owned(),
            target_ended: false,
            failed: false,
            exit_status: None,
            at_ns: monotonic_ns(),
        }
    }

    /// An end because the agent can't go on.
    pub fn failed(why: &'static str) -> Self {
        Self {
            failed: true,
            ..Self::now(why)
        }
    }
}

/// Waits until the session is to end.
///
/// The first Ctrl-C or SIGTERM while a started program runs belongs to the program (a terminal has
/// sent the first to it already); the second one ends the session.
///
/// # Errors
/// Where the process can't be waited for.
async fn until_end(
    (interrupts, terminations): (&mut Signal, &mut Signal),
    watched: &mut impl Watched,
    launched: Option<&Launched>,
) -> Result<End> {
    let pidfd = watched.target().pidfd().try_clone()?;
    // SAFETY: an `OwnedFd` gives the same open descriptor until it is dropped with `ended`.
    let ended = unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) }
        .context("can't wait for the end of the target")?;
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let deadline = watched.duration().map(|duration| Instant::now() + duration);
    let mut left_to_program = launched.is_some();
    loop {
        tokio::select! {
            biased;
            _ = ended.readable() => return Ok(target_ended(watched, launched).await),
            _ = interrupts.recv() => {
                if !std::mem::take(&mut left_to_program) {
                    return Ok(End::now("interrupted"));
                }
            }
            _ = terminations.recv() => match launched {
                Some(program) if std::mem::take(&mut left_to_program) => program.signal(libc::SIGTERM),
                _ => return Ok(End::now("terminated")),
            },
            () = until(deadline) => return Ok(End::now("duration")),
            Some(why) = watched.failure().recv() => return Ok(End::failed(why)),
            _ = ticks.tick() => {
                watched.tick();
                watched.look_for_modules();
            }
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

async fn target_ended(watched: &mut impl Watched, launched: Option<&Launched>) -> End {
    let at_ns = monotonic_ns();
    watched.target_has_ended();
    let status = match launched {
        Some(program) => program_status(program).await,
        None => watched.target().exit_info(),
    };
    let killed = status == Some(launch::End::Killed(libc::SIGKILL));
    let by_oom_killer = killed && watched.oom_killed();
    End {
        reason: ending::reason(status, by_oom_killer),
        target_ended: true,
        failed: false,
        exit_status: status.map(launch::End::status),
        at_ns,
    }
}

/// The status of a started program. Its pidfd may tell of the end a moment before `wait` does.
async fn program_status(program: &Launched) -> Option<launch::End> {
    let (pause, times) = STATUS_WAIT;
    for _ in 0..times {
        if let Some(end) = program.end() {
            return Some(end);
        }
        tokio::time::sleep(pause).await;
    }
    None
}
