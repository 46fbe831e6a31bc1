//! With the feature off nothing of exoscope is in the binary, and the agent says how to turn it on.

use std::process::Command;

use exoscope_tests::build::{Build, exoscope};
use object::{Object as _, ObjectSection as _};

use crate::VARIANTS;
use crate::refusal::{self, says};

fn section_names(build: Build) -> Vec<String> {
    let bytes = std::fs::read(build.binary()).expect("it was built");
    let elf = object::File::parse(&*bytes).expect("it is an ELF file");
    elf.sections()
        .filter_map(|section| section.name().ok().map(str::to_owned))
        .collect()
}

#[test]
fn there_are_no_notes_and_no_semaphores() {
    const OURS: [&str; 4] = [
        ".note.exoscope",
        ".note.stapsdt",
        ".stapsdt.base",
        ".probes",
    ];
    let has = |build, section: &str| section_names(build).iter().any(|name| name == section);
    for section in OURS {
        assert!(has(VARIANTS, section), "{section} with the feature on");
        assert!(
            !has(VARIANTS.disabled(), section),
            "{section} with the feature off"
        );
    }
}

#[test]
fn there_is_no_byte_of_the_library() {
    let count = |build: Build| {
        let bytes = std::fs::read(build.profile("stripped").binary()).expect("it was built");
        bytes
            .windows(8)
            .filter(|window| window == b"exoscope")
            .count()
    };
    assert!(count(VARIANTS) > 0, "the name is in the markers");
    assert_eq!(count(VARIANTS.disabled()), 0);
}

#[test]
fn sites_says_how_to_turn_it_on() {
    let mut command = Command::new(exoscope());
    let sentence = refusal::of(command.arg("sites").arg(VARIANTS.disabled().binary()));
    says(
        &sentence,
        &[
            "has no exoscope markers",
            "the feature that switches `exoscope/enabled` on",
        ],
    );
}
