//! The whole of a build script.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process;

use crate::{Build, bpf_folder, find_toolchain};

/// Names an object that was built elsewhere.
const OBJECT: &str = "EXOSCOPE_BPF_OBJECT";

/// For a build script: makes `OUT_DIR/exoscope.bpf.o`, and tells cargo when to make it again. A
/// debug build has logging compiled into the programs.
///
/// Where that fails, the process ends with status 1 and the reason on standard error, which cargo
/// shows. `EXOSCOPE_BPF_OBJECT=FILE` takes a built object in place of building one.
pub fn emit() {
    if let Err(error) = make_object() {
        eprintln!("error: {error}");
        process::exit(1);
    }
}

fn make_object() -> Result<(), Box<dyn Error>> {
    rerun_when_changed();
    let out = PathBuf::from(variable("OUT_DIR")?);
    let object = match env::var_os(OBJECT) {
        Some(object) => take_prebuilt(Path::new(&object)),
        None => build(&out)?,
    };
    let to = out.join("exoscope.bpf.o");
    fs::copy(&object, &to).map_err(|error| {
        let (from, to) = (object.display(), to.display());
        format!("cannot copy the BPF object {from} to {to}: {error}")
    })?;
    Ok(())
}

fn rerun_when_changed() {
    for name in [OBJECT, "BPF_LINKER"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    for path in [
        "src",
        "abi/src",
        "abi/Cargo.toml",
        "Cargo.toml",
        "Cargo.lock",
    ] {
        rerun_if_changed(&bpf_folder().join(path));
    }
}

fn rerun_if_changed(path: &Path) {
    println!("cargo::rerun-if-changed={}", path.display());
}

fn take_prebuilt(object: &Path) -> PathBuf {
    rerun_if_changed(object);
    object.to_owned()
}

/// Builds the object for the machine that the agent is built for.
fn build(out: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let toolchain = find_toolchain()?;
    rerun_if_changed(&toolchain.rustc);
    rerun_if_changed(&toolchain.linker);
    let features: &[&str] = match variable("PROFILE")?.as_str() {
        "debug" => &["log"],
        _ => &[],
    };
    let build = Build {
        package: bpf_folder(),
        binary: "exoscope",
        features,
        arch: &variable("CARGO_CFG_TARGET_ARCH")?,
        little_endian: variable("CARGO_CFG_TARGET_ENDIAN")? == "little",
        target_folder: &shared_folder(out).join("bpf"),
    };
    let built = build.run(&toolchain)?;
    if built.output.lines().any(|line| line.starts_with("warning")) {
        for line in built.output.lines() {
            println!("cargo::warning={line}");
        }
    }
    Ok(built.object)
}

/// The folder of the profile that is being built, `target/debug`: what the compiler makes for BPF is
/// kept there, so that clippy, tests and builds with other features, each with an `OUT_DIR` of its
/// own, don't make it again. The cargo around this one locks other folders.
fn shared_folder(out: &Path) -> &Path {
    out.ancestors()
        .find(|folder| folder.file_name().is_some_and(|name| name == "build"))
        .and_then(Path::parent)
        .unwrap_or(out)
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|_| format!("{name} is not set: this runs in a build script only"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builds_of_one_profile_share_a_folder() {
        for out in [
            "/build/exoscope/target/debug/build/exoscope-agent-1234/out",
            "/build/exoscope/target/debug/build/exoscope-agent/5678/out",
        ] {
            let folder = shared_folder(Path::new(out));
            assert_eq!(folder, Path::new("/build/exoscope/target/debug"));
        }
        assert_eq!(shared_folder(Path::new("/made")), Path::new("/made"));
    }

    #[test]
    fn outside_of_a_build_script_the_variable_is_named() {
        let error = variable("CARGO_CFG_NOT_SET").expect_err("not set");
        assert_eq!(
            error,
            "CARGO_CFG_NOT_SET is not set: this runs in a build script only"
        );
    }
}
