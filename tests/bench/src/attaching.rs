//! How long attaching and detaching take.

use std::time::Instant;

use anyhow::Result;
use exoscope_abi::Phase;
use exoscope_agent::attach::programs::{Programs, Settings};
use exoscope_agent::attach::{BinaryPlan, Capture, MarkerByte};
use exoscope_agent::session::binaries::modules;
use exoscope_agent::target::elf::Binary;
use exoscope_agent::target::process::Target as Process;

use crate::Args;
use crate::figures::Report;
use crate::target::Target;

/// Sites that are attached to at once, and the seconds that it may take.
const SIZES: [(usize, Option<f64>); 3] = [(10, None), (1_000, None), (10_000, Some(1.0))];

/// Measures attaching and detaching of ever more sites.
pub fn measure(args: &Args, report: &mut Report) -> Result<()> {
    let mut target = Target::start(&args.targets.join("many"), &["--wait-stdin"])?;
    target.line()?;
    let process = Process::open(target.pid())?;
    let modules = modules(&process)?;
    report.group("seconds to attach and to detach");
    for (size, bound) in SIZES {
        let (mut attach, mut detach) = (Vec::new(), Vec::new());
        let module = &modules[0];
        let functions = first_sites(&module.binary, size);
        for _ in 0..args.rounds {
            let mut programs = Programs::load(&Settings {
                functions: module.binary.functions.len() as u32,
                ..Settings::default()
            })?;
            let plan = BinaryPlan {
                path: &module.file.open,
                binary: &module.binary,
                functions: &functions,
                pid: target.pid(),
                capture: Capture::Full,
                fields: false,
                polls: false,
                byte: MarkerByte::Five,
            };
            let start = Instant::now();
            let links = plan.attach(&programs)?;
            attach.push(start.elapsed().as_secs_f64());
            programs.set_phase(Phase::Ending)?;
            let start = Instant::now();
            drop(links);
            detach.push(start.elapsed().as_secs_f64());
        }
        report.add_median(&format!("attach {size} sites"), &attach, "s", bound);
        report.add_median(&format!("detach {size} sites"), &detach, "s", bound);
    }
    Ok(())
}

/// Chooses functions until they have at least `size` sites.
fn first_sites(binary: &Binary, size: usize) -> Vec<Option<u32>> {
    let mut sites_of = vec![0; binary.functions.len()];
    for site in &binary.sites {
        if let Some(function) = site.function {
            sites_of[function] += 1;
        }
    }
    let mut chosen = 0;
    sites_of
        .iter()
        .enumerate()
        .map(|(number, sites)| {
            let wanted = chosen < size;
            chosen += if wanted { sites } else { &0 };
            wanted.then_some(number as u32)
        })
        .collect()
}
