//! Uses memory, CPU, threads and files on command, and says how much.
//!
//! Prints `ready PID`. Then it reads commands, one a line, from standard input and answers each with
//! `used {…}`: what `getrusage` says of the process, once the command is carried out.
//!
//! | command | what it does |
//! |---|---|
//! | `anon BYTES` | maps memory of its own, writes to every page, and keeps it |
//! | `shared BYTES` | the same with shared memory |
//! | `file PATH` | maps a file, reads from every page, and keeps it |
//! | `free` | unmaps what was mapped last |
//! | `pageout` | asks the kernel to swap out what was mapped last |
//! | `threads N` | starts N threads named `idle`, which sleep until the end |
//! | `restless N` | the same, but each wakes 100 times a second |
//! | `files N` | opens `/dev/null` N times |
//! | `spin MS` | computes until the thread has used so much CPU time |
//! | `system MS` | the same, in the kernel |
//! | `sleep N` | sleeps N times for a millisecond |
//! | `compete N MS` | starts N threads named `rival`, which compute for so long, all on one CPU, and then sleep until the end; before its answer, prints `waited NS`: the time that they took together less the CPU time that they used |
//! | `brief N` | starts and joins N threads, one after the other, each of which sleeps once |
//! | `read PATH` | reads a file from storage |
//! | `fault PATH` | maps a file, reads from every page, each from storage by itself, and keeps it |
//! | `write PATH BYTES` | writes a file and waits until it is stored |
//! | `usage` | nothing |
//! | `observe …` | makes calls and observes them: [`observed`] |
//! | `exit STATUS` | ends, in the middle of a call |
//! | `eat BYTES` | as `anon`, in the middle of a call |

mod memory;
mod observed;
mod rivals;
mod storage;
mod usage;

use std::fs::File;
use std::io::{self, BufRead as _};
use std::time::Duration;

use memory::Mapping;
use usage::{Usage, thread_cpu};

/// What is kept until the end.
#[derive(Default)]
struct Kept {
    mappings: Vec<Mapping>,
    files: Vec<File>,
}

impl Kept {
    /// Carries a command out.
    fn obey(&mut self, line: &str) -> Result<(), String> {
        let mut words = line.split_ascii_whitespace();
        let command = words.next().unwrap_or_default();
        let mut word = || words.next().ok_or(format!("`{command}` needs more"));
        match command {
            "anon" => self
                .mappings
                .push(Mapping::anonymous(number(word()?)?, false)?),
            "shared" => self
                .mappings
                .push(Mapping::anonymous(number(word()?)?, true)?),
            "file" => self.mappings.push(Mapping::of_file(word()?)?),
            "fault" => self.mappings.push(Mapping::from_storage(word()?)?),
            "free" => drop(self.mappings.pop()),
            "pageout" => self.mappings.last().map_or(Ok(()), Mapping::page_out)?,
            "threads" => start_threads(number(word()?)?, "idle", std::thread::park),
            "restless" => start_threads(number(word()?)?, "restless", rest),
            "files" => self.open_files(number(word()?)?)?,
            "spin" => spin(number(word()?)?, compute),
            "system" => spin(number(word()?)?, usage::system_call),
            "sleep" => (0..number(word()?)?).for_each(|_| doze()),
            "compete" => println!(
                "waited {}",
                rivals::compete(number(word()?)?, number(word()?)?)
            ),
            "brief" => (0..number(word()?)?).for_each(|_| {
                // None of them panics.
                let _ = std::thread::spawn(doze).join();
            }),
            "read" => storage::read(word()?)?,
            "write" => storage::write(word()?, number(word()?)?)?,
            "usage" => {}
            "observe" => observed::obey(words, &mut self.mappings)?,
            "exit" => end(number(word()?)?),
            "eat" => self.eat(number(word()?)?)?,
            _ => return Err(format!("there is no command `{command}`")),
        }
        Ok(())
    }

    fn open_files(&mut self, count: u64) -> Result<(), String> {
        for _ in 0..count {
            self.files
                .push(File::open("/dev/null").map_err(|error| error.to_string())?);
        }
        Ok(())
    }

    #[exoscope::instrument]
    #[inline(never)]
    fn eat(&mut self, bytes: u64) -> Result<(), String> {
        self.mappings.push(Mapping::anonymous(bytes, false)?);
        Ok(())
    }
}

fn number(word: &str) -> Result<u64, String> {
    word.parse().map_err(|_| format!("`{word}` is no number"))
}

/// Starts threads that do nothing but `wait`, again and again.
fn start_threads(count: u64, name: &str, wait: impl Fn() + Clone + Send + 'static) {
    for _ in 0..count {
        let wait = wait.clone();
        let thread = std::thread::Builder::new().name(name.to_owned());
        let thread = thread.stack_size(64 << 10);
        thread
            .spawn(move || {
                loop {
                    wait();
                }
            })
            .expect("threads can be started");
    }
}

fn rest() {
    std::thread::sleep(Duration::from_millis(10));
}

fn doze() {
    std::thread::sleep(Duration::from_millis(1));
}

/// Does `work` until this thread has used so many milliseconds of CPU time.
fn spin(milliseconds: u64, work: impl Fn()) {
    let until = thread_cpu() + Duration::from_millis(milliseconds);
    while thread_cpu() < until {
        (0..1000).for_each(|_| work());
    }
}

fn compute() {
    let sum = (0..300_u64).fold(0, |sum, number| std::hint::black_box(sum + number));
    std::hint::black_box(sum);
}

#[exoscope::instrument]
#[inline(never)]
fn end(status: u64) {
    std::process::exit(status as i32);
}

fn main() -> io::Result<()> {
    println!("ready {}", std::process::id());
    let mut kept = Kept::default();
    for line in io::stdin().lock().lines() {
        match kept.obey(&line?) {
            Ok(()) => println!("used {}", Usage::of_this_process()),
            Err(error) => println!("error {error}"),
        }
    }
    Ok(())
}
