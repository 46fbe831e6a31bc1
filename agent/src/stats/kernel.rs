//! The source that asks the kernel through BPF: one task iterator tells of all threads at once.
//!
//! It is cheaper than `/proc`, where every thread has files of its own, and it knows what `/proc`
//! does not tell: the switches of threads that have ended.

use anyhow::{Context as _, Result};
use exoscope_abi::task::TaskRecord;

use super::sample::{Name, Reading, Switches, Task, Tasks};
use super::source::{Part, Source, Subject};
use crate::attach::iterator::TaskIterator;

/// The source.
#[derive(Default)]
pub struct Kernel {
    iterator: Option<TaskIterator>,
    buffer: Vec<u8>,
}

impl Source for Kernel {
    fn detect(&mut self, process: &Subject, part: Part) -> Result<()> {
        anyhow::ensure!(part == Part::Tasks, "it only tells of threads");
        let iterator = TaskIterator::over(process.pidfd())?;
        let records = iterator.read(&mut self.buffer)?;
        check(&records, process.pid())?;
        self.iterator = Some(iterator);
        Ok(())
    }

    fn read(&mut self, _process: &Subject, _part: Part, reading: &mut Reading) -> Result<()> {
        let iterator = self.iterator.as_ref().context("it was not detected")?;
        let records = iterator.read(&mut self.buffer)?;
        reading.tasks = Some(tasks(&records)?);
        Ok(())
    }
}

/// Whether records make sense: this kernel keeps the figures where, and as, they are looked for.
fn check(records: &[TaskRecord], pid: u32) -> Result<()> {
    let first = records.first().context("no thread was told of")?;
    let plausible = |record: &&TaskRecord| {
        record.tid != 0
            && (1..record.at_ns).contains(&record.start_ns)
            && record.cpu_ns < record.at_ns
    };
    let strange = records.iter().find(|record| !plausible(record));
    anyhow::ensure!(
        strange.is_none(),
        "what it tells of the threads of process {pid} makes no sense: {:?}",
        strange.unwrap_or(first)
    );
    Ok(())
}

/// What the records say together. What all threads share is taken from the first one: a thread that
/// ends meanwhile is then missing for once, and never counted twice.
fn tasks(records: &[TaskRecord]) -> Result<Tasks> {
    let shared = records.first().context("no thread was told of")?;
    let sum = |of_ended: u64, of: fn(&TaskRecord) -> u64| {
        records
            .iter()
            .fold(of_ended, |sum, record| sum.saturating_add(of(record)))
    };
    Ok(Tasks {
        threads: records.iter().map(task).collect(),
        sampled_user: sum(shared.ended_user_ns, |record| record.user_ns),
        sampled_system: sum(shared.ended_system_ns, |record| record.system_ns),
        minor_faults: sum(shared.ended_minor_faults, |record| record.minor_faults),
        major_faults: sum(shared.ended_major_faults, |record| record.major_faults),
        ended_switches: Some(Switches {
            voluntary: shared.ended_voluntary_switches,
            involuntary: shared.ended_involuntary_switches,
        }),
    })
}

fn task(record: &TaskRecord) -> Task {
    Task {
        tid: record.tid as u32,
        name: Name::new(&record.name),
        start_ns: record.start_ns,
        cpu_ns: record.cpu_ns,
        runqueue_ns: record.runqueue_ns,
        switches: Switches {
            voluntary: record.voluntary_switches,
            involuntary: record.involuntary_switches,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(tid: u64, faults: u64) -> TaskRecord {
        TaskRecord {
            at_ns: 1_000,
            tid,
            start_ns: 10,
            minor_faults: faults,
            ended_minor_faults: 100,
            ended_voluntary_switches: 7,
            ..TaskRecord::default()
        }
    }

    #[test]
    fn what_threads_share_counts_once() {
        let tasks = tasks(&[record(1, 20), record(2, 3)]).unwrap();
        assert_eq!(tasks.minor_faults, 123);
        assert_eq!(tasks.ended_switches.unwrap().voluntary, 7);
        assert_eq!(tasks.threads.len(), 2);
    }

    #[test]
    fn records_that_make_no_sense_are_refused() {
        check(&[record(1, 0)], 1).unwrap();
        for strange in [
            TaskRecord {
                tid: 0,
                ..record(1, 0)
            },
            TaskRecord {
                start_ns: 2_000,
                ..record(1, 0)
            },
            TaskRecord {
                cpu_ns: u64::MAX,
                ..record(1, 0)
            },
        ] {
            assert!(check(&[record(1, 0), strange], 1).is_err());
        }
        assert!(check(&[], 1).is_err());
        assert!(tasks(&[]).is_err());
    }
}
