//! Where the target's threads keep their chains of open calls, so that a sample can be told the call
//! that it happened in.
//!
//! Each binary with markers has a chain of its own. A sample has a call only while the chains of all
//! of them are known: the call of one binary may have been made inside that of another.

use std::collections::BTreeMap;

use exoscope_abi::sample::{CHAINS, ChainPlace, UNKNOWN};

use crate::session::binaries::Module;
use crate::target::process::{FileId, Target};

/// The chains of a target's binaries.
#[derive(Debug, Default)]
pub struct Chains {
    binaries: BTreeMap<FileId, Binary>,
    known: Known,
}

/// The chains of one binary.
#[derive(Debug)]
struct Binary {
    /// Where they are, by offset in the file: the loaded binary says so there.
    said_at: Vec<u64>,
    /// It is the executable, whose chains stay where they are.
    executable: bool,
    /// What it has said.
    places: Places,
}

/// The places of one binary.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Places {
    /// It is not loaded, so it has no open calls.
    NotLoaded,
    /// It is loaded and has not said.
    Unsaid,
    Known(Vec<ChainPlace>),
}

/// What is known of all chains together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Known {
    /// Some chain is not known: no sample has a call.
    #[default]
    Incomplete,
    /// Every chain there is.
    All(Vec<ChainPlace>),
}

impl Chains {
    /// Takes a binary that is attached to, or is about to be.
    pub fn add(&mut self, target: &Target, module: &Module) {
        let binary = Binary {
            said_at: module.binary.chain_places.clone(),
            executable: module.file.open == target.executable_link(),
            places: Places::NotLoaded,
        };
        self.binaries.insert(module.id, binary);
    }

    /// Binaries whose chains no program will find: they were built with an older library, or for a
    /// C library that is not known.
    pub fn is_hopeless(&self) -> bool {
        self.binaries
            .values()
            .any(|binary| binary.said_at.is_empty())
    }

    /// Some binary is loaded and has not said yet where its chains are: it soon will.
    pub fn is_pending(&self) -> bool {
        let pending = |binary: &Binary| binary.places == Places::Unsaid;
        !self.is_hopeless() && self.binaries.values().any(pending)
    }

    /// Looks at what the binaries say now. Gives what is known where that has changed.
    pub fn refresh(&mut self, target: &Target) -> Option<&Known> {
        if self.is_hopeless() {
            return None;
        }
        for (id, binary) in &mut self.binaries {
            // A library may be unloaded, and loaded again with another number.
            if !(binary.executable && matches!(binary.places, Places::Known(_))) {
                binary.places = said(target, *id, &binary.said_at);
            }
        }
        let known = self.all();
        if known == self.known {
            return None;
        }
        self.known = known;
        Some(&self.known)
    }

    fn all(&self) -> Known {
        let mut all = Vec::new();
        for binary in self.binaries.values() {
            match &binary.places {
                Places::NotLoaded => {}
                Places::Unsaid => return Known::Incomplete,
                Places::Known(places) => all.extend_from_slice(places),
            }
        }
        if all.is_empty() || all.len() > CHAINS {
            Known::Incomplete
        } else {
            Known::All(all)
        }
    }
}

/// What a binary says of its chains. A target that has ended says nothing.
fn said(target: &Target, id: FileId, at: &[u64]) -> Places {
    let Ok(words) = target.read_data::<16>(id, at) else {
        return Places::NotLoaded;
    };
    let Some(words) = words.into_iter().collect::<Option<Vec<_>>>() else {
        return Places::NotLoaded;
    };
    let places: Vec<ChainPlace> = words.iter().map(place).collect();
    if places.iter().any(|place| place.block == UNKNOWN) {
        Places::Unsaid
    } else {
        Places::Known(places)
    }
}

fn place(bytes: &[u8; 16]) -> ChainPlace {
    let words = bytes.as_chunks::<8>().0;
    ChainPlace {
        block: u64::from_ne_bytes(words[0]),
        offset: u64::from_ne_bytes(words[1]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binary(places: Places) -> Binary {
        Binary {
            said_at: vec![16],
            executable: false,
            places,
        }
    }

    fn chains(binaries: Vec<Binary>) -> Chains {
        let numbered = (1..).map(|inode| (0, inode)).zip(binaries);
        Chains {
            binaries: numbered.collect(),
            known: Known::Incomplete,
        }
    }

    #[test]
    fn one_unknown_chain_makes_all_of_them_useless() {
        let known = || Places::Known(vec![ChainPlace::default()]);
        let of = |places: Vec<Places>| chains(places.into_iter().map(binary).collect());
        assert_eq!(of(vec![known(), Places::Unsaid]).all(), Known::Incomplete);
        assert!(of(vec![known(), Places::Unsaid]).is_pending());
        let one = of(vec![known(), Places::NotLoaded]);
        assert_eq!(one.all(), Known::All(vec![ChainPlace::default()]));
        assert!(!one.is_pending());
        assert_eq!(of(vec![known(); CHAINS + 1]).all(), Known::Incomplete);
        assert_eq!(of(Vec::new()).all(), Known::Incomplete);
    }

    #[test]
    fn a_binary_that_can_not_say_is_hopeless_and_not_pending() {
        let silent = Binary {
            said_at: Vec::new(),
            ..binary(Places::Unsaid)
        };
        let chains = chains(vec![silent]);
        assert!(chains.is_hopeless() && !chains.is_pending());
    }
}
