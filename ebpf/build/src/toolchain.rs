//! Which compiler and which linker make BPF on this machine.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::tools_folder;

/// The version of LLVM in Debian's compiler, and so the one that `cargo xtask setup` builds
/// bpf-linker with. A linker reads bitcode of its own version and of older ones.
pub const LLVM: u32 = 22;

/// A compiler and a linker that together make BPF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolchain {
    /// The cargo to build with.
    pub cargo: PathBuf,
    /// The compiler.
    pub rustc: PathBuf,
    /// Where `core` for BPF comes from.
    pub core: Core,
    /// bpf-linker.
    pub linker: PathBuf,
}

/// Where `core` for BPF comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Core {
    /// Compiled along, from the sources in the toolchain (rustup's component `rust-src`).
    FromSource,
    /// It comes with the compiler (Debian's package `libstd-rust-web-dev-bpf`).
    Prebuilt,
}

/// What is not there to build BPF programs with. Displayed, it says what to install.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// There is no compiler, or none with an LLVM that our bpf-linker reads ([`LLVM`]).
    pub compiler: bool,
    /// There is no bpf-linker.
    pub linker: bool,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match (self.compiler, self.linker) {
            (true, true) => "a Rust compiler for BPF and bpf-linker are",
            (true, false) => "a Rust compiler for BPF is",
            _ => "bpf-linker is",
        };
        write!(
            f,
            "cannot build the BPF programs: {what} missing; run `cargo xtask setup` on Debian, or \
             `rustup toolchain install nightly --component rust-src` and `cargo install \
             bpf-linker` elsewhere, or name a built object in EXOSCOPE_BPF_OBJECT"
        )
    }
}

impl std::error::Error for Missing {}

/// Finds what to build BPF programs with: a rustup nightly with `rust-src` before Debian's
/// compiler; a linker from `BPF_LINKER`, where that names a file, then of [`tools_folder`], then from `PATH`.
///
/// # Errors
/// Says what is missing where no compiler and linker fit each other.
pub fn find_toolchain() -> Result<Toolchain, Missing> {
    Places::of_this_machine().find()
}

/// Where to look.
struct Places {
    /// Folders that hold rustup's toolchains.
    rustup: Option<PathBuf>,
    /// The root that a distribution's compiler is installed under: `/usr`.
    system: PathBuf,
    /// The cargo to use with the distribution's compiler.
    cargo: PathBuf,
    /// The linker that the user named.
    named_linker: Option<PathBuf>,
    /// The workspace's own tools.
    tools: PathBuf,
    /// The value of `PATH`.
    path: OsString,
}

/// A compiler with a `core` for BPF.
struct Compiler {
    cargo: PathBuf,
    rustc: PathBuf,
    core: Core,
}

impl Places {
    fn of_this_machine() -> Self {
        let rustup = env::var_os("RUSTUP_HOME")
            .map(PathBuf::from)
            .or_else(|| env::home_dir().map(|home| home.join(".rustup")));
        Self {
            rustup,
            system: PathBuf::from("/usr"),
            cargo: env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from),
            named_linker: env::var_os("BPF_LINKER").map(PathBuf::from),
            tools: tools_folder(),
            path: env::var_os("PATH").unwrap_or_default(),
        }
    }

    /// The first compiler for which there is a linker.
    fn find(&self) -> Result<Toolchain, Missing> {
        let compilers = self.compilers();
        for compiler in &compilers {
            if let Some(linker) = self.linker_for(compiler) {
                return Ok(Toolchain {
                    cargo: compiler.cargo.clone(),
                    rustc: compiler.rustc.clone(),
                    core: compiler.core,
                    linker,
                });
            }
        }
        let readable = compilers.iter().any(Compiler::writes_known_bitcode);
        Err(Missing {
            compiler: !readable,
            linker: self
                .own_linker()
                .or_else(|| self.foreign_linker())
                .is_none(),
        })
    }

    fn compilers(&self) -> Vec<Compiler> {
        let mut compilers = self.nightlies();
        compilers.extend(self.distribution());
        compilers
    }

    /// Rustup's nightlies with the sources of `core`: the one that is just called `nightly` first,
    /// then those with a date, newest first.
    fn nightlies(&self) -> Vec<Compiler> {
        let Some(rustup) = &self.rustup else {
            return Vec::new();
        };
        let mut folders = entries(&rustup.join("toolchains"));
        folders.retain(|folder| file_name(folder).starts_with("nightly"));
        folders.sort_by_key(|folder| {
            let dated = file_name(folder).starts_with("nightly-2");
            (dated, std::cmp::Reverse(folder.clone()))
        });
        let compilers = folders.iter().map(|folder| Compiler {
            cargo: folder.join("bin/cargo"),
            rustc: folder.join("bin/rustc"),
            core: Core::FromSource,
        });
        compilers.filter(Compiler::has_sources).collect()
    }

    /// The compiler of the distribution, where `core` for BPF came with it.
    fn distribution(&self) -> Option<Compiler> {
        let rustc = self.system.join("bin/rustc");
        let library = self.system.join("lib/rustlib/bpfel-unknown-none/lib");
        let prebuilt = entries(&library)
            .iter()
            .any(|file| file_name(file).starts_with("libcore-"));
        (rustc.is_file() && prebuilt).then(|| Compiler {
            cargo: self.cargo.clone(),
            rustc,
            core: Core::Prebuilt,
        })
    }

    /// The first linker that reads the bitcode of `compiler`. Of one that is not ours that is not
    /// known: the user chose it.
    fn linker_for(&self, compiler: &Compiler) -> Option<PathBuf> {
        self.named_linker()
            .or_else(|| {
                self.own_linker()
                    .filter(|_| compiler.writes_known_bitcode())
            })
            .or_else(|| self.foreign_linker())
    }

    fn named_linker(&self) -> Option<PathBuf> {
        self.named_linker.clone().filter(|linker| linker.is_file())
    }

    fn own_linker(&self) -> Option<PathBuf> {
        let linker = self.tools.join("bin/bpf-linker");
        linker.is_file().then_some(linker)
    }

    fn foreign_linker(&self) -> Option<PathBuf> {
        env::split_paths(&self.path)
            .map(|folder| folder.join("bpf-linker"))
            .find(|linker| linker.is_file())
    }
}

impl Compiler {
    fn has_sources(&self) -> bool {
        let root = self.rustc.ancestors().nth(2);
        self.cargo.is_file()
            && self.rustc.is_file()
            && root.is_some_and(|root| {
                root.join("lib/rustlib/src/rust/library/core/src/lib.rs")
                    .is_file()
            })
    }

    /// Whether a linker with [`LLVM`] reads what the compiler writes.
    fn writes_known_bitcode(&self) -> bool {
        self.llvm().is_none_or(|version| version <= LLVM)
    }

    /// The major version of LLVM that the compiler says it has. Nothing where it does not.
    fn llvm(&self) -> Option<u32> {
        let output = Command::new(&self.rustc).arg("-vV").output().ok()?;
        llvm_version(&String::from_utf8_lossy(&output.stdout))
    }
}

/// The major version of LLVM in the output of `rustc -vV`.
fn llvm_version(verbose: &str) -> Option<u32> {
    let version = verbose
        .lines()
        .find_map(|line| line.strip_prefix("LLVM version: "))?;
    version.split('.').next()?.parse().ok()
}

/// What lies in a folder; nothing where it can't be read.
fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect()
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    use tempfile::TempDir;

    /// A machine of folders, on which nothing is installed.
    struct Machine {
        root: TempDir,
    }

    impl Machine {
        fn new() -> Self {
            let root = tempfile::tempdir().expect("a folder");
            Self { root }
        }

        fn path(&self, path: &str) -> PathBuf {
            self.root.path().join(path)
        }

        /// Installs a program that prints `output`.
        fn program(&self, path: &str, output: &str) {
            let file = self.path(path);
            self.file(path, &format!("#!/bin/sh\necho '{output}'\n"));
            fs::set_permissions(file, fs::Permissions::from_mode(0o755)).expect("executable");
        }

        fn file(&self, path: &str, content: &str) {
            let file = self.path(path);
            fs::create_dir_all(file.parent().expect("a folder")).expect("folders");
            fs::write(file, content).expect("a file");
        }

        fn debian_compiler(&self) {
            self.program("usr/bin/rustc", &format!("LLVM version: {LLVM}.1.8"));
            self.file("usr/lib/rustlib/bpfel-unknown-none/lib/libcore-1.rlib", "");
        }

        fn nightly(&self, name: &str, llvm: u32) {
            let folder = format!("rustup/toolchains/{name}");
            self.program(&format!("{folder}/bin/cargo"), "");
            self.program(
                &format!("{folder}/bin/rustc"),
                &format!("LLVM version: {llvm}.0.0"),
            );
        }

        fn sources(&self, name: &str) {
            let core = "lib/rustlib/src/rust/library/core/src/lib.rs";
            self.file(&format!("rustup/toolchains/{name}/{core}"), "");
        }

        fn places(&self) -> Places {
            Places {
                rustup: Some(self.path("rustup")),
                system: self.path("usr"),
                cargo: PathBuf::from("cargo"),
                named_linker: None,
                tools: self.path("tools"),
                path: env::join_paths([self.path("usr/bin"), self.path("bin")]).expect("a PATH"),
            }
        }
    }

    const NIGHTLY: &str = "nightly-x86_64-unknown-linux-gnu";

    #[test]
    fn an_empty_machine_misses_both() {
        let missing = Machine::new().places().find().expect_err("nothing there");
        assert_eq!(
            missing,
            Missing {
                compiler: true,
                linker: true
            }
        );
        assert_eq!(
            missing.to_string(),
            "cannot build the BPF programs: a Rust compiler for BPF and bpf-linker are missing; \
             run `cargo xtask setup` on Debian, or `rustup toolchain install nightly --component \
             rust-src` and `cargo install bpf-linker` elsewhere, or name a built object in \
             EXOSCOPE_BPF_OBJECT"
        );
    }

    #[test]
    fn debian_with_own_linker() {
        let machine = Machine::new();
        machine.debian_compiler();
        assert_eq!(
            machine.places().find(),
            Err(Missing {
                compiler: false,
                linker: true
            })
        );
        machine.program("tools/bin/bpf-linker", "");
        let found = machine.places().find().expect("complete");
        assert_eq!(
            found,
            Toolchain {
                cargo: PathBuf::from("cargo"),
                rustc: machine.path("usr/bin/rustc"),
                core: Core::Prebuilt,
                linker: machine.path("tools/bin/bpf-linker"),
            }
        );
    }

    #[test]
    fn a_distribution_compiler_without_core_for_bpf_is_none() {
        let machine = Machine::new();
        machine.program("usr/bin/rustc", "LLVM version: 22.1.8");
        machine.program("bin/bpf-linker", "");
        assert_eq!(
            machine.places().find(),
            Err(Missing {
                compiler: true,
                linker: false
            })
        );
    }

    #[test]
    fn a_nightly_goes_first_but_only_with_sources() {
        let machine = Machine::new();
        machine.debian_compiler();
        machine.nightly(NIGHTLY, LLVM);
        machine.program("bin/bpf-linker", "");
        let found = machine.places().find().expect("complete");
        assert_eq!(found.core, Core::Prebuilt);

        machine.sources(NIGHTLY);
        let found = machine.places().find().expect("complete");
        assert_eq!(found.core, Core::FromSource);
        let bin = machine.path(&format!("rustup/toolchains/{NIGHTLY}/bin"));
        assert_eq!(
            (found.cargo, found.rustc),
            (bin.join("cargo"), bin.join("rustc"))
        );
    }

    #[test]
    fn the_undated_nightly_then_the_newest() {
        let machine = Machine::new();
        machine.program("bin/bpf-linker", "");
        let dated = ["nightly-2026-02-01", "nightly-2026-10-01"];
        for name in dated {
            machine.nightly(name, LLVM);
            machine.sources(name);
        }
        let newest = machine.path("rustup/toolchains/nightly-2026-10-01/bin/rustc");
        assert_eq!(machine.places().find().map(|t| t.rustc), Ok(newest));

        machine.nightly(NIGHTLY, LLVM);
        machine.sources(NIGHTLY);
        let undated = machine.path(&format!("rustup/toolchains/{NIGHTLY}/bin/rustc"));
        assert_eq!(machine.places().find().map(|t| t.rustc), Ok(undated));
    }

    #[test]
    fn own_linker_does_not_read_a_newer_llvm() {
        let machine = Machine::new();
        machine.nightly(NIGHTLY, LLVM + 1);
        machine.sources(NIGHTLY);
        machine.program("tools/bin/bpf-linker", "");
        let missing = Missing {
            compiler: true,
            linker: false,
        };
        assert_eq!(machine.places().find(), Err(missing));

        machine.debian_compiler();
        let found = machine.places().find().expect("complete");
        assert_eq!(found.core, Core::Prebuilt, "the nightly writes LLVM 23");

        machine.program("bin/bpf-linker", "");
        let found = machine.places().find().expect("complete");
        assert_eq!(found.core, Core::FromSource);
        assert_eq!(found.linker, machine.path("bin/bpf-linker"));
    }

    #[test]
    fn linkers_in_order() {
        let machine = Machine::new();
        machine.debian_compiler();
        machine.program("bin/bpf-linker", "");
        let mut places = machine.places();
        let linker = |places: &Places| places.find().expect("complete").linker;
        assert_eq!(linker(&places), machine.path("bin/bpf-linker"));

        machine.program("tools/bin/bpf-linker", "");
        assert_eq!(linker(&places), machine.path("tools/bin/bpf-linker"));

        machine.program("named", "");
        places.named_linker = Some(machine.path("named"));
        assert_eq!(linker(&places), machine.path("named"));
    }

    #[test]
    fn llvm_of_a_compiler() {
        let verbose = "rustc 1.96.0\nrelease: 1.96.0\nLLVM version: 22.1.8\n";
        assert_eq!(llvm_version(verbose), Some(22));
        assert_eq!(llvm_version("rustc 1.96.0\n"), None);
    }
}
