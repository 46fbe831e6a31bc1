//! Files that the kernel makes up whenever they are read.
//!
//! They are opened once and read again from the start: that takes 1 to 12 µs, and finding and opening
//! one takes 6 to 10 µs more. It also keeps to the process that was opened: once that is gone they
//! fail, whoever has its number then.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

/// Longer files are cut. The longest that is read, a `status`, has about 1,500 bytes.
const LEN: usize = 1 << 14;

/// A file that is read again and again.
#[derive(Debug)]
pub struct Kept(File);

/// Room for what is read.
#[derive(Debug)]
pub struct Buffer(Box<[u8; LEN]>);

impl Default for Buffer {
    fn default() -> Self {
        Self(Box::new([0; LEN]))
    }
}

impl Kept {
    /// Keeps an open file.
    pub fn new(file: File) -> Self {
        Self(file)
    }

    /// What it says now.
    ///
    /// # Errors
    /// What the system call said: `ESRCH` where the process is gone, `ENODEV` where the control
    /// group is.
    pub fn read<'b>(&self, buffer: &'b mut Buffer) -> io::Result<&'b [u8]> {
        let mut len = 0;
        // One call gives all of a file that is shorter than a page.
        loop {
            let room = &mut buffer.0[len..];
            match self.0.read_at(room, len as u64)? {
                0 => break,
                read => len += read,
            }
            if len < 4096 || len == LEN {
                break;
            }
        }
        Ok(&buffer.0[..len])
    }

    /// Whether there still is anything to read.
    pub fn is_there(&self) -> bool {
        matches!(self.0.read_at(&mut [0], 0), Ok(1))
    }

    /// The file.
    pub fn file(&self) -> &File {
        &self.0
    }
}
