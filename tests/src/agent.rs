//! The agent, as a user starts it.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::build::exoscope;
use crate::database::Database;
use crate::process::{End, Process, Signal};

/// A folder of one test, with the file that its agents write; gone when the test ends.
pub struct Bench(TempDir);

impl Default for Bench {
    fn default() -> Self {
        Self::new()
    }
}

impl Bench {
    /// An empty folder, which every user may read.
    ///
    /// # Panics
    /// Where the file system does not let.
    pub fn new() -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        let everybody = std::fs::Permissions::from_mode(0o755);
        let folder = tempfile::Builder::new()
            .prefix("exoscope-")
            .permissions(everybody)
            .tempdir();
        Self(folder.expect("a temporary folder can be made"))
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// The file that [`Bench::attach`] and [`Bench::run`] write.
    pub fn file(&self) -> PathBuf {
        self.path().join("out.db")
    }

    /// The file, opened for reading.
    pub fn database(&self) -> Database {
        Database::open(&self.file())
    }

    /// `exoscope attach` to a process, as a command.
    pub fn attach_command(&self, pid: u32, options: &[&str]) -> Command {
        let mut command = Command::new(exoscope());
        command
            .args(["attach", "--pid", &pid.to_string(), "--output"])
            .arg(self.file())
            .args(options);
        command
    }

    /// Attaches, and waits until the agent says that it has.
    pub fn attach(&self, pid: u32, options: &[&str]) -> Process {
        let mut agent = Process::start(&mut self.attach_command(pid, options));
        is_attached(&mut agent);
        agent
    }

    /// `exoscope run` of a program, as a command.
    pub fn run_command(&self, options: &[&str], program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(exoscope());
        command
            .arg("run")
            .arg("--output")
            .arg(self.file())
            .args(options)
            .arg("--");
        command
            .arg(program)
            .args(arguments)
            .env("RUST_BACKTRACE", "0");
        command
    }

    /// Runs a program to its end.
    pub fn run(&self, options: &[&str], program: &Path, arguments: &[&str]) -> End {
        Process::start(&mut self.run_command(options, program, arguments)).end()
    }
}

/// Waits until an agent says that it has attached: for the first time, or to a library once more.
/// Gives back the line.
pub fn is_attached(agent: &mut Process) -> String {
    agent.says("`attached`", |line| {
        line.starts_with("exoscope: attached to ")
    })
}

/// Ends an agent like Ctrl-C does, and expects that nothing was lost.
///
/// # Panics
/// Where its exit status is not 0.
pub fn detach(agent: Process) -> End {
    agent.signal(Signal::INT);
    let end = agent.end();
    assert_eq!(
        end.status.code(),
        Some(0),
        "the agent ended with {}: {:#?}",
        end.status,
        end.stderr
    );
    end
}

/// Runs `exoscope` with `arguments` to its end.
pub fn command(arguments: &[&str]) -> End {
    Process::start(Command::new(exoscope()).args(arguments)).end()
}
