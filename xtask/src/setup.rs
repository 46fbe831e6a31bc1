//! `cargo xtask setup`: installs what building and testing need.
//!
//! Debian packages come by apt-get, which needs root. bpf-linker is compiled from the crate
//! registry into `target/tools`, with Debian's LLVM, since Debian has no package of it; that takes
//! about a minute, once.

use std::io::{IsTerminal, Write};
use std::process::Command;

use anyhow::{Result, bail};
use exoscope_ebpf_build::{LLVM, find_toolchain, tools_folder};

use crate::command::{self, cargo};
use crate::needs::{self, Need, Purpose};

/// The version of bpf-linker that is installed.
const BPF_LINKER: &str = "0.13.0";

/// Options of `cargo xtask setup`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Don't ask before installing packages, in a terminal either.
    #[arg(short, long)]
    yes: bool,
}

/// Installs everything that is missing, and says so where nothing is.
pub fn setup(args: &Args) -> Result<()> {
    install(Purpose::Test, args.yes)?;
    eprintln!("everything that building and testing need is here");
    Ok(())
}

/// Installs what a purpose needs and is missing. Silent where nothing is.
pub fn prepare(purpose: Purpose) -> Result<()> {
    install(purpose, false)
}

fn install(purpose: Purpose, yes: bool) -> Result<()> {
    let missing = needs::missing(purpose);
    if !missing.is_empty() {
        install_packages(&missing, yes)?;
    }
    if !needs::has_linker() {
        install_linker()?;
    }
    find_toolchain()?;
    Ok(())
}

fn install_packages(missing: &[&Need], yes: bool) -> Result<()> {
    let what = missing.iter().map(|need| need.what);
    let what = what.collect::<Vec<_>>().join(", ");
    let packages: Vec<&str> = missing
        .iter()
        .flat_map(|need| need.packages)
        .copied()
        .collect();
    if !needs::on_path("apt-get") {
        bail!("{}", no_apt(&what, &packages));
    }
    if !rustix::process::geteuid().is_root() {
        bail!("{}", not_root(&what, &packages));
    }
    eprintln!("missing: {what}");
    eprintln!("installing Debian packages: {}", packages.join(" "));
    if !yes && !agreed()? {
        bail!("nothing was installed; missing: {what}");
    }
    command::run(&mut apt_get(&["update"]))?;
    command::run(apt_get(&["install", "--yes", "--no-install-recommends"]).args(packages))
}

fn apt_get(arguments: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// Why packages can't be installed without root, and what to do.
fn not_root(what: &str, packages: &[&str]) -> String {
    format!(
        "{what}: missing, and only root can install packages; run `sudo apt-get update && sudo \
         apt-get install --yes --no-install-recommends {}`, then this command again",
        packages.join(" ")
    )
}

/// Why packages can't be installed without apt-get, and what to do.
fn no_apt(what: &str, packages: &[&str]) -> String {
    format!(
        "{what}: missing, and there is no apt-get to install it with; install what Debian has as \
         {}, and for a compiler and bpf-linker run `rustup toolchain install nightly --component \
         rust-src` and `cargo install bpf-linker`",
        packages.join(" ")
    )
}

/// Asks once in a terminal; elsewhere the answer is yes.
fn agreed() -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Ok(true);
    }
    eprint!("go on? [Y/n] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(
        answer.trim().to_lowercase().as_str(),
        "" | "y" | "yes"
    ))
}

fn install_linker() -> Result<()> {
    let tools = tools_folder();
    eprintln!(
        "installing bpf-linker {BPF_LINKER} into {}: it is compiled with LLVM {LLVM}, which takes \
         about a minute",
        tools.display()
    );
    let features = format!("llvm-{LLVM}");
    let mut install = cargo();
    install
        .args(["install", "bpf-linker", "--quiet", "--locked"])
        .args(["--version", BPF_LINKER])
        .args(["--no-default-features", "--features", &features])
        .arg("--root")
        .arg(&tools)
        .env("LLVM_PREFIX", needs::llvm_prefix());
    command::run(&mut install)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_root_the_command_is_named() {
        assert_eq!(
            not_root("the linker mold, bpftrace", &["mold", "bpftrace"]),
            "the linker mold, bpftrace: missing, and only root can install packages; run `sudo \
             apt-get update && sudo apt-get install --yes --no-install-recommends mold bpftrace`, \
             then this command again"
        );
    }

    #[test]
    fn without_apt_both_ways_are_named() {
        let text = no_apt("the linker mold", &["mold"]);
        assert!(text.contains("what Debian has as mold,"), "{text}");
        assert!(text.contains("nightly --component rust-src"), "{text}");
        assert_eq!(text.lines().count(), 1);
    }
}
