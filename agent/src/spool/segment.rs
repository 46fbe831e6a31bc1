//! A segment of the spool: an append-only file of messages, each with its checksum.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `MAGIC`: that this is a segment, and of which version |
//! | then, for each record: 4 | length of the payload, little-endian |
//! | 4 | CRC-32 of the payload, little-endian |
//! | length | the payload: a [`Header`] in the first record, a number and a [`Message`] in all others |
//!
//! Whatever a segment holds, reading it ends, and never panics: a length is checked against the file
//! before anything is allocated, and a record that does not match its checksum ends the segment.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::event::{Function, Message};

/// What a segment begins with; the digits are the version of the format.
const MAGIC: [u8; 8] = *b"exospl01";
/// Bytes before a payload.
const FRAME: usize = 8;

/// What a segment says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Key of the session that it belongs to.
    pub key: u64,
    /// The functions of all messages before it.
    pub functions: Vec<Function>,
}

/// Why a segment can't be read any further.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// The file system says so.
    #[error("it can't be read")]
    Io(#[from] io::Error),
    /// It is something else, or of another version.
    #[error("it is no segment of a spool that this version wrote")]
    Foreign,
    /// Bytes are not those that were written, or not all of them are there.
    #[error("it is damaged or cut off at byte {0}")]
    Damaged(u64),
}

/// Appends to a new segment.
#[derive(Debug)]
pub struct Writer {
    file: Arc<File>,
    len: u64,
    buffer: Vec<u8>,
}

impl Writer {
    /// Creates the file, for its owner alone.
    ///
    /// # Errors
    /// Where there is one of that name, or no room; nothing is left behind then.
    pub fn create(path: &Path, header: &Header) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        let mut writer = Self {
            file: Arc::new(file),
            len: MAGIC.len() as u64,
            buffer: Vec::new(),
        };
        let written = writer.file.write_all_at(&MAGIC, 0);
        match written.and_then(|()| writer.append(header)) {
            Ok(_) => Ok(writer),
            Err(error) => {
                // What failed is told; that the rest could not be removed would add nothing.
                let _ = std::fs::remove_file(path);
                Err(error)
            }
        }
    }

    /// Appends a message with its number; gives back the bytes that this took.
    ///
    /// # Errors
    /// Where it could not be written. Then the segment ends with the message before.
    pub fn push(&mut self, number: u64, message: &Message) -> io::Result<u64> {
        self.append(&(number, message))
    }

    fn append(&mut self, payload: &impl Serialize) -> io::Result<u64> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        buffer.resize(FRAME, 0);
        let mut buffer = postcard::to_extend(payload, buffer).map_err(io::Error::other)?;
        let (frame, payload) = buffer.split_at_mut(FRAME);
        let len = u32::try_from(payload.len()).map_err(io::Error::other)?;
        frame[..4].copy_from_slice(&len.to_le_bytes());
        frame[4..].copy_from_slice(&crc32fast::hash(payload).to_le_bytes());
        let written = self.file.write_all_at(&buffer, self.len);
        match written {
            Ok(()) => self.len += buffer.len() as u64,
            // A part of it may be there, which a later record overwrites or a reader refuses.
            Err(_) => drop(self.file.set_len(self.len)),
        }
        let bytes = buffer.len() as u64;
        self.buffer = buffer;
        written.map(|()| bytes)
    }

    /// Bytes that are written.
    pub fn size(&self) -> u64 {
        self.len
    }

    /// The same file, to be read while it grows.
    pub fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }
}

/// Reads a segment from its beginning.
#[derive(Debug)]
pub struct Reader {
    file: Arc<File>,
    at: u64,
    buffer: Vec<u8>,
}

impl Reader {
    /// Reads the header.
    ///
    /// # Errors
    /// Where this is no segment.
    pub fn new(file: Arc<File>) -> Result<(Self, Header), Unreadable> {
        let mut reader = Self {
            file,
            at: MAGIC.len() as u64,
            buffer: Vec::new(),
        };
        let mut magic = [0; MAGIC.len()];
        match reader.file.read_exact_at(&mut magic, 0) {
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error.into()),
            _ if magic != MAGIC => return Err(Unreadable::Foreign),
            _ => {}
        }
        let header = reader.record()?;
        Ok((reader, header.ok_or(Unreadable::Damaged(8))?))
    }

    /// The next message with its number; `None` at the end of the file.
    ///
    /// # Errors
    /// Where what follows is no message. The same is said again then, if asked again.
    pub fn message(&mut self) -> Result<Option<(u64, Message)>, Unreadable> {
        self.record()
    }

    fn record<T: for<'de> Deserialize<'de>>(&mut self) -> Result<Option<T>, Unreadable> {
        let len = self.file.metadata()?.len();
        if self.at >= len {
            return Ok(None);
        }
        let damaged = Unreadable::Damaged(self.at);
        let left = len - self.at;
        if left < FRAME as u64 {
            return Err(damaged);
        }
        let mut frame = [0; FRAME];
        self.file.read_exact_at(&mut frame, self.at)?;
        let [a, b, c, d, crc @ ..] = frame;
        let payload = u32::from_le_bytes([a, b, c, d]);
        if u64::from(payload) > left - FRAME as u64 {
            return Err(damaged);
        }
        self.buffer.resize(payload as usize, 0);
        let begin = self.at + FRAME as u64;
        self.file.read_exact_at(&mut self.buffer, begin)?;
        if crc32fast::hash(&self.buffer) != u32::from_le_bytes(crc) {
            return Err(damaged);
        }
        let record = postcard::from_bytes(&self.buffer).map_err(|_| damaged)?;
        self.at = begin + u64::from(payload);
        Ok(Some(record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::FunctionCounts;
    use crate::store::tests::{call, calls, function, open_call};

    fn header() -> Header {
        Header {
            key: 7,
            functions: vec![function("app::a")],
        }
    }

    fn full() -> Message {
        let mut batch = calls(vec![call(1, None, 0, exoscope_abi::Outcome::Panic)]);
        batch.counts = Some(vec![FunctionCounts::of_calls(0, 9)]);
        batch.open = Some(vec![open_call()]);
        batch.events = vec![crate::event::AgentEvent {
            at_unix_ns: 5,
            level: crate::event::Level::Warning,
            kind: "kind".into(),
            message: "said".into(),
        }];
        batch.stats = vec![crate::stats::sample::Snapshot::default()];
        Message::Batch(Box::new(batch))
    }

    /// A file with a header and two messages, and where each record ends.
    fn written() -> (tempfile::TempDir, Arc<File>, Vec<u64>) {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::create(&folder.path().join("segment"), &header()).unwrap();
        let mut ends = vec![writer.size()];
        writer.push(4, &full()).unwrap();
        ends.push(writer.size());
        writer.push(5, &Message::Functions(vec![])).unwrap();
        ends.push(writer.size());
        (folder, writer.file(), ends)
    }

    /// What can be read, and whether that was all.
    fn read(file: &Arc<File>) -> (Vec<(u64, Message)>, bool) {
        let Ok((mut reader, _)) = Reader::new(Arc::clone(file)) else {
            return (Vec::new(), false);
        };
        let mut messages = Vec::new();
        loop {
            match reader.message() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => return (messages, true),
                Err(_) => return (messages, false),
            }
        }
    }

    #[test]
    fn what_was_written_is_read() {
        let (_folder, file, _) = written();
        let (_, read_header) = Reader::new(Arc::clone(&file)).unwrap();
        assert_eq!(read_header, header());
        let (messages, all) = read(&file);
        assert!(all);
        assert_eq!(messages, [(4, full()), (5, Message::Functions(Vec::new()))]);
    }

    #[test]
    fn a_segment_that_is_cut_anywhere_gives_what_is_whole() {
        let (_folder, file, ends) = written();
        for len in (0..file.metadata().unwrap().len()).rev() {
            file.set_len(len).unwrap();
            let (messages, all) = read(&file);
            let whole = ends.iter().filter(|end| **end <= len).count();
            assert_eq!(messages.len(), whole.saturating_sub(1), "cut at {len}");
            assert_eq!(all, ends.contains(&len), "cut at {len}");
        }
    }

    #[test]
    fn a_changed_byte_ends_the_segment_before_it() {
        let (_folder, file, ends) = written();
        for at in 0..file.metadata().unwrap().len() {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ 0x41], at).unwrap();
            let (messages, all) = read(&file);
            let whole = ends.iter().filter(|end| **end <= at).count();
            assert!(!all, "byte {at}");
            assert_eq!(messages.len(), whole.saturating_sub(1), "byte {at}");
            file.write_all_at(&byte, at).unwrap();
        }
        assert!(read(&file).1);
    }

    #[test]
    fn bytes_with_a_valid_checksum_may_be_anything() {
        let mut random = 1_u64;
        for round in 0..2_000 {
            let folder = tempfile::tempdir().unwrap();
            let writer = Writer::create(&folder.path().join("segment"), &header()).unwrap();
            let payload: Vec<u8> = (0..round % 64)
                .map(|_| {
                    random = random
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1);
                    (random >> 56) as u8
                })
                .collect();
            let mut record = (payload.len() as u32).to_le_bytes().to_vec();
            record.extend(crc32fast::hash(&payload).to_le_bytes());
            record.extend(&payload);
            writer.file().write_all_at(&record, writer.size()).unwrap();
            // It may happen to be a message; what counts is that reading ends.
            let (messages, _) = read(&writer.file());
            assert!(messages.len() <= 1);
        }
    }
}
