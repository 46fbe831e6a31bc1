//! Attaching: loading the BPF programs, and linking them to the sites of a target.
//!
//! One `uprobe_multi` link per program and binary, whatever the number of sites: detaching a
//! thousand single uprobes takes minutes, one link takes milliseconds. A link lives as long as its
//! descriptor, so the kernel detaches everything even where the agent is killed; [`mod@apart`] sees to it
//! that this holds in the midst of attaching and detaching, too.

pub mod apart;
pub mod call_stats;
pub mod iterator;
mod log;
pub mod programs;
pub mod sampling;
pub mod sys;

use std::collections::HashMap;
use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use exoscope_abi::figures::{IN_POLLS, NEVER};
use exoscope_abi::probe::{MARKER_FIVE, MARKER_TEN, Probe};

use crate::target::elf::{Binary, Site};
use apart::apart;
use programs::{Program, Programs};
use sys::MultiTarget;

/// Which byte of a marker is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkerByte {
    /// The one-byte nop: a breakpoint, safe on every kernel and for every program.
    Safe,
    /// The ten-byte nop, which newer kernels rewrite into a call.
    Ten,
    /// The five-byte nop, which kernels from 6.18 on rewrite into a call.
    Five,
}

impl MarkerByte {
    /// Offset in the marker.
    pub const fn offset(self) -> u64 {
        match self {
            Self::Safe => 0,
            Self::Ten => MARKER_TEN,
            Self::Five => MARKER_FIVE,
        }
    }

    /// Whether the kernel rewrites the instruction into a call.
    pub const fn is_fast(self) -> bool {
        !matches!(self, Self::Safe)
    }
}

/// Which ends of a call are attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capture {
    /// Entry and end.
    Full,
    /// The end only; the target takes the start.
    Exits,
    /// Entry and end, with programs that do nothing: what markers cost at least.
    EmptyFull,
    /// The end only, with a program that does nothing.
    EmptyExits,
}

impl Capture {
    /// Whether only ends are attached.
    pub const fn exits_only(self) -> bool {
        matches!(self, Self::Exits | Self::EmptyExits)
    }

    /// The program for a probe, or `None` where the probe is not attached.
    const fn program(self, probe: Probe) -> Option<Program> {
        match (self, probe) {
            (_, Probe::ForkGuard) => Some(Program::EmptyEntry),
            (
                Self::EmptyFull | Self::EmptyExits,
                Probe::Fields | Probe::Link | Probe::Panic | Probe::ItemError,
            )
            | (
                Self::Exits | Self::EmptyExits | Self::EmptyFull,
                Probe::PollBegin | Probe::PollEnd | Probe::Wake,
            ) => None,
            (Self::Full, Probe::PollBegin) => Some(Program::PollBegin),
            (Self::Full, Probe::PollEnd) => Some(Program::PollEnd),
            (Self::Full, Probe::Wake) => Some(Program::Wake),
            (_, Probe::Fields) => Some(Program::Fields),
            (_, Probe::Link) => Some(Program::Link),
            (_, Probe::Panic) => Some(Program::Panic),
            (_, Probe::ItemError) => Some(Program::ItemError),
            (Self::EmptyExits, Probe::Entry) => None,
            (Self::Exits | Self::EmptyFull, Probe::Entry) => Some(Program::EmptyEntry),
            (Self::EmptyFull | Self::EmptyExits, _) => Some(Program::EmptyEnd),
            (_, Probe::Entry) => Some(Program::Entry),
            (_, Probe::Exit) => Some(Program::Exit),
            (_, Probe::Error) => Some(Program::Error),
        }
    }
}

/// The probes that are attached, in this order: entries last, so that no call begins of which
/// something would not be seen.
const ATTACHED: [Probe; 11] = [
    Probe::ForkGuard,
    Probe::Link,
    Probe::Panic,
    Probe::ItemError,
    Probe::Fields,
    Probe::Wake,
    Probe::PollEnd,
    Probe::PollBegin,
    Probe::Error,
    Probe::Exit,
    Probe::Entry,
];

/// What is attached to one binary of the target.
pub struct BinaryPlan<'a> {
    /// Path by which the kernel opens the binary.
    pub path: &'a Path,
    /// Its sites.
    pub binary: &'a Binary,
    /// Number in the session of each of the binary's functions; `None` for one not chosen.
    pub functions: &'a [Option<u32>],
    /// Process in which the probes fire.
    pub pid: u32,
    /// Ends of a call.
    pub capture: Capture,
    /// Whether fields and returned values are captured.
    pub fields: bool,
    /// Whether polls and wake-ups are.
    pub polls: bool,
    /// Byte of the marker.
    pub byte: MarkerByte,
}

/// A site that is attached to.
struct Chosen<'a> {
    site: &'a Site,
    /// What its program gets: the number of its function in the session, or 0 for none, with what is
    /// said of the function.
    cookie: u64,
    /// Offset of the semaphore that is raised with it, or 0.
    semaphore: u64,
}

/// What is attached. Dropping it detaches: entries before ends, so that no call begins any more
/// whose end would not be seen.
#[derive(Debug, Default)]
pub struct Links(Vec<OwnedFd>);

impl Links {
    /// Keeps `other` attached together with these.
    pub fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        if self.0.is_empty() {
            return;
        }
        // Where that is interrupted, what is left is dropped with the rest.
        let _ = apart(|| {
            while let Some(link) = self.0.pop() {
                drop(link);
            }
        });
    }
}

/// Why sites could not be attached to.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The process has ended meanwhile.
    #[error("process {pid} ended before everything was attached")]
    Ended {
        /// The process.
        pid: u32,
    },
    /// The kernel refused.
    #[error(
        "the kernel refused to attach {sites} sites of {path} in process {pid}: {reason}; {}",
        remedy(reason)
    )]
    Refused {
        /// The process.
        pid: u32,
        /// The binary.
        path: String,
        /// Number of sites.
        sites: usize,
        /// What the system call said.
        reason: io::Error,
    },
}

/// What to do where the kernel refused to attach.
fn remedy(reason: &io::Error) -> &'static str {
    match reason.raw_os_error() {
        // One site raises one semaphore, whoever attaches to it.
        Some(libc::EINVAL) => {
            "where another session captures the same file, use its --capture, or wait for its end; \
             else `exoscope doctor` says what works on this machine"
        }
        _ => "`exoscope doctor` says what works on this machine",
    }
}

impl BinaryPlan<'_> {
    /// Attaches; the binary is detached from when the links are dropped.
    ///
    /// Ends are attached before entries, so that no call begins that would not be seen ending.
    ///
    /// # Errors
    /// Where the kernel refuses or the process has ended; nothing stays attached then.
    pub fn attach(&self, programs: &Programs) -> Result<Links, AttachError> {
        let sites = self.chosen();
        let links: Result<Vec<_>, _> = ATTACHED
            .into_iter()
            .filter_map(|probe| self.link(programs, probe, &sites).transpose())
            .collect();
        links.map(Links)
    }

    /// Offsets of the semaphores that attaching raises.
    pub fn raised_semaphores(&self) -> Vec<u64> {
        let sites = self.chosen().into_iter();
        let mut offsets: Vec<u64> = sites
            .map(|chosen| chosen.semaphore)
            .filter(|&offset| offset != 0)
            .collect();
        offsets.sort_unstable();
        offsets.dedup();
        offsets
    }

    /// Number of sites that are attached to.
    pub fn sites(&self) -> usize {
        self.chosen().len()
    }

    /// The program for a probe, or `None` where the probe is not attached.
    fn program(&self, probe: Probe) -> Option<Program> {
        let wanted = match probe {
            Probe::Fields => self.fields,
            Probe::PollBegin | Probe::PollEnd | Probe::Wake => self.polls,
            _ => true,
        };
        self.capture.program(probe).filter(|_| wanted)
    }

    /// The sites that are attached to: those of chosen functions, and those of no function.
    fn chosen(&self) -> Vec<Chosen<'_>> {
        let starts = self.started_at_entry();
        let entered = self.semaphores_of_entries();
        let in_turns = self.in_turns();
        let sites = self.binary.sites.iter();
        let chosen = sites.filter_map(|site| {
            self.program(site.probe)?;
            let function = match site.function {
                Some(function) => self.functions.get(function).copied()??,
                None if site.probe == Probe::ForkGuard && !self.byte.is_fast() => return None,
                None => 0,
            };
            let semaphore = match (self.capture, site.probe) {
                (Capture::Exits, Probe::Entry) => *starts.get(&site.function?)?,
                (Capture::EmptyExits, Probe::Exit) => *entered.get(&site.function?)?,
                _ => self.semaphore(site),
            };
            let flags = site.function.and_then(|function| in_turns.get(&function));
            Some(Chosen {
                site,
                cookie: u64::from(function) | flags.unwrap_or(&0),
                semaphore,
            })
        });
        chosen.collect()
    }

    /// Offset of the semaphore that goes with a site in this plan, or 0.
    ///
    /// An entry's puts calls into their thread's chain. An exit's does so too and makes the target read
    /// its clock, so it stays down unless that is wanted.
    /// An error has two reasons and one place: in `exits` mode the exit of the same function
    /// raises the start.
    fn semaphore(&self, site: &Site) -> u64 {
        match (self.capture, site.probe) {
            (
                Capture::Full | Capture::Exits,
                Probe::Error
                | Probe::ItemError
                | Probe::Fields
                | Probe::Link
                | Probe::Panic
                | Probe::PollBegin
                | Probe::PollEnd,
            )
            | (Capture::Full | Capture::EmptyFull, Probe::Entry) => site.detail_semaphore,
            (Capture::Exits, Probe::Exit) => site.start_semaphore,
            _ => 0,
        }
    }

    /// The semaphores of the functions' entries. Where one empty marker is to be timed, its place raises
    /// that: it is not passed else, and the start is not wanted.
    fn semaphores_of_entries(&self) -> HashMap<usize, u64> {
        if self.capture != Capture::EmptyExits {
            return HashMap::new();
        }
        let sites = self.binary.sites.iter();
        let entries = sites.filter(|site| site.probe == Probe::Entry);
        entries
            .filter_map(|site| Some((site.function?, site.detail_semaphore)))
            .collect()
    }

    /// Functions that end in errors only, as the compiler found out, with their start's semaphore: in
    /// `exits` mode they have no exit that could raise it, so their entries do.
    fn started_at_entry(&self) -> HashMap<usize, u64> {
        let mut starts = HashMap::new();
        if self.capture != Capture::Exits {
            return starts;
        }
        let of = |probe| {
            self.binary
                .sites
                .iter()
                .filter(move |site| site.probe == probe)
        };
        for site in of(Probe::Error) {
            starts.extend(
                site.function
                    .map(|function| (function, site.start_semaphore)),
            );
        }
        for function in of(Probe::Exit).filter_map(|site| site.function) {
            starts.remove(&function);
        }
        starts
    }

    /// What the programs are told of functions whose calls run in turns, between which their threads do
    /// other things: futures, streams, iterators, and the items of streams and iterators. The markers at
    /// the ends of turns are in no other function, and those at their beginnings in what is polled.
    fn in_turns(&self) -> HashMap<usize, u64> {
        let of = |probe| {
            let sites = self.binary.sites.iter();
            sites
                .filter(move |site| site.probe == probe)
                .filter_map(|site| site.function)
        };
        let mut flags: HashMap<usize, u64> = of(Probe::PollEnd)
            .map(|function| (function, NEVER))
            .collect();
        if self.polls {
            flags.extend(of(Probe::PollBegin).map(|function| (function, IN_POLLS)));
        }
        flags
    }

    /// Attaches to the `chosen` sites of one probe.
    fn link(
        &self,
        programs: &Programs,
        probe: Probe,
        chosen: &[Chosen<'_>],
    ) -> Result<Option<OwnedFd>, AttachError> {
        let Some(program) = self.program(probe) else {
            return Ok(None);
        };
        let of_probe = chosen.iter().filter(|chosen| chosen.site.probe == probe);
        let mut sites: Vec<_> = of_probe.collect();
        sites.sort_unstable_by_key(|chosen| chosen.site.offset);
        if sites.is_empty() {
            return Ok(None);
        }
        let byte = self.byte.offset();
        let offsets: Vec<u64> = sites
            .iter()
            .map(|chosen| chosen.site.offset + byte)
            .collect();
        let semaphores: Vec<u64> = sites.iter().map(|chosen| chosen.semaphore).collect();
        let cookies: Vec<u64> = sites.iter().map(|chosen| chosen.cookie).collect();
        let path = CString::new(self.path.as_os_str().as_bytes()).unwrap_or_default();
        let target = MultiTarget {
            path: &path,
            offsets: &offsets,
            semaphores: &semaphores,
            cookies: &cookies,
            pid: self.pid,
        };
        let program = programs.program(program);
        let created = apart(|| sys::create_uprobe_multi(program, &target));
        match created.and_then(|created| created) {
            Ok(link) => Ok(Some(link)),
            Err(error) if ended(&error, self.pid) => Err(AttachError::Ended { pid: self.pid }),
            Err(reason) => Err(AttachError::Refused {
                pid: self.pid,
                path: self.path.display().to_string(),
                sites: sites.len(),
                reason,
            }),
        }
    }
}

/// Whether attaching failed because the process is gone.
fn ended(error: &io::Error, pid: u32) -> bool {
    let gone = matches!(error.raw_os_error(), Some(libc::ESRCH | libc::ENOENT));
    gone && !Path::new(&format!("/proc/{pid}/exe")).exists()
}
