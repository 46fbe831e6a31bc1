//! The `bpf` commands that aya does not wrap: loading a program for a `uprobe_multi` link, creating
//! that link, and creating an array by itself; and loading an iterator without the rest of its
//! object, and linking it to one process.
//!
//! Newer releases of aya have the first link, still without the offsets of semaphores; this file
//! shrinks when they do.

use std::ffi::CStr;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use aya_obj::btf::FuncSecInfo;
use aya_obj::generated::{
    bpf_attach_type, bpf_attr, bpf_cmd, bpf_insn, bpf_map_type, bpf_prog_type,
};

/// Bytes of the verifier's log that are kept.
const LOG_SIZE: usize = 1 << 20;
/// How often a program is loaded again where a signal interrupted that.
const INTERRUPTIONS: u32 = 10;
/// Programs only read the map.
const BPF_F_RDONLY_PROG: u32 = 1 << 7;
/// The map's memory can be mapped.
const BPF_F_MMAPABLE: u32 = 1 << 10;

/// A program that the kernel refused.
#[derive(Debug)]
pub struct LoadError {
    /// What the system call said.
    pub source: io::Error,
    /// What the verifier said, where it said anything.
    pub log: String,
}

/// The instructions of a program.
#[derive(Clone, Copy)]
pub struct Code<'a> {
    /// Those of its functions, the program itself first.
    pub instructions: &'a [bpf_insn],
    /// What types the functions have: the kernel checks those that are global by themselves.
    pub types: Option<FunctionTypes<'a>>,
    /// Under which it may be used.
    pub license: &'a CStr,
}

/// The types of a program's functions.
#[derive(Clone, Copy)]
pub struct FunctionTypes<'a> {
    /// The types: what [`load_types`] gave.
    pub types: BorrowedFd<'a>,
    /// The type of each function.
    pub functions: &'a FuncSecInfo,
    /// Bytes for each of them.
    pub size: usize,
}

impl<'a> Code<'a> {
    /// One function, which calls no other.
    pub const fn of(instructions: &'a [bpf_insn], license: &'a CStr) -> Self {
        Self {
            instructions,
            types: None,
            license,
        }
    }
}

/// One `uprobe_multi` link: where it is to attach.
#[derive(Debug)]
pub struct MultiTarget<'a> {
    /// The file; a `/proc/PID/…` link keeps a replaced binary apart from its successor.
    pub path: &'a CStr,
    /// Offsets of the probed instructions in the file.
    pub offsets: &'a [u64],
    /// Offsets of the semaphores in the file, 0 for none; one for each of `offsets`.
    pub semaphores: &'a [u64],
    /// What the program gets from `bpf_get_attach_cookie`; one for each of `offsets`.
    pub cookies: &'a [u64],
    /// The only process in which the probes fire.
    pub pid: u32,
}

/// Runs a `bpf` command.
fn bpf(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<libc::c_long> {
    // SAFETY: `attr` is a whole `bpf_attr`, and what its pointers point at outlives the call: every
    // caller holds it.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command as libc::c_long,
            &raw mut *attr,
            size_of::<bpf_attr>(),
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Runs a `bpf` command that gives back a file descriptor.
fn bpf_fd(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<OwnedFd> {
    let fd = bpf(command, attr)?;
    // SAFETY: the kernel has just made this descriptor for us, close-on-exec.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

fn zeroed_attr() -> bpf_attr {
    // SAFETY: `bpf_attr` is a union of integers and of structs of integers, valid as zeros.
    unsafe { mem::zeroed() }
}

/// Loads a program for a `uprobe_multi` link.
///
/// # Errors
/// What the kernel said; with the verifier's log where it refused the program.
pub fn load_program(name: &str, code: Code<'_>) -> Result<OwnedFd, LoadError> {
    load_for(Purpose::UprobeMulti, name, code)
}

/// What a program is loaded for.
#[derive(Clone, Copy, Debug)]
pub enum Purpose {
    /// A `uprobe_multi` link.
    UprobeMulti,
    /// An iterator of the kind that the kernel's function of this number stands for.
    Iterator(u32),
    /// The tracepoint whose function has the type of this number.
    Tracepoint(u32),
}

/// Loads a program.
///
/// # Errors
/// As [`load_program`].
pub fn load_for(purpose: Purpose, name: &str, code: Code<'_>) -> Result<OwnedFd, LoadError> {
    let mut loaded = load_with_log(purpose, name, code, &mut []);
    for _ in 0..INTERRUPTIONS {
        // A signal came while the verifier was at work.
        if !matches!(&loaded, Err(error) if error.raw_os_error() == Some(libc::EAGAIN)) {
            break;
        }
        loaded = load_with_log(purpose, name, code, &mut []);
    }
    loaded.or_else(|source| {
        let mut log = vec![0; LOG_SIZE];
        load_with_log(purpose, name, code, &mut log).map_err(|_| {
            let end = log.iter().position(|&byte| byte == 0).unwrap_or(log.len());
            let log = String::from_utf8_lossy(&log[..end]).into_owned();
            LoadError { source, log }
        })
    })
}

fn load_with_log(
    purpose: Purpose,
    name: &str,
    code: Code<'_>,
    log: &mut [u8],
) -> io::Result<OwnedFd> {
    let functions = code.types.map(|types| types.functions.func_info_bytes());
    let mut attr = zeroed_attr();
    // SAFETY: writing the fields of one variant of a zeroed union.
    let load = unsafe { &mut attr.__bindgen_anon_3 };
    let (program_type, attach_type) = match purpose {
        Purpose::UprobeMulti => (
            bpf_prog_type::BPF_PROG_TYPE_KPROBE,
            bpf_attach_type::BPF_TRACE_UPROBE_MULTI,
        ),
        Purpose::Iterator(kind) => {
            load.attach_btf_id = kind;
            (
                bpf_prog_type::BPF_PROG_TYPE_TRACING,
                bpf_attach_type::BPF_TRACE_ITER,
            )
        }
        Purpose::Tracepoint(function) => {
            load.attach_btf_id = function;
            (
                bpf_prog_type::BPF_PROG_TYPE_TRACING,
                bpf_attach_type::BPF_TRACE_RAW_TP,
            )
        }
    };
    load.prog_type = program_type as u32;
    load.expected_attach_type = attach_type as u32;
    load.insns = code.instructions.as_ptr() as u64;
    load.insn_cnt = code.instructions.len() as u32;
    load.license = code.license.as_ptr() as u64;
    if let (Some(types), Some(functions)) = (code.types, &functions) {
        load.prog_btf_fd = types.types.as_raw_fd() as u32;
        load.func_info = functions.as_ptr() as u64;
        load.func_info_cnt = types.functions.len() as u32;
        load.func_info_rec_size = types.size as u32;
    }
    for (to, from) in load.prog_name[..15].iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    if !log.is_empty() {
        load.log_level = 1;
        load.log_buf = log.as_mut_ptr() as u64;
        load.log_size = log.len() as u32;
    }
    bpf_fd(bpf_cmd::BPF_PROG_LOAD, &mut attr)
}

/// Loads the description of a program's types.
///
/// # Errors
/// What the kernel said.
pub fn load_types(types: &[u8]) -> io::Result<OwnedFd> {
    let mut attr = zeroed_attr();
    // SAFETY: writing the fields of one variant of a zeroed union.
    let load = unsafe { &mut attr.__bindgen_anon_7 };
    load.btf = types.as_ptr() as u64;
    load.btf_size = types.len() as u32;
    bpf_fd(bpf_cmd::BPF_BTF_LOAD, &mut attr)
}

/// Attaches a program to many places of one file by one link, which lives as long as the
/// descriptor.
///
/// # Errors
/// What the kernel said: for example `ENOTSUPP` (524) for an instruction it can't probe.
pub fn create_uprobe_multi(
    program: BorrowedFd<'_>,
    target: &MultiTarget<'_>,
) -> io::Result<OwnedFd> {
    assert_eq!(target.offsets.len(), target.cookies.len());
    assert_eq!(target.offsets.len(), target.semaphores.len());
    let mut attr = zeroed_attr();
    attr.link_create.__bindgen_anon_1.prog_fd = program.as_raw_fd() as u32;
    attr.link_create.attach_type = bpf_attach_type::BPF_TRACE_UPROBE_MULTI as u32;
    // SAFETY: writing the fields of one variant of a zeroed union.
    let multi = unsafe { &mut attr.link_create.__bindgen_anon_3.uprobe_multi };
    multi.path = target.path.as_ptr() as u64;
    multi.offsets = target.offsets.as_ptr() as u64;
    multi.cookies = target.cookies.as_ptr() as u64;
    if target.semaphores.iter().any(|&offset| offset != 0) {
        multi.ref_ctr_offsets = target.semaphores.as_ptr() as u64;
    }
    multi.cnt = target.offsets.len() as u32;
    multi.pid = target.pid;
    bpf_fd(bpf_cmd::BPF_LINK_CREATE, &mut attr)
}

/// Creates an array of `entries` values that can be mapped.
///
/// # Errors
/// What the kernel said: `ENOMEM` or `EPERM` where there is no room for it.
pub fn create_array(name: &str, value_size: u32, entries: u32) -> io::Result<OwnedFd> {
    create_array_with(name, value_size, entries, BPF_F_MMAPABLE)
}

fn create_array_with(name: &str, value_size: u32, entries: u32, flags: u32) -> io::Result<OwnedFd> {
    let mut attr = zeroed_attr();
    // SAFETY: writing the fields of one variant of a zeroed union.
    let create = unsafe { &mut attr.__bindgen_anon_1 };
    create.map_type = bpf_map_type::BPF_MAP_TYPE_ARRAY as u32;
    create.key_size = size_of::<u32>() as u32;
    create.value_size = value_size;
    create.max_entries = entries;
    create.map_flags = flags;
    for (to, from) in create.map_name[..15].iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    bpf_fd(bpf_cmd::BPF_MAP_CREATE, &mut attr)
}

/// Links a program to the tracepoint that it was loaded for.
///
/// # Errors
/// What the kernel said.
pub fn create_tracepoint_link(program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut attr = zeroed_attr();
    attr.link_create.__bindgen_anon_1.prog_fd = program.as_raw_fd() as u32;
    attr.link_create.attach_type = bpf_attach_type::BPF_TRACE_RAW_TP as u32;
    bpf_fd(bpf_cmd::BPF_LINK_CREATE, &mut attr)
}

/// `bpf_iter_link_info` of the kernel for tasks.
#[repr(C)]
struct TaskLinkInfo {
    tid: u32,
    pid: u32,
    pidfd: u32,
}

/// Links an iterator over tasks to the threads of the process behind `pidfd`.
///
/// # Errors
/// What the kernel said: `EINVAL` before Linux 6.1.
pub fn create_task_link(program: BorrowedFd<'_>, pidfd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let info = TaskLinkInfo {
        tid: 0,
        pid: 0,
        pidfd: pidfd.as_raw_fd() as u32,
    };
    let mut attr = zeroed_attr();
    attr.link_create.__bindgen_anon_1.prog_fd = program.as_raw_fd() as u32;
    attr.link_create.attach_type = bpf_attach_type::BPF_TRACE_ITER as u32;
    // SAFETY: writing the fields of one variant of a zeroed union.
    let iterator = unsafe { &mut attr.link_create.__bindgen_anon_3.__bindgen_anon_1 };
    iterator.iter_info = (&raw const info) as u64;
    iterator.iter_info_len = size_of::<TaskLinkInfo>() as u32;
    bpf_fd(bpf_cmd::BPF_LINK_CREATE, &mut attr)
}

/// Begins one iteration: what the program writes is read from the descriptor.
///
/// # Errors
/// What the kernel said.
pub fn create_iterator(link: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut attr = zeroed_attr();
    attr.iter_create.link_fd = link.as_raw_fd() as u32;
    bpf_fd(bpf_cmd::BPF_ITER_CREATE, &mut attr)
}

/// Creates the map of a program's constants. Nobody can change it any more.
///
/// # Errors
/// What the kernel said.
pub fn create_constants(name: &str, constants: &[u8]) -> io::Result<OwnedFd> {
    let map = create_array_with(name, constants.len() as u32, 1, BPF_F_RDONLY_PROG)?;

    let key = 0_u32;
    let mut attr = zeroed_attr();
    // SAFETY: writing the fields of one variant of a zeroed union.
    let update = unsafe { &mut attr.__bindgen_anon_2 };
    update.map_fd = map.as_raw_fd() as u32;
    update.key = (&raw const key) as u64;
    update.__bindgen_anon_1.value = constants.as_ptr() as u64;
    bpf(bpf_cmd::BPF_MAP_UPDATE_ELEM, &mut attr)?;

    let mut attr = zeroed_attr();
    attr.__bindgen_anon_2.map_fd = map.as_raw_fd() as u32;
    bpf(bpf_cmd::BPF_MAP_FREEZE, &mut attr)?;
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ends without a return value.
    const NO_RESULT: [bpf_insn; 1] = [bpf_insn {
        code: 0x95,
        _bitfield_align_1: [],
        _bitfield_1: aya_obj::generated::__BindgenBitfieldUnit::new([0]),
        off: 0,
        imm: 0,
    }];

    #[test]
    fn a_rejected_program_comes_with_the_verifiers_log() {
        let error = load_program("no_result", Code::of(&NO_RESULT, c"Dual MIT/GPL"))
            .expect_err("the verifier wants a return value (this test needs root)");
        assert_eq!(error.source.raw_os_error(), Some(libc::EACCES));
        assert!(error.log.contains("R0 !read_ok"), "{}", error.log);
    }
}
