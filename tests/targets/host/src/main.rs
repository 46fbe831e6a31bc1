//! Loads the plugin at run time and calls it.
//!
//! | function | calls | outcome |
//! |---|---|---|
//! | `host::call` | `--calls` | ok |
//! | `plugin::batch`, `plugin::step` | see the plugin: one batch a call, `--steps` steps each | ok, err |
//!
//! The plugin is loaded before `ready`, or with `--late` after it, with a pause `loaded` before the
//! first call; with `--reload` it is unloaded and loaded again half-way, with `--reload-every N` before
//! every Nth call but the first.

use std::error::Error;
use std::process::ExitCode;

use libloading::{Library, Symbol};
use truth::options::Options;
use truth::{Outcome, Truth, gate, path};

/// The type of `plugin_work`: takes a number of steps, returns how many failed.
type Work = unsafe extern "C" fn(u64) -> u64;

/// What the command line asks for.
struct Plan {
    /// Path of the plugin.
    plugin: String,
    /// Calls of `plugin_work`.
    calls: u64,
    /// Steps in each of them.
    steps: u64,
    wait: bool,
    late: bool,
    /// Calls after which the plugin is unloaded and loaded again.
    reload_every: Option<u64>,
}

impl Plan {
    fn parse(mut options: Options) -> Result<Self, String> {
        let calls: u64 = options.value("--calls")?.unwrap_or(11);
        let half_way = options.flag("--reload").then_some(calls.div_ceil(2));
        let plan = Self {
            calls,
            steps: options.value("--steps")?.unwrap_or(101),
            wait: options.flag("--wait-stdin"),
            late: options.flag("--late"),
            reload_every: options.value("--reload-every")?.or(half_way),
            plugin: options.free("path of the plugin")?,
        };
        options.finish()?;
        Ok(plan)
    }

    fn load(&self) -> Result<Library, String> {
        // SAFETY: whoever starts the host names a plugin whose initialisers are sound to run.
        unsafe { Library::new(&self.plugin) }
            .map_err(|error| format!("can't load `{}`: {}", self.plugin, reason(&error)))
    }

    fn run(&self) -> Result<(), String> {
        let early = if self.late { None } else { Some(self.load()?) };
        if self.wait {
            gate::pause("ready");
        }
        let mut library = early.map_or_else(|| self.load(), Ok)?;
        if self.wait && self.late {
            gate::pause("loaded");
        }
        let mut truth = Truth::default();
        for n in 0..self.calls {
            if self.reloads_before(n) {
                library
                    .close()
                    .map_err(|error| format!("can't unload the plugin: {}", reason(&error)))?;
                library = self.load()?;
            }
            self.call(&library, &mut truth)?;
        }
        truth.print(1);
        if self.wait {
            gate::pause("done");
        }
        Ok(())
    }

    fn reloads_before(&self, n: u64) -> bool {
        let every = self.reload_every.unwrap_or(0);
        n > 0 && every > 0 && n.is_multiple_of(every)
    }

    /// Calls the plugin once.
    fn call(&self, library: &Library, truth: &mut Truth) -> Result<(), String> {
        // SAFETY: the plugin exports `plugin_work` with this type.
        let work: Symbol<Work> = unsafe { library.get("plugin_work") }
            .map_err(|error| format!("`{}` is no plugin: {}", self.plugin, reason(&error)))?;
        let failed = call(*work, self.steps);
        truth.ok(path!("call"));
        truth.ok("plugin::batch");
        truth.add("plugin::step", Outcome::Ok, self.steps - failed);
        truth.add("plugin::step", Outcome::Err, failed);
        Ok(())
    }
}

/// What the loader says; the error itself only names the function that failed.
fn reason(error: &libloading::Error) -> String {
    error
        .source()
        .map_or_else(|| error.to_string(), ToString::to_string)
}

#[exoscope::instrument]
#[inline(never)]
fn call(work: Work, steps: u64) -> u64 {
    // SAFETY: `work` is the plugin's `plugin_work`, safe for every number, and the plugin is loaded.
    unsafe { work(steps) }
}

fn main() -> ExitCode {
    let plan = match Plan::parse(Options::from_env()) {
        Ok(plan) => plan,
        Err(error) => {
            eprintln!("host: {error}");
            return ExitCode::from(2);
        }
    };
    match plan.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("host: {error}");
            ExitCode::FAILURE
        }
    }
}
