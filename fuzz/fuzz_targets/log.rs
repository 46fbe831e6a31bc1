//! The reader `log`, for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: exoscope_fuzz::write_seeds("log"),
    |bytes: &[u8]| exoscope_fuzz::readers::log(bytes)
);
