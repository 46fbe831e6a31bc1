//! The source that always answers and knows nothing: the row says that nobody else did.

use anyhow::Result;

use super::sample::Reading;
use super::source::{Part, Source, Subject};

/// The source.
pub struct Null;

impl Source for Null {
    fn detect(&mut self, _process: &Subject, _part: Part) -> Result<()> {
        Ok(())
    }

    fn read(&mut self, _process: &Subject, _part: Part, _reading: &mut Reading) -> Result<()> {
        Ok(())
    }
}
