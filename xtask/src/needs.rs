//! What building and testing need besides cargo and a C compiler: one table.

use std::env;
use std::path::Path;

use exoscope_ebpf_build::{LLVM, find_toolchain};

/// What something is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// To build the agent.
    Build,
    /// To run the demo, besides building.
    Demo,
    /// To run all tests, besides the demo.
    Test,
}

/// One thing that is needed.
pub struct Need {
    /// What it is, for people.
    pub what: &'static str,
    /// From which purpose on it is needed.
    pub purpose: Purpose,
    /// Debian's packages that have it.
    pub packages: &'static [&'static str],
    /// Whether it is here.
    pub is_here: fn() -> bool,
}

/// Everything that is needed.
pub const NEEDS: &[Need] = &[
    Need {
        what: "a Rust compiler for BPF",
        purpose: Purpose::Build,
        packages: &["rustc-web", "libstd-rust-web-dev-bpf"],
        is_here: || {
            find_toolchain()
                .err()
                .is_none_or(|missing| !missing.compiler)
        },
    },
    Need {
        what: "LLVM to build bpf-linker with",
        purpose: Purpose::Build,
        packages: &["llvm-22-dev", "libzstd-dev", "zlib1g-dev", "g++"],
        is_here: || has_linker() || has_llvm(),
    },
    Need {
        what: "the load generator h2load",
        purpose: Purpose::Demo,
        packages: &["nghttp2-client"],
        is_here: || on_path("h2load"),
    },
    Need {
        what: "a C++ compiler for the fuzzer",
        purpose: Purpose::Test,
        packages: &["g++"],
        is_here: || on_path("c++"),
    },
    Need {
        what: "the linker lld",
        purpose: Purpose::Test,
        packages: &["lld"],
        is_here: || on_path("ld.lld"),
    },
    Need {
        what: "the linker mold",
        purpose: Purpose::Test,
        packages: &["mold"],
        is_here: || on_path("mold"),
    },
    Need {
        what: "setcap",
        purpose: Purpose::Test,
        packages: &["libcap2-bin"],
        is_here: || on_path("setcap"),
    },
    Need {
        what: "systemd-analyze",
        purpose: Purpose::Test,
        packages: &["systemd"],
        is_here: || on_path("systemd-analyze"),
    },
    Need {
        what: "bpftrace",
        purpose: Purpose::Test,
        packages: &["bpftrace"],
        is_here: || on_path("bpftrace"),
    },
];

/// What is needed for a purpose and not here.
pub fn missing(purpose: Purpose) -> Vec<&'static Need> {
    let needed = NEEDS.iter().filter(|need| need.purpose <= purpose);
    needed.filter(|need| !(need.is_here)()).collect()
}

/// Whether there is a bpf-linker.
pub fn has_linker() -> bool {
    find_toolchain().err().is_none_or(|missing| !missing.linker)
}

/// Where Debian installs the LLVM that bpf-linker is built with.
pub fn llvm_prefix() -> String {
    format!("/usr/lib/llvm-{LLVM}")
}

/// Whether bpf-linker can be built: it links LLVM and the C++ library.
fn has_llvm() -> bool {
    let library = format!("lib/libLLVM-{LLVM}.so");
    Path::new(&llvm_prefix()).join(library).exists() && on_path("g++")
}

/// Whether a program of that name is in a folder of `PATH`.
pub fn on_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purpose_includes_those_before_it() {
        let needs = |purpose| NEEDS.iter().filter(|need| need.purpose <= purpose).count();
        assert!(needs(Purpose::Build) < needs(Purpose::Demo));
        assert!(needs(Purpose::Demo) < needs(Purpose::Test));
        assert_eq!(needs(Purpose::Test), NEEDS.len());
    }

    #[test]
    fn the_packages_have_the_llvm_that_is_asked_for() {
        let package = format!("llvm-{LLVM}-dev");
        let all = NEEDS.iter().flat_map(|need| need.packages);
        assert!(all.into_iter().any(|name| *name == package));
    }

    #[test]
    fn programs_on_the_path() {
        assert!(on_path("sh"));
        assert!(!on_path("no-such-program"));
    }
}
