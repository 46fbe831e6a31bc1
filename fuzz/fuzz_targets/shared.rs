//! The reader `shared`, for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: exoscope_fuzz::write_seeds("shared"),
    |bytes: &[u8]| exoscope_fuzz::readers::shared(bytes)
);
