//! The reader `fields`, for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: exoscope_fuzz::write_seeds("fields"),
    |bytes: &[u8]| exoscope_fuzz::readers::fields(bytes)
);
