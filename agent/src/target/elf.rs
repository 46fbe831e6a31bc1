//! Reading the sites of a binary: what its notes say, checked against what its bytes are.
//!
//! A note is a claim. Before anything is attached, every site must lie in an executable segment and
//! hold the instructions of a marker, because a probe at a wrong offset rewrites someone else's
//! instruction. What does not hold is counted, and its function left out.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};

use exoscope_abi::ABI_VERSION;
use exoscope_abi::note::{
    FUNCTION_TEXT_MAX, NOTE_HEADER_LEN, NoteHeader, SECTION, SEMAPHORE_SECTION, TYPE, VENDOR,
};
use exoscope_abi::probe::{MARKER_X86_64, Probe};
use exoscope_abi::sample::{CHAIN_SECTION, CHAINS, ChainPlace};
use object::elf::{Machine, PF_R, PF_W, PF_X, PT_LOAD, ProgramFlags};
use object::read::elf::{ElfFile64, ProgramHeader as _};
use object::{Endianness, Object as _, ObjectSection as _, ReadCache, ReadRef};

use super::symbol::with_type;
use crate::event::Function;

/// Instructions of a marker on the machine that the agent runs on.
#[cfg(target_arch = "x86_64")]
pub const MARKER: &[u8] = &MARKER_X86_64;
/// Instructions of a marker on the machine that the agent runs on: one `nop`.
#[cfg(target_arch = "aarch64")]
pub const MARKER: &[u8] = &[0x1f, 0x20, 0x03, 0xd5];

/// Notes that are read of one binary at most; a larger section is not ours.
const MAX_NOTES_LEN: u64 = 1 << 30;

/// One marker in a binary. All offsets are offsets in the file; 0 stands for no semaphore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// What it reports.
    pub probe: Probe,
    /// Index in [`Binary::functions`]; `None` for a probe that serves all of them.
    pub function: Option<usize>,
    /// Offset of the marker's first byte.
    pub offset: u64,
    /// Offset of the semaphore that asks for the start.
    pub start_semaphore: u64,
    /// Offset of the semaphore that asks for the marker's costly arguments.
    pub detail_semaphore: u64,
}

/// What exoscope finds in one binary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Binary {
    /// The instrumented functions, in the order of path, file and line.
    pub functions: Vec<Function>,
    /// Their sites, and those that serve all functions.
    pub sites: Vec<Site>,
    /// Notes that did not hold, by what was wrong with them.
    pub rejected: BTreeMap<&'static str, usize>,
    /// The linker's build id, in hexadecimal; empty where there is none.
    pub build_id: String,
    /// Offsets at which the loaded binary says where its chains of open calls begin: a
    /// [`ChainPlace`] each.
    pub chain_places: Vec<u64>,
}

/// Why a binary could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BinaryError {
    /// It can't be opened or read.
    #[error("can't read the binary {}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
    /// It is no ELF file of this machine, or a broken one.
    #[error("{} is no usable ELF file: {reason}", path.display())]
    NotElf {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Its markers are newer than this program.
    #[error(
        "{} was built with exoscope markers of version {found}, and this program knows version \
         {ABI_VERSION}; install a newer exoscope",
        path.display()
    )]
    NewerAbi {
        /// The file.
        path: PathBuf,
        /// Version in the notes.
        found: u32,
    },
}

/// Reads the sites of the binary at `path`.
///
/// A binary without markers is no error: it has no functions.
///
/// # Errors
/// Where the file can't be read, is no 64-bit ELF file of this machine, or has newer markers.
pub fn read(path: &Path) -> Result<Binary, BinaryError> {
    let unreadable = |reason| BinaryError::Unreadable {
        path: path.to_owned(),
        reason,
    };
    // Asked before it is opened: opening a pipe waits for whoever writes to it.
    if !path.metadata().map_err(unreadable)?.is_file() {
        return Err(BinaryError::NotElf {
            path: path.to_owned(),
            reason: "it is not a regular file".to_owned(),
        });
    }
    let file = File::open(path).map_err(unreadable)?;
    let cache = ReadCache::new(file);
    Reader::new(&cache, path)?.binary()
}

struct Reader<'a, R: ReadRef<'a>> {
    elf: ElfFile64<'a, Endianness, R>,
    data: R,
    path: &'a Path,
}

impl<'a, R: ReadRef<'a>> Reader<'a, R> {
    fn new(data: R, path: &'a Path) -> Result<Self, BinaryError> {
        let not_elf = |reason: String| BinaryError::NotElf {
            path: path.to_owned(),
            reason,
        };
        let elf = ElfFile64::<Endianness, R>::parse(data).map_err(|error| {
            not_elf(format!("{error} (truncated, or not for a 64-bit machine)"))
        })?;
        let machine = elf.elf_header().e_machine.get(elf.endian());
        if machine != NATIVE_MACHINE {
            return Err(not_elf(format!(
                "it is for another machine (ELF machine {})",
                machine.0
            )));
        }
        Ok(Self { elf, data, path })
    }

    fn binary(&self) -> Result<Binary, BinaryError> {
        let mut binary = Binary {
            build_id: self.build_id(),
            chain_places: self.chain_places(),
            ..Binary::default()
        };
        let Some(notes) = self.notes()? else {
            return Ok(binary);
        };
        let mut texts: HashMap<u64, Option<Function>> = HashMap::new();
        let mut found: Vec<(Site, Option<Function>, u64)> = Vec::new();
        let mut unsound: HashSet<u64> = HashSet::new();
        for note in Notes::new(&notes) {
            let rejection = match note {
                Ok((header, symbol)) => match self.check(header, symbol, &mut texts) {
                    Ok(Some((site, function))) => {
                        found.push((site, function, header.function));
                        continue;
                    }
                    Ok(None) => continue,
                    Err(rejection) => {
                        unsound.insert(header.function);
                        rejection
                    }
                },
                Err(rejection) => rejection,
            };
            match rejection {
                Rejection::NewerAbi(version) => {
                    return Err(BinaryError::NewerAbi {
                        path: self.path.to_owned(),
                        found: version,
                    });
                }
                Rejection::Invalid(what) => *binary.rejected.entry(what).or_default() += 1,
            }
        }
        let twice = claimed_twice(&found);
        if !twice.is_empty() {
            let claims = found
                .iter()
                .filter(|(site, ..)| twice.contains(&site.offset));
            unsound.extend(claims.clone().map(|(_, _, address)| *address));
            *binary
                .rejected
                .entry("several notes claim one marker")
                .or_default() += claims.count();
        }
        // Half a function's markers would tell half the truth: calls that never end.
        found.retain(|(_, function, address)| function.is_none() || !unsound.contains(address));
        number_functions(&mut binary, found);
        Ok(binary)
    }

    fn build_id(&self) -> String {
        let id = self.elf.build_id().ok().flatten().unwrap_or_default();
        id.iter()
            .take(64)
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// Where the places of the chains are; one more than can be looked at says that there are more.
    fn chain_places(&self) -> Vec<u64> {
        const LEN: u64 = size_of::<ChainPlace>() as u64;
        let Some(section) = self.elf.section_by_name(CHAIN_SECTION) else {
            return Vec::new();
        };
        let count = (section.size() / LEN).min(CHAINS as u64 + 1);
        let address = |index| section.address().checked_add(index * LEN);
        (0..count)
            .filter_map(|index| self.file_offset(address(index)?, LEN, PF_W))
            .collect()
    }

    /// The bytes of our section, or `None` where the binary has no markers.
    fn notes(&self) -> Result<Option<Vec<u8>>, BinaryError> {
        let Some(section) = self.elf.section_by_name(SECTION) else {
            return Ok(None);
        };
        let not_elf = |reason: String| BinaryError::NotElf {
            path: self.path.to_owned(),
            reason,
        };
        if section.size() > MAX_NOTES_LEN {
            return Err(not_elf(format!(
                "its section {SECTION} claims {} bytes",
                section.size()
            )));
        }
        let data = section
            .data()
            .map_err(|error| not_elf(format!("its section {SECTION} can't be read: {error}")))?;
        Ok(Some(data.to_vec()))
    }

    /// Checks one note; `None` for a function that the linker dropped.
    fn check(
        &self,
        header: NoteHeader,
        symbol: &[u8],
        texts: &mut HashMap<u64, Option<Function>>,
    ) -> Result<Option<(Site, Option<Function>)>, Rejection> {
        // A probe that this program does not know is optional, or the version would be another.
        let Some(probe) = Probe::from_number(header.probe) else {
            return Ok(None);
        };
        // A linker that drops a function leaves 0 or another small number in its notes.
        let Some(offset) = self.file_offset(header.marker, MARKER.len() as u64, PF_X) else {
            return Ok(None);
        };
        if self.data.read_bytes_at(offset, MARKER.len() as u64) != Ok(MARKER) {
            return Err(Rejection::Invalid("no marker's instructions at the marker"));
        }
        let function = if !probe.has_function() {
            None
        } else {
            let text = texts
                .entry(header.function)
                .or_insert_with(|| self.function(header.function, symbol));
            Some(
                text.clone()
                    .ok_or(Rejection::Invalid("no function's text at its address"))?,
            )
        };
        let site = Site {
            probe,
            function: None,
            offset,
            start_semaphore: self.semaphore(header.start_semaphore)?,
            detail_semaphore: self.semaphore(header.detail_semaphore)?,
        };
        Ok(Some((site, function)))
    }

    /// Offset of a semaphore. The kernel adds 1 to whatever is there, so it must lie where the
    /// library puts semaphores, and nowhere else.
    fn semaphore(&self, address: u64) -> Result<u64, Rejection> {
        if address == 0 {
            return Ok(0);
        }
        if !address.is_multiple_of(2) {
            return Err(Rejection::Invalid("semaphore at an odd address"));
        }
        let within = self
            .elf
            .section_by_name(SEMAPHORE_SECTION)
            .and_then(|section| Some((address.checked_sub(section.address())?, section.size())))
            .is_some_and(|(offset, size)| offset.checked_add(2).is_some_and(|end| end <= size));
        self.file_offset(address, 2, PF_W)
            .filter(|_| within)
            .ok_or(Rejection::Invalid(
                "semaphore outside of the semaphores' section",
            ))
    }

    /// Offset in the file of `len` bytes at a link-time address, in a segment with `flag`.
    fn file_offset(&self, address: u64, len: u64, flag: ProgramFlags) -> Option<u64> {
        let endian = self.elf.endian();
        self.elf.elf_program_headers().iter().find_map(|header| {
            let start = header.p_vaddr(endian);
            let within = address.checked_sub(start)?;
            let fits = within.checked_add(len)? <= header.p_filesz(endian);
            let wanted = header.p_type(endian) == PT_LOAD && header.p_flags(endian).contains(flag);
            let offset = header.p_offset(endian).checked_add(within)?;
            // A header may tell of more than there is.
            let there = offset.checked_add(len)? <= self.data.len().ok()?;
            (fits && wanted && there).then_some(offset)
        })
    }

    /// The text of a function at a link-time address.
    fn function(&self, address: u64, symbol: &[u8]) -> Option<Function> {
        let offset = self.file_offset(address, 1, PF_R)?;
        let available = self.data.len().ok()?.saturating_sub(offset);
        let len = available.min(FUNCTION_TEXT_MAX as u64);
        let bytes = self.data.read_bytes_at(offset, len).ok()?;
        let mut parts = bytes.split(|&byte| byte == 0);
        let path = std::str::from_utf8(parts.next()?).ok()?;
        let file = std::str::from_utf8(parts.next()?).ok()?;
        let line = std::str::from_utf8(parts.next()?).ok()?.parse().ok()?;
        if path.is_empty()
            || path.chars().any(char::is_control)
            || file.chars().any(char::is_control)
        {
            return None;
        }
        let path = with_type(path, std::str::from_utf8(symbol).ok()?);
        Some(Function {
            path,
            file: file.to_owned(),
            line,
        })
    }
}

#[cfg(target_arch = "x86_64")]
const NATIVE_MACHINE: Machine = object::elf::EM_X86_64;
#[cfg(target_arch = "aarch64")]
const NATIVE_MACHINE: Machine = object::elf::EM_AARCH64;

/// Gives each distinct function an index and puts it into its sites.
/// Offsets of the markers that more than one note claims: the kernel allows one semaphore for each.
fn claimed_twice(found: &[(Site, Option<Function>, u64)]) -> HashSet<u64> {
    let mut seen = HashSet::new();
    let offsets = found.iter().map(|(site, ..)| site.offset);
    offsets.filter(|offset| !seen.insert(*offset)).collect()
}

fn number_functions(binary: &mut Binary, found: Vec<(Site, Option<Function>, u64)>) {
    let mut index = BTreeMap::new();
    for (_, function, _) in &found {
        if let Some(function) = function {
            index.insert(
                (function.path.clone(), function.file.clone(), function.line),
                0,
            );
        }
    }
    for (number, ((path, file, line), slot)) in index.iter_mut().enumerate() {
        *slot = number;
        binary.functions.push(Function {
            path: path.clone(),
            file: file.clone(),
            line: *line,
        });
    }
    binary.sites = found
        .into_iter()
        .map(|(site, function, _)| Site {
            function: function
                .map(|function| index[&(function.path, function.file, function.line)]),
            ..site
        })
        .collect();
}

/// Why a note is left out.
enum Rejection {
    NewerAbi(u32),
    Invalid(&'static str),
}

/// The notes in the bytes of a section: header and symbol.
struct Notes<'a> {
    rest: &'a [u8],
}

impl<'a> Notes<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Takes `len` bytes and the padding to a multiple of four after them.
    fn take(&mut self, len: u32) -> Option<&'a [u8]> {
        let len = usize::try_from(len).ok()?;
        let taken = self.rest.get(..len)?;
        let padded = len.checked_next_multiple_of(4)?.min(self.rest.len());
        self.rest = &self.rest[padded..];
        Some(taken)
    }

    fn word(&mut self) -> Option<u32> {
        Some(u32::from_ne_bytes(self.take(4)?.try_into().ok()?))
    }

    fn note(&mut self) -> Option<(&'a [u8], &'a [u8], u32)> {
        let (name_len, descriptor_len, kind) = (self.word()?, self.word()?, self.word()?);
        Some((self.take(name_len)?, self.take(descriptor_len)?, kind))
    }
}

impl<'a> Iterator for Notes<'a> {
    type Item = Result<(NoteHeader, &'a [u8]), Rejection>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.rest.is_empty() {
                return None;
            }
            let Some((name, descriptor, kind)) = self.note() else {
                self.rest = &[];
                return Some(Err(Rejection::Invalid("cut-off note")));
            };
            if name == VENDOR && kind == TYPE {
                return Some(parse_descriptor(descriptor));
            }
        }
    }
}

fn parse_descriptor(bytes: &[u8]) -> Result<(NoteHeader, &[u8]), Rejection> {
    let short = Rejection::Invalid("short note");
    let abi = bytes.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes));
    match abi {
        Some(abi) if abi > ABI_VERSION => return Err(Rejection::NewerAbi(abi)),
        Some(_) => {}
        None => return Err(short),
    }
    let Some((fixed, rest)) = bytes.split_at_checked(NOTE_HEADER_LEN) else {
        return Err(short);
    };
    let word = |at: usize| u32::from_ne_bytes(fixed[at..at + 4].try_into().expect("4 bytes"));
    let long = |at: usize| u64::from_ne_bytes(fixed[at..at + 8].try_into().expect("8 bytes"));
    let header = NoteHeader {
        abi: word(0),
        probe: word(4),
        marker: long(8),
        function: long(16),
        start_semaphore: long(24),
        detail_semaphore: long(32),
    };
    let end = rest.iter().position(|&byte| byte == 0).unwrap_or(0);
    Ok((header, &rest[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_off_notes_end_the_list() {
        let mut notes = Notes::new(&[9, 0, 0, 0, 200, 0, 0, 0, 1, 0, 0, 0, b'e']);
        assert!(matches!(
            notes.next(),
            Some(Err(Rejection::Invalid("cut-off note")))
        ));
        assert!(notes.next().is_none());
    }
}
