//! How fast the store writes: rows per second on one core and bytes per row, for calls of a few
//! functions in batches of 50,000. During so many per cent of the calls, one at least, the kernel counted
//! something.
//!
//!     cargo run --release --example store_throughput -- [ROWS] [FUNCTIONS] [BATCH] [PERCENT]

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use exoscope_abi::figures::ALL;
use exoscope_agent::event::{Batch, Call, Figures, Function, Outcome};
use exoscope_agent::store::{SessionEnd, SessionInfo, Store};
use rustix::time::{ClockId, clock_gettime};

/// Calls that each call of the made-up program makes at most.
const CHILDREN: u64 = 4;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut argument = |default: u64| -> Result<u64> {
        arguments
            .next()
            .map_or(Ok(default), |text| text.parse().context("not a number"))
    };
    let (rows, functions, batch_rows) = (argument(5_000_000)?, argument(20)?, argument(50_000)?);
    let percent = argument(0)?;
    let folder = tempfile::tempdir()?;
    let info = SessionInfo::now(String::new(), 0);
    let begin_ns = info.started_ns;
    let mut store = Store::open(&folder.path().join("throughput.db"), info)?;
    let list: Vec<Function> = (0..functions).map(function).collect();
    store.add_functions(&list)?;

    let (mut spent, mut slowest) = (Duration::ZERO, Duration::ZERO);
    let mut cpu_ns = 0;
    for first in (1..=rows).step_by(batch_rows as usize) {
        let last = (first + batch_rows).min(rows + 1);
        let calls = (first..last)
            .map(|id| Call {
                figures: figures(id, percent),
                ..call(id, functions, begin_ns)
            })
            .collect();
        let batch = Batch {
            calls,
            ..Batch::default()
        };
        let (began, cpu_began_ns) = (Instant::now(), thread_cpu_ns());
        store.write(&batch)?;
        cpu_ns += thread_cpu_ns() - cpu_began_ns;
        slowest = slowest.max(began.elapsed());
        spent += began.elapsed();
    }
    let began = Instant::now();
    store.finish(&SessionEnd {
        ended_unix_ns: 0,
        reason: "done".into(),
        exit_status: None,
    })?;
    println!("rows:            {rows}");
    println!("rows/s:          {:.0}", rows as f64 / spent.as_secs_f64());
    println!("CPU ns/row:      {}", cpu_ns / rows);
    println!("slowest commit:  {:.1} ms", slowest.as_secs_f64() * 1e3);
    println!(
        "finish:          {:.1} ms",
        began.elapsed().as_secs_f64() * 1e3
    );
    println!(
        "bytes/row:       {:.1}",
        store.size_bytes() as f64 / rows as f64
    );
    Ok(())
}

fn thread_cpu_ns() -> u64 {
    let spent = clock_gettime(ClockId::ThreadCPUTime);
    spent.tv_sec as u64 * 1_000_000_000 + spent.tv_nsec as u64
}

fn function(index: u64) -> Function {
    Function {
        path: format!("app::module::function_{index}"),
        file: "src/app.rs".into(),
        line: 1,
    }
}

/// What the kernel counted: in some calls each of the things that it can count.
fn figures(id: u64, percent: u64) -> Figures {
    let quiet = Figures {
        known: ALL,
        ..Figures::default()
    };
    if id * 37 % 100 >= percent {
        return quiet;
    }
    Figures {
        runqueue_ns: 50_000 + id % 1_000_000,
        blocked_ns: 1_000_000 + id % 10_000_000,
        minor_faults: 3,
        voluntary_switches: 2,
        involuntary_switches: 1,
        rss_delta_bytes: 4096 * 3,
        ..quiet
    }
}

/// A call as a real program makes it: durations spread over three powers of ten, one in a thousand
/// fails, parents are near.
fn call(id: u64, functions: u64, begin_ns: u64) -> Call {
    let scrambled = id.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    let duration_ns = 200 + (scrambled % 1000) * (scrambled / 1000 % 1000);
    let leaf = !id.is_multiple_of(CHILDREN);
    Call {
        id,
        parent: (id > CHILDREN).then(|| id - id % CHILDREN - 1),
        function: (scrambled % functions) as u32,
        tid: 40_000 + (id % 8) as u32,
        start_ns: begin_ns + id * 500,
        duration_ns,
        self_ns: if leaf { duration_ns } else { duration_ns / 2 },
        outcome: if id.is_multiple_of(1000) {
            Outcome::Err
        } else {
            Outcome::Ok
        },
        items: None,
        figures: Figures::default(),
    }
}
