//! The reader `rows`, for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: exoscope_fuzz::write_seeds("rows"),
    |bytes: &[u8]| exoscope_fuzz::readers::rows(bytes)
);
