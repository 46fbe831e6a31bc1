//! Capabilities: whose right it is to look into a process, and what is given up once it is attached to.
//!
//! The kernel lets whoever has `CAP_BPF` and `CAP_PERFMON` set probes in any process. Where those come
//! from the file of this program (`setcap`), every user who may start it has them, and it is for the
//! program to ask whether that user may look into the target: [`may_trace`] has the kernel answer for
//! the user alone. Root has the right by itself, and so has who was given `CAP_SYS_PTRACE` as an ambient
//! capability, which the kernel takes away from a program that has capabilities of its own.
//!
//! Capabilities belong to threads, and a new thread has those of the one that starts it. So
//! [`give_up`] comes when everything is loaded and attached, and before any thread of a session is started.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use caps::{CapSet, Capability, CapsHashSet};
use procfs::ProcError;
use procfs::process::Process;
use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::process::{geteuid, getuid};
use rustix::thread::{clear_ambient_capability_set, set_no_new_privs};

/// What capture needs, and nothing else.
pub const NEEDED: [Capability; 3] = [
    Capability::CAP_BPF,
    Capability::CAP_PERFMON,
    Capability::CAP_SYS_PTRACE,
];

/// What root reads and writes the files of others with.
const FOR_FILES: [Capability; 3] = [
    Capability::CAP_CHOWN,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_DAC_READ_SEARCH,
];

/// What a session may need while it runs.
#[derive(Clone, Copy, Debug)]
pub struct Needed<'a> {
    /// The target, below `/proc`.
    pub target: &'a Process,
    /// The file and the folders that are written.
    pub paths: &'a [&'a Path],
    /// Signals are passed on to a program that was started.
    pub signals: bool,
}

/// Fails where this program is set-user-ID: then whoever starts it would write files as its owner.
///
/// # Errors
/// One sentence.
pub fn check_user() -> Result<()> {
    if getuid() != geteuid() {
        bail!(
            "exoscope is set-user-ID, and every user would read and write files as its owner: take that \
             off with `chmod u-s`, and give it capabilities as `exoscope doctor` says"
        );
    }
    Ok(())
}

/// Whether the user who started this program may trace a process, whatever capabilities the program's
/// file has.
///
/// # Errors
/// Where the capabilities of this thread can't be changed for the question.
pub fn may_trace(process: &Process) -> Result<bool> {
    let own =
        getuid().is_root() || caps::has_cap(None, CapSet::Ambient, Capability::CAP_SYS_PTRACE)?;
    Ok(own || without(|| is_open(process))?)
}

/// Whether the kernel lets this thread trace a process: to open its memory is the question that
/// `ptrace` asks, too (`PTRACE_MODE_ATTACH_FSCREDS`). Of one that has ended there is nothing to see.
pub fn is_open(process: &Process) -> bool {
    !matches!(
        process.open_relative("mem"),
        Err(ProcError::PermissionDenied(_))
    )
}

/// Keeps of this thread's capabilities those that a session may still need, and of them those without
/// which it does not get on. It can't get any back. Threads that are started from now on have the same.
///
/// # Errors
/// Where the kernel refuses.
pub fn give_up(needed: &Needed<'_>) -> Result<()> {
    let (target_is_open, files_are_ours) = without(|| {
        let files_are_ours = needed.paths.iter().all(|path| is_writable(path));
        (is_open(needed.target), files_are_ours)
    })?;
    keep(|capability| match capability {
        Capability::CAP_SYS_PTRACE => !target_is_open,
        // Libraries that the target loads: they may be another user's, or replaced meanwhile.
        Capability::CAP_DAC_READ_SEARCH | Capability::CAP_CHECKPOINT_RESTORE => true,
        Capability::CAP_DAC_OVERRIDE | Capability::CAP_CHOWN => !files_are_ours,
        Capability::CAP_KILL => needed.signals,
        _ => false,
    })
}

/// Keeps what files of others are read and written with, where there is such a capability: for commands
/// that read files, which may be hostile.
///
/// # Errors
/// Where the kernel refuses.
pub fn give_up_all_but_files() -> Result<()> {
    keep(|capability| FOR_FILES.contains(&capability))
}

/// Gives up all of this thread's capabilities.
///
/// # Errors
/// Where the kernel refuses.
pub fn give_up_all() -> Result<()> {
    keep(|_| false)
}

/// Has a program that is about to be executed have no capabilities but those that its own file or its user
/// gives it. Makes one system call, and may be called between `fork` and `exec`.
///
/// # Errors
/// What the kernel said.
pub fn pass_none_on() -> std::io::Result<()> {
    Ok(clear_ambient_capability_set()?)
}

/// As [`pass_none_on`], and what the program's file would give it does not count either. Makes two system
/// calls.
///
/// # Errors
/// What the kernel said.
pub fn pass_none_on_for_good() -> std::io::Result<()> {
    pass_none_on()?;
    Ok(set_no_new_privs(true)?)
}

fn is_writable(path: &Path) -> bool {
    accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS).is_ok()
}

/// Asks something with no capability in effect.
fn without<T>(ask: impl FnOnce() -> T) -> Result<T> {
    let refused = "can't put this thread's capabilities aside";
    let effective = caps::read(None, CapSet::Effective).context(refused)?;
    caps::clear(None, CapSet::Effective).context(refused)?;
    let answer = ask();
    caps::set(None, CapSet::Effective, &effective).context(refused)?;
    Ok(answer)
}

/// Keeps the capabilities for which `is_kept` holds; executing a program brings none back.
fn keep(is_kept: impl Fn(Capability) -> bool) -> Result<()> {
    let refused = "can't give up capabilities";
    let permitted = caps::read(None, CapSet::Permitted).context(refused)?;
    let kept: CapsHashSet = permitted.into_iter().filter(|one| is_kept(*one)).collect();
    caps::set(None, CapSet::Effective, &kept).context(refused)?;
    caps::set(None, CapSet::Permitted, &kept).context(refused)?;
    // With these, the ambient ones go too.
    caps::clear(None, CapSet::Inheritable).context(refused)?;
    set_no_new_privs(true).context(refused)
}
