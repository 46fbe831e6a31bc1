//! Whether the target's control group has room for what attaching does to its memory.

use std::collections::BTreeSet;

use anyhow::{Result, bail};

use super::binaries::Module;
use crate::cgroup;
use crate::target::process::Target;

const PAGE: u64 = 4096;
/// Pages of the process beside its code: what rewritten markers call, and where the kernel's tables grow.
const BESIDE: usize = 16;

/// Expects room for what attaching makes the target's own: pages of code that are changed are charged to
/// its control group, and where nothing is left of its limit, the OOM killer would come.
///
/// # Errors
/// Where there is less.
pub fn expect(target: &Target, module: &Module, numbers: &[Option<u32>]) -> Result<()> {
    let room = cgroup::room(target.process()).ok().flatten();
    // Else there is no limit, or none that is to be seen; or the target has ended, which attaching will say.
    let Some(room) = room else { return Ok(()) };
    let chosen = |function: usize| numbers.get(function).is_some_and(Option::is_some);
    let sites = module.binary.sites.iter();
    let sites = sites.filter(|site| site.function.is_none_or(chosen));
    let pages: BTreeSet<u64> = sites.map(|site| site.offset / PAGE).collect();
    let needed = (pages.len() + BESIDE) as u64 * PAGE;
    if room < needed {
        bail!(
            "can't attach to {}: up to {} KiB of its code become its own, and the limit of its control \
             group has room for {} KiB, so the OOM killer could end process {}; raise the limit, or \
             choose fewer functions with --functions",
            module.file.name.display(),
            needed >> 10,
            room >> 10,
            target.pid(),
        );
    }
    Ok(())
}
