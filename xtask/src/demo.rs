//! `cargo xtask run`: the demo, which is a test too.
//!
//! A web service that knows nothing of exoscope but its attribute is built with its markers and
//! started. The agent attaches to it from outside; h2load sends requests, of which a known share
//! fails; the agent detaches. Then the rows of the service's handlers must be as many as the
//! requests that h2load counted, and the rows with outcome `err` as many as its failures, exactly.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::agent::{self, Rows, Session};
use crate::h2load::{self, Counts};
use crate::needs::Purpose;
use crate::service::{self, HANDLERS, Service};
use crate::{build, setup};

/// Options of `cargo xtask run`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Requests to send.
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    requests: u64,
    /// Connections to send them on.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..))]
    clients: u64,
    /// Take so many samples a second, too, and the times of futures: what flame graphs are drawn of.
    /// The service is then built with frame pointers.
    #[arg(long, value_name = "HZ")]
    sample: Option<u32>,
    /// The database; default exoscope-shop-PID.db in the current folder.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Installs what is missing, builds, and runs the demo.
pub fn demo(args: &Args) -> Result<()> {
    setup::prepare(Purpose::Demo)?;
    let exoscope = build::build()?;
    let shop = service::build(args.sample.is_some())?;
    let scratch = tempfile::tempdir().context("cannot make a temporary folder")?;

    let service = Service::start(&shop, &scratch.path().join("data"))?;
    let uris = scratch.path().join("uris.txt");
    let per_client = args.requests.div_ceil(args.clients);
    service.write_uris(&shop, per_client, &uris)?;
    let file = args.file(service.pid())?;

    let session = Session::attach(&exoscope, service.pid(), &file, &args.agent_options())?;
    let counts = h2load::drive(&uris, args.requests, args.clients)?;
    session.finish()?;
    service.stop()?;

    agent::print_report(&exoscope, &file)?;
    agent::expect_complete(&exoscope, &file)?;
    let rows = agent::rows(&exoscope, &file, HANDLERS)?;
    compare(rows, counts, &file)
}

impl Args {
    /// What the agent is asked for besides calls.
    fn agent_options(&self) -> Vec<String> {
        let Some(hertz) = self.sample else {
            return Vec::new();
        };
        let hertz = hertz.to_string();
        ["--sample", &hertz, "--off-cpu", "--polls"]
            .map(str::to_owned)
            .into()
    }

    /// The database, as an absolute path.
    fn file(&self, pid: u32) -> Result<PathBuf> {
        let name = format!("exoscope-shop-{pid}.db");
        let file = self.output.clone().unwrap_or_else(|| name.into());
        std::path::absolute(&file)
            .with_context(|| format!("cannot tell where {} is", file.display()))
    }
}

/// Says that the numbers are equal, and where the rows are.
fn compare(rows: Rows, counts: Counts, file: &Path) -> Result<()> {
    let Counts { requests, failures } = counts;
    let Rows { calls, err } = rows;
    if (calls, err) != (requests, failures) {
        bail!(
            "the rows differ from the load: {calls} calls of handlers and {requests} requests, \
             {err} with outcome err and {failures} failed responses; see {}",
            file.display()
        );
    }
    eprintln!("equal: {calls} calls of handlers and {requests} requests");
    eprintln!("equal: {err} with outcome err and {failures} failed responses");
    eprintln!("every call is a row in {}", file.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNTS: Counts = Counts {
        requests: 100,
        failures: 5,
    };

    #[test]
    fn equal_numbers_pass() {
        let rows = Rows { calls: 100, err: 5 };
        assert!(compare(rows, COUNTS, Path::new("x.db")).is_ok());
    }

    #[test]
    fn one_row_off_fails_with_both_numbers() {
        for (calls, err) in [(99, 5), (101, 5), (100, 4), (100, 6)] {
            let error = compare(Rows { calls, err }, COUNTS, Path::new("x.db"));
            assert_eq!(
                error.expect_err("a difference").to_string(),
                format!(
                    "the rows differ from the load: {calls} calls of handlers and 100 requests, \
                     {err} with outcome err and 5 failed responses; see x.db"
                )
            );
        }
    }
}
