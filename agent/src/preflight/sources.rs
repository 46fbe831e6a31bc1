//! What each source of stats can give on this machine, found out on this process.

use crate::stats::source::{Part, SOURCES, Subject};

/// One part of what a source may be able to give.
#[derive(Clone, Debug)]
pub struct Offer {
    /// Name of the source.
    pub source: &'static str,
    /// The part.
    pub part: Part,
    /// Why it can't give it.
    pub result: Result<(), String>,
}

/// Every source with each of its parts, in the order in which they are asked.
pub fn offers() -> Vec<Offer> {
    let process = Subject::this_process();
    let mut offers = Vec::new();
    for entry in SOURCES {
        let mut source = (entry.make)();
        for &part in entry.parts {
            let result = match &process {
                Ok(process) => source.detect(process, part),
                Err(error) => Err(anyhow::anyhow!("{error:#}")),
            };
            offers.push(Offer {
                source: entry.name,
                part,
                result: result.map_err(|error| format!("{error:#}")),
            });
        }
    }
    offers
}
