//! What a session costs other processes: the programs at the scheduler's switches run whoever switches.
//!
//! Two processes that have nothing to do with the target pass a byte to and fro on one CPU, which
//! switches between them each time; the target sleeps on another one.

use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use aya_obj::generated::bpf_insn;
use exoscope_agent::attach::sys::{self, Code, Purpose};
use exoscope_agent::kernel_types::KernelTypes;

use crate::figures::Report;
use crate::target::{Agent, Target, pin};
use crate::{Args, SETTLE};

/// CPU of the two; target and agent take another.
const CPU: usize = 1;
/// How often the byte goes to and fro in one time.
const ROUND_TRIPS: u32 = 1_000;
/// How often that is timed; the shortest time counts.
const TIMES: usize = 100;
/// Nanoseconds that a session may add to a switch.
const BOUND: f64 = 100.0;

/// What sessions there are to measure.
const SESSIONS: [(&str, &[&str], Option<f64>); 3] = [
    (
        "without call stats",
        &["--call-stats", "none", "--stats-interval", "0"],
        None,
    ),
    ("with all call stats (the default)", &[], Some(BOUND)),
    (
        "with --sample 99 --off-cpu, too",
        &["--sample", "99", "--off-cpu"],
        Some(BOUND),
    ),
];

/// Measures a switch without a session, and what each kind of session adds.
pub fn measure(args: &Args, report: &mut Report) -> Result<()> {
    let mut pair = Pair::start()?;
    let target = Target::start(&args.targets.join("ticks"), &[])?;
    target.pin(CPU + 1);
    let folder = tempfile::tempdir()?;
    let mut without = Vec::new();
    let mut added = [const { Vec::new() }; SESSIONS.len()];
    let mut floor = Vec::new();
    for round in 0..args.rounds {
        // Each beside a switch without it: the machine's pace changes from second to second.
        let bare = pair.ns_per_switch()?;
        without.push(bare);
        let program = empty_program()?;
        floor.push(pair.ns_per_switch()? - bare);
        drop(program);
        for (number, ((_, options, _), added)) in SESSIONS.iter().zip(&mut added).enumerate() {
            let bare = pair.ns_per_switch()?;
            let output = folder.path().join(format!("{round}-{number}.db"));
            let agent = Agent::attach(&args.exoscope, target.pid(), &output, options)?;
            pin(agent.pid(), CPU + 1);
            std::thread::sleep(SETTLE);
            added.push(pair.ns_per_switch()? - bare);
            agent.stop()?;
        }
    }
    report.group("ns of a switch between two other processes");
    report.add_median("without a session", &without, "ns", None);
    report.add_median("added, floor (one empty program)", &floor, "ns", None);
    for ((name, _, bound), added) in SESSIONS.iter().zip(&added) {
        report.add_median(&format!("added, {name}"), added, "ns", *bound);
    }
    if let Some(off_cpu) = added.last() {
        let beyond = off_cpu.iter().zip(&floor);
        let beyond: Vec<_> = beyond.map(|(added, floor)| added - floor).collect();
        report.add_median("… of which beyond the floor", &beyond, "ns", None);
    }
    Ok(())
}

/// A program at the scheduler's switches that does nothing, for as long as it is kept: what the kernel takes
/// for running one at all.
fn empty_program() -> Result<OwnedFd> {
    let instruction = |code| bpf_insn {
        code,
        _bitfield_align_1: [],
        _bitfield_1: bpf_insn::new_bitfield_1(0, 0),
        off: 0,
        imm: 0,
    };
    // r0 = 0; exit
    let nothing = [instruction(0xb7), instruction(0x95)];
    let tracepoint = KernelTypes::of_this_kernel()?.type_alias("btf_trace_sched_switch")?;
    let purpose = Purpose::Tracepoint(tracepoint);
    let program = sys::load_for(purpose, "empty", Code::of(&nothing, c"GPL"));
    let program = program.map_err(|error| error.source)?;
    // The link keeps the program.
    Ok(sys::create_tracepoint_link(program.as_fd())?)
}

/// Two processes on one CPU: this thread, and `cat`.
struct Pair {
    cat: Child,
    to: ChildStdin,
    from: ChildStdout,
}

impl Pair {
    fn start() -> Result<Self> {
        pin(0, CPU);
        let mut cat = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("can't start `cat`")?;
        let to = cat.stdin.take().context("no input")?;
        let from = cat.stdout.take().context("no output")?;
        Ok(Self { cat, to, from })
    }

    /// Nanoseconds from one switch to the next, the shortest of several times.
    fn ns_per_switch(&mut self) -> Result<f64> {
        let mut shortest = f64::INFINITY;
        for _ in 0..TIMES {
            let before = switches();
            let start = Instant::now();
            for _ in 0..ROUND_TRIPS {
                self.to.write_all(b"x")?;
                self.from.read_exact(&mut [0])?;
            }
            let ns = start.elapsed().as_nanos() as f64;
            let switches = switches() - before;
            ensure!(
                switches >= i64::from(ROUND_TRIPS),
                "only {switches} switches in {ROUND_TRIPS} round trips"
            );
            shortest = shortest.min(ns / f64::from(2 * ROUND_TRIPS));
        }
        Ok(shortest)
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _ = self.cat.kill();
        let _ = self.cat.wait();
    }
}

/// How often this thread has left its CPU.
fn switches() -> i64 {
    // SAFETY: the structure is plain numbers, valid as zeros, and the call fills it in.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage);
        usage.ru_nvcsw + usage.ru_nivcsw
    }
}
