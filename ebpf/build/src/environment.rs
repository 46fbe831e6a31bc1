//! What of the environment a cargo inside a cargo may see.

use std::process::Command;

/// Variables of cargo that say how to reach registries and where things are kept, and nothing of
/// the build that is going on around us.
const KEPT: [&str; 9] = [
    "CARGO_HOME",
    "CARGO_HTTP_",
    "CARGO_MAKEFLAGS",
    "CARGO_NET_",
    "CARGO_REGISTRIES_",
    "CARGO_REGISTRY_",
    "CARGO_SOURCE_",
    "CARGO_TERM_",
    "CARGO_CACHE_",
];

/// Takes the outer build out of the environment of `command`: flags, wrappers, the target folder
/// and the compiler would otherwise be those of the workspace. Clippy, for one, puts itself in as
/// a wrapper.
pub(crate) fn clear(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(belongs_to_outer_build) {
            command.env_remove(name);
        }
    }
    // Empty and not absent: that switches off a wrapper from a configuration file too.
    command.env("RUSTC_WRAPPER", "");
    command.env("RUSTC_WORKSPACE_WRAPPER", "");
}

/// Whether a variable speaks of the build around us.
fn belongs_to_outer_build(name: &str) -> bool {
    let of_cargo = name.starts_with("CARGO") || name.starts_with("RUSTC");
    let kept = KEPT.iter().any(|kept| name.starts_with(kept));
    (of_cargo && !kept) || matches!(name, "RUSTFLAGS" | "RUSTDOC" | "RUSTDOCFLAGS")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outer_build_is_cleared() {
        for name in [
            "CARGO",
            "CARGO_BUILD_TARGET",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_FEATURE_LOG",
            "CARGO_PROFILE_RELEASE_LTO",
            "CARGO_TARGET_DIR",
            "RUSTC",
            "RUSTC_BOOTSTRAP",
            "RUSTC_WORKSPACE_WRAPPER",
            "RUSTFLAGS",
        ] {
            assert!(belongs_to_outer_build(name), "{name}");
        }
    }

    #[test]
    fn the_way_to_the_registry_stays() {
        for name in [
            "CARGO_HOME",
            "CARGO_HTTP_PROXY",
            "CARGO_NET_OFFLINE",
            "CARGO_REGISTRIES_CRATES_IO_PROTOCOL",
            "HOME",
            "PATH",
            "RUSTUP_HOME",
        ] {
            assert!(!belongs_to_outer_build(name), "{name}");
        }
    }

    #[test]
    fn wrappers_are_switched_off() {
        let mut command = Command::new("true");
        clear(&mut command);
        let empty = command
            .get_envs()
            .filter(|(_, value)| value.is_some_and(|value| value.is_empty()))
            .map(|(name, _)| name.to_str().unwrap_or_default())
            .collect::<Vec<_>>();
        assert_eq!(empty, ["RUSTC_WORKSPACE_WRAPPER", "RUSTC_WRAPPER"]);
    }
}
