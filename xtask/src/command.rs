//! Running other programs: what runs is shown, and what fails is named.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal};

use crate::workspace;

/// How often a process that should end is looked at.
const POLL: Duration = Duration::from_millis(10);

/// A cargo in the folder of the workspace: the one that runs this program.
pub fn cargo() -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(workspace::root());
    command
}

/// Runs a command to its end.
///
/// # Errors
/// Where it does not start, or does not end with status 0.
pub fn run(command: &mut Command) -> Result<()> {
    let status = show(command)
        .status()
        .with_context(|| format!("cannot start {}", line(command)))?;
    ensure!(
        status.success(),
        "`{}` failed with {}",
        line(command),
        text(status)
    );
    Ok(())
}

/// Runs a command to its end and gives back what it prints to standard output.
///
/// # Errors
/// Where it does not start, does not end with status 0, or prints what is no UTF-8.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {}", line(command)))?;
    ensure!(
        output.status.success(),
        "`{}` failed with {}",
        line(command),
        text(output.status)
    );
    String::from_utf8(output.stdout).with_context(|| format!("output of {}", line(command)))
}

/// Runs a cargo command that builds one program, and gives back where that lies.
///
/// # Errors
/// Where the build fails, or made no program of that name.
pub fn build_executable(command: &mut Command, name: &str) -> Result<PathBuf> {
    show(command).arg("--message-format=json-render-diagnostics");
    let messages = output(command)?;
    executable(&messages, name)
        .with_context(|| format!("`{}` made no program {name}", line(command)))
}

/// The program of that name in cargo's messages, one JSON object a line.
pub fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    messages.lines().find_map(|message| {
        let message: serde_json::Value = serde_json::from_str(message).ok()?;
        let executable = Path::new(message.get("executable")?.as_str()?);
        (message["target"]["name"] == name).then(|| executable.to_owned())
    })
}

/// Prints a command to standard error before it is run.
pub fn show(command: &mut Command) -> &mut Command {
    eprintln!("$ {}", line(command));
    command
}

/// A command as one would type it.
pub fn line(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    let words = std::iter::once(name).chain(command.get_args());
    let words = words.map(|word| quoted(&word.to_string_lossy()));
    words.collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:=,@+%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// How a process ended, in words.
pub fn text(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// A process that runs beside this one and ends with it.
pub struct Background {
    name: &'static str,
    child: Child,
}

impl Background {
    /// Starts a command.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn start(name: &'static str, command: &mut Command) -> Result<Self> {
        let child = show(command)
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", line(command)))?;
        Ok(Self { name, child })
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it prints to standard output, where that was piped.
    pub fn lines_of_stdout(&mut self) -> Option<impl Iterator<Item = String> + use<>> {
        let stdout = self.child.stdout.take()?;
        Some(BufReader::new(stdout).lines().map_while(Result::ok))
    }

    /// What it prints to standard error, where that was piped.
    pub fn lines_of_stderr(&mut self) -> Option<impl Iterator<Item = String> + use<>> {
        let stderr = self.child.stderr.take()?;
        Some(BufReader::new(stderr).lines().map_while(Result::ok))
    }

    /// Sends it a signal and waits for its end.
    ///
    /// # Errors
    /// Where it has not ended after `patience`.
    pub fn stop(&mut self, signal: Signal, patience: Duration) -> Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        rustix::process::kill_process(Pid::from_child(&self.child), signal)
            .with_context(|| format!("cannot send a signal to {}", self.name))?;
        let asked = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if asked.elapsed() > patience {
                bail!(
                    "{} did not end within {patience:?} of being asked",
                    self.name
                );
            }
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // Both fail where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_typed() {
        let mut command = Command::new("/usr/bin/printf");
        command.args(["--flag=1", "two words", "it's", ""]);
        assert_eq!(line(&command), r"printf --flag=1 'two words' 'it'\''s' ''");
    }

    #[test]
    fn a_failure_names_the_command_and_its_status() {
        let error = run(Command::new("sh").args(["-c", "exit 7"])).expect_err("status 7");
        assert_eq!(error.to_string(), "`sh -c 'exit 7'` failed with status 7");
        let error = run(&mut Command::new("no-such-program")).expect_err("not there");
        assert_eq!(error.to_string(), "cannot start no-such-program");
    }

    #[test]
    fn the_program_in_the_messages_of_cargo() {
        let messages = r#"
{"reason":"compiler-artifact","target":{"name":"serde"},"executable":null}
not json
{"reason":"compiler-artifact","target":{"name":"build-script-build"},"executable":"/t/build"}
{"reason":"compiler-artifact","target":{"name":"shop"},"executable":"/t/release/shop"}
{"reason":"build-finished","success":true}"#;
        let found = executable(messages, "shop");
        assert_eq!(found, Some(PathBuf::from("/t/release/shop")));
        assert_eq!(executable(messages, "serde"), None);
    }

    #[test]
    fn a_process_is_asked_to_end_and_killed_if_it_does_not() {
        let mut sleep = Background::start("sleep", Command::new("sleep").arg("60")).expect("start");
        let status = sleep.stop(Signal::TERM, Duration::from_secs(10));
        assert_eq!(text(status.expect("it ends")), "signal 15");

        let script = "trap '' TERM; echo ready; while :; do sleep 0.05; done";
        let mut deaf = Background::start(
            "deaf",
            Command::new("sh")
                .args(["-c", script])
                .stdout(Stdio::piped()),
        )
        .expect("start");
        let ready = deaf.lines_of_stdout().and_then(|mut lines| lines.next());
        assert_eq!(ready.as_deref(), Some("ready"));
        let error = deaf
            .stop(Signal::TERM, Duration::from_millis(50))
            .expect_err("it is deaf");
        assert_eq!(
            error.to_string(),
            "deaf did not end within 50ms of being asked"
        );
        let pid = deaf.pid();
        drop(deaf);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }
}
