//! The rings of records: one per CPU, written by the BPF programs, mapped and drained by the agent.
//!
//! A ring is one value of an array map: a [`RingHead`] on a page of its own, the data (a power of
//! two of bytes), and [`SLACK`], into which a record that begins near the end runs over. Records lie
//! one after the other on whole cache lines. Each begins with a header word: 0 until the record is
//! there, then its length, with [`DISCARDED`] where nobody is to read it.
//!
//! A program reserves by moving [`RingHead::reserved`] with one atomic instruction, writes the
//! record, and writes the header last. The agent reads records in their order up to the first header
//! that is 0, puts 0 into the first word of every line that it has read, and only then gives the
//! lines back by moving [`RingHead::taken`]. So a header is 0 whenever its line is reserved.
//!
//! The kernel's own ring buffer does the same with a lock and two calls of helpers a record, and ends in
//! an exchange, which waits until the record has reached the cache: with it, the program at a call's end
//! took 50 to 80 ns longer.

/// What programs and agent write, on two cache lines.
#[derive(Debug)]
#[repr(C)]
pub struct RingHead {
    /// Bytes reserved so far; written by programs.
    pub reserved: u64,
    /// So that neither side writes the other's cache line.
    pub padding: [u64; 7],
    /// Bytes of which the agent has taken all records; written by the agent.
    pub taken: u64,
}
const _: () = assert!(size_of::<RingHead>() == 72);

/// Offset of the data in a ring's value, in bytes: the head has a page.
pub const DATA: usize = 4096;
/// Bytes after the data.
pub const SLACK: usize = 4096;
/// Bytes of a cache line, on which records begin.
pub const LINE: usize = 64;
/// Bytes of the header word.
pub const HEADER: usize = size_of::<u64>();
/// Bit of a header: what follows is no record.
pub const DISCARDED: u64 = 1 << 63;

/// Bytes that a record of `len` bytes takes up in the ring.
#[inline(always)]
pub const fn room(len: usize) -> usize {
    (HEADER + len).next_multiple_of(LINE)
}

/// Bytes of the map value that holds a ring of `size` bytes.
pub const fn value_size(size: u32) -> u32 {
    (DATA + SLACK) as u32 + size
}
