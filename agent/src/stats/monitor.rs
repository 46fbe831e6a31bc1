//! Who answers: for each part of a sample the best source that can, while it can.
//!
//! A source that fails is replaced by the next best at once, in the same sample. It is asked again
//! after a pause that doubles each time, and answers again as soon as it can. Pauses are cut by up to a
//! quarter, by random: the agents of a machine whose sources fail at once don't ask at once again.

use std::time::{Duration, Instant};

use super::sample::{Reading, Snapshot};
use super::source::{Entry, NULL, Part, SOURCES, Source, Subject};
use super::threads::Threads;
use crate::capture::consumer::monotonic_ns;
use crate::event::{AgentEvent, Level};

/// First and longest pause before a source that failed is asked again.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Up to this share of a pause is left out.
const JITTER: f64 = 0.25;

/// Samples one process.
pub struct Monitor {
    process: Subject,
    sources: Vec<Member>,
    threads: Threads,
    /// Samples so far.
    samples: u64,
    /// Who answered for each of [`Part::ALL`] the last time: indices of `sources`.
    answering: [Option<usize>; Part::ALL.len()],
    events: Vec<AgentEvent>,
}

/// A source with what is known of it.
struct Member {
    name: &'static str,
    source: Box<dyn Source>,
    /// For each of [`Part::ALL`].
    states: [State; Part::ALL.len()],
}

/// Whether a source can give a part.
#[derive(Clone, Copy, Debug)]
enum State {
    /// Not in this session.
    Unable,
    /// Yes, as far as is known.
    Able,
    /// It failed, and is asked again.
    Failed { again: Instant, pause: Duration },
}

impl State {
    /// It has failed now.
    fn failed(self, now: Instant) -> Self {
        let pause = match self {
            Self::Failed { pause, .. } => (pause * 2).min(PAUSES.1),
            _ => PAUSES.0,
        };
        let again = now + pause.mul_f64(fastrand::f64().mul_add(-JITTER, 1.0));
        Self::Failed { again, pause }
    }

    fn is_due(self, now: Instant) -> bool {
        match self {
            Self::Unable => false,
            Self::Able => true,
            Self::Failed { again, .. } => now >= again,
        }
    }
}

impl Monitor {
    /// Finds out what each source of the table can give of the process.
    pub fn new(process: Subject) -> Self {
        let sources = SOURCES.iter().map(|entry| (*entry, (entry.make)()));
        Self::with(process, sources.collect())
    }

    /// Finds out what each of `sources` can give of the process.
    fn with(process: Subject, sources: Vec<(Entry, Box<dyn Source>)>) -> Self {
        let mut lacks = Vec::new();
        let sources = sources
            .into_iter()
            .map(|(entry, source)| Member::detect(entry, source, &process, &mut lacks))
            .collect();
        let mut monitor = Self {
            process,
            sources,
            threads: Threads::default(),
            samples: 0,
            answering: Default::default(),
            events: Vec::new(),
        };
        monitor.tell_detected(&lacks);
        monitor
    }

    fn tell_detected(&mut self, lacks: &[String]) {
        let gives = |source: &Member| {
            let parts = Part::ALL.iter().zip(source.states);
            let given = parts.filter(|(_, state)| matches!(state, State::Able));
            let given: Vec<_> = given.map(|(part, _)| part.what()).collect();
            (source.name != NULL && !given.is_empty())
                .then(|| format!("{} can tell of {}", source.name, given.join(", ")))
        };
        let gives: Vec<String> = self.sources.iter().filter_map(gives).collect();
        if !gives.is_empty() {
            self.tell(Level::Info, gives.join("; "));
        }
        for lack in lacks {
            self.tell(Level::Info, lack.clone());
        }
    }

    /// The process.
    pub fn process(&self) -> &Subject {
        &self.process
    }

    /// What has happened since the last time.
    pub fn take_events(&mut self) -> Vec<AgentEvent> {
        std::mem::take(&mut self.events)
    }

    /// Takes a sample; `None` once nothing is left of the process.
    pub fn sample(&mut self, now: Instant) -> Option<Snapshot> {
        self.samples += 1;
        let mut reading = Reading {
            number: self.samples,
            ..Reading::default()
        };
        let cpu_ns = self.process.cpu_ns().ok();
        let at_ns = monotonic_ns();
        let mut answered = vec![false; self.sources.len()];
        for (index, part) in Part::ALL.into_iter().enumerate() {
            if let Some(source) = self.read(index, part, &mut reading, now) {
                answered[source] = true;
            }
        }
        // Only now: what was read by number was this process while it was still there.
        if !self.process.exists() {
            return None;
        }
        let mut sample = Snapshot {
            at_ns,
            source: self.names(&answered),
            figures: reading.figures,
            ..Snapshot::default()
        };
        if let Some(tasks) = &reading.tasks {
            (sample.threads, sample.ended) =
                self.threads
                    .update(at_ns, tasks, cpu_ns, &mut sample.figures);
        }
        Some(sample)
    }

    /// Names of the sources that answered; that of the null source only where it is the only one.
    fn names(&self, answered: &[bool]) -> String {
        let answered = self.sources.iter().zip(answered);
        let names = answered.filter(|(source, answered)| **answered && source.name != NULL);
        let names: Vec<_> = names.map(|(source, _)| source.name).collect();
        match names.is_empty() {
            true => NULL.to_owned(),
            false => names.join("+"),
        }
    }

    /// Reads a part from the best source that answers, and gives back which one that is.
    fn read(
        &mut self,
        index: usize,
        part: Part,
        reading: &mut Reading,
        now: Instant,
    ) -> Option<usize> {
        let mut failures = Vec::new();
        let mut answering = None;
        for (number, member) in self.sources.iter_mut().enumerate() {
            if !member.states[index].is_due(now) {
                continue;
            }
            let before = member.states[index];
            match member.source.read(&self.process, part, reading) {
                Ok(()) => {
                    member.states[index] = State::Able;
                    answering = Some(number);
                    break;
                }
                // The end of the process is no failure.
                Err(_) if self.process.has_ended() => return None,
                Err(error) => {
                    member.states[index] = before.failed(now);
                    // Told once, however often it fails.
                    if matches!(before, State::Able) {
                        failures.push((member.name, error));
                    }
                }
            }
        }
        self.tell_change(index, part, failures, answering);
        answering
    }

    fn tell_change(
        &mut self,
        index: usize,
        part: Part,
        failures: Vec<(&str, anyhow::Error)>,
        answering: Option<usize>,
    ) {
        let before = std::mem::replace(&mut self.answering[index], answering);
        let answers = match answering.map(|source| self.sources[source].name) {
            None | Some(NULL) => "nobody",
            Some(name) => name,
        };
        let (what, pause) = (part.what(), PAUSES.0.as_secs());
        let recovered = failures.is_empty() && before.is_some() && before != answering;
        for (name, error) in failures {
            let sentence = format!(
                "{name} can't tell of {what} any more ({error:#}); {answers} does instead, and \
                 {name} is asked again in {pause} s"
            );
            self.tell(Level::Warning, sentence);
        }
        if recovered {
            self.tell(Level::Info, format!("{answers} tells of {what} again"));
        }
    }

    fn tell(&mut self, level: Level, message: String) {
        self.events.push(AgentEvent::now(level, "stats", message));
    }
}

impl Member {
    fn detect(
        entry: Entry,
        mut source: Box<dyn Source>,
        process: &Subject,
        lacks: &mut Vec<String>,
    ) -> Self {
        let states = Part::ALL.map(|part| {
            if !entry.parts.contains(&part) {
                return State::Unable;
            }
            match source.detect(process, part) {
                Ok(()) => State::Able,
                Err(error) => {
                    let what = part.what();
                    lacks.push(format!("{} can't tell of {what}: {error:#}", entry.name));
                    State::Unable
                }
            }
        });
        Self {
            name: entry.name,
            source,
            states,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::null::Null;
    use crate::stats::sample::{Name, Switches, Task, Tasks};
    use anyhow::{Result, bail};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    /// A source that tells one number for memory and one thread, as long as it is let.
    #[derive(Clone)]
    struct Fake {
        tells: u64,
        fails: Arc<AtomicBool>,
        asked: Arc<AtomicU64>,
    }

    impl Fake {
        fn new(tells: u64) -> Self {
            Self {
                tells,
                fails: Arc::default(),
                asked: Arc::default(),
            }
        }

        fn fail(&self, fails: bool) {
            self.fails.store(fails, Ordering::Relaxed);
        }

        fn asked(&self) -> u64 {
            self.asked.load(Ordering::Relaxed)
        }
    }

    impl Source for Fake {
        fn detect(&mut self, _: &Subject, part: Part) -> Result<()> {
            match part {
                Part::Memory | Part::Tasks => Ok(()),
                _ => bail!("the fake knows nothing of it"),
            }
        }

        fn read(&mut self, _: &Subject, part: Part, reading: &mut Reading) -> Result<()> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            if self.fails.load(Ordering::Relaxed) {
                bail!("the fake was told to fail");
            }
            match part {
                Part::Memory => reading.figures.rss_bytes = Some(self.tells),
                _ => reading.tasks = Some(tasks(self.tells)),
            }
            Ok(())
        }
    }

    fn tasks(cpu_ns: u64) -> Tasks {
        let thread = Task {
            tid: 1,
            name: Name::new(b"one"),
            start_ns: 0,
            cpu_ns,
            runqueue_ns: 0,
            switches: Switches::default(),
        };
        Tasks {
            threads: vec![thread],
            ..Tasks::default()
        }
    }

    const MEMORY: &[Part] = &[Part::Memory];

    /// Sources for memory, best first, with the one that knows nothing at the end.
    fn monitor(sources: &[(&'static str, &Fake)]) -> Monitor {
        let entry = |name, parts| Entry {
            name,
            parts,
            make: || Box::new(Null),
        };
        let mut all: Vec<(Entry, Box<dyn Source>)> = Vec::new();
        for (name, fake) in sources {
            all.push((entry(name, MEMORY), Box::new((*fake).clone())));
        }
        all.push((entry(NULL, &Part::ALL), Box::new(Null)));
        let mut monitor = Monitor::with(Subject::this_process().unwrap(), all);
        monitor.take_events();
        monitor
    }

    /// What a sample says of memory, and who said it.
    fn told(monitor: &mut Monitor, now: Instant) -> (Option<u64>, String) {
        let sample = monitor.sample(now).expect("this process is there");
        (sample.figures.rss_bytes, sample.source)
    }

    fn messages(monitor: &mut Monitor) -> Vec<String> {
        let events = monitor.take_events();
        events.into_iter().map(|event| event.message).collect()
    }

    #[test]
    fn the_best_source_answers() {
        let (best, other) = (Fake::new(1), Fake::new(2));
        let mut monitor = monitor(&[("best", &best), ("other", &other)]);
        assert_eq!(
            told(&mut monitor, Instant::now()),
            (Some(1), "best".to_owned())
        );
        assert_eq!(other.asked(), 0);
        assert_eq!(messages(&mut monitor), [""; 0]);
    }

    #[test]
    fn a_source_that_fails_is_replaced_in_the_same_sample_and_comes_back() {
        let (best, other) = (Fake::new(1), Fake::new(2));
        let mut monitor = monitor(&[("best", &best), ("other", &other)]);
        let now = Instant::now();
        told(&mut monitor, now);
        best.fail(true);
        assert_eq!(told(&mut monitor, now), (Some(2), "other".to_owned()));
        let failed = "best can't tell of memory any more (the fake was told to fail); other does \
                      instead, and best is asked again in 1 s";
        assert_eq!(messages(&mut monitor), [failed]);
        best.fail(false);
        assert_eq!(
            told(&mut monitor, now).1,
            "other",
            "it is not asked before its time"
        );
        let later = now + PAUSES.0;
        assert_eq!(told(&mut monitor, later), (Some(1), "best".to_owned()));
        assert_eq!(messages(&mut monitor), ["best tells of memory again"]);
    }

    #[test]
    fn pauses_double_up_to_a_minute_and_are_told_once() {
        let best = Fake::new(1);
        let mut monitor = monitor(&[("best", &best)]);
        let mut now = Instant::now();
        told(&mut monitor, now);
        best.fail(true);
        assert_eq!(told(&mut monitor, now), (None, NULL.to_owned()));
        assert_eq!(messages(&mut monitor).len(), 1);
        for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
            let asked = best.asked();
            let pause = Duration::from_secs(pause);
            let least = pause.mul_f64(1.0 - JITTER);
            told(&mut monitor, now + least - Duration::from_millis(1));
            assert_eq!(best.asked(), asked, "{pause:?}");
            now += pause;
            told(&mut monitor, now);
            assert_eq!(best.asked(), asked + 1, "{pause:?}");
        }
        assert_eq!(messages(&mut monitor), [""; 0]);
    }

    #[test]
    fn pauses_of_sources_that_fail_at_once_differ() {
        let now = Instant::now();
        let again = || match State::Able.failed(now) {
            State::Failed { again, .. } => again,
            other => panic!("{other:?}"),
        };
        let first = again();
        assert!((0..100).any(|_| again() != first));
    }

    #[test]
    fn where_every_source_fails_the_row_says_so() {
        let (best, other) = (Fake::new(1), Fake::new(2));
        let mut monitor = monitor(&[("best", &best), ("other", &other)]);
        told(&mut monitor, Instant::now());
        best.fail(true);
        other.fail(true);
        let now = Instant::now();
        assert_eq!(told(&mut monitor, now), (None, NULL.to_owned()));
        let sentences = messages(&mut monitor);
        assert_eq!(sentences.len(), 2);
        assert!(
            sentences[0].contains("; nobody does instead, and best is"),
            "{sentences:?}"
        );
        other.fail(false);
        assert_eq!(told(&mut monitor, now + PAUSES.0).1, "other");
        assert_eq!(messages(&mut monitor), ["other tells of memory again"]);
    }

    #[test]
    fn what_a_source_lacks_is_recorded_and_not_asked() {
        let fake = Fake::new(1);
        let entry = Entry {
            name: "fake",
            parts: &[Part::Memory, Part::Io],
            make: || Box::new(Null),
        };
        let process = Subject::this_process().unwrap();
        let mut monitor = Monitor::with(process, vec![(entry, Box::new(fake.clone()))]);
        let said = messages(&mut monitor);
        let lack = "fake can't tell of bytes read and written: the fake knows nothing of it";
        assert_eq!(said, ["fake can tell of memory", lack]);
        told(&mut monitor, Instant::now());
        assert_eq!(fake.asked(), 1);
    }

    #[test]
    fn threads_go_on_when_another_source_tells_of_them() {
        let (best, other) = (Fake::new(100), Fake::new(90));
        let parts: &'static [Part] = &[Part::Tasks];
        let entry = |name| Entry {
            name,
            parts,
            make: || Box::new(Null),
        };
        let sources: Vec<(Entry, Box<dyn Source>)> = vec![
            (entry("best"), Box::new(best.clone())),
            (entry("other"), Box::new(other.clone())),
        ];
        let mut monitor = Monitor::with(Subject::this_process().unwrap(), sources);
        let now = Instant::now();
        let first = monitor.sample(now).unwrap();
        assert_eq!((first.threads.len(), first.threads[0].cpu_ns), (1, 100));
        best.fail(true);
        let second = monitor.sample(now).unwrap();
        assert_eq!(second.source, "other");
        assert_eq!(second.threads, [], "it knows of less, which is no news");
        assert_eq!(second.ended, [0; 0]);
    }

    #[test]
    fn sources_do_nothing_when_they_are_made() {
        let files = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let mut most_equal = 0;
        // Other tests open files meanwhile: once is enough to know.
        for _ in 0..100 {
            let before = files();
            let made: Vec<_> = SOURCES.iter().map(|entry| (entry.make)()).collect();
            most_equal += usize::from(files() == before && made.len() == SOURCES.len());
        }
        assert!(most_equal > 0);
    }

    #[test]
    fn both_sources_of_threads_tell_the_same_of_this_process() {
        let process = || Subject::this_process().unwrap();
        let tell = |name: &str| {
            let entry = SOURCES.iter().find(|entry| entry.name == name).unwrap();
            let mut source = (entry.make)();
            let process = process();
            source.detect(&process, Part::Tasks).unwrap();
            let mut reading = Reading::default();
            source.read(&process, Part::Tasks, &mut reading).unwrap();
            reading.tasks.unwrap()
        };
        // Threads of other tests come and go; this one stays.
        let tid = rustix::thread::gettid().as_raw_nonzero().get() as u32;
        let mine = |tasks: &Tasks| tasks.threads.iter().find(|task| task.tid == tid).cloned();
        let kernel = mine(&tell("kernel")).unwrap();
        let procfs = mine(&tell("procfs")).unwrap();
        assert_eq!(kernel.name, procfs.name);
        assert!(
            kernel.start_ns.abs_diff(procfs.start_ns) < 20_000_000,
            "{kernel:?} {procfs:?}"
        );
        assert!(kernel.cpu_ns <= procfs.cpu_ns && kernel.runqueue_ns <= procfs.runqueue_ns);
        assert!(kernel.switches.voluntary <= procfs.switches.voluntary);
        assert!(procfs.cpu_ns - kernel.cpu_ns < 2_000_000_000);
    }
}
