//! What a target, or who runs it, chooses: its binary, its names in `/proc`.

use std::fs::{self, File};

use exoscope_agent::kernel_types::KernelTypes;
use exoscope_agent::sample::memory_map::MemoryMap;
use exoscope_agent::sample::symbols::Symbols;
use exoscope_agent::stats::parse;
use exoscope_agent::stats::sample::Name;
use exoscope_agent::target::elf::{self as binary, MARKER};
use exoscope_agent::target::process::Target;
use memmap2::MmapOptions;
use procfs::process::{MemoryMaps, Stat};
use procfs::{FromBufRead as _, FromRead as _};

use crate::scratch;

/// The notes of a binary.
pub fn elf(bytes: &[u8]) {
    let folder = scratch();
    let path = folder.path().join("binary");
    fs::write(&path, bytes).expect("there is room");
    let Ok(found) = binary::read(&path) else {
        return;
    };
    for site in &found.sites {
        let marker = site.offset as usize;
        assert_eq!(&bytes[marker..marker + MARKER.len()], MARKER);
        let known = |index| index < found.functions.len();
        assert!(site.function.is_none_or(known));
        for semaphore in [site.start_semaphore, site.detail_semaphore] {
            assert!(semaphore == 0 || semaphore as usize + 2 <= bytes.len());
        }
    }
    for function in &found.functions {
        assert!(!function.path.is_empty() && !function.path.chars().any(char::is_control));
    }
}

/// The names of code in a library that this process has mapped.
pub fn symbols(bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    // Not in memory, where systems often map nothing to be executed.
    let folder = tempfile::tempdir().expect("there is room");
    let path = folder.path().join("hostile.so");
    fs::write(&path, bytes).expect("there is room");
    let file = File::open(&path).expect("it was written");
    // SAFETY: nobody else knows the file, and it is written no more; the mapping is not read.
    let mapped = unsafe { MmapOptions::new().len(bytes.len()).map_exec(&file) };
    let mapped = mapped.expect("code may be mapped");
    let target = Target::open(std::process::id()).expect("this process runs");
    let mut map = MemoryMap::default();
    map.refresh(&target);
    let mut symbols = Symbols::default();
    for part in 0..16 {
        let address = mapped.as_ptr() as usize + bytes.len() * part / 16;
        let functions = symbols.functions(&map, address as u64);
        assert!(!functions.is_empty());
    }
    for frame in symbols.take_new() {
        assert!(frame.function.chars().count() <= 1024, "{frame:?}");
    }
}

/// What the kernel says about processes and groups. The first piece of the bytes is a name that the
/// target chose; such names stand in the midst of numbers that nobody chooses.
pub fn proc(bytes: &[u8]) {
    let _ = (parse::schedstat(bytes), parse::thread_status(bytes));
    let _ = (parse::pressure(bytes), parse::single(bytes));
    let _ = parse::keyed_kib(bytes, "VmRSS:");
    assert!(Name::new(bytes).to_string().chars().count() <= 16);

    let name = &bytes[..bytes.len().min(15)];
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    let numbers = " S 1 1 1 0 -1 4194560 1 0 0 0 1 2 0 0 20 0 1 0 5 6 7 18446744073709551615 1 1 0 0 0 \
                   0 0 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n";
    let stat = [b"42 (", name, b")", numbers.as_bytes()].concat();
    let stat = Stat::from_read(&stat[..]).expect("the kernel wrote the rest");
    assert_eq!((stat.pid, stat.state), (42, 'S'));

    // The kernel writes an end of line in a path as `\012`.
    let path = bytes.split(|byte| matches!(byte, 0 | b'\n'));
    let path = path.into_iter().next().unwrap_or_default();
    let line = b"55d0c0a00000-55d0c0a21000 r-xp 00001000 fe:00 1311 /";
    let maps = [line, path, b"\n"].concat();
    let _ = MemoryMaps::from_buf_read(&maps[..]);
}

/// The kernel's description of its types.
pub fn kernel_types(bytes: &[u8]) {
    let Ok(types) = KernelTypes::parse(bytes.to_vec()) else {
        return;
    };
    let _ = (types.function("f"), types.type_alias("t"));
    for structure in ["s", "t", "u"] {
        let _ = types.size_of(structure);
        for member in ["a", "b", "a.b", "a.a.a.a"] {
            let _ = types.member(structure, member);
        }
    }
}
