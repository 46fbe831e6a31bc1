//! The source that reads `/proc`, and the files of the control group.
//!
//! | part | files |
//! |---|---|
//! | tasks | `stat`; `task/TID/schedstat`, and `task/TID/status` of those that ran: `tasks` |
//! | memory | `status`; `statm` and `stat` are inexact on kernels that count memory per CPU |
//! | files | the size of the folder `fd`, which is the number of its entries since Linux 6.2 |
//! | io | `io`, which needs the right to trace the process |
//! | pressure | `/proc/pressure/*`; the kernel brings the totals up to date whenever they are read, and the averages every two seconds |
//! | control group | `memory.*`, of version 1 or 2; `*.pressure` of version 2: [`crate::cgroup`] |

use std::fs::File;

use anyhow::{Context as _, Result};

use super::kept::{Buffer, Kept};
use super::parse;
use super::sample::{Figures, Reading};
use super::source::{Part, Source, Subject};
use crate::cgroup;
use tasks::Tasks;

mod tasks;

/// The source.
#[derive(Default)]
pub struct Procfs {
    tasks: Option<Tasks>,
    status: Option<Kept>,
    folder: Option<Kept>,
    io: Option<Kept>,
    pressure: Option<[Kept; 3]>,
    groups: Groups,
    buffer: Buffer,
}

/// What is kept of the process's control groups. A process may be moved to others; files are opened where
/// they are not.
#[derive(Default)]
struct Groups {
    membership: Option<cgroup::Membership>,
    /// Number of the sample for which it was looked at last; 0 before the first.
    looked: u64,
    memory: Option<cgroup::Memory>,
    pressure: Option<[Kept; 3]>,
}

impl Source for Procfs {
    fn detect(&mut self, process: &Subject, part: Part) -> Result<()> {
        match part {
            // Its files are opened when they are needed.
            Part::Tasks => {
                self.tasks = Some(Tasks::of(process)?);
                return Ok(());
            }
            Part::Memory => self.status = Some(open(process, "status")?),
            Part::Files => self.folder = Some(open(process, "fd")?),
            Part::Io => self.io = Some(open(process, "io")?),
            Part::Pressure => self.pressure = Some(machine_pressure()?),
            Part::Cgroup | Part::CgroupPressure => self.groups.find(process, &mut self.buffer)?,
        }
        // What can be opened may still not be readable, as `io` of another user's process is.
        self.read(process, part, &mut Reading::default())
    }

    fn read(&mut self, process: &Subject, part: Part, reading: &mut Reading) -> Result<()> {
        if matches!(part, Part::Cgroup | Part::CgroupPressure) {
            self.groups
                .follow(process, reading.number, &mut self.buffer)?;
        }
        let figures = &mut reading.figures;
        let buffer = &mut self.buffer;
        match part {
            Part::Tasks => {
                let tasks = self.tasks.as_mut().context(NOT_DETECTED)?;
                reading.tasks = Some(tasks.read(process, buffer)?);
            }
            Part::Memory => memory(kept(&self.status)?.read(buffer)?, figures),
            Part::Files => {
                let size = kept(&self.folder)?.file().metadata()?.len();
                figures.file_descriptors = Some(size);
            }
            Part::Io => io(kept(&self.io)?.read(buffer)?, figures),
            Part::Pressure => {
                let files = self.pressure.as_ref().context(NOT_DETECTED)?;
                machine_figures(&pressures(files, buffer)?, figures);
            }
            Part::Cgroup => self.groups.read_memory(process, buffer, figures)?,
            Part::CgroupPressure => self.groups.read_pressure(process, buffer, figures)?,
        }
        Ok(())
    }
}

/// What a part that was not detected fails with.
const NOT_DETECTED: &str = "it was not detected";

fn kept(file: &Option<Kept>) -> Result<&Kept> {
    file.as_ref().context(NOT_DETECTED)
}

/// Opens a file of the process.
fn open(process: &Subject, name: &str) -> Result<Kept> {
    let file = process.process().open_relative(name);
    let file = file.with_context(|| format!("can't open /proc/{}/{name}", process.pid()))?;
    Ok(Kept::new(file))
}

/// Of a process that has ended, and has not been waited for, there is no memory: nothing is told.
fn memory(status: &[u8], figures: &mut Figures) {
    let bytes = |key| parse::keyed_kib(status, key);
    figures.rss_bytes = bytes("VmRSS:");
    figures.anon_bytes = bytes("RssAnon:");
    figures.file_bytes = bytes("RssFile:");
    figures.shared_bytes = bytes("RssShmem:");
    figures.swap_bytes = bytes("VmSwap:");
    figures.peak_rss_bytes = bytes("VmHWM:");
}

fn io(text: &[u8], figures: &mut Figures) {
    figures.read_bytes = parse::keyed(text, "read_bytes:");
    figures.written_bytes = parse::keyed(text, "write_bytes:");
    figures.syscall_read_bytes = parse::keyed(text, "rchar:");
    figures.syscall_written_bytes = parse::keyed(text, "wchar:");
}

fn machine_pressure() -> Result<[Kept; 3]> {
    let [cpu, memory, io] = ["cpu", "memory", "io"].map(|name| {
        let path = format!("/proc/pressure/{name}");
        let file = File::open(&path).with_context(|| {
            format!("can't open {path}; a kernel with CONFIG_PSI, booted with psi=1, has it")
        });
        file.map(Kept::new)
    });
    Ok([cpu?, memory?, io?])
}

/// Nanoseconds for which some, and all, threads waited.
type Pressure = (Option<u64>, Option<u64>);

/// What three pressure files say: of CPU, memory, and input and output.
fn pressures(files: &[Kept; 3], buffer: &mut Buffer) -> Result<[Pressure; 3]> {
    let mut read = |file: &Kept| -> Result<Pressure> {
        let (some, full) = parse::pressure(file.read(buffer)?).context("it says no totals")?;
        Ok((Some(some), full))
    };
    let [cpu, memory, io] = files;
    Ok([read(cpu)?, read(memory)?, read(io)?])
}

fn machine_figures([cpu, memory, io]: &[Pressure; 3], figures: &mut Figures) {
    (figures.cpu_pressure_some_ns, figures.cpu_pressure_full_ns) = *cpu;
    (
        figures.memory_pressure_some_ns,
        figures.memory_pressure_full_ns,
    ) = *memory;
    (figures.io_pressure_some_ns, figures.io_pressure_full_ns) = *io;
}

fn group_figures([cpu, memory, io]: &[Pressure; 3], figures: &mut Figures) {
    (
        figures.cgroup_cpu_pressure_some_ns,
        figures.cgroup_cpu_pressure_full_ns,
    ) = *cpu;
    (
        figures.cgroup_memory_pressure_some_ns,
        figures.cgroup_memory_pressure_full_ns,
    ) = *memory;
    (
        figures.cgroup_io_pressure_some_ns,
        figures.cgroup_io_pressure_full_ns,
    ) = *io;
}

impl Groups {
    /// Remembers which groups the process is in.
    fn find(&mut self, process: &Subject, buffer: &mut Buffer) -> Result<()> {
        self.membership = Some(cgroup::Membership::of(process.process(), buffer)?);
        Ok(())
    }

    /// Closes the files of groups that the process has been moved away from. The kernel takes a lock of
    /// all groups to tell of that, so it is asked once for sample `number`.
    fn follow(&mut self, process: &Subject, number: u64, buffer: &mut Buffer) -> Result<()> {
        if self.looked == number {
            return Ok(());
        }
        let membership = self.membership.as_mut().context(NOT_DETECTED)?;
        if membership.has_changed(process, buffer)? {
            self.memory = None;
            self.pressure = None;
        }
        self.looked = number;
        Ok(())
    }

    fn read_memory(
        &mut self,
        process: &Subject,
        buffer: &mut Buffer,
        figures: &mut Figures,
    ) -> Result<()> {
        let memory = match &self.memory {
            Some(memory) => memory,
            None => self.memory.insert(cgroup::Memory::of(process.process())?),
        };
        let group = memory.read(buffer)?;
        figures.cgroup_memory_bytes = group.bytes;
        figures.cgroup_memory_limit_bytes = group.limit_bytes;
        figures.cgroup_high_events = group.high_events;
        figures.cgroup_max_events = group.max_events;
        figures.cgroup_oom_kills = group.oom_kills;
        Ok(())
    }

    fn read_pressure(
        &mut self,
        process: &Subject,
        buffer: &mut Buffer,
        figures: &mut Figures,
    ) -> Result<()> {
        let files = match &self.pressure {
            Some(files) => files,
            None => self
                .pressure
                .insert(cgroup::pressure_files(process.process())?),
        };
        group_figures(&pressures(files, buffer)?, figures);
        Ok(())
    }
}
