//! The binaries of a target that have markers.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::target::elf::{self, Binary, BinaryError};
use crate::target::process::{FileId, MappedFile, Target};

/// A binary of the target with markers.
#[derive(Clone, Debug)]
pub struct Module {
    /// What file it is.
    pub id: FileId,
    /// Where it is.
    pub file: MappedFile,
    /// Its functions and sites.
    pub binary: Binary,
}

/// The binaries with markers that the target maps now.
///
/// # Errors
/// Where the maps can't be read, the executable is broken, or any markers are newer than this
/// program. A mapped library that is no readable ELF file has no markers.
pub fn modules(target: &Target) -> Result<Vec<Module>> {
    unseen_modules(target, &BTreeMap::<FileId, ()>::new())
}

/// A library that the target has not loaded yet, by its path.
///
/// # Errors
/// Where the file can't be read, or has no markers.
pub fn unloaded(path: &Path) -> Result<Module> {
    let path = path
        .canonicalize()
        .with_context(|| format!("can't read the library {}", path.display()))?;
    let binary = elf::read(&path)?;
    if binary.sites.is_empty() {
        bail!("the library {} has no exoscope markers", path.display());
    }
    let metadata = path.metadata()?;
    let file = MappedFile {
        open: path.clone(),
        name: path,
    };
    Ok(Module {
        id: (metadata.dev(), metadata.ino()),
        file,
        binary,
    })
}

/// As [`modules`], without those in `seen`.
///
/// # Errors
/// As [`modules`].
pub fn unseen_modules<T>(target: &Target, seen: &BTreeMap<FileId, T>) -> Result<Vec<Module>> {
    let mut modules = Vec::new();
    for (id, file) in target.mapped_files()? {
        if seen.contains_key(&id) {
            continue;
        }
        let is_executable = file.open == target.executable_link();
        match elf::read(&file.open) {
            Ok(binary) => modules.push(Module { id, file, binary }),
            Err(error @ BinaryError::NewerAbi { .. }) => return Err(error.into()),
            Err(error) if is_executable && !target.has_ended() => return Err(error.into()),
            Err(_) => {}
        }
    }
    modules.retain(|module| !module.binary.sites.is_empty() || !module.binary.rejected.is_empty());
    Ok(modules)
}
