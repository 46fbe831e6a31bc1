//! Finds a compiler for BPF, and builds the BPF programs of exoscope with it.
//!
//! The programs are Rust, but no stable toolchain has a `core` for BPF, so they are a package apart
//! from the workspace. Two compilers will do ([`find_toolchain`]): a rustup nightly that has the sources
//! of `core`, or the one of Debian, which has `core` prebuilt. Both need bpf-linker, which makes BPF
//! of LLVM's bitcode.
//!
//! - A build script calls [`emit`]: the object is then `OUT_DIR/exoscope.bpf.o`.
//! - `cargo xtask` asks [`find_toolchain`] what is missing, and builds with [`Build`].

mod build;
mod emit;
mod environment;
mod toolchain;

pub use build::{Build, BuildError, Built};
pub use emit::emit;
pub use toolchain::{Core, LLVM, Missing, Toolchain, find_toolchain};

use std::path::{Path, PathBuf};

/// The folder of the BPF package, which lies around this one.
#[must_use]
pub fn bpf_folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this package lies in the folder of the BPF package")
}

/// Where `cargo xtask setup` installs tools of this workspace's own: its programs are in `bin`.
#[must_use]
pub fn tools_folder() -> PathBuf {
    bpf_folder()
        .parent()
        .expect("the BPF package lies in the folder of the workspace")
        .join("target/tools")
}
