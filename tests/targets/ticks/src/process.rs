//! Figures of this process and its threads, read without allocating.

use std::fs::File;
use std::io::Read;

/// Resident memory in bytes, from `/proc/self/smaps_rollup`, which is exact: the counters behind
/// `statm` are kept per CPU and may be some pages off.
pub fn rss_bytes() -> u64 {
    field("/proc/self/smaps_rollup", "Rss:").map_or(0, |kilobytes| kilobytes * 1024)
}

/// Threads, from `/proc/self/status`.
pub fn threads() -> u64 {
    field("/proc/self/status", "Threads:").unwrap_or(0)
}

/// Nanoseconds that this thread has been on a CPU.
pub fn thread_cpu_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is valid for writing.
    let status = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(status, 0, "every thread has this clock");
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The number after `name` at the begin of a line of a file below 8 KiB.
fn field(path: &str, name: &str) -> Option<u64> {
    let mut bytes = [0; 8192];
    let mut file = File::open(path).ok()?;
    let mut length = 0;
    loop {
        match file.read(&mut bytes[length..]).ok()? {
            0 => break,
            read => length += read,
        }
    }
    // A name of the program that is not UTF-8 can't keep the other lines from being read.
    bytes[..length]
        .split(|&byte| byte == b'\n')
        .filter_map(|line| std::str::from_utf8(line).ok())
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.split_ascii_whitespace().next()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_threads_are_those_of_a_process() {
        let rss = rss_bytes();
        assert!((100_000..10_000_000_000).contains(&rss), "{rss}");
        assert_eq!(rss % 1024, 0);
        let (stop, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || wait.recv());
        assert!(threads() >= 2, "this one and the new one");
        drop(stop);
        let _ = thread.join();
    }

    #[test]
    fn a_missing_field_is_none() {
        assert_eq!(field("/proc/self/status", "NoSuchField:"), None);
        assert_eq!(field("/proc/self/no-such-file", "Rss:"), None);
    }
}
