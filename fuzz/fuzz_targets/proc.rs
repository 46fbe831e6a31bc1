//! The reader `proc`, for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: exoscope_fuzz::write_seeds("proc"),
    |bytes: &[u8]| exoscope_fuzz::readers::proc(bytes)
);
