//! Driving targets: started programs that obey commands, and what the kernel says of processes.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// How often calls are timed; the shortest time counts. Whatever else the machine does only adds, and
/// would fall on one of two things that are compared.
const TIMES: usize = 5;

/// A target that answers each line with a line.
pub struct Target {
    child: Child,
    answers: BufReader<ChildStdout>,
}

impl Target {
    /// Starts a program.
    pub fn start(program: &Path, arguments: &[&str]) -> Result<Self> {
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("can't start {}", program.display()))?;
        let answers = BufReader::new(child.stdout.take().context("no output")?);
        Ok(Self { child, answers })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Reads a line.
    pub fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            bail!("the target has ended");
        }
        Ok(line.trim().to_owned())
    }

    /// Reads what is left until the end.
    pub fn rest(mut self) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        for line in self.answers.by_ref().lines() {
            lines.push(line?);
        }
        Ok(lines)
    }

    /// Sends a line.
    pub fn send(&mut self, line: &str) -> Result<()> {
        let input = self.child.stdin.as_mut().context("no input")?;
        Ok(writeln!(input, "{line}")?)
    }

    /// Sends a command and gives back the number at the end of its answer.
    pub fn ask(&mut self, command: &str) -> Result<f64> {
        self.send(command)?;
        let answer = self.line()?;
        let number = answer.rsplit(' ').next().unwrap_or_default();
        number
            .parse()
            .with_context(|| format!("the target answered '{answer}' to '{command}'"))
    }

    /// Nanoseconds of a call of `function` in `ticks`, the shortest of several times.
    pub fn shortest(&mut self, function: &str, calls: u64) -> Result<f64> {
        let mut shortest = f64::INFINITY;
        for _ in 0..TIMES {
            shortest = shortest.min(self.ask(&format!("time {function} {calls}"))?);
        }
        Ok(shortest)
    }

    /// Sends a command and gives back the numbers in its answer, which stand after their names.
    pub fn numbers(&mut self, command: &str) -> Result<Vec<f64>> {
        self.send(command)?;
        let answer = self.line()?;
        let words = answer.split(' ').skip(1).step_by(2);
        let numbers: Result<_, _> = words.map(str::parse).collect();
        numbers.with_context(|| format!("the target answered '{answer}' to '{command}'"))
    }

    /// Keeps it on one CPU.
    pub fn pin(&self, cpu: usize) {
        pin(self.pid(), cpu);
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A running `exoscope attach`.
pub struct Agent {
    child: Child,
    stderr: BufReader<ChildStderr>,
}

impl Agent {
    /// Attaches and waits until it says so.
    pub fn attach(exoscope: &Path, pid: u32, output: &Path, options: &[&str]) -> Result<Self> {
        let mut child = Command::new(exoscope)
            .args(["attach", "--pid", &pid.to_string(), "--output"])
            .arg(output)
            .args(options)
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("can't start {}", exoscope.display()))?;
        let stderr = BufReader::new(child.stderr.take().context("no standard error")?);
        let mut agent = Self { child, stderr };
        let line = agent.line()?;
        if !line.contains("attached") {
            bail!("the agent said: {line}");
        }
        Ok(agent)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.stderr.read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the agent ends with its target, and gives back its exit status.
    pub fn ended(mut self) -> Result<i32> {
        Ok(self.child.wait()?.code().unwrap_or(-1))
    }

    /// Ends the session and gives back the agent's exit status.
    pub fn stop(mut self) -> Result<i32> {
        // SAFETY: sends a signal to our own child, which has not been waited for.
        unsafe { libc::kill(self.child.id() as libc::pid_t, libc::SIGINT) };
        Ok(self.child.wait()?.code().unwrap_or(-1))
    }
}

/// Keeps a process (or, with 0, this thread) on one CPU, where there are several.
pub fn pin(pid: u32, cpu: usize) {
    // What this process may use is less than that, once it has pinned itself.
    // SAFETY: asks for a figure of the system.
    let cpus = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) }.max(1) as usize;
    // SAFETY: the set is a plain bit set, valid as zeros, and as long as the call is told.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu % cpus, &mut set);
        libc::sched_setaffinity(
            pid as libc::pid_t,
            size_of::<libc::cpu_set_t>(),
            &raw const set,
        );
    }
}

/// CPU seconds that a process has used so far.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat
        .rsplit(") ")
        .next()
        .unwrap_or_default()
        .split(' ')
        .collect();
    let ticks: u64 = [11, 12]
        .iter()
        .filter_map(|&at| fields.get(at)?.parse::<u64>().ok())
        .sum();
    // SAFETY: asks for a constant of the system.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    Ok(ticks as f64 / per_second as f64)
}

/// CPU seconds that the threads of a process have used so far which it has now: to the nanosecond, where
/// [`cpu_seconds`] counts ticks.
pub fn thread_cpu_seconds(pid: u32) -> Result<f64> {
    let mut ns = 0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let times = std::fs::read_to_string(thread?.path().join("schedstat"))?;
        let on_cpu = times.split(' ').next().unwrap_or_default();
        ns += on_cpu.parse::<u64>()?;
    }
    Ok(ns as f64 / 1e9)
}

/// Largest resident memory that a process has had, in MB.
pub fn peak_memory_mb(pid: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: f64 = line
        .context("no VmHWM")?
        .trim()
        .trim_end_matches(" kB")
        .parse()?;
    Ok(kib * 1024.0 / 1e6)
}
