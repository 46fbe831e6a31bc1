//! Every way to build a program, attached to in every way: the rows are what the program did.

use std::path::Path;

use exoscope_tests::agent::{Bench, detach, is_attached};
use exoscope_tests::build::Build;
use exoscope_tests::calls::Calls;
use exoscope_tests::memory::Traces;
use exoscope_tests::process::Process;
use object::elf::{ET_DYN, PT_INTERP};
use object::read::elf::{ElfFile64, ProgramHeader as _};
use object::{Object as _, ObjectSection as _};

use crate::{VARIANTS, truth_of};

/// What rustc is told to leave its own linker, with which it links otherwise.
const SYSTEM_LINKER: &str = "-Clinker-features=-lld";

/// Captures from before `main` to the end.
fn run(binary: &Path, options: &[&str]) {
    let bench = Bench::new();
    let end = bench.run(options, binary, &[]);
    assert_eq!(end.status.code(), Some(0), "{:#?}", end.stderr);
    let database = bench.database();
    database.holds(&truth_of(&database, &end.stdout));
}

/// Captures from a running process.
fn attach(binary: &Path, options: &[&str]) {
    let bench = Bench::new();
    let mut target = Process::ready_target(binary, &[]);
    let agent = bench.attach(target.pid(), options);
    target.go_on();
    let truth = Calls::told(&target.pauses_at("done"), target.pid());
    detach(agent);
    bench.database().holds(&truth);
    target.ends_well();
}

/// All ways to attach to one build.
fn captured(build: Build) {
    let binary = build.binary();
    for markers in ["safe", "fast"] {
        run(&binary, &["--markers", markers]);
        attach(&binary, &["--markers", markers]);
    }
}

/// What the linker wrote about itself, and the compiler.
fn comment(binary: &Path) -> String {
    let bytes = std::fs::read(binary).expect("it was built");
    let elf = object::File::parse(&*bytes).expect("it is an ELF file");
    let section = elf
        .section_by_name(".comment")
        .expect("compilers sign what they build");
    String::from_utf8_lossy(section.data().expect("it is readable")).into_owned()
}

#[test]
fn debug() {
    captured(VARIANTS.profile("dev"));
}

#[test]
fn release_with_rust_lld() {
    assert!(comment(&VARIANTS.binary()).contains("LLD"));
    captured(VARIANTS);
}

#[test]
fn exits_only() {
    let bench = Bench::new();
    // The kernel allows one place for the semaphore of an instruction, so a file that is captured
    // in full elsewhere can not be captured like this at the same time.
    let binary = VARIANTS.copy_to(bench.path());
    for markers in ["safe", "fast"] {
        run(&binary, &["--capture", "exits", "--markers", markers]);
        attach(&binary, &["--capture", "exits", "--markers", markers]);
    }
}

#[test]
fn opt_level_s() {
    captured(VARIANTS.profile("opt-s"));
}

#[test]
fn opt_level_z() {
    captured(VARIANTS.profile("opt-z"));
}

#[test]
fn fat_lto() {
    captured(VARIANTS.profile("fat-lto"));
}

#[test]
fn panic_abort() {
    captured(VARIANTS.profile("panic-abort"));
}

#[test]
fn stripped() {
    captured(VARIANTS.profile("stripped"));
}

#[test]
fn gnu_ld() {
    let build = VARIANTS.flags(&[SYSTEM_LINKER, "-Clink-arg=-fuse-ld=bfd"]);
    let comment = comment(&build.binary());
    assert!(
        !comment.contains("LLD") && !comment.contains("mold"),
        "{comment}"
    );
    captured(build);
}

#[test]
fn lld_of_the_system() {
    let build = VARIANTS.flags(&[SYSTEM_LINKER, "-Clink-arg=-fuse-ld=lld"]);
    let (own, system) = (comment(&VARIANTS.binary()), comment(&build.binary()));
    assert!(
        system.contains("LLD") && own != system,
        "{own} and {system}"
    );
    captured(build);
}

#[test]
fn mold() {
    let build = VARIANTS.flags(&[SYSTEM_LINKER, "-Clink-arg=-fuse-ld=mold"]);
    assert!(comment(&build.binary()).contains("mold"));
    captured(build);
}

#[test]
fn static_pie() {
    let build = VARIANTS.flags(&["-Ctarget-feature=+crt-static"]);
    let bytes = std::fs::read(build.binary()).expect("it was built");
    let elf = ElfFile64::<object::Endianness>::parse(&*bytes).expect("it is an ELF file");
    let endian = elf.endian();
    assert_eq!(
        elf.elf_header().e_type.get(endian),
        ET_DYN,
        "it can be loaded anywhere"
    );
    let interpreter = |header: &object::elf::ProgramHeader64<_>| header.p_type(endian) == PT_INTERP;
    assert!(
        !elf.elf_program_headers().iter().any(interpreter),
        "it is linked statically"
    );
    captured(build);
}

#[test]
fn library_loaded_before_attaching() {
    let (host, plugin) = (
        Build::release("host").binary(),
        Build::release("plugin").binary(),
    );
    let bench = Bench::new();
    let mut target = Process::ready_target(&host, &[path(&plugin)]);
    let agent = bench.attach(target.pid(), &[]);
    target.go_on();
    let truth = Calls::told(&target.pauses_at("done"), target.pid());
    detach(agent);
    bench.database().holds(&truth);
    target.ends_well();
}

#[test]
fn library_loaded_during_the_session() {
    let (host, plugin) = (
        Build::release("host").binary(),
        Build::release("plugin").binary(),
    );
    let bench = Bench::new();
    let mut target = Process::ready_target(&host, &[path(&plugin), "--late"]);
    let mut agent = bench.attach(target.pid(), &[]);
    target.go_on();
    target.pauses_at("loaded");
    is_attached(&mut agent);
    target.go_on();
    let truth = Calls::told(&target.pauses_at("done"), target.pid());
    detach(agent);
    bench.database().holds(&truth);
    target.ends_well();
}

#[test]
fn library_loaded_by_a_started_program() {
    let (host, plugin) = (
        Build::release("host").binary(),
        Build::release("plugin").binary(),
    );
    let bench = Bench::new();
    let mut agent =
        Process::start(&mut bench.run_command(&[], &host, &[path(&plugin), "--wait-stdin"]));
    is_attached(&mut agent);
    agent.pauses_at("ready");
    is_attached(&mut agent);
    agent.go_on();
    let lines = agent.pauses_at("done");
    agent.go_on();
    assert_eq!(agent.end().status.code(), Some(0));
    let database = bench.database();
    database.holds(&truth_of(&database, &lines));
}

/// The kernel puts probes into it while its loader maps it, and takes them out of what that left mapped.
#[test]
fn library_loaded_again_whatever_linked_it() {
    const LINKERS: [&[&str]; 3] = [
        &[SYSTEM_LINKER, "-Clink-arg=-fuse-ld=bfd"],
        &[SYSTEM_LINKER, "-Clink-arg=-fuse-ld=lld"],
        &[SYSTEM_LINKER, "-Clink-arg=-fuse-ld=mold"],
    ];
    let host = Build::release("host").binary();
    for linker in LINKERS {
        let bench = Bench::new();
        let plugin = Build::release("plugin").flags(linker).copy_to(bench.path());
        let mut target = Process::ready_target(&host, &[path(&plugin), "--reload"]);
        let agent = bench.attach(target.pid(), &[]);
        target.go_on();
        let truth = Calls::told(&target.pauses_at("done"), target.pid());
        assert_ne!(Traces::of(target.pid()), Traces::NONE, "{linker:?}");
        detach(agent);
        assert_eq!(Traces::of(target.pid()), Traces::NONE, "{linker:?}");
        bench.database().holds(&truth);
        target.ends_well();
    }
}

fn path(path: &Path) -> &str {
    path.to_str().expect("the target folder's path is UTF-8")
}
