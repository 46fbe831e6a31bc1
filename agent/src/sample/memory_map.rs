//! What code the target maps where.
//!
//! Files are opened when they are first seen and stay open, so that addresses can be given names
//! after the target has ended or has replaced the file.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use object::Endianness;
use object::elf::PT_LOAD;
use object::read::elf::{ElfFile64, ProgramHeader as _};
use object::{Object as _, ReadCache};
use procfs::process::{MMPermissions, MMapPath};

use super::debug_file::Wanted;
use crate::target::process::{FileId, Target};

/// The target's code.
#[derive(Debug, Default)]
pub struct MemoryMap {
    /// In the order of addresses.
    ranges: Vec<Range>,
    modules: Vec<Module>,
    numbers: HashMap<FileId, usize>,
}

#[derive(Debug, PartialEq, Eq)]
struct Range {
    start: u64,
    end: u64,
    /// Offset of its start in the file.
    offset: u64,
    place: Place,
}

/// What is mapped at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Code of a file: number of the module.
    Module(usize),
    /// Code of no file: what the kernel calls it, `[vdso]`, or `[anonymous]`.
    Named(String),
}

/// A mapped file.
#[derive(Debug)]
pub struct Module {
    /// Last part of the path by which the target knows it.
    pub name: String,
    /// Path by which its symbols are read, as long as this lives.
    pub symbols: Option<PathBuf>,
    segments: Vec<Segment>,
    /// What `symbols` leads to.
    _file: Option<File>,
}

#[derive(Clone, Copy, Debug)]
struct Segment {
    offset: u64,
    len: u64,
    address: u64,
}

impl MemoryMap {
    /// Looks at what the target maps now; tells whether that has changed. What is known stays where
    /// the target has ended.
    pub fn refresh(&mut self, target: &Target) -> bool {
        let Ok(maps) = target.maps() else {
            return false;
        };
        let mut ranges = Vec::new();
        for map in maps {
            if !map.perms.contains(MMPermissions::EXECUTE) {
                continue;
            }
            let place = match &map.pathname {
                MMapPath::Path(name) => {
                    let open = target.mapped_file(&map, name);
                    Place::Module(self.module(target, &open, name))
                }
                MMapPath::Vdso => Place::Named("[vdso]".to_owned()),
                MMapPath::Vsyscall => Place::Named("[vsyscall]".to_owned()),
                MMapPath::Other(name) => Place::Named(format!("[{name}]")),
                _ => Place::Named("[anonymous]".to_owned()),
            };
            ranges.push(Range {
                start: map.address.0,
                end: map.address.1,
                offset: map.offset,
                place,
            });
        }
        ranges.sort_unstable_by_key(|range| range.start);
        let changed = self.ranges != ranges && !ranges.is_empty();
        if changed {
            self.ranges = ranges;
        }
        changed
    }

    /// What is mapped at `address`, and the offset in the file of that byte.
    pub fn find(&self, address: u64) -> Option<(&Place, u64)> {
        let after = self.ranges.partition_point(|range| range.start <= address);
        let range = self.ranges.get(after.checked_sub(1)?)?;
        (address < range.end).then(|| (&range.place, range.offset + (address - range.start)))
    }

    /// A module by its number.
    pub fn get(&self, module: usize) -> Option<&Module> {
        self.modules.get(module)
    }

    fn module(&mut self, target: &Target, open: &Path, name: &Path) -> usize {
        let file = File::open(open);
        let id = file.as_ref().ok().and_then(|file| file.metadata().ok());
        let id = id.map(|metadata| (metadata.dev(), metadata.ino()));
        if let Some(number) = id.and_then(|id| self.numbers.get(&id)) {
            return *number;
        }
        let number = self.modules.len();
        self.modules.push(Module::new(file.ok(), name, target));
        if let Some(id) = id {
            self.numbers.insert(id, number);
        }
        number
    }
}

impl Module {
    fn new(file: Option<File>, name: &Path, target: &Target) -> Self {
        let short = name.file_name().unwrap_or(name.as_os_str());
        let short = short.to_string_lossy();
        let mut module = Self {
            name: short.trim_end_matches(" (deleted)").to_owned(),
            symbols: None,
            segments: Vec::new(),
            _file: None,
        };
        if let Some(file) = file {
            // A file that is no ELF file has no names for its code.
            let _ = module.read(file, name, target);
        }
        module
    }

    fn read(&mut self, file: File, name: &Path, target: &Target) -> anyhow::Result<()> {
        let cache = ReadCache::new(file.try_clone()?);
        let elf = ElfFile64::<Endianness, _>::parse(&cache)?;
        let endian = elf.endian();
        self.segments = elf
            .elf_program_headers()
            .iter()
            .filter(|header| header.p_type(endian) == PT_LOAD)
            .map(|header| Segment {
                offset: header.p_offset(endian),
                len: header.p_filesz(endian),
                address: header.p_vaddr(endian),
            })
            .collect();
        let symbols = if elf.section_by_name(".debug_info").is_some() {
            file
        } else {
            let separate = Wanted::by(&elf).find(name, |path| target.through_root(path));
            separate.unwrap_or(file)
        };
        self.symbols = Some(format!("/proc/self/fd/{}", symbols.as_raw_fd()).into());
        self._file = Some(symbols);
        Ok(())
    }

    /// Link-time address of the byte at an offset in the file.
    pub fn address(&self, offset: u64) -> Option<u64> {
        self.segments.iter().find_map(|segment| {
            let within = offset.checked_sub(segment.offset)?;
            let address = segment.address.checked_add(within)?;
            (within < segment.len).then_some(address)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lead_to_files_and_their_link_time_addresses() {
        let target = Target::open(std::process::id()).unwrap();
        let mut map = MemoryMap::default();
        map.refresh(&target);
        let here = MemoryMap::refresh as *const () as u64;
        let (place, offset) = map.find(here).expect("this code is mapped");
        let Place::Module(number) = place else {
            panic!("this code is that of a file, not {place:?}")
        };
        let module = map.get(*number).unwrap();
        assert!(module.symbols.is_some());
        let entry = map.find(0x10);
        assert_eq!(entry, None);
        // The distance between two functions is the same in the file and in memory.
        let other = MemoryMap::find as *const () as u64;
        let (_, other_offset) = map.find(other).unwrap();
        let distance = |a: u64, b: u64| a.wrapping_sub(b);
        assert_eq!(
            distance(
                module.address(offset).unwrap(),
                module.address(other_offset).unwrap()
            ),
            distance(here, other)
        );
        let modules = map.modules.len();
        map.refresh(&target);
        assert_eq!(map.modules.len(), modules, "files are known again");
    }

    #[test]
    fn addresses_between_and_beside_ranges_are_not_mapped() {
        let range = |start, end| Range {
            start,
            end,
            offset: 0x1000,
            place: Place::Named("[x]".into()),
        };
        let map = MemoryMap {
            ranges: vec![range(0x1000, 0x2000), range(0x3000, u64::MAX)],
            ..MemoryMap::default()
        };
        assert!(map.find(0).is_none() && map.find(0x2000).is_none());
        assert_eq!(map.find(0x1fff).unwrap().1, 0x1fff);
        assert!(map.find(u64::MAX).is_none());
        assert!(map.find(0x3000).is_some());
    }
}
