//! The reader `spool`, for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: exoscope_fuzz::write_seeds("spool"),
    |bytes: &[u8]| exoscope_fuzz::readers::spool(bytes)
);
