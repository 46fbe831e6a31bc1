//! Where things lie in this workspace.

use std::path::{Path, PathBuf};

/// The folder of the workspace.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the folder of the workspace")
}

/// The folder of the BPF programs, which are no member of the workspace.
pub fn ebpf() -> PathBuf {
    root().join("ebpf")
}

/// The folder of the programs that the tests look into: a workspace of their own.
pub fn targets() -> PathBuf {
    root().join("tests/targets")
}
