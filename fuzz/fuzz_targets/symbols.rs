//! The reader `symbols`, for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: exoscope_fuzz::write_seeds("symbols"),
    |bytes: &[u8]| exoscope_fuzz::readers::symbols(bytes)
);
