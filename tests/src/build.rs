//! Building targets the way a user builds them, and the agent.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

use serde_json::Value;

/// Where targets are built for; named, so that flags don't apply to macros and build scripts.
const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// A way to build a package of `tests/targets`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Build {
    package: &'static str,
    test: Option<&'static str>,
    profile: &'static str,
    flags: &'static [&'static str],
    enabled: bool,
}

impl Build {
    /// A release build with markers.
    pub const fn release(package: &'static str) -> Self {
        Self {
            package,
            test: None,
            profile: "release",
            flags: &[],
            enabled: true,
        }
    }

    /// The program of one of the package's tests, in place of its own.
    pub const fn test(self, test: &'static str) -> Self {
        Self {
            test: Some(test),
            ..self
        }
    }

    /// With another profile.
    pub const fn profile(self, profile: &'static str) -> Self {
        Self { profile, ..self }
    }

    /// With these flags for `rustc`.
    pub const fn flags(self, flags: &'static [&'static str]) -> Self {
        Self { flags, ..self }
    }

    /// Without markers.
    pub const fn disabled(self) -> Self {
        Self {
            enabled: false,
            ..self
        }
    }

    /// The binary or shared library; built once a test run.
    ///
    /// # Panics
    /// Where it does not build.
    pub fn binary(self) -> PathBuf {
        static BUILT: Mutex<BTreeMap<Build, PathBuf>> = Mutex::new(BTreeMap::new());
        // A build that failed in another test has left the table as it was.
        let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
        built.entry(self).or_insert_with(|| self.build()).clone()
    }

    /// A copy of the binary in `folder`: a file that no other test attaches to.
    ///
    /// # Panics
    /// Where it does not build, or can't be copied.
    pub fn copy_to(self, folder: &Path) -> PathBuf {
        let copy = folder.join(self.package);
        fs::copy(self.binary(), &copy).expect("the folder is writable");
        copy
    }

    fn build(self) -> PathBuf {
        let folder = target_directory().join("targets");
        fs::create_dir_all(&folder).expect("cargo's target folder is writable");
        // Builds share their output's path: what another test run builds must not be copied.
        let lock = File::create(folder.join("suite.lock")).expect("the folder is writable");
        lock.lock().expect("the file system has locks");
        let mut command = match self.test {
            Some(test) => cargo(&["test", "--no-run", "--test", test]),
            None => cargo(&["build"]),
        };
        command
            .current_dir(workspace().join("tests/targets"))
            .args([
                "--locked",
                "--package",
                self.package,
                "--profile",
                self.profile,
            ])
            .args(["--target", TRIPLE, "--target-dir"])
            .arg(&folder)
            .env("CARGO_ENCODED_RUSTFLAGS", self.flags.join("\x1f"));
        if self.enabled {
            command.args(["--features", "profile"]);
        }
        let built = artifact(&mut command, self.test.unwrap_or(self.package));
        self.put_aside(&built, &folder)
    }

    /// Copies what was built to a place of its own, where it may be running from an earlier test.
    fn put_aside(self, built: &Path, folder: &Path) -> PathBuf {
        let flags: String = self
            .flags
            .concat()
            .replace(|c: char| !c.is_alphanumeric(), "");
        let markers = if self.enabled { "on" } else { "off" };
        let aside = folder
            .join("aside")
            .join(format!("{}-{markers}{flags}", self.profile));
        fs::create_dir_all(&aside).expect("the folder is writable");
        let place = aside.join(built.file_name().expect("an artifact has a name"));
        let new = place.with_extension("new");
        fs::copy(built, &new).expect("the folder is writable");
        fs::rename(&new, &place).expect("the folder is writable");
        place
    }
}

/// The agent: `EXOSCOPE` of the environment, or else the workspace's own, built once a test run.
///
/// # Panics
/// Where it does not build.
pub fn exoscope() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| match std::env::var_os("EXOSCOPE") {
        Some(path) => path.into(),
        None => {
            let mut command = cargo(&["build"]);
            command
                .current_dir(workspace())
                .args(["--release", "--package", "exoscope-agent"]);
            artifact(&mut command, "exoscope")
        }
    })
}

/// A debug build of the agent, whose threads can be made to panic; built once a test run.
///
/// # Panics
/// Where it does not build.
pub fn debug_exoscope() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let mut command = cargo(&["build"]);
        command
            .current_dir(workspace())
            .args(["--package", "exoscope-agent"]);
        artifact(&mut command, "exoscope")
    })
}

/// The folder of the workspace.
fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests are a folder of the workspace")
}

/// Where cargo puts what it builds of the workspace.
fn target_directory() -> PathBuf {
    let mut command = cargo(&["metadata"]);
    command
        .current_dir(workspace())
        .args(["--no-deps", "--format-version", "1"]);
    let metadata: Value = serde_json::from_slice(&output(&mut command)).expect("cargo prints JSON");
    metadata["target_directory"]
        .as_str()
        .expect("cargo names the folder")
        .into()
}

fn cargo(arguments: &[&str]) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut process = Command::new(cargo);
    process.args(arguments);
    process
}

fn output(command: &mut Command) -> Vec<u8> {
    let output = command
        .stderr(Stdio::piped())
        .output()
        .expect("cargo can be started");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed:\n{said}");
    output.stdout
}

/// Runs a build and gives back the executable or shared library of the target `name`.
fn artifact(command: &mut Command, name: &str) -> PathBuf {
    let messages = output(command.arg("--message-format=json-render-diagnostics"));
    let messages = String::from_utf8(messages).expect("cargo prints UTF-8");
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| {
            message["reason"] == "compiler-artifact" && message["target"]["name"] == name
        })
        .find_map(|message| {
            let shared = message["filenames"].as_array()?.iter().find_map(|file| {
                file.as_str()
                    .filter(|file| file.ends_with(".so"))
                    .map(PathBuf::from)
            });
            message["executable"].as_str().map(PathBuf::from).or(shared)
        })
        .unwrap_or_else(|| panic!("cargo built no program `{name}`"))
}
