//! The service that the demo looks into: the package `shop` of the test targets.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

use crate::command::{Background, build_executable, cargo, output, text};
use crate::workspace;

/// Matches the paths of the service's handlers. One request is one call of one handler.
pub const HANDLERS: &str = "shop::http::*";

/// What the service prints before its address.
const LISTENING: &str = "listening on ";

/// How long the service may take to answer what was begun, when asked to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// The running service.
pub struct Service {
    process: Background,
    /// Address and port.
    address: String,
}

/// What stacks can be followed with, and what names inlined functions with their paths.
const FOR_SAMPLES: [(&str, &str); 2] = [
    ("RUSTFLAGS", "-C force-frame-pointers=yes"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "limited"),
];

/// Builds the service with its markers, as its users would: by its feature. Those who sample it add
/// frame pointers and debug information.
pub fn build(for_samples: bool) -> Result<PathBuf> {
    let mut build = cargo();
    build
        .args(["build", "--release", "--package", "shop"])
        .args(["--features", "profile"])
        .current_dir(workspace::targets());
    if for_samples {
        build.envs(FOR_SAMPLES);
    }
    build_executable(&mut build, "shop")
}

impl Service {
    /// Starts the service on a free port of the loopback, with its store in `data`.
    ///
    /// # Errors
    /// Where it ends before it says where it listens.
    pub fn start(shop: &Path, data: &Path) -> Result<Self> {
        let mut command = Command::new(shop);
        command
            .args(["--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .stdout(Stdio::piped());
        let mut process = Background::start("the service", &mut command)?;
        let address = process
            .lines_of_stdout()
            .into_iter()
            .flatten()
            .find_map(|line| Some(line.strip_prefix(LISTENING)?.to_owned()))
            .context("the service ended before it said where it listens")?;
        Ok(Self { process, address })
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Writes a list of `count` requests to the service to a file, for h2load.
    ///
    /// # Errors
    /// Where the service can't tell, or the file not be written.
    pub fn write_uris(&self, shop: &Path, count: u64, file: &Path) -> Result<()> {
        let paths = output(Command::new(shop).args(["--print-uris", &count.to_string()]))?;
        let uris = uris(&self.address, &paths);
        fs::write(file, uris).with_context(|| format!("cannot write {}", file.display()))
    }

    /// Asks the service to end.
    ///
    /// # Errors
    /// Where it does not, or not with status 0.
    pub fn stop(mut self) -> Result<()> {
        let status = self.process.stop(Signal::TERM, PATIENCE)?;
        ensure!(
            status.success(),
            "the service ended with {} when asked to",
            text(status)
        );
        Ok(())
    }
}

/// Whole addresses of paths, one a line.
fn uris(address: &str, paths: &str) -> String {
    let uris = paths
        .lines()
        .map(|path| format!("http://{address}{path}\n"));
    uris.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_addresses() {
        assert_eq!(
            uris("127.0.0.1:80", "/item/8\n/order?item=1&count=2\n"),
            "http://127.0.0.1:80/item/8\nhttp://127.0.0.1:80/order?item=1&count=2\n"
        );
    }

    #[test]
    fn a_service_that_says_nothing_is_an_error() {
        let error = Service::start(Path::new("true"), Path::new("/")).map(|service| service.pid());
        assert_eq!(
            error.expect_err("it ends").to_string(),
            "the service ended before it said where it listens"
        );
    }
}
