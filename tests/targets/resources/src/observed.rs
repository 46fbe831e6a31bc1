//! Calls whose use of resources is observed: by the clock of their thread's CPU time, by `schedstat`, and by
//! `getrusage` of the thread.
//!
//! Each call is one line of JSON, `{"observed":"resources::observed::spins","tid":7,"outside":{…},"inside":{…}}`.
//! Its times and counts are taken twice, outside of both markers of the call and inside of them, so that those of
//! the call lie between. Of calls whose faults and memory matter they are taken outside only.
//!
//! A hypervisor may take a CPU away from a thread, and the kernel tells of that only when the thread next leaves
//! it. So each observation begins, and each call that waits ends, right after the thread has got a CPU.
//!
//! | command | calls |
//! |---|---|
//! | `observe spin MS` | one that computes until its thread has used so much CPU time |
//! | `observe sleep MS` | one that sleeps |
//! | `observe mutex MS` | one that waits for a mutex, which is released so long after it began to wait |
//! | `observe pipe MS` | one that reads from a pipe, into which something is written so long after it began to wait |
//! | `observe disk PATH` | one that reads a file from storage |
//! | `observe touch PAGES` | one that writes to so many pages for the first time |
//! | `observe fault PATH` | one that reads from every page of a mapped file, each from storage by itself |
//! | `observe keep BYTES` | one that maps memory, fills it and keeps it |
//! | `observe free` | one that unmaps what was mapped last |
//! | `observe rivals N MS` | many short ones in N threads, which compute for so long, all on one CPU |
//! | `observe roam MS` | a future of three polls, each on a thread of its own and computing for so long; a thread computes four times as long between its polls |
//! | `observe stay MS` | the same on one thread |

use std::fs;
use std::future::Future;
use std::io::{PipeReader, Read as _, Write as _};
use std::pin::{Pin, pin};
use std::sync::{Barrier, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use crate::memory::Mapping;
use crate::usage::{ThreadUsage, inside, keep_to_one_cpu};
use crate::{number, spin, storage};

/// Polls of a future.
const POLLS: u32 = 3;

/// Carries a command out.
pub fn obey<'a>(
    mut words: impl Iterator<Item = &'a str>,
    kept: &mut Vec<Mapping>,
) -> Result<(), String> {
    let mut word = || words.next().ok_or("`observe` needs more".to_owned());
    match word()? {
        "spin" => {
            let milliseconds = number(word()?)?;
            observe("spins", || spins(milliseconds));
        }
        "sleep" => {
            let time = Duration::from_millis(number(word()?)?);
            observe("sleeps", || sleeps(time));
        }
        "mutex" => lock_after(Duration::from_millis(number(word()?)?)),
        "pipe" => read_after(Duration::from_millis(number(word()?)?))?,
        "disk" => {
            let path = word()?;
            observe("reads", || reads(path))?;
        }
        "touch" => {
            let fresh = Mapping::untouched(number(word()?)?)?;
            observe("touches", || touches(&fresh));
        }
        "fault" => {
            let unread = Mapping::of_stored(word()?)?;
            observe("faults", || faults(&unread));
        }
        "keep" => {
            let bytes = number(word()?)?;
            kept.push(observe("keeps", || keeps(bytes))?);
        }
        "free" => {
            let mapping = kept.pop().ok_or("nothing is mapped")?;
            observe("frees", || frees(mapping));
        }
        "rivals" => rivals(number(word()?)?, Duration::from_millis(number(word()?)?)),
        "roam" => roam(number(word()?)?, true),
        "stay" => roam(number(word()?)?, false),
        other => return Err(format!("nothing is called `{other}`")),
    }
    Ok(())
}

/// Makes one call, and prints what its thread used meanwhile.
fn observe<T>(function: &str, call: impl FnOnce() -> T) -> T {
    // The first one may touch memory for the first time.
    ThreadUsage::so_far();
    get_a_cpu_anew();
    let before = ThreadUsage::so_far();
    let returned = call();
    println!("{}", line(function, &before.until_now()));
    returned
}

/// Leaves the CPU and comes back.
fn get_a_cpu_anew() {
    thread::sleep(Duration::from_micros(50));
}

fn line(function: &str, used: &ThreadUsage) -> String {
    format!(r#"{{"observed":"resources::observed::{function}",{used}}}"#)
}

#[exoscope::instrument]
#[inline(never)]
fn spins(milliseconds: u64) {
    inside(|| spin(milliseconds, crate::compute));
}

#[exoscope::instrument]
#[inline(never)]
fn sleeps(time: Duration) {
    inside(|| thread::sleep(time));
}

#[exoscope::instrument]
#[inline(never)]
fn waits_for(mutex: &Mutex<()>) {
    inside(|| drop(mutex.lock()));
}

/// Another thread has the mutex until the call has waited for so long.
fn lock_after(time: Duration) {
    let (mutex, held, waiter) = (Mutex::new(()), Barrier::new(2), this_thread());
    thread::scope(|scope| {
        scope.spawn(|| {
            let guard = mutex.lock();
            held.wait();
            sleep_once_it_waits(waiter, time);
            drop(guard);
        });
        held.wait();
        observe("waits_for", || waits_for(&mutex));
    });
}

#[exoscope::instrument]
#[inline(never)]
fn waits_at(pipe: &mut PipeReader) -> std::io::Result<()> {
    inside(|| pipe.read_exact(&mut [0]))
}

fn read_after(time: Duration) -> Result<(), String> {
    let (mut reader, mut writer) = std::io::pipe().map_err(|error| error.to_string())?;
    let waiter = this_thread();
    thread::scope(|scope| {
        let writes = scope.spawn(move || {
            sleep_once_it_waits(waiter, time);
            writer.write_all(&[7])
        });
        let read = observe("waits_at", || waits_at(&mut reader));
        // It does not panic.
        let written = writes.join().expect("it writes");
        read.and(written).map_err(|error| error.to_string())
    })
}

fn this_thread() -> i32 {
    // SAFETY: the call takes nothing.
    unsafe { libc::gettid() }
}

/// Sleeps for so long after a thread of this process waits for more than a moment: not as it does before it
/// is observed.
fn sleep_once_it_waits(waiter: i32, time: Duration) {
    let mut seen = 0;
    while seen < 3 {
        thread::sleep(Duration::from_millis(1));
        let stat = fs::read_to_string(format!("/proc/self/task/{waiter}/stat"));
        let stat = stat.expect("the thread lives until it has what it waits for");
        let state = stat.rsplit_once(") ").map(|(_, after)| after);
        seen = match state {
            Some(state) if state.starts_with('S') => seen + 1,
            _ => 0,
        };
    }
    thread::sleep(time);
}

#[exoscope::instrument]
#[inline(never)]
fn reads(path: &str) -> Result<(), String> {
    inside(|| {
        let read = storage::read(path);
        get_a_cpu_anew();
        read
    })
}

#[exoscope::instrument]
#[inline(never)]
fn touches(fresh: &Mapping) {
    fresh.write();
}

#[exoscope::instrument]
#[inline(never)]
fn faults(unread: &Mapping) {
    unread.read();
}

#[exoscope::instrument]
#[inline(never)]
fn keeps(bytes: u64) -> Result<Mapping, String> {
    Mapping::anonymous(bytes, false)
}

#[exoscope::instrument]
#[inline(never)]
fn frees(mapping: Mapping) {
    drop(mapping);
}

/// Computes for a while: longer than the scheduler lets a thread that has rivals.
#[exoscope::instrument]
#[inline(never)]
fn takes_turns(turn: Duration) {
    inside(|| {
        let until = Instant::now() + turn;
        while Instant::now() < until {
            crate::compute();
        }
    });
}

fn rivals(count: u64, time: Duration) {
    let begin = Barrier::new(count as usize);
    let rival = || {
        keep_to_one_cpu();
        begin.wait();
        let until = Instant::now() + time;
        let mut lines = Vec::new();
        for turn in 0.. {
            // From 1 to 20 ms.
            let turn = Duration::from_micros(1000 + turn * 7919 % 19_000);
            thread::yield_now();
            let before = ThreadUsage::so_far();
            takes_turns(turn);
            lines.push(line("takes_turns", &before.until_now()));
            if Instant::now() > until {
                break;
            }
        }
        lines
    };
    let lines: Vec<_> = thread::scope(|scope| {
        let rivals: Vec<_> = (0..count).map(|_| scope.spawn(rival)).collect();
        let lines = rivals.into_iter().map(|rival| rival.join());
        lines.map(|lines| lines.expect("none panics")).collect()
    });
    println!("{}", lines.concat().join("\n"));
}

/// Computes in each of its polls.
#[exoscope::instrument]
async fn roams(milliseconds: u64) {
    for _ in 1..POLLS {
        inside(|| spin(milliseconds, crate::compute));
        Pending(false).await;
    }
    inside(|| spin(milliseconds, crate::compute));
}

/// Is pending once.
struct Pending(bool);

impl Future for Pending {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

/// Polls a future to its end.
fn roam(milliseconds: u64, elsewhere: bool) {
    let mut future = pin!(roams(milliseconds));
    let mut used = ThreadUsage::NONE;
    let mut poll = || {
        get_a_cpu_anew();
        let before = ThreadUsage::so_far();
        let polled = future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        used.add(&before.until_now());
        if polled.is_pending() {
            spin(4 * milliseconds, crate::compute);
        }
    };
    for _ in 0..POLLS {
        if elsewhere {
            thread::scope(|scope| scope.spawn(&mut poll).join()).expect("it does not panic");
        } else {
            poll();
        }
    }
    println!("{}", line("roams", &used));
}
