//! Draining the rings of records; their layout is described in [`exoscope_abi::ring`].

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use exoscope_abi::ring::{DATA, DISCARDED, HEADER, LINE, RingHead, SLACK, room, value_size};
use memmap2::{MmapOptions, MmapRaw};

/// Bytes after which the programs get room back in the midst of draining.
const GIVE_BACK: u64 = 1 << 16;

/// The ring of one CPU, mapped. There must be one of these for a ring at a time.
pub struct Ring {
    map: MmapRaw,
    /// Bytes of data: a power of two.
    size: u64,
    /// Bytes of which the records have been taken.
    taken: u64,
    /// As many the programs know of.
    given_back: u64,
}

impl Ring {
    /// Maps the ring of each of `cpus` CPUs, of `size` bytes of data, from the array `map`.
    ///
    /// # Errors
    /// Where the kernel refuses the mapping, or no agent left the ring so.
    pub fn map_all(map: BorrowedFd<'_>, size: u32, cpus: u32) -> io::Result<Vec<Self>> {
        (0..cpus).map(|cpu| Self::new(map, size, cpu)).collect()
    }

    fn new(map: BorrowedFd<'_>, size: u32, cpu: u32) -> io::Result<Self> {
        let bytes = value_size(size);
        let map = MmapOptions::new()
            .offset(u64::from(cpu) * u64::from(bytes))
            .len(bytes as usize)
            .map_raw(map.as_raw_fd())?;
        let mut ring = Self {
            map,
            size: u64::from(size),
            taken: 0,
            given_back: 0,
        };
        ring.taken = ring
            .word_at(std::mem::offset_of!(RingHead, taken))
            .load(Ordering::Relaxed);
        if !ring.taken.is_multiple_of(LINE as u64) {
            let what = "records of the ring were taken up to the midst of a line";
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        ring.given_back = ring.taken;
        Ok(ring)
    }

    /// Hands records to `each` until they took up `limit` bytes of the ring or there are no more, and tells
    /// how many bytes they took up.
    pub fn drain(&mut self, limit: u64, mut each: impl FnMut(&[u8])) -> u64 {
        let begin = self.taken;
        while self.taken - begin < limit {
            let at = (self.taken & (self.size - 1)) as usize;
            let header = self.word(at).load(Ordering::Acquire);
            if header == 0 {
                break;
            }
            let len = (header & !DISCARDED) as usize;
            let (len, end) = match room(len) {
                end if end <= SLACK => (len, end),
                // No program writes that: whatever it is, it has no bytes.
                _ => (0, LINE),
            };
            let taking = Taking {
                ring: self,
                at,
                end,
            };
            if header & DISCARDED == 0 {
                each(taking.ring.record(at + HEADER, len));
            }
            drop(taking);
            if self.taken - self.given_back >= GIVE_BACK {
                self.give_back();
            }
        }
        self.give_back();
        self.taken - begin
    }

    /// Lets the programs write where records have been taken.
    fn give_back(&mut self) {
        if self.given_back != self.taken {
            self.given_back = self.taken;
            let word = self.word_at(std::mem::offset_of!(RingHead, taken));
            word.store(self.taken, Ordering::Release);
        }
    }

    fn record(&self, at: usize, len: usize) -> &[u8] {
        assert!(at + len <= self.size as usize + SLACK);
        // SAFETY: the bytes lie in the mapping. The programs wrote them before the header, and do
        // not write there again before `give_back`, which needs `self` again.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().add(DATA + at), len) }
    }

    /// The first word of the line at `at` of the data.
    fn word(&self, at: usize) -> &AtomicU64 {
        assert!(at < self.size as usize + SLACK);
        self.word_at(DATA + at)
    }

    fn word_at(&self, offset: usize) -> &AtomicU64 {
        debug_assert!(offset.is_multiple_of(HEADER) && offset < self.map.len());
        // SAFETY: the word is aligned and lies in the mapping, which lives as long as `self`;
        // programs and agent access it as a whole only.
        unsafe { AtomicU64::from_ptr(self.map.as_mut_ptr().add(offset).cast()) }
    }
}

/// A record that is being taken: it counts as taken however that ends.
struct Taking<'a> {
    ring: &'a mut Ring,
    at: usize,
    end: usize,
}

impl Drop for Taking<'_> {
    fn drop(&mut self) {
        for line in (self.at..self.at + self.end).step_by(LINE) {
            self.ring.word(line).store(0, Ordering::Relaxed);
        }
        self.ring.taken += self.end as u64;
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd as _, OwnedFd};

    use super::*;

    const SIZE: u32 = 1 << 16;

    /// A ring in a file, and a second mapping through which the test plays the programs.
    struct Played {
        ring: Ring,
        programs: Ring,
    }

    impl Played {
        fn new() -> Self {
            let file = tempfile::tempfile().expect("a file");
            file.set_len(u64::from(value_size(SIZE)))
                .expect("its length");
            let file = OwnedFd::from(file);
            let map = || Ring::new(file.as_fd(), SIZE, 0).expect("it can be mapped");
            Self {
                ring: map(),
                programs: map(),
            }
        }

        /// As a program reserves; `None` where the ring is full.
        fn reserve(&self, len: usize) -> Option<usize> {
            let reserved = self.programs.word_at(0);
            let at = reserved.load(Ordering::Relaxed);
            let taken = self.programs.word_at(std::mem::offset_of!(RingHead, taken));
            let used = at - taken.load(Ordering::Acquire);
            let room = room(len) as u64;
            (used + room <= u64::from(SIZE)).then(|| {
                reserved.store(at + room, Ordering::Relaxed);
                (at & u64::from(SIZE - 1)) as usize
            })
        }

        fn submit(&self, at: usize, bytes: &[u8], flags: u64) {
            for (offset, &byte) in bytes.iter().enumerate() {
                let place = self.programs.map.as_mut_ptr();
                // SAFETY: the bytes were reserved, and lie in the mapping.
                unsafe { place.add(DATA + at + HEADER + offset).write(byte) };
            }
            let header = self.programs.word(at);
            header.store(bytes.len() as u64 | flags, Ordering::Release);
        }

        /// Up to so many lines.
        fn drain(&mut self, lines: u64) -> Vec<Vec<u8>> {
            let mut records = Vec::new();
            self.ring
                .drain(lines * LINE as u64, |bytes| records.push(bytes.to_vec()));
            records
        }
    }

    #[test]
    fn records_come_in_order_and_only_when_they_are_there() {
        let mut played = Played::new();
        let first = played.reserve(56).expect("room");
        let second = played.reserve(56).expect("room");
        played.submit(second, &[2; 56], 0);
        assert_eq!(
            played.drain(9),
            Vec::<Vec<u8>>::new(),
            "the first is not there"
        );
        played.submit(first, &[1; 56], 0);
        assert_eq!(played.drain(1), [vec![1; 56]]);
        assert_eq!(played.drain(9), [vec![2; 56]]);
    }

    #[test]
    fn a_record_over_which_somebody_panics_is_taken() {
        let mut played = Played::new();
        for byte in 1..=3 {
            let at = played.reserve(56).expect("room");
            played.submit(at, &[byte; 56], 0);
        }
        let mut seen = Vec::new();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            played.ring.drain(u64::MAX, |bytes| {
                seen.push(bytes[0]);
                assert_ne!(bytes[0], 2, "the second one");
            });
        }));
        assert!(panicked.is_err());
        assert_eq!(seen, [1, 2]);
        assert_eq!(played.drain(9), [vec![3; 56]]);
    }

    #[test]
    fn what_was_discarded_is_passed_over() {
        let mut played = Played::new();
        for (byte, flags) in [(1, 0), (2, DISCARDED), (3, 0)] {
            let at = played.reserve(100).expect("room");
            played.submit(at, &[byte; 100], flags);
        }
        assert_eq!(played.drain(9), [vec![1; 100], vec![3; 100]]);
    }

    #[test]
    fn rounds_leave_nothing_behind_that_looks_like_a_header() {
        let mut played = Played::new();
        let mut rounds = 0;
        for turn in 0..10_000_usize {
            let len = 8 + turn * 37 % 2000;
            let at = played.reserve(len).expect("room");
            rounds += usize::from(at < 2048);
            assert_eq!(played.drain(9), Vec::<Vec<u8>>::new(), "not yet there");
            let bytes = vec![0xff; len];
            played.submit(at, &bytes, 0);
            assert_eq!(played.drain(99), [bytes]);
        }
        assert!(rounds > 50, "{rounds}");
    }

    #[test]
    fn a_full_ring_has_room_again_when_it_is_drained() {
        let mut played = Played::new();
        let mut count = 0;
        while let Some(at) = played.reserve(56) {
            played.submit(at, &[7; 56], 0);
            count += 1;
        }
        assert_eq!(count, SIZE as usize / LINE);
        assert_eq!(played.drain(count as u64).len(), count);
        assert!(played.reserve(56).is_some());
    }

    #[test]
    fn an_absurd_header_is_a_record_without_bytes() {
        let mut played = Played::new();
        let at = played.reserve(56).expect("room");
        played
            .programs
            .word(at)
            .store(u64::MAX >> 1, Ordering::Release);
        let at = played.reserve(56).expect("room");
        played.submit(at, &[1; 56], 0);
        assert_eq!(played.drain(9), [vec![], vec![1; 56]]);
    }
}
