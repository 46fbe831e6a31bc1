//! The reader `records`, for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: exoscope_fuzz::write_seeds("records"),
    |bytes: &[u8]| exoscope_fuzz::readers::records(bytes)
);
