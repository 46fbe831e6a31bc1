//! The write-ahead log of a file, read without SQLite: whether all of it can be read, and what can be
//! saved of one of which SQLite would silently leave out a part.
//!
//! SQLite takes of a log what stands before the first frame that is not as it should be. That is right
//! for the last transaction before a power cut, and loses the rest where something in the middle was
//! overwritten. <https://www.sqlite.org/fileformat.html#the_write_ahead_log> describes the log; ours are
//! written by machines whose integers begin with the least byte, and so are their checksums.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::file::beside;
use super::opened::PAGE_BYTES;

/// What a log begins with, but for the last bit, which is the order of bytes in checksums.
const MAGIC: u32 = 0x377f_0682;
const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
const PAGE: usize = PAGE_BYTES as usize;
const FRAME: usize = FRAME_HEADER + PAGE;

/// The sums of all that a log holds up to a place.
type Sums = [u32; 2];
/// What all frames have that were written since the log last began anew.
type Salts = [u8; 8];

/// A page, as a log has it.
struct Frame {
    bytes: Box<[u8]>,
}

impl Frame {
    fn new() -> Self {
        Self {
            bytes: vec![0; FRAME].into(),
        }
    }

    fn number(&self, at: usize) -> u32 {
        big_endian(&self.bytes[at..])
    }

    /// Pages of the file after the transaction that ends here; 0 where none does.
    fn ends_with(&self) -> u32 {
        self.number(4)
    }

    fn salts(&self) -> Salts {
        self.bytes[8..16].try_into().expect("these are 8")
    }

    fn sums(&self) -> Sums {
        [self.number(16), self.number(20)]
    }

    fn page(&self) -> &[u8] {
        &self.bytes[FRAME_HEADER..]
    }

    /// It is as it was written, behind a frame, or header, with these sums.
    fn follows(&self, before: Sums) -> bool {
        let sums = sum(before, &self.bytes[..8]);
        sum(sums, self.page()) == self.sums()
    }
}

/// A log, of which something may be damaged.
struct Log {
    file: File,
    frames: u64,
    /// The salts and sums of its header; `None` where that is damaged.
    header: Option<(Salts, Sums)>,
}

impl Log {
    /// The log of a file; `None` where there is nothing in it.
    fn of(database: &Path) -> io::Result<Option<Self>> {
        let file = match File::open(beside(database, "-wal")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let frames = file.metadata()?.len().saturating_sub(HEADER as u64) / FRAME as u64;
        if frames == 0 {
            return Ok(None);
        }
        let mut header = [0; HEADER];
        file.read_exact_at(&mut header, 0)?;
        let sums = [big_endian(&header[24..]), big_endian(&header[28..])];
        let whole = is_magic(big_endian(&header)) && sum([0; 2], &header[..24]) == sums;
        let salts = header[16..24].try_into().expect("these are 8");
        Ok(Some(Self {
            file,
            frames,
            header: whole.then_some((salts, sums)),
        }))
    }

    fn read(&self, number: u64, frame: &mut Frame) -> io::Result<()> {
        let at = HEADER as u64 + number * FRAME as u64;
        self.file.read_exact_at(&mut frame.bytes, at)
    }

    /// Hands in every frame in turn, and whether it has these salts and is as it was written.
    fn each(
        &self,
        salts: Salts,
        mut hear: impl FnMut(&Frame, bool) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut frame = Frame::new();
        let mut before = self.header.map(|(_, sums)| sums);
        for number in 0..self.frames {
            self.read(number, &mut frame)?;
            // What is from before the log began anew can be much, and is not summed up.
            let is_new = frame.salts() == salts;
            let sound = is_new && before.is_some_and(|before| frame.follows(before));
            hear(&frame, sound)?;
            before = Some(frame.sums());
        }
        Ok(())
    }

    /// The salts of what was written last: those of the header or, where that is damaged, of the first
    /// frame that is as it was written.
    fn salts(&self) -> io::Result<Option<Salts>> {
        if let Some((salts, _)) = self.header {
            return Ok(Some(salts));
        }
        let mut frame = Frame::new();
        let mut before = None;
        for number in 0..self.frames {
            self.read(number, &mut frame)?;
            if before.is_some_and(|before| frame.follows(before)) {
                return Ok(Some(frame.salts()));
            }
            before = Some(frame.sums());
        }
        Ok(None)
    }

    /// No transaction is lost to SQLite because of a frame before its end. Frames alone may follow such a one:
    /// where the disk was full in the midst of a transaction, the next one was written over its beginning.
    fn is_sound(&self) -> io::Result<bool> {
        let Some((salts, _)) = self.header else {
            return Ok(false);
        };
        let (mut cut, mut lost) = (false, false);
        self.each(salts, |frame, sound| {
            lost |= cut && sound && frame.ends_with() > 0;
            cut |= !sound;
            Ok(())
        })?;
        Ok(!lost)
    }

    /// The frames, as far as they are to be counted, and how many pages they say the file has.
    fn last_end(&self, salts: Salts) -> io::Result<Option<(u64, u32)>> {
        let (mut number, mut last) = (0, None);
        self.each(salts, |frame, sound| {
            number += 1;
            if sound && frame.ends_with() > 0 {
                last = Some((number, frame.ends_with()));
            }
            Ok(())
        })?;
        Ok(last)
    }
}

/// Whether SQLite will find all that the log of a file holds; also where it has none.
///
/// # Errors
/// Where the log can't be read.
pub fn is_sound(database: &Path) -> io::Result<bool> {
    Log::of(database)?.map_or(Ok(true), |log| log.is_sound())
}

/// Whether a log begins as one of SQLite does; true where that can't be read. One that was emptied and
/// written on, far behind its new end, begins with a hole.
pub fn begins_right(database: &Path) -> bool {
    let mut magic = [0; 4];
    let log = File::open(beside(database, "-wal"));
    match log.and_then(|log| log.read_exact_at(&mut magic, 0)) {
        Ok(()) => is_magic(u32::from_be_bytes(magic)),
        Err(error) => error.kind() != io::ErrorKind::UnexpectedEof,
    }
}

/// Brings what can be read of a damaged log into its file, page by page, and removes it. What is
/// missing leaves a damaged file.
///
/// # Errors
/// Where the log can't be read, or the file not be written. It may be tried again.
pub fn merge(database: &Path) -> io::Result<()> {
    let Some(log) = Log::of(database)? else {
        return Ok(());
    };
    let file = File::options().read(true).write(true).open(database)?;
    // Whatever a log says: it holds each page by which a file grows.
    let most = file.metadata()?.len() / PAGE as u64 + log.frames;
    let salts = log.salts()?;
    let end = salts.map_or(Ok(None), |salts| log.last_end(salts))?;
    let end = end.filter(|(_, pages)| u64::from(*pages) <= most);
    if let Some((salts, (last, pages))) = salts.zip(end) {
        let mut number = 0;
        log.each(salts, |frame, sound| {
            number += 1;
            let page = frame.number(0);
            let in_file = (1..=pages).contains(&page) && number <= last;
            if sound && in_file {
                file.write_all_at(frame.page(), u64::from(page - 1) * PAGE as u64)?;
            }
            Ok(())
        })?;
        tell_pages(&file, pages)?;
    }
    file.sync_all()?;
    fs::remove_file(beside(database, "-wal"))
}

/// Has the header of a file say how many pages there are.
///
/// # Errors
/// Where it can't be read or written.
pub fn tell_pages(file: &File, pages: u32) -> io::Result<()> {
    let mut header = [0; 100];
    file.read_exact_at(&mut header, 0)?;
    header[28..32].copy_from_slice(&pages.to_be_bytes());
    // The number of pages counts where these two are equal.
    header.copy_within(24..28, 92);
    file.write_all_at(&header, 0)?;
    file.set_len(u64::from(pages).max(file.metadata()?.len() / PAGE as u64) * PAGE as u64)
}

fn is_magic(number: u32) -> bool {
    number & !1 == MAGIC
}

fn big_endian(bytes: &[u8]) -> u32 {
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// The sums after `bytes`, of which there are a multiple of 8.
fn sum(before: Sums, bytes: &[u8]) -> Sums {
    let (pairs, _) = bytes.as_chunks::<8>();
    pairs.iter().fold(before, |[one, two], pair| {
        let [a, b, c, d, e, f, g, h] = *pair;
        let one = one
            .wrapping_add(u32::from_le_bytes([a, b, c, d]))
            .wrapping_add(two);
        let two = two
            .wrapping_add(u32::from_le_bytes([e, f, g, h]))
            .wrapping_add(one);
        [one, two]
    })
}
