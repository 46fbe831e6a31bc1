//! `cargo xtask build`: the agent as it is installed, one file with its BPF programs in it.

use std::path::PathBuf;

use anyhow::Result;

use crate::command::{build_executable, cargo};
use crate::needs::Purpose;
use crate::setup;

/// Installs what the build needs, builds the agent for release, and says where it is.
pub fn build() -> Result<PathBuf> {
    setup::prepare(Purpose::Build)?;
    let exoscope = build_executable(
        cargo().args([
            "build",
            "--release",
            "--package",
            "exoscope-agent",
            "--bins",
        ]),
        "exoscope",
    )?;
    eprintln!("built {}", exoscope.display());
    Ok(exoscope)
}
