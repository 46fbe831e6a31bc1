//! Machines and users that lack something that capture needs: each says what it is.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use exoscope_tests::agent::{Bench, detach, is_attached};
use exoscope_tests::build::exoscope;
use exoscope_tests::calls::Calls;
use exoscope_tests::memory::Traces;
use exoscope_tests::process::Process;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use crate::VARIANTS;
use crate::call_stats::COLUMNS;
use crate::refusal::{self, says};

/// Number of the system call `bpf` on x86-64.
const SYS_BPF: i64 = 321;
/// Commands of `bpf`, from `linux/bpf.h`.
const BPF_PROG_LOAD: u64 = 5;
const BPF_LINK_CREATE: u64 = 28;
const BPF_ITER_CREATE: u64 = 33;
/// Errors, from `asm-generic/errno.h`.
const EPERM: u32 = 1;
const EINVAL: u32 = 22;
const ENOSYS: u32 = 38;

/// A machine where `bpf` (only one of its commands, where one is given) fails with `errno`.
fn without_bpf(command: &mut Command, only: Option<u64>, errno: u32) {
    let is = |number| {
        let condition = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, number);
        SeccompRule::new(vec![condition.expect("argument 0 exists")]).expect("it has a condition")
    };
    let filter = SeccompFilter::new(
        [(SYS_BPF, only.map(is).into_iter().collect())].into(),
        SeccompAction::Allow,
        SeccompAction::Errno(errno),
        TargetArch::x86_64,
    );
    let filter: BpfProgram = filter
        .and_then(TryInto::try_into)
        .expect("the filter is small");
    let apply = move || seccompiler::apply_filter(&filter).map_err(io::Error::other);
    // SAFETY: the closure makes two system calls on memory that was allocated before the fork.
    unsafe { command.pre_exec(apply) };
}

/// `command` started by another one, such as `setpriv`.
fn under(wrapper: &[&str], command: &Command) -> Command {
    let mut wrapped = Command::new(wrapper[0]);
    wrapped
        .args(&wrapper[1..])
        .arg(command.get_program())
        .args(command.get_args());
    wrapped
}

/// Tries to attach, and to run a program, on a machine that `lack` makes; both must fail with a
/// sentence that says `parts`, and the targets are as they were. `doctor` says `parts` too.
fn refused(lack: impl Fn(Command) -> Command, parts: &[&str]) {
    let bench = Bench::new();
    let mut target = Process::ready_target(&VARIANTS.binary(), &["--calls", "3"]);
    let attach = bench.attach_command(target.pid(), &["--markers", "safe"]);
    says(&refusal::of(&mut lack(attach)), parts);
    let run = bench.run_command(&[], &VARIANTS.binary(), &["--calls", "3"]);
    says(&refusal::of(&mut lack(run)), parts);
    refusal::leaves_nothing(&bench);
    assert_eq!(Traces::of(target.pid()), Traces::NONE);
    target.go_on();
    target.pauses_at("done");
    target.ends_well();
}

/// What `doctor` prints on a machine that `lack` makes, and whether capture works there.
fn doctor(lack: impl Fn(Command) -> Command) -> (String, bool) {
    let mut command = Command::new(exoscope());
    command.arg("doctor");
    let end = Process::start(&mut lack(command)).end();
    assert_eq!(end.stderr, [""; 0]);
    (end.stdout.join("\n"), end.status.code() == Some(0))
}

fn filtered(only: Option<u64>, errno: u32) -> impl Fn(Command) -> Command {
    move |mut command| {
        without_bpf(&mut command, only, errno);
        command
    }
}

/// An agent on a machine where BPF can't iterate over threads.
pub fn without_iterators(command: Command) -> Command {
    filtered(Some(BPF_ITER_CREATE), EPERM)(command)
}

#[test]
fn a_kernel_without_bpf() {
    refused(
        filtered(None, ENOSYS),
        &["the kernel refuses BPF", "CONFIG_BPF_SYSCALL"],
    );
    let (text, works) = doctor(filtered(None, ENOSYS));
    assert!(!works && text.contains("missing  bpf"), "{text}");
}

#[test]
fn a_container_that_forbids_bpf() {
    refused(
        filtered(None, EPERM),
        &["the kernel refuses BPF", "a container or a lockdown"],
    );
    let (text, works) = doctor(filtered(None, EPERM));
    assert!(!works && text.contains("missing  bpf"), "{text}");
}

#[test]
fn a_kernel_without_uprobe_multi() {
    let lack = || filtered(Some(BPF_PROG_LOAD), EINVAL);
    refused(
        lack(),
        &["the kernel has no uprobe_multi links", "Linux 6.6"],
    );
    let (text, works) = doctor(lack());
    assert!(!works && text.contains("missing  uprobe_multi"), "{text}");
}

#[test]
fn a_kernel_that_refuses_the_links() {
    refused(
        filtered(Some(BPF_LINK_CREATE), EINVAL),
        &["refused", "`exoscope doctor`"],
    );
    let (text, works) = doctor(filtered(Some(BPF_LINK_CREATE), EINVAL));
    assert!(!works && text.contains("the kernel refused"), "{text}");
}

#[test]
fn missing_capabilities_are_named() {
    let cases: [(&str, &[&str]); 3] = [
        ("-sys_admin,-bpf", &["CAP_BPF is missing"]),
        (
            "-sys_admin,-bpf,-perfmon",
            &["CAP_BPF, CAP_PERFMON are missing"],
        ),
        ("-sys_ptrace", &["CAP_SYS_PTRACE is missing"]),
    ];
    for (bounding, parts) in cases {
        let lack = |command: Command| under(&["setpriv", "--bounding-set", bounding], &command);
        refused(lack, parts);
        let (text, works) = doctor(lack);
        assert!(!works && text.contains("missing  capabilities"), "{text}");
        says(&text, parts);
    }
}

#[test]
fn capabilities_without_sys_admin_are_enough() {
    let bench = Bench::new();
    let mut target = Process::ready_target(&VARIANTS.binary(), &["--calls", "7"]);
    let attach = bench.attach_command(target.pid(), &[]);
    let mut agent = Process::start(&mut under(
        &["setpriv", "--bounding-set", "-sys_admin"],
        &attach,
    ));
    is_attached(&mut agent);
    target.go_on();
    let truth = Calls::told(&target.pauses_at("done"), target.pid());
    detach(agent);
    bench.database().holds(&truth);
    target.ends_well();
}

/// An agent for which `file` describes the types of the kernel.
fn with_types(file: &Path) -> impl Fn(Command) -> Command {
    let shown = format!(
        r#"mount --bind "{}" /sys/kernel/btf/vmlinux && exec "$0" "$@""#,
        file.display()
    );
    move |command| under(&["unshare", "--mount", "sh", "-c", &shown], &command)
}

/// Captures all calls of a target with an agent on a machine that `lack` makes; gives back what the agent
/// said once it was attached.
fn captured(bench: &Bench, lack: impl Fn(Command) -> Command) -> Vec<String> {
    let mut target = Process::ready_target(&VARIANTS.binary(), &["--calls", "7"]);
    let mut agent = Process::start(&mut lack(bench.attach_command(target.pid(), &[])));
    is_attached(&mut agent);
    target.go_on();
    let truth = Calls::told(&target.pauses_at("done"), target.pid());
    let end = detach(agent);
    bench.database().holds(&truth);
    target.ends_well();
    end.stderr
}

/// What the agent noted about a thing.
fn noted(bench: &Bench, kind: &str) -> Vec<String> {
    let sql = format!("SELECT message FROM agent_events WHERE kind = '{kind}'");
    let rows = bench.database().rows(&sql).into_iter();
    rows.flatten().collect()
}

/// Columns of `calls` that are known of any call.
fn known(bench: &Bench) -> Vec<&'static str> {
    let database = bench.database();
    let known = |column: &&str| database.number(&format!("SELECT count({column}) FROM calls")) > 0;
    let columns = COLUMNS.map(|(column, _)| column);
    columns.into_iter().filter(known).collect()
}

#[test]
fn a_kernel_without_btf_captures() {
    const HIDE: &str = r#"mount -t tmpfs none /sys/kernel/btf && exec "$0" "$@""#;
    let lack = |command: Command| under(&["unshare", "--mount", "sh", "-c", HIDE], &command);
    let (text, works) = doctor(lack);
    assert!(works && text.contains("without  btf"), "{text}");

    let bench = Bench::new();
    let said = captured(&bench, lack);
    assert_eq!(known(&bench), [""; 0]);
    // One sentence for all that one thing takes away.
    let lacks = "calls are captured without time on a CPU, waiting for one, and blocked, page faults, \
                 change of resident memory, switches to other threads: can't read \
                 /sys/kernel/btf/vmlinux (No such file or directory (os error 2)); a kernel with \
                 CONFIG_DEBUG_INFO_BTF has it";
    assert_eq!(noted(&bench, "call_stats"), [lacks]);
    let warnings = said
        .iter()
        .filter(|line| line.contains("are captured without"));
    assert_eq!(
        warnings.collect::<Vec<_>>(),
        [&format!("exoscope: warning: {lacks}")]
    );
    // Of threads and the process, another source tells.
    let sources = "SELECT DISTINCT source, threads > 0, rss_bytes > 0 FROM process_stats";
    assert_eq!(bench.database().rows(sources), [["procfs", "1", "1"]]);
    let threads = "SELECT count(*) > 0 FROM thread_stats WHERE cpu_ns IS NOT NULL";
    assert_eq!(bench.database().number(threads), 1);
    let stats = noted(&bench, "stats");
    let lacks = "kernel can't tell of threads, CPU time, faults and switches: can't read \
                 /sys/kernel/btf/vmlinux";
    let lacking = stats.iter().filter(|line| line.starts_with(lacks));
    assert_eq!(lacking.count(), 1, "{stats:#?}");
}

#[test]
fn a_kernel_whose_scheduler_is_unknown_captures() {
    const NAME: &[u8] = b"\0clock_task\0";
    let bench = Bench::new();
    let mut types = std::fs::read("/sys/kernel/btf/vmlinux").expect("this kernel has BTF");
    let named = types.windows(NAME.len()).position(|name| name == NAME);
    types[named.expect("this kernel's scheduler is known") + 1] = b'x';
    let file = bench.path().join("types");
    std::fs::write(&file, types).expect("the folder is writable");

    let said = captured(&bench, with_types(&file));
    let rest = [
        "minor_faults",
        "major_faults",
        "rss_delta_bytes",
        "voluntary_switches",
        "involuntary_switches",
    ];
    assert_eq!(known(&bench), rest);
    let lacks = "calls are captured without time on a CPU, waiting for one, and blocked: the kernel has \
                 no member rq.clock_task";
    assert_eq!(noted(&bench, "call_stats"), [lacks]);
    says(&said.join("\n"), &[lacks]);
    let (text, works) = doctor(with_types(&file));
    assert!(works && text.contains("without  call cpu"), "{text}");
}

#[test]
fn a_machine_without_iterators_and_proc_files_has_rows_of_what_is_left() {
    const HIDE: &str = r#"mount --bind /proc/1/fd /proc/pressure && exec "$0" "$@""#;
    let lack = |command: Command| {
        without_iterators(under(&["unshare", "--mount", "sh", "-c", HIDE], &command))
    };
    let bench = Bench::new();
    captured(&bench, lack);
    let known = "SELECT DISTINCT source, threads > 0, cpu_pressure_some_ns FROM process_stats";
    assert_eq!(bench.database().rows(known), [["procfs", "1", "-"]]);
    let stats = noted(&bench, "stats").join("\n");
    says(
        &stats,
        &[
            "kernel can't tell of threads, CPU time, faults and switches: ",
            "procfs can't tell of pressure of the machine: can't open /proc/pressure/",
        ],
    );
}
