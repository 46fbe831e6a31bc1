//! The reader `samples`, for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: exoscope_fuzz::write_seeds("samples"),
    |bytes: &[u8]| exoscope_fuzz::readers::samples(bytes)
);
