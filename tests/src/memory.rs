//! A look into a running target from the test's side: whether anything is attached to it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use object::elf::PF_W;
use object::{Object as _, ObjectSection as _, ObjectSegment as _, SegmentFlags};

/// A mapping of a file in the memory of a process.
struct Mapping {
    start: u64,
    end: u64,
    offset: u64,
    writable: bool,
    file: PathBuf,
}

/// What attaching changes in the memory of a process.
#[derive(Debug, PartialEq, Eq)]
pub struct Traces {
    /// Bytes of its code that are not those of its binaries.
    pub changed_code: usize,
    /// Semaphores that are not 0.
    pub raised_semaphores: usize,
}

impl Traces {
    /// Nothing is attached.
    pub const NONE: Self = Self {
        changed_code: 0,
        raised_semaphores: 0,
    };

    /// Looks at the binaries of a process that have semaphores: its executable, and libraries.
    ///
    /// # Panics
    /// Where the process has ended, or unloads a library meanwhile.
    pub fn of(pid: u32) -> Self {
        let memory = File::open(format!("/proc/{pid}/mem")).expect("the target runs");
        let binaries = Binary::all(pid);
        assert!(!binaries.is_empty(), "process {pid} has no semaphores");
        let changed = binaries.iter().map(|binary| binary.changed(&memory));
        let raised = binaries.iter().map(|binary| binary.raised(&memory));
        Self {
            changed_code: changed.sum(),
            raised_semaphores: raised.sum(),
        }
    }
}

/// A binary with semaphores in the memory of a process.
struct Binary {
    /// What is in its file.
    bytes: Vec<u8>,
    mappings: Vec<Mapping>,
    /// Where its semaphores are in the file.
    semaphores: Range<u64>,
    /// Where what is written begins there, rounded down to a page.
    data: u64,
}

impl Binary {
    /// Those that a process maps.
    fn all(pid: u32) -> Vec<Self> {
        let mut files: BTreeMap<PathBuf, Vec<Mapping>> = BTreeMap::new();
        for mapping in mappings(pid) {
            files.entry(mapping.file.clone()).or_default().push(mapping);
        }
        let files = files.into_values();
        files
            .filter_map(|mappings| Self::of(pid, mappings))
            .collect()
    }

    /// What a file holds that is mapped so, where it has semaphores.
    fn of(pid: u32, mappings: Vec<Mapping>) -> Option<Self> {
        const PAGE: u64 = 4096;
        // By this name it is there even where another file has got its own.
        let Mapping { start, end, .. } = mappings[0];
        let bytes = fs::read(format!("/proc/{pid}/map_files/{start:x}-{end:x}")).ok()?;
        let elf = object::File::parse(&*bytes).ok()?;
        let section = elf.section_by_name(".probes")?;
        let (semaphores, len) = section.file_range()?;
        let written = elf.segments().filter(|segment| {
            matches!(segment.flags(), SegmentFlags::Elf { p_flags, .. } if p_flags & PF_W == PF_W)
        });
        let data = written.map(|segment| segment.file_range().0).min()?;
        Some(Self {
            bytes,
            mappings,
            semaphores: semaphores..semaphores + len,
            data: data / PAGE * PAGE,
        })
    }

    /// Bytes before its data that are not those of the file: its code, and what is mapped of that elsewhere.
    fn changed(&self, memory: &File) -> usize {
        let mappings = self.mappings.iter();
        let code = mappings.filter(|mapping| !mapping.writable && mapping.offset < self.data);
        code.map(|mapping| {
            let rest = &self.bytes[usize::try_from(mapping.offset).expect("files are small")..];
            let len = usize::try_from(mapping.end - mapping.start).expect("mappings are small");
            let rest = &rest[..len.min(rest.len())];
            let found = read(memory, mapping.start, rest.len());
            let both = found.iter().zip(rest);
            both.filter(|(found, written)| found != written).count()
        })
        .sum()
    }

    /// How many of its semaphores are not 0.
    fn raised(&self, memory: &File) -> usize {
        let len = self.semaphores.end - self.semaphores.start;
        let len = usize::try_from(len).expect("sections are small");
        let found = read(memory, self.semaphores_address(), len);
        let semaphores = found.chunks_exact(2);
        semaphores.filter(|semaphore| semaphore != &[0, 0]).count()
    }

    /// Where its semaphores are in memory.
    fn semaphores_address(&self) -> u64 {
        let offset = self.semaphores.start;
        let holds = |mapping: &&Mapping| {
            let size = mapping.end - mapping.start;
            mapping.writable && (mapping.offset..mapping.offset + size).contains(&offset)
        };
        let mapping = self.mappings.iter().find(holds);
        let mapping = mapping.expect("semaphores are writable");
        mapping.start + offset - mapping.offset
    }
}

fn read(memory: &File, address: u64, len: usize) -> Vec<u8> {
    let mut found = vec![0; len];
    memory
        .read_exact_at(&mut found, address)
        .expect("what is mapped is readable");
    found
}

fn mappings(pid: u32) -> Vec<Mapping> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("the target runs");
    maps.lines().filter_map(mapping).collect()
}

/// A line such as `55d0-55f0 r-xp 00001000 fe:00 1234   /usr/bin/thing`.
fn mapping(line: &str) -> Option<Mapping> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let flags = words.next()?;
    let offset = words.next()?;
    let number = |hex| u64::from_str_radix(hex, 16).ok();
    Some(Mapping {
        start: number(start)?,
        end: number(end)?,
        offset: number(offset)?,
        writable: flags.contains('w'),
        // It may hold spaces: ` (deleted)` where another file has got its name.
        file: line[line.find('/')?..].into(),
    })
}

/// The semaphores of a process's executable, looked at over and over while it is attached to.
pub struct Semaphores {
    memory: File,
    binary: Binary,
}

impl Semaphores {
    /// Finds them.
    ///
    /// # Panics
    /// Where the process has ended.
    pub fn of(pid: u32) -> Self {
        let path = fs::read_link(format!("/proc/{pid}/exe")).expect("the target runs");
        let mut mappings = mappings(pid);
        mappings.retain(|mapping| mapping.file == path);
        Self {
            memory: File::open(format!("/proc/{pid}/mem")).expect("the target runs"),
            binary: Binary::of(pid, mappings).expect("the target's binary has semaphores"),
        }
    }

    /// How many are not 0.
    ///
    /// # Panics
    /// Where the process has ended.
    pub fn raised(&self) -> usize {
        self.binary.raised(&self.memory)
    }
}
