//! Files that are read from storage and written to it.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;

/// Bytes that are read or written at once.
const BLOCK: usize = 1 << 16;

/// Opens a file of which nothing is in the page cache.
pub fn open(path: &str) -> io::Result<File> {
    let file = File::open(path)?;
    // Only what is stored can be forgotten.
    file.sync_all()?;
    // SAFETY: advice about an open file, which changes nothing of its contents.
    match unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) } {
        0 => Ok(file),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Reads all of a file.
pub fn read(path: &str) -> Result<(), String> {
    let read = open(path).and_then(|mut file| {
        let mut block = [0; BLOCK];
        while file.read(&mut block)? > 0 {}
        Ok(())
    });
    read.map_err(|error| error.to_string())
}

/// Writes a file, and waits until it is stored.
pub fn write(path: &str, bytes: u64) -> Result<(), String> {
    let written = File::create(path).and_then(|mut file| {
        let block = [7; BLOCK];
        let mut left = bytes as usize;
        while left > 0 {
            let part = left.min(block.len());
            file.write_all(&block[..part])?;
            left -= part;
        }
        file.sync_all()
    });
    written.map_err(|error| error.to_string())
}
