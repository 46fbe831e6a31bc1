//! A look into a running target from the test's side: whether anything is attached to it.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use object::{Object as _, ObjectSection as _};

/// A mapping of a file in the memory of a process.
struct Mapping {
    start: u64,
    end: u64,
    offset: u64,
    writable: bool,
    executable: bool,
    file: PathBuf,
}

/// What attaching changes in the memory of a process.
#[derive(Debug, PartialEq, Eq)]
pub struct Traces {
    /// Bytes of its code that are not those of its binary.
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

    /// Looks at the executable of a process.
    ///
    /// # Panics
    /// Where the process has ended.
    pub fn of(pid: u32) -> Self {
        let memory = File::open(format!("/proc/{pid}/mem")).expect("the target runs");
        let path = fs::read_link(format!("/proc/{pid}/exe")).expect("the target runs");
        let bytes = fs::read(format!("/proc/{pid}/exe")).expect("the target runs");
        let mappings: Vec<Mapping> = mappings(pid)
            .into_iter()
            .filter(|mapping| mapping.file == path)
            .collect();
        Self {
            changed_code: changed_code(&memory, &mappings, &bytes),
            raised_semaphores: Semaphores::of(pid).raised(),
        }
    }
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
        executable: flags.contains('x'),
        // It may hold spaces: ` (deleted)` where another file has got its name.
        file: line[line.find('/')?..].into(),
    })
}

fn changed_code(memory: &File, mappings: &[Mapping], bytes: &[u8]) -> usize {
    let code = mappings.iter().filter(|mapping| mapping.executable);
    code.map(|mapping| {
        let rest = &bytes[usize::try_from(mapping.offset).expect("files are small")..];
        let len = usize::try_from(mapping.end - mapping.start).expect("mappings are small");
        let rest = &rest[..len.min(rest.len())];
        let mut found = vec![0; rest.len()];
        memory
            .read_exact_at(&mut found, mapping.start)
            .expect("code is readable");
        found
            .iter()
            .zip(rest)
            .filter(|(found, written)| found != written)
            .count()
    })
    .sum()
}

/// The semaphores of a process's executable, where they are in its memory.
pub struct Semaphores {
    memory: File,
    address: u64,
    len: usize,
}

impl Semaphores {
    /// Finds them.
    ///
    /// # Panics
    /// Where the process has ended.
    pub fn of(pid: u32) -> Self {
        let path = fs::read_link(format!("/proc/{pid}/exe")).expect("the target runs");
        let bytes = fs::read(format!("/proc/{pid}/exe")).expect("the target runs");
        let elf = object::File::parse(&*bytes).expect("the target's binary is an ELF file");
        let section = elf.section_by_name(".probes");
        let section = section.unwrap_or_else(|| panic!("{} has no semaphores", path.display()));
        let (offset, len) = section
            .file_range()
            .expect("semaphores have their place in the file");
        let holds = |mapping: &Mapping| {
            let size = mapping.end - mapping.start;
            mapping.writable
                && mapping.file == path
                && (mapping.offset..mapping.offset + size).contains(&offset)
        };
        let mapping = mappings(pid).into_iter().find(holds);
        let mapping = mapping.expect("semaphores are writable");
        Self {
            memory: File::open(format!("/proc/{pid}/mem")).expect("the target runs"),
            address: mapping.start + offset - mapping.offset,
            len: usize::try_from(len).expect("sections are small"),
        }
    }

    /// How many are not 0.
    ///
    /// # Panics
    /// Where the process has ended.
    pub fn raised(&self) -> usize {
        let mut found = vec![0; self.len];
        let read = self.memory.read_exact_at(&mut found, self.address);
        read.expect("semaphores are readable");
        let semaphores = found.chunks_exact(2);
        semaphores.filter(|semaphore| semaphore != &[0, 0]).count()
    }
}
