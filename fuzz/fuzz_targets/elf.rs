//! The reader `elf`, for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: exoscope_fuzz::write_seeds("elf"),
    |bytes: &[u8]| exoscope_fuzz::readers::elf(bytes)
);
