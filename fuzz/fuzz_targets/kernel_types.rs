//! The reader `kernel_types`, for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: exoscope_fuzz::write_seeds("kernel_types"),
    |bytes: &[u8]| exoscope_fuzz::readers::kernel_types(bytes)
);
