//! The task iterator: one system call asks the kernel about every thread of a process.
//!
//! It is loaded by itself from the object that also has the programs at the markers, with no map
//! but its constants: where the kernel refuses it, calls are captured all the same.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

use aya_obj::{Function, Object};
use exoscope_abi::task::{NAME_LEN, Offsets, SIGNAL, TASK, TaskRecord};

use super::programs::{OBJECT, ProgramsError};
use super::sys::{self, Code, LoadError, Purpose};
use crate::kernel_types::{KernelTypes, TypesError};

/// The function's name in the object.
const PROGRAM: &str = "tasks";
/// The function of the kernel that stands for this kind of iterator.
const KIND: &str = "bpf_iter_task";
/// The map with the constants, and that one of them which the agent sets.
const CONSTANTS: (&str, &str) = (".rodata", "TASK_OFFSETS");

/// Why the iterator can't be had.
#[derive(Debug, thiserror::Error)]
pub enum IteratorError {
    /// The kernel's structures are unknown.
    #[error(transparent)]
    Types(#[from] TypesError),
    /// The program or its constants are refused.
    #[error(transparent)]
    Program(#[from] ProgramsError),
    /// The link is refused.
    #[error(
        "the kernel refuses an iterator over the threads of one process ({0}); Linux 6.1 has it"
    )]
    Link(io::Error),
}

/// Bytes of a number in a record.
const WORD: usize = 8;
/// Numbers of a record that are members of the kernel's structures.
const MEMBERS: usize = TASK.len() + SIGNAL.len();

/// An iterator over the threads of one process.
pub struct TaskIterator {
    link: OwnedFd,
    sizes: [u32; MEMBERS],
}

impl TaskIterator {
    /// Loads the program and links it to the process behind `pidfd`.
    ///
    /// # Errors
    /// Where the kernel does not describe its types or has others, or refuses the program.
    pub fn over(pidfd: BorrowedFd<'_>) -> Result<Self, IteratorError> {
        let types = KernelTypes::of_this_kernel()?;
        let (offsets, sizes) = layout(&types)?;
        let program = load(&offsets, types.function(KIND)?)?;
        let link = sys::create_task_link(program.as_fd(), pidfd).map_err(IteratorError::Link)?;
        Ok(Self { link, sizes })
    }

    /// Asks about every thread. `buffer` is room that is used again.
    ///
    /// # Errors
    /// What the kernel said. Of a process that has ended there are no records.
    pub fn read(&self, buffer: &mut Vec<u8>) -> io::Result<Vec<TaskRecord>> {
        let iterator = File::from(sys::create_iterator(self.link.as_fd())?);
        let len = read_all(iterator, buffer)?;
        let records = buffer[..len].chunks_exact(size_of::<TaskRecord>());
        Ok(records
            .filter_map(|bytes| decode(bytes, &self.sizes))
            .collect())
    }
}

/// Room that there is for a read at least: the kernel fills eight pages at once.
const ROOM: usize = 8 * 4096;

/// Reads all of a file; `buffer` only grows. `read_to_end` would ask for the file's size and place before, and
/// begin with a small read, which the kernel can't fill with records.
fn read_all(mut file: File, buffer: &mut Vec<u8>) -> io::Result<usize> {
    let mut len = 0;
    loop {
        if buffer.len() < len + ROOM {
            buffer.resize(len + ROOM, 0);
        }
        match file.read(&mut buffer[len..]) {
            Ok(0) => return Ok(len),
            Ok(read) => len += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Where the members of a record lie in the kernel's structures, and their bytes.
fn layout(types: &KernelTypes) -> Result<(Offsets, [u32; MEMBERS]), TypesError> {
    let mut offsets = Offsets {
        signal_address: types.member("task_struct", "signal")?.offset,
        name: types.member("task_struct", "comm")?.offset,
        ..Offsets::default()
    };
    let mut sizes = [0; MEMBERS];
    let tasks = TASK.iter().zip(&mut offsets.task);
    let signals = SIGNAL.iter().zip(&mut offsets.signal);
    let members = tasks
        .map(|(path, offset)| ("task_struct", path, offset))
        .chain(signals.map(|(path, offset)| ("signal_struct", path, offset)));
    for ((structure, path, offset), size) in members.zip(&mut sizes) {
        let member = types.member(structure, path)?;
        (*offset, *size) = (member.offset, member.size);
    }
    Ok((offsets, sizes))
}

fn bytes(offsets: &Offsets) -> Vec<u8> {
    let Offsets {
        task,
        signal,
        signal_address,
        name,
    } = offsets;
    let offsets = task.iter().chain(signal).chain([signal_address, name]);
    offsets.flat_map(|offset| offset.to_ne_bytes()).collect()
}

fn load(offsets: &Offsets, kind: u32) -> Result<OwnedFd, ProgramsError> {
    let broken = |error: &dyn std::error::Error| ProgramsError::Object(error.to_string());
    let lacks = |what: &str| ProgramsError::Object(format!("it has no {what}"));
    let mut object = Object::parse(OBJECT).map_err(|error| broken(&error))?;
    let (map, constant) = CONSTANTS;
    object
        .patch_map_data(HashMap::from([(constant, (&bytes(offsets)[..], true))]))
        .map_err(|error| broken(&error))?;
    let constants = object.maps.remove(map).ok_or_else(|| lacks(map))?;
    let map_fd =
        sys::create_constants(map, constants.data()).map_err(|reason| ProgramsError::Map {
            map: map.to_owned(),
            reason,
        })?;
    let program = object.programs.get(PROGRAM).ok_or_else(|| lacks(PROGRAM))?;
    let key = program.function_key();
    // The other functions need maps that are not here.
    object.functions.retain(|function, _| *function == key);
    object
        .relocate_maps(
            [(map, map_fd.as_raw_fd(), &constants)].into_iter(),
            &[key.0].into(),
        )
        .map_err(|error| broken(&error))?;
    let Some(Function { instructions, .. }) = object.functions.get(&key) else {
        return Err(lacks(PROGRAM));
    };
    let loaded = sys::load_for(
        Purpose::Iterator(kind),
        PROGRAM,
        Code::of(instructions, &object.license),
    );
    loaded.map_err(|LoadError { source, log }| ProgramsError::Rejected {
        program: PROGRAM.to_owned(),
        reason: source,
        log,
    })
}

/// Takes a record apart. A member of four bytes was read with its neighbour.
fn decode(bytes: &[u8], sizes: &[u32; MEMBERS]) -> Option<TaskRecord> {
    let (words, name) = bytes.split_at_checked(size_of::<TaskRecord>() - NAME_LEN)?;
    let (words, _) = words.as_chunks::<WORD>();
    let (at_ns, members) = words.split_first()?;
    let mut members = members.iter().zip(sizes).map(|(word, size)| match size {
        4 => u64::from(u64::from_ne_bytes(*word) as u32),
        _ => u64::from_ne_bytes(*word),
    });
    let mut next = || members.next();
    Some(TaskRecord {
        at_ns: u64::from_ne_bytes(*at_ns),
        tid: next()?,
        start_ns: next()?,
        cpu_ns: next()?,
        runqueue_ns: next()?,
        user_ns: next()?,
        system_ns: next()?,
        voluntary_switches: next()?,
        involuntary_switches: next()?,
        minor_faults: next()?,
        major_faults: next()?,
        ended_user_ns: next()?,
        ended_system_ns: next()?,
        ended_voluntary_switches: next()?,
        ended_involuntary_switches: next()?,
        ended_minor_faults: next()?,
        ended_major_faults: next()?,
        name: *name.first_chunk()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{PidfdFlags, getpid, pidfd_open};
    use std::sync::Barrier;
    use std::thread::Builder;

    fn over_this_process() -> TaskIterator {
        let pidfd = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
        match TaskIterator::over(pidfd.as_fd()) {
            Ok(iterator) => iterator,
            Err(IteratorError::Program(ProgramsError::Rejected { log, reason, .. })) => {
                panic!("{reason} (this test needs root): {log}")
            }
            Err(error) => panic!("{error} (this test needs root)"),
        }
    }

    #[test]
    fn every_thread_of_the_process_is_seen_with_its_name() {
        let iterator = over_this_process();
        let (begun, stop) = (Barrier::new(301), Barrier::new(301));
        let records = std::thread::scope(|scope| {
            for number in 0..300 {
                let wait = || {
                    begun.wait();
                    stop.wait();
                };
                let builder = Builder::new().name(format!("seen-{number}"));
                builder.stack_size(65536).spawn_scoped(scope, wait).unwrap();
            }
            // A thread names itself when it begins.
            begun.wait();
            let records = iterator.read(&mut Vec::new());
            stop.wait();
            records.unwrap()
        });
        for number in 0..300 {
            let name = format!("seen-{number}\0");
            let named = records
                .iter()
                .filter(|record| record.name.starts_with(name.as_bytes()));
            assert_eq!(named.count(), 1, "{name:?}");
        }
        let pid = u64::from(std::process::id());
        assert!(records.iter().any(|record| record.tid == pid));
        assert!(records.iter().all(|record| record.start_ns < record.at_ns));
    }
}
