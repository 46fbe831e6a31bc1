//! The load generator: h2load of Debian's nghttp2-client, and what it counts.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::command;

/// What h2load counts about a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Requests that were answered.
    pub requests: u64,
    /// Responses with status 400 to 599.
    pub failures: u64,
}

/// Sends `requests` requests over HTTP/1.1 on `clients` connections. Each connection takes the
/// paths in the file `uris` in turn, from the first.
///
/// # Errors
/// Where a request was not answered: then there is nothing to compare with.
pub fn drive(uris: &Path, requests: u64, clients: u64) -> Result<Counts> {
    let mut h2load = Command::new("h2load");
    h2load
        .args(["--h1", "--threads=1"])
        .arg(format!("--requests={requests}"))
        .arg(format!("--clients={clients}"))
        .arg(format!("--input-file={}", uris.display()));
    let text = command::output(command::show(&mut h2load))?;
    let lines = text.lines().filter(|line| is_result(line));
    lines.for_each(|line| eprintln!("h2load: {line}"));
    let counts = counts(&text)?;
    ensure!(
        counts.requests == requests,
        "h2load was to send {requests} requests, but only {} were answered",
        counts.requests
    );
    Ok(counts)
}

fn is_result(line: &str) -> bool {
    ["finished in", "requests:", "status codes:"]
        .iter()
        .any(|start| line.starts_with(start))
}

/// Reads h2load's summary.
fn counts(text: &str) -> Result<Counts> {
    let count = |line, what| {
        number(text, line, what)
            .with_context(|| format!("the output of h2load says nothing of {line:?} {what:?}"))
    };
    Ok(Counts {
        requests: count("requests", "done")?,
        failures: count("status codes", "4xx")? + count("status codes", "5xx")?,
    })
}

/// The number before `what` in the line that starts with `label`: `label: 21 total, 20 what`.
fn number(text: &str, label: &str, what: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(label))?;
    let parts = line.strip_prefix(": ")?.split(", ");
    parts
        .filter_map(|part| part.split_once(' '))
        .find(|(_, name)| *name == what)
        .and_then(|(count, _)| count.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
starting benchmark...
spawning thread #0: 2 total client(s). 21 total requests
Application protocol: http/1.1
progress: 95% done

finished in 33.99ms, 617.87 req/s, 51.29KB/s
requests: 21 total, 21 started, 20 done, 11 succeeded, 10 failed, 0 errored, 0 timeout
status codes: 11 2xx, 0 3xx, 6 4xx, 3 5xx
traffic: 1.74KB (1785) total, 3.09KB (3166) headers (space savings 0.00%), 4.68KB (4791) data
";

    #[test]
    fn the_summary_is_read() {
        let counts = counts(OUTPUT).expect("a summary");
        assert_eq!(
            counts,
            Counts {
                requests: 20,
                failures: 9
            }
        );
    }

    #[test]
    fn what_the_output_lacks_is_named() {
        let error = counts("requests: 21 total, 21 done\n").expect_err("no statuses");
        assert_eq!(
            error.to_string(),
            r#"the output of h2load says nothing of "status codes" "4xx""#
        );
    }
}
