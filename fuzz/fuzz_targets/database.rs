//! The reader `database`, for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: exoscope_fuzz::write_seeds("database"),
    |bytes: &[u8]| exoscope_fuzz::readers::database(bytes)
);
