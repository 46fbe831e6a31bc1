//! Bytes that are overwritten where they matter: in what pages use.

use std::ops::Range;

/// Bytes of a page of a file.
pub const PAGE: usize = 1 << 13;
/// Bytes of the header of a log, and of what stands before each of its pages.
const LOG_HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
/// The number of no page: where it stands, the file is cut off.
const CUT: u8 = 255;

/// The pages of a file, or of a file and its log.
pub struct Places(Vec<Place>);

/// A page: what it uses is at its two ends, with zeros between them.
struct Place {
    bytes: Range<usize>,
    /// How many bytes its beginning and its end take.
    begin: usize,
    end: usize,
}

impl Places {
    /// Those of a file.
    pub fn of_file(file: &[u8]) -> Self {
        let pages = (0..file.len()).step_by(PAGE);
        Self(pages.map(|at| Place::new(file, at, PAGE)).collect())
    }

    /// Those of a file of `len` bytes with its log behind it.
    pub fn of_file_and_log(both: &[u8], len: usize) -> Self {
        let mut places = Self::of_file(&both[..len]).0;
        places.push(Place::new(both, len, LOG_HEADER));
        let frame = FRAME_HEADER + PAGE;
        let frames = (len + LOG_HEADER..both.len()).step_by(frame);
        places.extend(frames.map(|at| Place::new(both, at, frame)));
        Self(places)
    }

    /// Overwrites bytes: each change is the number of a page, an offset in what it uses of two bytes (from
    /// its end where it is negative), a length below 32, and bytes, which may go on into the next page.
    /// Page 255 cuts the file off.
    pub fn change(&self, file: &[u8], mut changes: &[u8]) -> Vec<u8> {
        let mut file = file.to_vec();
        while let [page, low, high, len, rest @ ..] = changes {
            let offset = i16::from_le_bytes([*low, *high]);
            let (bytes, rest) = rest.split_at(usize::from(len % 32).min(rest.len()));
            changes = rest;
            if *page == CUT {
                let within = usize::from(offset.unsigned_abs()).min(PAGE);
                file.truncate(within * usize::from(*len));
                continue;
            }
            let at = self.0[usize::from(*page) % self.0.len()].at(offset);
            for (place, byte) in file.iter_mut().skip(at).zip(bytes) {
                *place = *byte;
            }
        }
        file
    }
}

impl Place {
    fn new(file: &[u8], at: usize, len: usize) -> Self {
        let bytes = at..(at + len).min(file.len());
        let zeros = longest_zeros(&file[bytes.clone()]);
        Self {
            begin: zeros.start.max(1),
            end: (bytes.len() - zeros.end).max(1),
            bytes,
        }
    }

    /// The byte at an offset in what is used.
    fn at(&self, offset: i16) -> usize {
        let distance = usize::from(offset.unsigned_abs());
        match offset {
            0.. => self.bytes.start + distance % self.begin,
            _ => self.bytes.end - 1 - (distance - 1) % self.end,
        }
    }
}

/// Where most zeros stand one behind the other.
fn longest_zeros(bytes: &[u8]) -> Range<usize> {
    let (mut longest, mut begin) = (0..0, 0);
    for (at, byte) in bytes.iter().enumerate() {
        if *byte != 0 {
            begin = at + 1;
        } else if at + 1 - begin > longest.len() {
            longest = begin..at + 1;
        }
    }
    longest
}
