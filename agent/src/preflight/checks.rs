//! The checks behind `exoscope doctor`, and behind the sentence that `attach` fails with.

use std::io;
use std::path::Path;

use aya_obj::generated::bpf_insn;
use caps::{CapSet, Capability};
use exoscope_abi::sample::NO_PROCESS;

use crate::attach::call_stats::{CallStat, CallStats};
use crate::attach::programs::{Programs, Settings};
use crate::attach::sampling::Sampling;
use crate::attach::sys::{self, Code, LoadError};
use crate::kernel_types::{BTF, KernelTypes};
use crate::preflight::grant;
use crate::privileges::NEEDED;
use crate::sample::THREAD_POINTER;

/// One thing that capture needs or profits from.
#[derive(Clone, Debug)]
pub struct Check {
    /// Stable name.
    pub name: &'static str,
    /// Capture can't work without it.
    pub required: bool,
    /// What was found; `Err` where it is missing.
    pub result: Result<String, Problem>,
}

/// Something that is missing.
#[derive(Clone, Debug)]
pub struct Problem {
    /// What is missing, and why.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

impl Problem {
    fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            remedy: remedy.into(),
        }
    }
}

/// Every check, in the order in which one depends on another.
pub fn all() -> Vec<Check> {
    let check = |name, required, result| Check {
        name,
        required,
        result,
    };
    vec![
        check("kernel", false, Ok(kernel())),
        check("capabilities", true, capabilities()),
        check("bpf", true, bpf()),
        check("uprobe_multi", true, uprobe_multi()),
        check("btf", false, btf()),
    ]
}

/// What sampling needs, apart from the rest: to find out loads all programs.
pub fn sampling() -> Check {
    Check {
        name: "sampling",
        required: false,
        result: try_sampling(),
    }
}

fn try_sampling() -> Result<String, Problem> {
    let sampling = Sampling {
        hertz: 1,
        off_cpu: true,
    };
    let settings = Settings {
        sampling,
        ring_bytes: 0,
        ..Settings::default()
    };
    let programs = Programs::load(&settings);
    let started = programs.and_then(|mut programs| programs.start_sampling(sampling, NO_PROCESS));
    if let Err(error) = started {
        return Err(Problem::new(
            error.to_string(),
            "calls are captured all the same; --sample needs the right to open perf events for all \
             processes of the machine (CAP_PERFMON), which containers often forbid",
        ));
    }
    let types = KernelTypes::of_this_kernel();
    Ok(
        match types.and_then(|types| types.member("task_struct", THREAD_POINTER)) {
            Ok(_) => {
                "stacks of running and waiting threads can be taken, with their calls".to_owned()
            }
            Err(_) => {
                "stacks of running threads can be taken; which call they are in, a kernel with \
                 CONFIG_DEBUG_INFO_BTF would tell"
                    .to_owned()
            }
        },
    )
}

/// What the kernel can tell of every call, one check a stat; to find out loads all programs.
pub fn call_stats() -> Vec<Check> {
    let settings = Settings {
        call_stats: CallStats::ALL,
        ring_bytes: 0,
        ..Settings::default()
    };
    let programs = Programs::load(&settings);
    let lack = |stat| match &programs {
        Ok(programs) => {
            let mut lacking = programs.lacking().iter();
            lacking.find_map(|(lacks, why)| (*lacks == stat).then(|| why.clone()))
        }
        Err(error) => Some(error.to_string()),
    };
    let check = |stat: CallStat| Check {
        name: name_of(stat),
        required: false,
        result: match lack(stat) {
            None => Ok(format!("{} of every call", stat.what())),
            Some(why) => Err(Problem::new(
                format!("{} of every call: {why}", stat.what()),
                "calls are captured all the same, and these columns are NULL",
            )),
        },
    };
    CallStat::ALL.map(check).into()
}

const fn name_of(stat: CallStat) -> &'static str {
    match stat {
        CallStat::Cpu => "call cpu",
        CallStat::Faults => "call faults",
        CallStat::Memory => "call memory",
        CallStat::Switches => "call switches",
    }
}

/// Fails with one sentence about the first thing that capture can't do without.
///
/// # Errors
/// What is missing and what to do.
pub fn require() -> anyhow::Result<()> {
    for check in all() {
        if let (true, Err(problem)) = (check.required, &check.result) {
            anyhow::bail!("can't capture here: {}; {}", problem.what, problem.remedy);
        }
    }
    Ok(())
}

/// Release of the running kernel.
pub fn kernel() -> String {
    let uname = rustix::system::uname();
    uname.release().to_string_lossy().into_owned()
}

/// Capabilities that attaching to another process through `/proc/PID` needs. `CAP_SYS_ADMIN`
/// includes the first two.
fn capabilities() -> Result<String, Problem> {
    let has = |capability| caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false);
    let admin = has(Capability::CAP_SYS_ADMIN);
    let is_included = |capability| admin && capability != Capability::CAP_SYS_PTRACE;
    let missing: Vec<String> = NEEDED
        .into_iter()
        .filter(|&capability| !is_included(capability) && !has(capability))
        .map(|capability| capability.to_string())
        .collect();
    if missing.is_empty() {
        return Ok("CAP_BPF, CAP_PERFMON and CAP_SYS_PTRACE are there".to_owned());
    }
    Err(Problem::new(
        format!(
            "{} {} missing",
            missing.join(", "),
            if missing.len() == 1 { "is" } else { "are" }
        ),
        format!(
            "run exoscope with sudo, or give it the capabilities with `sudo {}`",
            grant::setcap()
        ),
    ))
}

fn bpf() -> Result<String, Problem> {
    match sys::create_array("exoscope_check", 4096, 1) {
        Ok(_) => Ok("maps can be made".to_owned()),
        Err(error) => Err(Problem::new(
            format!("the kernel refuses BPF ({error})"),
            bpf_remedy(&error),
        )),
    }
}

fn bpf_remedy(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::ENOSYS) => "it was built without CONFIG_BPF_SYSCALL: use another kernel",
        Some(libc::EPERM | libc::EACCES) => {
            "a container or a lockdown forbids it: run exoscope on the host, or allow the `bpf` \
             system call"
        }
        Some(libc::EINVAL) => "arrays can't be mapped: Linux 5.5 or newer is needed",
        _ => "see the kernel's log for the reason",
    }
}

/// `r0 = 0; exit`.
const NOTHING: [bpf_insn; 2] = [instruction(0xb7), instruction(0x95)];

const fn instruction(code: u8) -> bpf_insn {
    bpf_insn {
        code,
        _bitfield_align_1: [],
        _bitfield_1: aya_obj::generated::__BindgenBitfieldUnit::new([0]),
        off: 0,
        imm: 0,
    }
}

fn uprobe_multi() -> Result<String, Problem> {
    match sys::load_program("exoscope_check", Code::of(&NOTHING, c"Dual MIT/GPL")) {
        Ok(_) => Ok("many sites can be attached to by one link".to_owned()),
        Err(LoadError { source, .. }) => Err(Problem::new(
            format!("the kernel has no uprobe_multi links ({source})"),
            "Linux 6.6 or newer with CONFIG_UPROBES is needed",
        )),
    }
}

fn btf() -> Result<String, Problem> {
    if Path::new(BTF).exists() {
        return Ok(format!("{BTF} is there"));
    }
    Err(Problem::new(
        format!("the kernel does not describe its types ({BTF} is missing)"),
        "calls are captured all the same; figures of the kernel for each call need a kernel with \
         CONFIG_DEBUG_INFO_BTF",
    ))
}
