//! The reader `replay`, for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: exoscope_fuzz::write_seeds("replay"),
    |bytes: &[u8]| exoscope_fuzz::readers::replay(bytes)
);
