//! The published sources of a crate: as they are, and with the attribute swapped.
//!
//! cargo brings them from the registry; what is changed is a copy below `target/swap`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::attributes;
use super::crates::Crate;
use crate::command::{cargo, output, show};
use crate::workspace;

/// What makes a package below our folder one that is no member of our workspace.
const OF_NO_WORKSPACE: &str = "\n[workspace]\n";

/// The platform that is built for.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

/// Two copies of a crate's sources.
pub struct Sources {
    /// As published.
    pub bare: PathBuf,
    /// With the attribute swapped.
    pub swapped: PathBuf,
    /// Attributes that were swapped.
    pub attributes: usize,
}

impl Sources {
    /// Brings the sources of a crate and what they depend on, and makes the copies in `folder`.
    ///
    /// # Errors
    /// Where cargo can't bring them, or they hold no attribute that could be swapped.
    pub fn prepare(krate: &Crate, folder: &Path) -> Result<Self> {
        let published = published(krate, &folder.join("fetch"))?;
        let (bare, swapped) = (folder.join("bare"), folder.join("swapped"));
        copy(&published, &bare, false)?;
        copy_manifest(&published, &bare, OF_NO_WORKSPACE)?;
        let attributes = copy(&published, &swapped, true)?;
        copy_manifest(&published, &swapped, &(exoscope() + OF_NO_WORKSPACE))?;
        ensure!(
            attributes > 0,
            "{} {} has no `#[tracing::instrument]`: take another version, or another crate",
            krate.name,
            krate.version
        );
        for copy in [&bare, &swapped] {
            packages(copy, krate.features)?;
        }
        Ok(Self {
            bare,
            swapped,
            attributes,
        })
    }
}

/// Where cargo keeps the sources of a crate: a package that depends on it makes cargo bring them.
fn published(krate: &Crate, folder: &Path) -> Result<PathBuf> {
    let Crate { name, version, .. } = krate;
    let manifest = format!(
        "[package]\nname = \"fetch\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[dependencies]\n\
         {name} = {{ version = \"={version}\", default-features = false }}\n{OF_NO_WORKSPACE}"
    );
    place(&folder.join("Cargo.toml"), manifest.as_bytes())?;
    place(&folder.join("src/lib.rs"), b"")?;
    let packages = packages(folder, &[])?;
    let wanted = |package: &&Value| package["name"] == *name && package["version"] == *version;
    let manifest = packages.iter().find(wanted);
    manifest
        .and_then(|package| Path::new(package["manifest_path"].as_str()?).parent())
        .map(Path::to_owned)
        .with_context(|| format!("cargo does not say where the sources of {name} {version} are"))
}

/// The package in `folder` and all that it depends on, as cargo describes them. Where something is
/// not here, cargo downloads it.
fn packages(folder: &Path, features: &[&str]) -> Result<Vec<Value>> {
    let metadata = || -> Command {
        let mut metadata = cargo();
        metadata
            .args(["metadata", "--format-version=1", "--quiet"])
            .args(["--filter-platform", PLATFORM])
            .args(features)
            .current_dir(folder);
        metadata
    };
    let offline = metadata().arg("--offline").output()?;
    let printed = if offline.status.success() {
        String::from_utf8(offline.stdout)?
    } else {
        output(show(&mut metadata()))?
    };
    let printed: Value = serde_json::from_str(&printed)?;
    let packages = printed["packages"].as_array();
    packages.cloned().context("cargo lists no packages")
}

/// Copies what is in a folder; gives the number of attributes that were swapped, if any are to be.
fn copy(from: &Path, to: &Path, swap: bool) -> Result<usize> {
    let mut attributes = 0;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let (from, name) = (entry.path(), entry.file_name());
        let to = to.join(&name);
        let name = name.to_string_lossy();
        if from.is_dir() {
            // How its authors configure cargo is not part of a package.
            if name != ".cargo" {
                attributes += copy(&from, &to, swap)?;
            }
        } else if swap && name.ends_with(".rs") {
            attributes += copy_swapped(&from, &to)?;
        } else if name != "Cargo.toml" && !(name == "Cargo.lock" && to.exists()) {
            // The manifest is changed, and cargo changes what it has locked.
            place(&to, &fs::read(&from)?)?;
        }
    }
    Ok(attributes)
}

fn copy_swapped(from: &Path, to: &Path) -> Result<usize> {
    let text =
        fs::read_to_string(from).with_context(|| format!("cannot read {}", from.display()))?;
    let swapped = attributes::swap(&text).with_context(|| format!("in {}", from.display()))?;
    place(to, swapped.text.as_bytes())?;
    Ok(swapped.attributes)
}

/// Copies a package's manifest with something added.
fn copy_manifest(from: &Path, to: &Path, added: &str) -> Result<()> {
    let manifest = fs::read_to_string(from.join("Cargo.toml"))?;
    place(&to.join("Cargo.toml"), (manifest + added).as_bytes())
}

/// Our library as a dependency, with its markers.
fn exoscope() -> String {
    let path = workspace::root().join("instrument");
    format!("\n[dependencies.exoscope]\npath = {path:?}\nfeatures = [\"enabled\", \"stream\"]\n")
}

/// Writes a file, unless it has that content: cargo builds anew what is newer than what it built.
fn place(file: &Path, content: &[u8]) -> Result<()> {
    if fs::read(file).is_ok_and(|there| there == content) {
        return Ok(());
    }
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(file, content).with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_copied_with_its_attributes_swapped() {
        let folder = tempfile::tempdir().expect("a folder");
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        for (file, content) in [
            ("src/lib.rs", "#[tracing::instrument] fn a() {}"),
            ("tests/data.txt", "#[tracing::instrument]"),
            (".cargo/config.toml", "[build]"),
            ("Cargo.lock", "published"),
        ] {
            place(&from.join(file), content.as_bytes()).expect("a file");
        }
        place(&to.join("Cargo.lock"), b"changed").expect("a file");

        assert_eq!(copy(&from, &to, true).expect("copied"), 1);
        let read = |file| fs::read_to_string(to.join(file)).ok();
        let swapped = "#[exoscope::instrument] fn a() {}";
        assert_eq!(read("src/lib.rs").as_deref(), Some(swapped));
        assert_eq!(
            read("tests/data.txt").as_deref(),
            Some("#[tracing::instrument]")
        );
        assert_eq!(read("Cargo.lock").as_deref(), Some("changed"));
        assert_eq!(read(".cargo/config.toml"), None);
        assert_eq!(copy(&from, &to, false).expect("copied"), 0);
        assert_eq!(
            read("src/lib.rs").as_deref(),
            Some("#[tracing::instrument] fn a() {}")
        );
    }

    #[test]
    fn what_did_not_change_is_not_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a/b");
        place(&file, b"content").expect("written");
        let written = |file| {
            fs::metadata(file)
                .and_then(|file| file.modified())
                .expect("a file")
        };
        let first = written(&file);
        place(&file, b"content").expect("compared");
        assert_eq!(written(&file), first);
    }
}
