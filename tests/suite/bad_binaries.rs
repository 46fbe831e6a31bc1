//! Binaries that are cut off, newer, or lie: they are refused or what is wrong in them is left out,
//! and a process that runs one is never harmed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use exoscope_abi::note::{SECTION, SEMAPHORE_SECTION, VENDOR};
use exoscope_tests::agent::{Bench, detach};
use exoscope_tests::build::exoscope;
use exoscope_tests::calls::Calls;
use exoscope_tests::memory::Traces;
use exoscope_tests::process::Process;
use object::{Object as _, ObjectSection as _};

use crate::VARIANTS;
use crate::refusal::{self, says};

/// Offsets in a note's descriptor, as `exoscope_abi::note::NoteHeader` lays it out.
const ABI: usize = 0;
const PROBE: usize = 4;
const MARKER: usize = 8;
const START_SEMAPHORE: usize = 24;
const DETAIL_SEMAPHORE: usize = 32;
/// Number of the probe `entry`.
const ENTRY: u32 = 0;

/// A binary to be changed.
struct Forgery {
    bench: Bench,
    bytes: Vec<u8>,
    /// Where the section of the notes lies in the file.
    section: std::ops::Range<usize>,
    /// Offsets in the file of the notes' descriptors.
    notes: Vec<usize>,
}

impl Forgery {
    fn new() -> Self {
        let bytes = fs::read(VARIANTS.profile("stripped").binary()).expect("it was built");
        let elf = object::File::parse(&*bytes).expect("it is an ELF file");
        let section = elf.section_by_name(SECTION).expect("it has markers");
        let (start, len) = section
            .file_range()
            .expect("notes have their place in the file");
        let start = usize::try_from(start).expect("files are small");
        let section = start..start + usize::try_from(len).expect("files are small");
        let mut forgery = Self {
            bench: Bench::new(),
            bytes,
            section,
            notes: Vec::new(),
        };
        forgery.find_notes();
        forgery
    }

    fn find_notes(&mut self) {
        let mut at = self.section.start;
        while at < self.section.end {
            let word = |n: usize| self.word(at + 4 * n) as usize;
            let name = at + 12;
            let descriptor = name + word(0).next_multiple_of(4);
            assert_eq!(&self.bytes[name..name + word(0)], VENDOR);
            at = descriptor + word(1).next_multiple_of(4);
            self.notes.push(descriptor);
        }
        assert!(self.notes.len() > 50, "{} notes", self.notes.len());
    }

    fn word(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.bytes[at..at + 4].try_into().expect("4 bytes"))
    }

    fn long(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.bytes[at..at + 8].try_into().expect("8 bytes"))
    }

    fn set_long(&mut self, at: usize, value: u64) {
        self.bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }

    /// Changes the address at `field` of every note for which it is not 0.
    fn move_all(&mut self, field: usize, to: impl Fn(u64) -> u64) {
        for note in self.notes.clone() {
            let address = self.long(note + field);
            if address != 0 {
                self.set_long(note + field, to(address));
            }
        }
    }

    /// Writes the binary, so that it can be run.
    fn write(&self) -> PathBuf {
        let path = self.bench.path().join("forged");
        fs::copy(VARIANTS.profile("stripped").binary(), &path).expect("the folder is writable");
        fs::write(&path, &self.bytes).expect("the folder is writable");
        path
    }
}

fn sites(path: &Path) -> Command {
    let mut command = Command::new(exoscope());
    command.arg("sites").arg(path);
    command
}

/// Attaches to a running forgery; the target must do its work as if nobody was there, and nothing
/// may stay attached. Gives back its truth, the file's calls, and what the agent said.
fn attached(forgery: &Forgery, options: &[&str]) -> (Calls, Calls, String) {
    let bench = Bench::new();
    let mut target = Process::ready_target(&forgery.write(), &["--calls", "7"]);
    let agent = bench.attach(target.pid(), options);
    target.go_on();
    let truth = Calls::told(&target.pauses_at("done"), target.pid());
    let end = detach(agent);
    assert_eq!(Traces::of(target.pid()), Traces::NONE);
    target.ends_well();
    (truth, bench.database().functions(), end.stderr.join("\n"))
}

#[test]
fn markers_of_a_newer_version() {
    let mut forgery = Forgery::new();
    let last = *forgery.notes.last().expect("it has markers");
    forgery.bytes[last + ABI] = 2;
    let path = forgery.write();
    let parts = [
        "markers of version 2",
        "this program knows version 1",
        "install a newer exoscope",
    ];
    says(&refusal::of(&mut sites(&path)), &parts);
    let mut target = Process::ready_target(&path, &["--calls", "3"]);
    let bench = Bench::new();
    says(
        &refusal::of(&mut bench.attach_command(target.pid(), &[])),
        &parts,
    );
    says(
        &refusal::of(&mut bench.run_command(&[], &path, &["--calls", "3"])),
        &parts,
    );
    refusal::leaves_nothing(&bench);
    target.go_on();
    target.pauses_at("done");
    target.ends_well();
}

#[test]
fn a_truncated_file() {
    let forgery = Forgery::new();
    let path = forgery.write();
    let whole = forgery.bytes.len();
    let lengths = [
        0,
        1,
        4,
        16,
        63,
        64,
        65,
        600,
        whole / 2,
        forgery.section.start,
        whole - 1,
    ];
    for length in lengths {
        fs::write(&path, &forgery.bytes[..length]).expect("the folder is writable");
        let sentence = refusal::of(&mut sites(&path));
        says(&sentence, &["forged", "is no usable ELF file"]);
    }
}

#[test]
fn something_else_than_a_file() {
    let bench = Bench::new();
    let pipe = bench.path().join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .expect("it is installed")
            .success()
    );
    for path in [bench.path(), &pipe, Path::new("/dev/zero")] {
        says(&refusal::of(&mut sites(path)), &["not a regular file"]);
    }
    says(
        &refusal::of(&mut sites(Path::new("/no/such/file"))),
        &["can't read the binary /no/such/file"],
    );
}

#[test]
fn a_section_of_absurd_size() {
    let mut forgery = Forgery::new();
    let header = section_header(&forgery);
    for size in [1 << 31, 1 << 40, u64::MAX, u64::MAX - header as u64] {
        forgery.set_long(header + 32, size);
        says(&refusal::of(&mut sites(&forgery.write())), &[SECTION]);
    }
}

/// Offset in the file of the section header of the notes.
fn section_header(forgery: &Forgery) -> usize {
    /// Bytes of a section header, and the offset of `sh_offset` in it.
    const HEADER: (usize, usize) = (64, 24);
    let headers = usize::try_from(forgery.long(40)).expect("files are small");
    (headers..forgery.bytes.len() - HEADER.0)
        .step_by(HEADER.0)
        .find(|header| forgery.long(header + HEADER.1) == forgery.section.start as u64)
        .expect("the section has a header")
}

#[test]
fn a_marker_that_is_none_is_left_out() {
    for shift in [1, 5, 11, 0x40] {
        let mut forgery = Forgery::new();
        // Every other entry: the first byte that would be rewritten is someone else's instruction.
        let entries: Vec<usize> = forgery
            .notes
            .iter()
            .copied()
            .filter(|note| forgery.word(note + PROBE) == ENTRY)
            .collect();
        for note in entries.iter().step_by(2) {
            let address = forgery.long(note + MARKER);
            forgery.set_long(note + MARKER, address + shift);
        }
        for markers in ["safe", "fast"] {
            let (truth, stored, said) = attached(&forgery, &["--markers", markers]);
            says(
                &said,
                &[
                    "warning: ",
                    "are left out: no marker's instructions at the marker",
                ],
            );
            assert!(
                stored.total() < truth.total(),
                "calls without an entry are not stored"
            );
        }
    }
}

#[test]
fn markers_outside_of_the_code_are_left_out() {
    let mut forgery = Forgery::new();
    forgery.move_all(MARKER, |address| address + (1 << 40));
    let bench = Bench::new();
    let mut target = Process::ready_target(&forgery.write(), &["--calls", "3"]);
    refusal::of(&mut bench.attach_command(target.pid(), &[]));
    refusal::leaves_nothing(&bench);
    assert_eq!(Traces::of(target.pid()), Traces::NONE);
    target.go_on();
    target.pauses_at("done");
    target.ends_well();
}

/// The kernel adds 1 to whatever a semaphore's address names.
#[test]
fn semaphores_that_are_none_are_left_out() {
    let data = writable_data(&Forgery::new());
    let lies: [&dyn Fn(u64) -> u64; 4] = [
        &|address| address + 1,
        &|_| 0x10,
        &|address| address + (1 << 40),
        &|_| data,
    ];
    for lie in lies {
        let mut forgery = Forgery::new();
        forgery.move_all(DETAIL_SEMAPHORE, lie);
        forgery.move_all(START_SEMAPHORE, lie);
        let bench = Bench::new();
        let mut target = Process::ready_target(&forgery.write(), &["--calls", "3"]);
        let sentence = refusal::of(&mut bench.attach_command(target.pid(), &[]));
        says(&sentence, &["can be used", "times: semaphore"]);
        refusal::leaves_nothing(&bench);
        assert_eq!(Traces::of(target.pid()), Traces::NONE);
        target.go_on();
        target.pauses_at("done");
        target.ends_well();
    }
}

/// Address of writable data that are no semaphores.
fn writable_data(forgery: &Forgery) -> u64 {
    let elf = object::File::parse(&*forgery.bytes).expect("it is an ELF file");
    let data = elf
        .section_by_name(".data")
        .expect("the standard library has writable data");
    assert!(elf.section_by_name(SEMAPHORE_SECTION).is_some());
    data.address().next_multiple_of(2)
}

/// Random damage to notes and headers. Whatever the bytes say, the agent ends by itself with a list
/// or with one sentence.
#[test]
fn random_damage_never_crashes_or_hangs() {
    const SEED: u64 = 0x65_78_6f_73_63_6f_70_65;
    const ROUNDS: usize = 600;
    let whole = Forgery::new();
    let mut random = fastrand::Rng::with_seed(SEED);
    let headers = usize::try_from(whole.long(40)).expect("files are small");
    let targets = [
        0..64,
        64..64 + 14 * 56,
        whole.section.clone(),
        headers..whole.bytes.len(),
    ];
    for round in 0..ROUNDS {
        let mut forgery = Forgery {
            bytes: whole.bytes.clone(),
            ..Forgery::new()
        };
        let range = targets[round % targets.len()].clone();
        for _ in 0..random.usize(1..9) {
            let at = random.usize(range.clone());
            let any = random.u8(..);
            forgery.bytes[at] = *random.choice(&[0, 1, 0x7f, 0x80, 0xff, any]).expect("six");
        }
        let end = Process::start(&mut sites(&forgery.write())).end();
        match end.status.code() {
            Some(0) => assert_eq!(end.stderr, [""; 0], "round {round}"),
            _ => drop(refusal::sentence(&end)),
        }
    }
}
