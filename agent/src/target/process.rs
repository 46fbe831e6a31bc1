//! The process: what it maps, where its memory is, and when it ends.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use procfs::process::{MMPermissions, MMapPath, MemoryMap, MemoryMaps, Process};
use procfs::{FromRead as _, ProcResult};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::launch::End;
use crate::privileges;
use crate::stats::kept::{Buffer, Kept};
use crate::stats::parse;

/// A file that the target maps with code in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappedFile {
    /// Path by which the agent opens it: a link below `/proc/PID`, so that a file that was replaced
    /// or lies in another mount namespace is still the one that runs.
    pub open: PathBuf,
    /// Path as the target sees it.
    pub name: PathBuf,
}

/// `struct pidfd_info` of `linux/pidfd.h`, as of Linux 6.15.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup_id: u64,
    ids: [u32; 11],
    exit_code: i32,
}

/// Asks for `exit_code`.
const PIDFD_INFO_EXIT: u64 = 1 << 3;
/// `_IOWR(0xff, 11, struct pidfd_info)`.
const PIDFD_GET_INFO: libc::c_ulong =
    (3 << 30) | ((size_of::<PidfdInfo>() as libc::c_ulong) << 16) | (0xff << 8) | 11;

/// Device and inode of a file: what it is, whatever its name.
pub type FileId = (u64, u64);

/// Bytes of a file of `/proc` for which there is room at once: a read gets no more than it has room for.
const ROOM: usize = 1 << 14;

/// What the kernel says of a process in the file `name` of its folder. The target's own names stand in
/// it, which need not be UTF-8: what is not is replaced.
///
/// # Errors
/// Where the process has ended, or there is no right to look at it.
pub fn text(process: &Process, name: &str) -> ProcResult<String> {
    let mut bytes = Vec::with_capacity(ROOM);
    process.open_relative(name)?.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A process that is looked at.
pub struct Target {
    pid: u32,
    process: Process,
    pidfd: OwnedFd,
    status: Kept,
}

impl Target {
    /// Opens the process.
    ///
    /// # Errors
    /// Where there is no such process, or no right to look at it.
    pub fn open(pid: u32) -> Result<Self> {
        let number = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let Some(number) = number else {
            bail!("{pid} is not a process id; give the number that `ps` shows");
        };
        let pidfd = match pidfd_open(number, PidfdFlags::empty()) {
            Ok(fd) => fd,
            Err(rustix::io::Errno::SRCH) => {
                bail!("there is no process {pid}; `ps -e` lists what runs")
            }
            // Kernels differ in what they say of a thread.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => {
                bail!("{pid} is a thread, not a process; give the id of its process")
            }
            Err(error) => return Err(error).with_context(|| format!("can't open process {pid}")),
        };
        let process = Process::new(number.as_raw_nonzero().get())
            .with_context(|| format!("can't read /proc/{pid}; is it mounted?"))?;
        let status = process.open_relative("status");
        let status = status.with_context(|| format!("can't read /proc/{pid}/status"))?;
        let target = Self {
            pid,
            process,
            pidfd,
            status: Kept::new(status),
        };
        if !privileges::may_trace(&target.process)? {
            bail!(target.refusal());
        }
        Ok(target)
    }

    /// What is said where there is no right to look at it.
    fn refusal(&self) -> String {
        format!(
            "no right to look at process {} ({}); {}",
            self.pid,
            self.name(),
            if rustix::process::geteuid().is_root() {
                "not even for root: a namespace or a security module forbids it"
            } else {
                "it belongs to another user or is protected: run exoscope as root"
            }
        )
    }

    /// What `/proc` has of it.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// The process id, as the agent's PID namespace numbers it.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Becomes readable when the process ends.
    pub fn pidfd(&self) -> &OwnedFd {
        &self.pidfd
    }

    /// Whether the process has ended (a zombie has).
    pub fn has_ended(&self) -> bool {
        match self.process.stat() {
            Ok(stat) => matches!(stat.state, 'Z' | 'X' | 'x'),
            Err(_) => true,
        }
    }

    /// Whether nothing is left of the process: it has ended and was waited for, and its number is free.
    pub fn is_gone(&self) -> bool {
        self.process.stat().is_err()
    }

    /// How the process ended, where the kernel tells: until its parent has waited for it, and from
    /// Linux 6.15 on also afterwards.
    pub fn exit_info(&self) -> Option<End> {
        let waiting = self.process.stat().ok().filter(|stat| stat.state == 'Z');
        let status = waiting.and_then(|stat| stat.exit_code);
        status
            .and_then(End::of)
            .or_else(|| self.exit_info_afterwards())
    }

    fn exit_info_afterwards(&self) -> Option<End> {
        let mut info = PidfdInfo {
            mask: PIDFD_INFO_EXIT,
            ..PidfdInfo::default()
        };
        // SAFETY: the request says how long `info` is, and the kernel writes no more than that.
        let result = unsafe { libc::ioctl(self.pidfd.as_raw_fd(), PIDFD_GET_INFO, &raw mut info) };
        if result != 0 || info.mask & PIDFD_INFO_EXIT == 0 {
            return None;
        }
        End::of(info.exit_code)
    }

    /// The command line, its words separated by spaces; the short name where it is empty.
    pub fn command(&self) -> String {
        match self.process.cmdline() {
            Ok(words) if !words.is_empty() => words.join(" "),
            _ => self.name(),
        }
    }

    /// The short name.
    pub fn name(&self) -> String {
        self.process
            .stat()
            .map(|stat| stat.comm)
            .unwrap_or_default()
    }

    /// The executable as the target sees it.
    pub fn executable(&self) -> PathBuf {
        self.process.exe().unwrap_or_default()
    }

    /// Path by which the agent opens the executable.
    pub fn executable_link(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/exe", self.pid))
    }

    /// The files that the process maps with code in them, the executable first.
    ///
    /// # Errors
    /// Where the process has ended, or its maps can't be read.
    pub fn mapped_files(&self) -> Result<BTreeMap<FileId, MappedFile>> {
        let mut files = BTreeMap::new();
        for map in self.maps()? {
            let MMapPath::Path(name) = &map.pathname else {
                continue;
            };
            if !map.perms.contains(MMPermissions::EXECUTE) {
                continue;
            }
            let open = self.mapped_file(&map, name);
            let Ok(metadata) = open.metadata() else {
                continue;
            };
            files
                .entry((metadata.dev(), metadata.ino()))
                .or_insert_with(|| MappedFile {
                    open,
                    name: name.clone(),
                });
        }
        if let Ok(metadata) = self.executable_link().metadata() {
            let executable = MappedFile {
                open: self.executable_link(),
                name: self.executable(),
            };
            files.insert((metadata.dev(), metadata.ino()), executable);
        }
        Ok(files)
    }

    /// The lines of the process's maps about code of files: they change when it loads a library, or lets
    /// go of one.
    ///
    /// # Errors
    /// Where the process has ended, or there is no right to look at it.
    pub fn lines_of_code(&self) -> Result<String> {
        let maps = text(&self.process, "maps")?;
        let is_code = |line: &&str| {
            let mut words = line.split_ascii_whitespace().skip(1);
            words.next().is_some_and(|access| access.contains('x')) && line.contains('/')
        };
        Ok(maps.lines().filter(is_code).collect())
    }

    /// Bytes of code that the process maps besides its executable's: what changes with nearly every
    /// library that is loaded, and takes a tenth of the time of [`Self::lines_of_code`].
    ///
    /// # Errors
    /// Where the process has ended, or there is no right to look at it.
    pub fn bytes_of_libraries(&self) -> Result<Option<u64>> {
        let mut buffer = Buffer::default();
        Ok(parse::keyed_kib(self.status.read(&mut buffer)?, "VmLib:"))
    }

    /// Path by which the agent opens the file that is mapped at `map`, and that the target calls
    /// `name`.
    pub fn mapped_file(&self, map: &MemoryMap, name: &Path) -> PathBuf {
        let (start, end) = map.address;
        let link = PathBuf::from(format!("/proc/{}/map_files/{start:x}-{end:x}", self.pid));
        if link.metadata().is_ok() {
            link
        } else {
            self.through_root(name)
        }
    }

    /// Path by which the agent opens what the target calls `name`.
    pub fn through_root(&self, name: &Path) -> PathBuf {
        let inside = name.strip_prefix("/").unwrap_or(name);
        PathBuf::from(format!("/proc/{}/root", self.pid)).join(inside)
    }

    /// What the process maps, in the order of addresses.
    ///
    /// # Errors
    /// Where the process has ended, or there is no right to look at it.
    pub fn maps(&self) -> Result<Vec<MemoryMap>> {
        let maps = text(&self.process, "maps");
        match maps.and_then(|maps| MemoryMaps::from_read(maps.as_bytes())) {
            Ok(maps) => Ok(maps.0),
            Err(procfs::ProcError::PermissionDenied(_)) => bail!(self.refusal()),
            Err(_) if self.has_ended() => bail!("process {} has ended", self.pid),
            Err(error) => Err(error)
                .with_context(|| format!("can't read the memory maps of process {}", self.pid)),
        }
    }

    /// Reads the semaphores at `offsets` of the file `id` in the target's memory. `None` for one
    /// that no private writable mapping holds.
    ///
    /// # Errors
    /// Where the process has ended, or there is no right to look at it.
    pub fn read_semaphores(&self, id: FileId, offsets: &[u64]) -> Result<Vec<Option<u16>>> {
        let bytes = self.read_data(id, offsets)?.into_iter();
        Ok(bytes.map(|bytes| bytes.map(u16::from_ne_bytes)).collect())
    }

    /// Reads `N` bytes at each of `offsets` of the file `id` in the target's memory, where the file
    /// is writable data. `None` where no such mapping holds them.
    ///
    /// # Errors
    /// Where the process has ended, or there is no right to look at it.
    pub fn read_data<const N: usize>(
        &self,
        id: FileId,
        offsets: &[u64],
    ) -> Result<Vec<Option<[u8; N]>>> {
        let maps: Vec<_> = self
            .maps()?
            .into_iter()
            .filter(|map| map.inode == id.1 && map.perms.contains(MMPermissions::WRITE))
            .collect();
        let read = |offset: u64| {
            let map = maps.iter().find(|map| {
                let len = map.address.1 - map.address.0;
                offset
                    .checked_sub(map.offset)
                    .is_some_and(|within| within < len)
            });
            let Some(map) = map else { return Ok(None) };
            let address = map.address.0 + (offset - map.offset);
            self.read_memory(address)
                .with_context(|| format!("can't read the memory of process {}", self.pid))
        };
        offsets.iter().map(|&offset| read(offset)).collect()
    }

    /// Reads `N` bytes of its memory; `None` where there are none. `/proc/PID/mem` would do the same, and
    /// can be opened by its owner alone, or with a right to all files.
    fn read_memory<const N: usize>(&self, address: u64) -> io::Result<Option<[u8; N]>> {
        let mut bytes = [0; N];
        let here = libc::iovec {
            iov_base: bytes.as_mut_ptr().cast(),
            iov_len: N,
        };
        let there = libc::iovec {
            iov_base: address as *mut libc::c_void,
            iov_len: N,
        };
        let pid = self.pid as libc::pid_t;
        // SAFETY: `here` is all of `bytes`, which the call may write; `there` lies in another process, and
        // the kernel checks it.
        let read =
            unsafe { libc::process_vm_readv(pid, &raw const here, 1, &raw const there, 1, 0) };
        if read == N as isize {
            return Ok(Some(bytes));
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EPERM | libc::ESRCH | libc::ENOSYS) if read < 0 => Err(error),
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_mapped_files_are_any_bytes() {
        let flags = rustix::fs::MemfdFlags::CLOEXEC;
        let file = rustix::fs::memfd_create(c"gr\xfcn", flags).unwrap();
        rustix::fs::ftruncate(&file, 4096).unwrap();
        // SAFETY: nobody else knows the file.
        let mapped = unsafe { memmap2::Mmap::map(&file) }.unwrap();
        let target = Target::open(std::process::id()).unwrap();
        let start = mapped.as_ptr() as u64;
        let maps = target.maps().unwrap();
        assert!(maps.iter().any(|map| map.address.0 == start));
        assert!(target.lines_of_code().unwrap().contains("r-xp"));
    }
}
