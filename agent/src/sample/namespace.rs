//! What the target is called in its own PID namespace, and on the machine: what programs in the kernel
//! can compare, wherever the agent runs.

use std::os::fd::AsFd as _;
use std::os::linux::fs::MetadataExt as _;

use anyhow::{Context as _, Result};
use procfs::FromRead as _;
use procfs::process::{Process, Status};

use crate::attach::iterator::TaskIterator;
use crate::target::process::{Target, text};

/// A process, apart from all others of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Device of its PID namespace, as the kernel numbers devices within.
    pub device: u64,
    /// Inode of its PID namespace.
    pub inode: u64,
    /// Its number in there.
    pub pid: u32,
}

impl Identity {
    /// The identity of the process that has this number here.
    ///
    /// # Errors
    /// Where it has ended, or `/proc` does not tell.
    pub fn of(pid: u32) -> Result<Self> {
        let link = format!("/proc/{pid}/ns/pid");
        let namespace =
            std::fs::metadata(&link).with_context(|| format!("can't read the link {link}"))?;
        let number = i32::try_from(pid)?;
        let status = Process::new(number).and_then(|process| text(&process, "status"));
        let status = status.and_then(|status| Status::from_read(status.as_bytes()));
        let status = status.with_context(|| format!("can't read the status of process {pid}"))?;
        let innermost = status
            .nspid
            .as_deref()
            .and_then(|pids| pids.last().copied());
        Ok(Self {
            device: device(namespace.st_dev()),
            inode: namespace.st_ino(),
            pid: innermost.unwrap_or(number) as u32,
        })
    }
}

/// The number of a process as the machine numbers it. Only the kernel's own structures have it: an agent
/// in a container sees its namespace's.
///
/// # Errors
/// Where the process has ended, or the kernel refuses the iterator that asks.
pub fn machine_number(target: &Target) -> Result<u64> {
    let ask =
        || -> Result<_> { Ok(TaskIterator::over(target.pidfd().as_fd())?.read(&mut Vec::new())?) };
    let threads = ask().context("can't follow threads that leave a CPU; leave out --off-cpu")?;
    // The process has the number of its first thread, which comes first, also where that has ended.
    let first = threads
        .first()
        .with_context(|| format!("process {} has ended", target.pid()))?;
    Ok(first.tid)
}

/// A device's number as the kernel has it: 12 bits and 20 bits.
fn device(number: u64) -> u64 {
    u64::from(libc::major(number)) << 20 | u64::from(libc::minor(number))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn the_machine_numbers_a_process_apart_from_its_threads() {
        let target = Target::open(std::process::id()).unwrap();
        // A test runs in a thread that is not the first.
        let number = machine_number(&target).expect("the kernel tells (this test needs root)");
        assert_eq!(number, u64::from(std::process::id()));
    }

    #[test]
    fn a_process_may_have_any_name() {
        let script = "printf 'gr\\374n' > /proc/self/comm; echo; read end";
        let mut named = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = [0];
        named
            .stdout
            .as_mut()
            .unwrap()
            .read_exact(&mut line)
            .unwrap();
        let name = std::fs::read(format!("/proc/{}/comm", named.id())).unwrap();
        let identity = Identity::of(named.id());
        drop(named.stdin.take());
        named.wait().unwrap();
        assert_eq!(name, b"gr\xfcn\n");
        assert_eq!(
            identity.unwrap().inode,
            Identity::of(std::process::id()).unwrap().inode
        );
    }

    #[test]
    fn a_process_is_known_by_its_namespace() {
        let own = Identity::of(std::process::id()).unwrap();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("NSpid:"));
        let innermost = line.and_then(|line| line.split_whitespace().last());
        assert_eq!(innermost, Some(own.pid.to_string().as_str()));
        assert_eq!(device(libc::makedev(8, 300)), 8 << 20 | 300);
    }
}
