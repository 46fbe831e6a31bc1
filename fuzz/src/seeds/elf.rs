//! A small binary.

use exoscope_abi::note::{SECTION, SEMAPHORE_SECTION, TYPE, VENDOR};
use exoscope_abi::probe::Probe;
use exoscope_agent::target::elf::MARKER;

/// Address at which the small binary is loaded: offsets in the file are addresses less this.
const BASE: u64 = 0x1000;

/// A binary with one function, of two markers.
pub fn elf() -> Vec<Vec<u8>> {
    vec![
        Elf::default().with_function().finished(),
        b"\x7fELF".to_vec(),
    ]
}

/// A small binary while it is put together: a header, one program header, and what follows.
struct Elf {
    bytes: Vec<u8>,
    /// Names of sections, with their offsets and lengths.
    sections: Vec<(&'static str, usize, usize)>,
}

impl Default for Elf {
    fn default() -> Self {
        Self {
            bytes: vec![0; 64 + 56],
            sections: vec![("", 0, 0)],
        }
    }
}

impl Elf {
    fn section(&mut self, name: &'static str, bytes: &[u8]) -> u64 {
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        let at = self.bytes.len();
        self.bytes.extend(bytes);
        self.sections.push((name, at, bytes.len()));
        BASE + at as u64
    }

    fn with_function(mut self) -> Self {
        let text = self.section(".rodata", b"app::work\0src/main.rs\x007\0");
        let semaphores = self.section(SEMAPHORE_SECTION, &[0; 4]);
        let markers = self.section(".text", &[MARKER, MARKER].concat());
        let mut notes = Vec::new();
        for (number, probe) in [(0, Probe::Entry), (1, Probe::Exit)] {
            let marker = markers + number * MARKER.len() as u64;
            let mut descriptor = 1_u32.to_le_bytes().to_vec();
            descriptor.extend((probe as u32).to_le_bytes());
            for address in [marker, text, semaphores, semaphores + 2] {
                descriptor.extend(address.to_le_bytes());
            }
            descriptor.extend(b"_ZN3app4work17h0123456789abcdefE\0");
            for word in [VENDOR.len() as u32, descriptor.len() as u32, TYPE] {
                notes.extend(word.to_le_bytes());
            }
            for part in [&VENDOR[..], &descriptor] {
                notes.extend(part);
                notes.resize(notes.len().next_multiple_of(4), 0);
            }
        }
        self.section(SECTION, &notes);
        self
    }

    fn finished(mut self) -> Vec<u8> {
        let mut names = Vec::new();
        let mut places = Vec::new();
        for (name, ..) in self.sections.iter().chain([&(".shstrtab", 0, 0)]) {
            places.push(names.len() as u32);
            names.extend(name.bytes().chain([0]));
        }
        self.section(".shstrtab", &names);
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        let table = self.bytes.len();
        for ((name, at, len), place) in self.sections.iter().zip(&places) {
            // Type and flags do not matter to the reader but of the table of names.
            let kind = if name.is_empty() {
                0
            } else if *name == ".shstrtab" {
                3
            } else {
                1_u32
            };
            self.bytes.extend(place.to_le_bytes());
            self.bytes.extend(kind.to_le_bytes());
            for value in [7, BASE + *at as u64, *at as u64, *len as u64, 0, 4, 0] {
                self.bytes.extend(value.to_le_bytes());
            }
        }
        let count = self.sections.len() as u16;
        self.headers(table as u64, count);
        self.bytes
    }

    fn headers(&mut self, table: u64, count: u16) {
        let machine: u16 = if cfg!(target_arch = "x86_64") {
            62
        } else {
            183
        };
        let mut header = b"\x7fELF\x02\x01\x01".to_vec();
        header.resize(16, 0);
        header.extend(3_u16.to_le_bytes());
        header.extend(machine.to_le_bytes());
        header.extend(1_u32.to_le_bytes());
        for value in [0, 64, table] {
            header.extend(value.to_le_bytes());
        }
        header.extend(0_u32.to_le_bytes());
        for value in [64, 56, 1, 64, count, count - 1] {
            header.extend(value.to_le_bytes());
        }
        // One segment with everything, readable, writable and executable.
        let len = self.bytes.len() as u64;
        header.extend([1_u32, 7].map(u32::to_le_bytes).concat());
        for value in [0, BASE, BASE, len, len, 0x1000] {
            header.extend(value.to_le_bytes());
        }
        self.bytes[..header.len()].copy_from_slice(&header);
    }
}
