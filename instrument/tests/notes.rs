//! The notes and markers that a linked binary carries, read from this test's own executable.
#![cfg(all(feature = "enabled", target_os = "linux", target_arch = "x86_64"))]

use std::collections::{BTreeMap, BTreeSet};

use exoscope::instrument;
use exoscope_abi::note::{NOTE_HEADER_LEN, SECTION, SEMAPHORE_SECTION, TYPE, VENDOR};
use exoscope_abi::probe::{MARKER_X86_64, PROVIDER, Probe};
use object::read::elf::{ElfFile64, FileHeader, SectionHeader};
use object::{LittleEndian, Object, ObjectSection, ObjectSegment, SegmentFlags, elf};

#[instrument]
fn plain(value: u32) -> u32 {
    std::hint::black_box(value) + 1
}

#[instrument]
fn fallible(text: &str) -> Result<u32, std::num::ParseIntError> {
    text.parse()
}

#[instrument]
async fn asynchronous(text: &str) -> Result<u32, std::num::ParseIntError> {
    text.parse()
}

struct Kept;

#[instrument]
impl Kept {
    fn method(&self) -> u32 {
        std::hint::black_box(1)
    }
}

/// One of our notes, with what it points at.
struct Site {
    probe: Probe,
    marker: u64,
    text: Vec<String>,
    semaphores: [u64; 2],
    symbol: String,
}

type Executable<'data> = ElfFile64<'data, LittleEndian>;

/// Uses every function, so that the linker keeps them.
fn executable() -> Vec<u8> {
    assert_eq!(plain(1) + Kept.method(), 3);
    assert_eq!(fallible("1"), Ok(1));
    let mut future = std::pin::pin!(asynchronous("1"));
    let waker = std::task::Waker::noop();
    assert!(
        future
            .as_mut()
            .poll(&mut std::task::Context::from_waker(waker))
            .is_ready()
    );
    std::fs::read("/proc/self/exe").expect("the test's own executable can be read")
}

/// Bytes in the file from the link-time address `address` on.
fn at<'data>(file: &Executable<'data>, address: u64) -> &'data [u8] {
    file.segments()
        .find_map(|segment| {
            let offset = address.checked_sub(segment.address())?;
            segment.data().ok()?.get(offset as usize..)
        })
        .expect("the address lies in the file")
}

/// Descriptors of the notes in `section` with their vendor's name and type.
fn notes(file: &Executable<'_>, section: &str) -> Vec<(Vec<u8>, u32, Vec<u8>)> {
    let endian = file.endian();
    let header = file.elf_header();
    let sections = header
        .sections(endian, file.data())
        .expect("it has sections");
    let (_, section) = sections
        .section_by_name(endian, section.as_bytes())
        .expect("it has the section");
    let mut notes = section
        .notes(endian, file.data())
        .expect("it parses")
        .expect("it has notes");
    let mut found = Vec::new();
    while let Some(note) = notes.next().expect("the note parses") {
        found.push((
            note.name_bytes().to_vec(),
            note.n_type(endian),
            note.desc().to_vec(),
        ));
    }
    found
}

fn strings(bytes: &[u8], count: usize) -> Vec<String> {
    bytes
        .split(|&byte| byte == 0)
        .take(count)
        .map(|text| String::from_utf8(text.to_vec()).expect("it is UTF-8"))
        .collect()
}

/// The address lies where code is. Of a function that the linker dropped, notes stay behind.
fn is_code(file: &Executable<'_>, address: u64) -> bool {
    file.segments().any(|segment| {
        let range = segment.address()..segment.address() + segment.size();
        let SegmentFlags::Elf { p_flags } = segment.flags() else {
            return false;
        };
        range.contains(&address) && p_flags & elf::PF_X != 0
    })
}

fn sites(file: &Executable<'_>) -> Vec<Site> {
    let number = |bytes: &[u8], at: usize| {
        u64::from_le_bytes(bytes[at..at + 8].try_into().expect("it is 8 bytes"))
    };
    let word = |bytes: &[u8], at: usize| {
        u32::from_le_bytes(bytes[at..at + 4].try_into().expect("it is 4 bytes"))
    };
    let site = |(name, kind, note): (Vec<u8>, u32, Vec<u8>)| {
        assert_eq!((name.as_slice(), kind), (VENDOR.as_slice(), TYPE));
        assert_eq!(word(&note, 0), exoscope_abi::ABI_VERSION);
        let function = number(&note, 16);
        let dropped = function == 0 || !is_code(file, number(&note, 8));
        Site {
            probe: Probe::from_number(word(&note, 4)).expect("it is a probe"),
            marker: number(&note, 8),
            text: if dropped {
                Vec::new()
            } else {
                strings(at(file, function), 3)
            },
            semaphores: [number(&note, 24), number(&note, 32)],
            symbol: strings(&note[NOTE_HEADER_LEN..], 1).concat(),
        }
    };
    notes(file, SECTION)
        .into_iter()
        .map(site)
        .filter(|site| is_code(file, site.marker))
        .collect()
}

#[test]
fn every_function_has_its_probes_and_its_text() {
    let bytes = executable();
    let file = Executable::parse(bytes.as_slice()).expect("it is an ELF file");
    let mut functions: BTreeMap<String, Vec<Probe>> = BTreeMap::new();
    for site in sites(&file).iter().filter(|site| site.probe.has_function()) {
        let [path, source, line] = site.text.as_slice() else {
            panic!("the text has 3 parts")
        };
        assert!(source.ends_with("tests/notes.rs"), "{path} is in {source}");
        let code = include_str!("notes.rs")
            .lines()
            .nth(line.parse::<usize>().unwrap_or(0) - 1);
        let name = path.rsplit("::").next().expect("the path has a name");
        assert!(
            code.is_some_and(|code| code.contains(&format!("fn {name}("))),
            "{path} {line}"
        );
        assert!(
            site.symbol.contains(name),
            "{} is the symbol of {path}",
            site.symbol
        );
        functions.entry(path.clone()).or_default().push(site.probe);
    }
    for probes in functions.values_mut() {
        probes.sort();
        probes.dedup();
    }
    let all = vec![Probe::Entry, Probe::Exit, Probe::Error];
    let polled = [all.clone(), vec![Probe::PollBegin, Probe::PollEnd]].concat();
    let expected = [
        ("notes::Kept::method", all.clone()),
        ("notes::asynchronous", polled),
        ("notes::fallible", all.clone()),
        ("notes::plain", all),
    ];
    assert_eq!(
        functions,
        expected
            .map(|(name, probes)| (name.to_owned(), probes))
            .into()
    );
}

#[test]
fn every_marker_is_the_bytes_of_the_abi() {
    let bytes = executable();
    let file = Executable::parse(bytes.as_slice()).expect("it is an ELF file");
    let sites = sites(&file);
    assert_eq!(
        sites
            .iter()
            .filter(|site| site.probe == Probe::ForkGuard)
            .count(),
        1
    );
    for site in &sites {
        assert_eq!(at(&file, site.marker)[..MARKER_X86_64.len()], MARKER_X86_64);
    }
}

#[test]
fn tools_find_the_same_markers_in_the_systemtap_notes() {
    let bytes = executable();
    let file = Executable::parse(bytes.as_slice()).expect("it is an ELF file");
    let mut ours: Vec<_> = sites(&file)
        .iter()
        .map(|site| (site.marker, site.probe.name().to_owned()))
        .collect();
    let mut theirs: Vec<_> = notes(&file, ".note.stapsdt")
        .into_iter()
        .map(|(_, _, note)| {
            let marker = u64::from_le_bytes(note[..8].try_into().expect("it is 8 bytes"));
            let texts = strings(&note[24..], 2);
            assert_eq!(texts[0], PROVIDER);
            (marker, texts[1].clone())
        })
        .filter(|(marker, _)| is_code(&file, *marker))
        .collect();
    ours.sort();
    theirs.sort();
    assert_eq!(ours, theirs);
}

#[test]
fn tools_raise_one_semaphore_for_all_functions() {
    let bytes = executable();
    let file = Executable::parse(bytes.as_slice()).expect("it is an ELF file");
    let mut raised: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for (_, _, note) in notes(&file, ".note.stapsdt") {
        let word = |at: usize| u64::from_le_bytes(note[at..at + 8].try_into().expect("8 bytes"));
        let probe = strings(&note[24..], 2)[1].clone();
        if is_code(&file, word(0)) {
            raised.entry(probe).or_default().insert(word(16));
        }
    }
    let of = |probe: &str| raised[probe].first().copied().expect("it has one");
    let (calls, errors) = (of("entry"), of("error"));
    assert_eq!(raised["entry"], BTreeSet::from([calls]));
    assert_eq!(raised["exit"], BTreeSet::from([calls]));
    assert_eq!(raised["error"], BTreeSet::from([errors]));
    assert_eq!(errors, calls + 2);
    let section = file
        .section_by_name(SEMAPHORE_SECTION)
        .expect("it has semaphores");
    let range = section.address()..section.address() + section.size();
    assert!(range.contains(&calls) && range.contains(&errors));
    let ours = sites(&file).into_iter().flat_map(|site| site.semaphores);
    assert!(ours.into_iter().all(|ours| ours != calls && ours != errors));
}

#[test]
fn semaphores_lie_on_pages_of_their_own_that_can_be_written() {
    let bytes = executable();
    let file = Executable::parse(bytes.as_slice()).expect("it is an ELF file");
    let section = file
        .section_by_name(SEMAPHORE_SECTION)
        .expect("it has semaphores");
    let range = section.address()..section.address() + section.size();
    assert_eq!(range.start % 4096, 0);
    let header = file.elf_header();
    let segments = header
        .program_headers(LittleEndian, bytes.as_slice())
        .expect("it has segments");
    for relro in segments
        .iter()
        .filter(|s| s.p_type.get(LittleEndian) == elf::PT_GNU_RELRO)
    {
        let start = relro.p_vaddr.get(LittleEndian);
        let end = start + relro.p_memsz.get(LittleEndian);
        assert!(
            range.end <= start || end <= range.start,
            "read-only after relocation"
        );
    }
    let exits = sites(&file)
        .into_iter()
        .filter(|site| site.probe == Probe::Exit);
    for [start, detail] in exits.map(|site| site.semaphores) {
        assert!(range.contains(&start) && start % 2 == 0 && detail == 0);
    }
}
