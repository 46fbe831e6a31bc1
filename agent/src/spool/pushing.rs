//! How messages get into segments: what only those who push have to do with.

use std::fs;
use std::io;
use std::time::Instant;

use super::Place;
use super::queue::Entry;
use super::segment::{Header, Writer};
use super::state::Segment;
use crate::event::Function;

/// Bytes after which the next segment begins.
const SEGMENT: u64 = 64 << 20;
/// Segments that the spool has at least, when it is full: each is removed once it was read.
const SEGMENTS: u64 = 8;

/// The end of the queue at which messages come in.
#[derive(Debug)]
pub(super) struct Pushing {
    pub(super) place: Place,
    /// Bytes of all segments at most.
    pub(super) limit: u64,
    pub(super) next_number: u64,
    /// All that were pushed.
    pub(super) functions: Vec<Function>,
    pub(super) writer: Option<Writer>,
    /// When the spool may be tried again.
    pub(super) retry_at: Option<Instant>,
}

/// What [`Pushing::spool`] did.
pub(super) struct Spooled {
    pub(super) segment: Option<Segment>,
    pub(super) bytes: u64,
}

impl Pushing {
    pub(super) fn new(place: Place, limit: u64) -> Self {
        Self {
            place,
            limit,
            next_number: 1,
            functions: Vec::new(),
            writer: None,
            retry_at: None,
        }
    }

    pub(super) fn may_spool(&self, bytes: u64) -> bool {
        let rested = self.retry_at.is_none_or(|at| Instant::now() >= at);
        rested && bytes < self.limit
    }

    /// Appends to the segment, or to a new one.
    pub(super) fn spool(&mut self, entry: &Entry) -> io::Result<Spooled> {
        let enough = SEGMENT.min(self.limit / SEGMENTS);
        let mut spooled = Spooled {
            segment: None,
            bytes: 0,
        };
        if self
            .writer
            .as_ref()
            .is_none_or(|writer| writer.size() >= enough)
        {
            spooled.segment = Some(self.begin_segment(entry.number)?);
        }
        let writer = self.writer.as_mut().ok_or(io::ErrorKind::NotFound)?;
        let header = if spooled.segment.is_some() {
            writer.size()
        } else {
            0
        };
        match writer.push(entry.number, &entry.message) {
            Ok(bytes) => {
                spooled.bytes = header + bytes;
                Ok(spooled)
            }
            Err(error) => {
                if let Some(segment) = spooled.segment {
                    // Nobody knows of it yet.
                    self.writer = None;
                    let _ = fs::remove_file(segment.path);
                }
                Err(error)
            }
        }
    }

    pub(super) fn begin_segment(&mut self, number: u64) -> io::Result<Segment> {
        let path = self.place.segment(number);
        let header = Header {
            key: self.place.key,
            functions: self.functions.clone(),
        };
        let writer = Writer::create(&path, &header)?;
        let file = writer.file();
        self.writer = Some(writer);
        Ok(Segment {
            path,
            file,
            messages: 0,
            calls: 0,
        })
    }
}
