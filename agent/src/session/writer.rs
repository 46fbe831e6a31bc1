//! The writer thread: takes messages from the queue and commits each, whatever the file does.
//!
//! A message is kept until its commit has returned. What fails for a reason that may go away is tried
//! again, at pauses that grow up to a fifth of a second, so that work goes on well within a second of
//! the fault's end; meanwhile the queue and its spool take what the target does. What happened is told
//! at once on standard error, and in `agent_events` once the file can be written. A write that neither
//! succeeds nor fails is seen from outside, by the pulse.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use anyhow::{Error, Result, anyhow};
use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};

use super::pulse::Pulse;
use crate::capture::consumer::Progress;
use crate::event::{AgentEvent, Level};
use crate::panics::{Panics, point};
use crate::spool::queue::{Entry, Next, Queue};
use crate::store::fault::{Fault, fault};
use crate::store::replace::Wrong;
use crate::store::{SessionEnd, Store};

/// How long the writer waits for a message before it looks after other things.
const PATIENCE: Duration = Duration::from_millis(200);
/// The first and the longest pause before a failed write is tried again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(200));
/// Failed tries after which the file is opened anew, where that may help.
const REOPEN_AFTER: u32 = 4;
/// How often the file is looked at from outside.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often one message may make the writer panic before it is given up.
const PANICS: u32 = 2;

/// Writes messages.
pub struct Writer {
    store: Store,
    queue: Arc<Queue>,
    progress: Arc<Progress>,
    notices: Sender<String>,
    trouble: Option<Trouble>,
    /// Events and lost calls that are to be recorded.
    events: Vec<AgentEvent>,
    lost: Vec<(u64, String)>,
    /// When the file was looked at from outside.
    looked: Instant,
    panics: Panics,
    pulse: Arc<Pulse>,
}

/// A fault that has not ended.
struct Trouble {
    since: Instant,
    /// What the kernel had counted as lost by then.
    lost_before: u64,
    tries: u32,
    pauses: ExponentialBackoff,
}

impl Writer {
    /// A writer into `store`. What a person should know at once goes to `notices`.
    pub fn new(
        store: Store,
        queue: Arc<Queue>,
        progress: Arc<Progress>,
        notices: Sender<String>,
        pulse: Arc<Pulse>,
    ) -> Self {
        Self {
            store,
            queue,
            progress,
            notices,
            trouble: None,
            events: Vec::new(),
            lost: Vec::new(),
            looked: Instant::now(),
            panics: Panics::of("writer"),
            pulse,
        }
    }

    /// Writes what comes until nothing will come any more.
    ///
    /// # Errors
    /// Where the file could not be written by the deadline of the queue. What is not in it waits in
    /// the spool, as far as that has room.
    pub fn run(&mut self) -> Result<()> {
        loop {
            match self.queue.next(PATIENCE) {
                Next::Message(entry) => self.write(&entry)?,
                Next::Nothing => {}
                Next::Closed => break,
            }
            self.look_after_file();
        }
        Ok(())
    }

    /// What is to be done between messages. A file over which the writer panics time after time is
    /// looked at no more, but written.
    fn look_after_file(&mut self) {
        self.pulse.beat();
        if self.panics.are_enough() {
            return self.record();
        }
        let mut panics = std::mem::replace(&mut self.panics, Panics::of("writer"));
        let looked = panics.catch(|| {
            point("writer");
            self.look();
        });
        self.panics = panics;
        if looked.is_none() {
            self.store.forget();
            self.events.push(self.panics.event());
        }
        self.record();
    }

    /// Nothing is to be written for now.
    pub fn rest(&self) {
        self.pulse.rest();
    }

    /// Ends the session in the file.
    ///
    /// # Errors
    /// Where the file could not be written by the deadline of the queue.
    pub fn finish(mut self, end: &SessionEnd) -> Result<()> {
        loop {
            self.pulse.beat();
            self.record();
            let unwritten = !self.events.is_empty() || !self.lost.is_empty();
            let ended = if unwritten {
                Err(anyhow!("its last events can't be written"))
            } else {
                self.store.finish(end)
            };
            let Err(error) = ended else { return Ok(()) };
            if !self.wait(&error) {
                return Err(error);
            }
        }
    }

    /// Writes a message, or loses it where it can't be written whatever happens.
    fn write(&mut self, entry: &Entry) -> Result<()> {
        let mut panics = 0;
        loop {
            self.pulse.beat();
            let written = catch_unwind(AssertUnwindSafe(|| {
                point("commit");
                self.store.write_message(entry.number, &entry.message)
            }));
            let error = match written {
                Ok(Ok(_)) => {
                    self.queue.done(entry);
                    self.trouble_has_ended();
                    return Ok(());
                }
                Ok(Err(error)) => error,
                Err(_) => {
                    panics += 1;
                    self.store.forget();
                    anyhow!("the writer panicked")
                }
            };
            match fault(&error) {
                _ if (1..PANICS).contains(&panics) => {}
                Fault::Transient => {
                    if !self.wait(&error) {
                        return Err(self.give_up(&error));
                    }
                }
                Fault::Damaged => {
                    let wrong = Wrong::Damaged(format!("{:#}", error.root_cause()));
                    if !self.replace(&wrong) && !self.wait(&error) {
                        return Err(self.give_up(&error));
                    }
                }
                Fault::Refused => {
                    self.lose(entry, &error);
                    self.queue.done(entry);
                    return Ok(());
                }
            }
        }
    }

    /// Looks at the file, now and then.
    fn look(&mut self) {
        if self.looked.elapsed() < LOOK_EVERY {
            return;
        }
        self.looked = Instant::now();
        if let Some(wrong) = self.store.look() {
            self.replace(&wrong);
        }
    }

    /// Has another file take the place of this one; says whether one does.
    fn replace(&mut self, wrong: &Wrong) -> bool {
        // It takes the longer the larger the file is.
        self.pulse.rest();
        let replaced = self.store.replace(wrong);
        self.pulse.beat();
        match replaced {
            Ok(sentence) => {
                let _ = self.notices.send(format!("warning: {sentence}"));
                self.events
                    .push(AgentEvent::now(Level::Warning, "file", sentence));
                true
            }
            Err(error) => {
                if self.trouble.is_none() {
                    self.trouble = Some(self.trouble_begins(&error));
                }
                false
            }
        }
    }

    /// Waits for the fault to end; says whether it is worth while.
    fn wait(&mut self, error: &Error) -> bool {
        if self.trouble.is_none() {
            self.trouble = Some(self.trouble_begins(error));
        }
        let Some(trouble) = &mut self.trouble else {
            return false;
        };
        trouble.tries += 1;
        let pause = trouble.pauses.next().unwrap_or(PAUSES.1);
        let reopen = trouble.tries.is_multiple_of(REOPEN_AFTER);
        if self
            .queue
            .deadline()
            .is_some_and(|deadline| Instant::now() >= deadline)
        {
            return false;
        }
        std::thread::sleep(pause);
        if reopen {
            self.pulse.beat();
            // Where that fails too, the old connection is tried again.
            let _ = self.store.reopen(error);
        }
        true
    }

    fn trouble_begins(&mut self, error: &Error) -> Trouble {
        let text =
            format!("{error:#}: it is tried again, and calls wait in memory and in the spool");
        let _ = self.notices.send(format!("warning: {text}"));
        self.events
            .push(AgentEvent::now(Level::Warning, "store", text));
        Trouble {
            since: Instant::now(),
            lost_before: self.progress.lost.load(Ordering::Relaxed),
            tries: 0,
            pauses: ExponentialBuilder::default()
                .with_min_delay(PAUSES.0)
                .with_max_delay(PAUSES.1)
                .with_jitter()
                .without_max_times()
                .build(),
        }
    }

    fn trouble_has_ended(&mut self) {
        let Some(trouble) = self.trouble.take() else {
            return;
        };
        let lost = self.progress.lost.load(Ordering::Relaxed) - trouble.lost_before;
        let lost = match lost {
            0 => "nothing was lost by then".to_owned(),
            lost => format!("the rings were full, and {lost} records were lost by then"),
        };
        let text = format!(
            "the file can be written again after {:.2} s and {} tries; {lost}",
            trouble.since.elapsed().as_secs_f64(),
            trouble.tries
        );
        let _ = self.notices.send(text.clone());
        self.events
            .push(AgentEvent::now(Level::Info, "store", text));
    }

    /// What can't be written is not tried for ever.
    fn lose(&mut self, entry: &Entry, error: &Error) {
        let text = format!("a batch can't be written and is lost: {error:#}");
        let _ = self.notices.send(format!("warning: {text}"));
        self.events
            .push(AgentEvent::now(Level::Error, "lost", text));
        self.lost
            .push((entry.message.calls(), format!("{error:#}")));
    }

    /// Records what happened, as far as the file can be written.
    fn record(&mut self) {
        self.events.extend(self.queue.take_events());
        let lost = self.queue.take_lost_calls().into_iter();
        self.lost
            .extend(lost.map(|(calls, why)| (calls, why.to_owned())));
        let nothing = self.events.is_empty() && self.lost.is_empty();
        if nothing || self.store.record(&self.events, &self.lost).is_err() {
            return;
        }
        self.events.clear();
        self.lost.clear();
    }

    /// Leaves to the spool what can't be written by the end of the session.
    fn give_up(&self, error: &Error) -> Error {
        leave_to_spool(&self.queue, &Left::of(&self.store), &format!("{error:#}"))
    }
}

/// What is named where a session leaves its file unfinished.
#[derive(Clone, Debug)]
pub struct Left {
    file: PathBuf,
    spool: PathBuf,
}

impl Left {
    /// What there is of a store.
    pub fn of(store: &Store) -> Self {
        Self {
            file: store.file_path().to_owned(),
            spool: store.spool().folder.clone(),
        }
    }

    /// What is to be done about it, and when.
    pub fn recovery(&self) -> String {
        let file = self.file.display();
        format!("`exoscope recover {file}` finishes it once the file can be written")
    }
}

/// Has what waits for the file wait in the spool; gives back the sentence that says so, after why.
pub fn leave_to_spool(queue: &Queue, left: &Left, why: &str) -> Error {
    let (file, folder) = (left.file.display(), left.spool.display());
    match queue.spill() {
        Ok(calls) => {
            queue.remove_copies();
            anyhow!(
                "{why}; {calls} calls wait in the spool in {folder}: `exoscope recover {file}` writes them \
                 once the file can be written"
            )
        }
        Err(spill) => anyhow!(
            "{why}, and the spool in {folder} can't be written either ({spill}): {} calls are lost",
            queue
                .take_lost_calls()
                .iter()
                .map(|(calls, _)| calls)
                .sum::<u64>()
        ),
    }
}
