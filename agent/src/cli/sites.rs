//! `exoscope sites`: the instrumented functions of a binary or a process.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use exoscope_abi::probe::Probe;
use serde::Serialize;

use super::printed;
use crate::session::binaries::{Module, modules};
use crate::target::elf::{self, Binary};
use crate::target::process::Target;

/// Options of `exoscope sites`.
#[derive(Debug, Parser)]
#[command(group = clap::ArgGroup::new("where").required(true))]
pub struct Args {
    /// The binary or shared library.
    #[arg(group = "where")]
    binary: Option<PathBuf>,
    /// A process: its binary and the libraries it has loaded.
    #[arg(short, long, group = "where")]
    pid: Option<u32>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Args {
    /// Whether it is about a process.
    pub const fn looks_into_a_process(&self) -> bool {
        self.pid.is_some()
    }
}

/// One instrumented function.
#[derive(Debug, Serialize)]
struct Row {
    function: String,
    file: String,
    line: u32,
    binary: String,
    entry: usize,
    exit: usize,
    error: usize,
}

/// Lists the functions.
///
/// # Errors
/// Where the binary or the process can't be read, or has no markers.
pub fn sites(args: &Args) -> Result<ExitCode> {
    let rows = match (&args.binary, args.pid) {
        (Some(path), _) => rows(path, &elf::read(path)?),
        (None, Some(pid)) => {
            let modules = modules(&Target::open(pid)?)?;
            modules
                .iter()
                .flat_map(|Module { file, binary, .. }| rows(&file.name, binary))
                .collect()
        }
        (None, None) => Vec::new(),
    };
    if rows.is_empty() {
        anyhow::bail!(
            "{} has no exoscope markers; build it with the feature that switches `exoscope/enabled` on",
            match (&args.binary, args.pid) {
                (Some(path), _) => path.display().to_string(),
                (None, pid) => format!("process {}", pid.unwrap_or_default()),
            }
        );
    }
    printed(|out| {
        if args.json {
            return Ok(writeln!(out, "{}", serde_json::to_string_pretty(&rows)?)?);
        }
        for row in &rows {
            let sites = row.entry + row.exit + row.error;
            let word = if sites == 1 { "site" } else { "sites" };
            writeln!(
                out,
                "{}  {}:{}  {sites} {word}",
                row.function, row.file, row.line
            )?;
        }
        Ok(())
    })
}

fn rows(path: &Path, binary: &Binary) -> Vec<Row> {
    let count = |function: usize, probe: Probe| {
        let sites = binary.sites.iter();
        sites
            .filter(|site| site.function == Some(function) && site.probe == probe)
            .count()
    };
    binary
        .functions
        .iter()
        .enumerate()
        .map(|(number, function)| Row {
            function: function.path.clone(),
            file: function.file.clone(),
            line: function.line,
            binary: path.display().to_string(),
            entry: count(number, Probe::Entry),
            exit: count(number, Probe::Exit),
            error: count(number, Probe::Error),
        })
        .collect()
}
