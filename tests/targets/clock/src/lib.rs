//! A wall clock that is set back, for one process: a library for `LD_PRELOAD`.
//!
//! While the file `CLOCK_BACK_WHILE` of the environment is there, `CLOCK_REALTIME` is an hour behind.
//! The machine's clock is that of everybody, so it stays as it is.

use std::path::PathBuf;
use std::sync::OnceLock;

use libc::{CLOCK_REALTIME, c_int, clockid_t, time_t, timespec};

/// Seconds by which the clock goes back.
const BACK: time_t = 3600;

/// `clock_gettime` of the C library, in whose place the loader puts this one.
///
/// # Safety
/// `time` must be valid for writing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: clockid_t, time: *mut timespec) -> c_int {
    // SAFETY: the caller's promise.
    let status = unsafe { ask(clock, time) };
    if status == 0 && clock == CLOCK_REALTIME && is_set_back() {
        // SAFETY: the kernel has just written it.
        unsafe { (*time).tv_sec -= BACK };
    }
    status
}

/// Asks the kernel.
///
/// # Safety
/// `time` must be valid for writing.
unsafe fn ask(clock: clockid_t, time: *mut timespec) -> c_int {
    // SAFETY: the caller's promise. The status is 0 or -1, with `errno` set as callers expect.
    unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) as c_int }
}

fn is_set_back() -> bool {
    static FILE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let file = FILE.get_or_init(|| std::env::var_os("CLOCK_BACK_WHILE").map(PathBuf::from));
    file.as_ref().is_some_and(|file| file.exists())
}
