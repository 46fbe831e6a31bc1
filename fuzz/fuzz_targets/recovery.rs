//! The reader `recovery`, for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: exoscope_fuzz::write_seeds("recovery"),
    |bytes: &[u8]| exoscope_fuzz::readers::recovery(bytes)
);
