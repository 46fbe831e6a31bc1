//! One build of the BPF programs.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::environment;
use crate::toolchain::{Core, Toolchain};

/// Separates flags in `CARGO_ENCODED_RUSTFLAGS`.
const SEPARATOR: &str = "\x1f";

/// What to build, and how.
#[derive(Clone, Copy, Debug)]
pub struct Build<'a> {
    /// The folder of the BPF package.
    pub package: &'a Path,
    /// The name of its binary, which becomes the object.
    pub binary: &'a str,
    /// Features to switch on.
    pub features: &'a [&'a str],
    /// The architecture that the programs will look into, in Rust's words: `x86_64`.
    pub arch: &'a str,
    /// Whether that machine puts the low byte first.
    pub little_endian: bool,
    /// The folder for what the compiler makes. It must not be the target folder of a cargo that
    /// runs around this build: they would wait for each other.
    pub target_folder: &'a Path,
}

/// Why there is no object.
#[derive(Debug)]
pub enum BuildError {
    /// The cargo of the toolchain did not start.
    Start(PathBuf, io::Error),
    /// The compiler or the linker found an error: their output, and what was used.
    Failed(String, Toolchain),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(cargo, error) => {
                write!(f, "cannot start {}: {error}", cargo.display())
            }
            Self::Failed(output, toolchain) => write!(
                f,
                "{}\nbuilding the BPF programs failed with the compiler {} and the linker {}; \
                 where the linker can't read the bitcode, its LLVM is older than the compiler's",
                output.trim_end(),
                toolchain.rustc.display(),
                toolchain.linker.display(),
            ),
        }
    }
}

impl std::error::Error for BuildError {}

/// An object, and what the compiler had to say about it.
#[derive(Clone, Debug)]
pub struct Built {
    /// The BPF object, with BTF.
    pub object: PathBuf,
    /// What cargo wrote to standard error: progress and warnings.
    pub output: String,
}

impl Build<'_> {
    /// Builds the object.
    ///
    /// # Errors
    /// Where cargo does not start, or the programs do not compile or link.
    pub fn run(&self, toolchain: &Toolchain) -> Result<Built, BuildError> {
        let output = self
            .command(toolchain)
            .output()
            .map_err(|error| BuildError::Start(toolchain.cargo.clone(), error))?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() {
            return Err(BuildError::Failed(text, toolchain.clone()));
        }
        let folder = self.target_folder.join(self.triple()).join("release");
        Ok(Built {
            object: folder.join(self.binary),
            output: text,
        })
    }

    fn command(&self, toolchain: &Toolchain) -> Command {
        let mut command = Command::new(&toolchain.cargo);
        environment::clear(&mut command);
        command
            .current_dir(self.package)
            .args(["build", "--release", "--bin", self.binary])
            .args(["--target", self.triple()])
            .arg("--target-dir")
            .arg(self.target_folder);
        if !self.features.is_empty() {
            command.args(["--features", &self.features.join(",")]);
        }
        if toolchain.core == Core::FromSource {
            command.args(["-Z", "build-std=core"]);
        }
        command
            .env("RUSTC", &toolchain.rustc)
            // Debian's compiler is a stable one, and the programs use intrinsics.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_ENCODED_RUSTFLAGS", self.flags(&toolchain.linker));
        command
    }

    /// Flags of the compiler. BTF is made from debug information; version 3 of the instruction set
    /// has 32-bit arithmetic and atomics that return the old value, and is in kernels since 5.12.
    fn flags(&self, linker: &Path) -> String {
        let flags = [
            format!("--cfg=bpf_target_arch=\"{}\"", self.arch),
            format!("-Clinker={}", linker.display()),
            "-Clink-arg=--btf".to_owned(),
            "-Cdebuginfo=2".to_owned(),
            "-Cpanic=abort".to_owned(),
            "-Ctarget-cpu=v3".to_owned(),
        ];
        flags.join(SEPARATOR)
    }

    fn triple(&self) -> &'static str {
        if self.little_endian {
            "bpfel-unknown-none"
        } else {
            "bpfeb-unknown-none"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(features: &'static [&'static str]) -> Build<'static> {
        Build {
            package: Path::new("/"),
            binary: "programs",
            features,
            arch: "x86_64",
            little_endian: true,
            target_folder: Path::new("/made"),
        }
    }

    fn toolchain(core: Core) -> Toolchain {
        Toolchain {
            cargo: "cargo".into(),
            rustc: "/opt/bin/rustc".into(),
            core,
            linker: "/opt/bin/bpf-linker".into(),
        }
    }

    fn arguments(command: &Command) -> String {
        let arguments = command.get_args().map(|arg| arg.to_string_lossy());
        arguments.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_prebuilt_core_is_not_built_again() {
        let command = build(&["log"]).command(&toolchain(Core::Prebuilt));
        assert_eq!(
            arguments(&command),
            "build --release --bin programs --target bpfel-unknown-none --target-dir /made \
             --features log"
        );
    }

    #[test]
    fn core_from_source() {
        let command = build(&[]).command(&toolchain(Core::FromSource));
        assert!(
            arguments(&command).ends_with(" -Z build-std=core"),
            "{command:?}"
        );
    }

    #[test]
    fn flags_name_the_linker_and_ask_for_btf() {
        let flags = build(&[]).flags(Path::new("/with space/bpf-linker"));
        let flags = flags.split(SEPARATOR).collect::<Vec<_>>();
        assert!(flags.contains(&"-Clinker=/with space/bpf-linker"));
        assert!(flags.contains(&"-Clink-arg=--btf"));
    }

    #[test]
    fn what_does_not_start_is_named() {
        let missing = Toolchain {
            cargo: "/nowhere/cargo".into(),
            ..toolchain(Core::Prebuilt)
        };
        let error = build(&[]).run(&missing).expect_err("no cargo");
        assert!(
            error
                .to_string()
                .starts_with("cannot start /nowhere/cargo: "),
            "{error}"
        );
    }
}
