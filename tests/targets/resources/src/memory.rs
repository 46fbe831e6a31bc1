//! Memory that is mapped, and every page of it touched.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::ptr;

use crate::storage;

/// Bytes of a page.
const PAGE: usize = 4096;

/// A mapping; unmapped when it is dropped.
pub struct Mapping {
    start: *mut libc::c_void,
    bytes: usize,
}

impl Mapping {
    /// Memory without a file, every page written.
    pub fn anonymous(bytes: u64, shared: bool) -> Result<Self, String> {
        let kind = if shared {
            libc::MAP_SHARED
        } else {
            libc::MAP_PRIVATE
        };
        let mapping = Self::writable(bytes as usize, kind)?;
        mapping.write();
        Ok(mapping)
    }

    /// Memory of its own of so many pages, none of them touched.
    pub fn untouched(pages: u64) -> Result<Self, String> {
        Self::writable(pages as usize * PAGE, libc::MAP_PRIVATE)
    }

    fn writable(bytes: usize, kind: i32) -> Result<Self, String> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        Self::new(bytes, access, kind | libc::MAP_ANONYMOUS, -1)
    }

    /// Writes to every page of memory that is writable.
    pub fn write(&self) {
        for offset in (0..self.bytes).step_by(PAGE) {
            // SAFETY: the byte lies in the mapping, which is writable and nobody else's.
            unsafe { self.start.cast::<u8>().add(offset).write_volatile(7) };
        }
    }

    /// A file, every page read.
    pub fn of_file(path: &str) -> Result<Self, String> {
        let mapping = Self::unread(File::open(path))?;
        mapping.read();
        Ok(mapping)
    }

    /// The same, each page from storage by itself.
    pub fn from_storage(path: &str) -> Result<Self, String> {
        let mapping = Self::of_stored(path)?;
        mapping.read();
        Ok(mapping)
    }

    /// A file of which nothing is in memory; who reads it gets each page by itself.
    pub fn of_stored(path: &str) -> Result<Self, String> {
        let mapping = Self::unread(storage::open(path))?;
        mapping.advise(libc::MADV_RANDOM)?;
        Ok(mapping)
    }

    fn unread(file: io::Result<File>) -> Result<Self, String> {
        let file = file.map_err(|error| error.to_string())?;
        let bytes = file.metadata().map_err(|error| error.to_string())?.len();
        let access = libc::PROT_READ;
        Self::new(bytes as usize, access, libc::MAP_PRIVATE, file.as_raw_fd())
    }

    /// Reads from every page.
    pub fn read(&self) {
        for offset in (0..self.bytes).step_by(PAGE) {
            // SAFETY: the byte lies in the mapping, and the test leaves the file as long as it is.
            unsafe { self.start.cast::<u8>().add(offset).read_volatile() };
        }
    }

    /// Asks the kernel to swap it out.
    pub fn page_out(&self) -> Result<(), String> {
        self.advise(libc::MADV_PAGEOUT)
    }

    fn advise(&self, advice: i32) -> Result<(), String> {
        // SAFETY: none of these advices changes anything of what the memory holds.
        match unsafe { libc::madvise(self.start, self.bytes, advice) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error().to_string()),
        }
    }

    fn new(bytes: usize, access: i32, kind: i32, fd: i32) -> Result<Self, String> {
        // SAFETY: a new mapping at a place that the kernel chooses.
        let start = unsafe { libc::mmap(ptr::null_mut(), bytes, access, kind, fd, 0) };
        if start == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error().to_string());
        }
        let mapping = Self { start, bytes };
        // Huge pages would make the number of faults depend on the machine; some kernels have none.
        let _ = mapping.advise(libc::MADV_NOHUGEPAGE);
        Ok(mapping)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and nothing points into it.
        unsafe { libc::munmap(self.start, self.bytes) };
    }
}
