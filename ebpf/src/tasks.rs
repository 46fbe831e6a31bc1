//! The task iterator: one record about each thread of the target, whenever the agent reads it.
//!
//! It is loaded by itself, and not with the programs at the markers: where the kernel refuses it,
//! calls are captured all the same, and the agent reads `/proc`.

use core::{ffi::c_void, mem::MaybeUninit, ptr};

use aya_ebpf::{
    bindings::seq_file,
    helpers::{
        bpf_ktime_get_ns, bpf_probe_read_kernel,
        generated::{bpf_probe_read_kernel as read_raw, bpf_seq_write},
    },
};
use exoscope_abi::task::{NAME_LEN, Offsets, SIGNAL, TASK, TaskRecord};

use crate::kernel::load;

/// Where the kernel keeps what the record holds.
#[unsafe(no_mangle)]
static TASK_OFFSETS: Offsets = Offsets {
    task: [0; TASK.len()],
    signal: [0; SIGNAL.len()],
    signal_address: 0,
    name: 0,
};

/// `bpf_iter_meta` of the kernel, as far as it is needed.
#[repr(C)]
struct Meta {
    seq: *mut seq_file,
    session: u64,
    /// Threads before this one.
    number: u64,
}

/// `bpf_iter__task` of the kernel.
#[repr(C)]
pub struct Context {
    meta: *const Meta,
    task: *const u8,
}

/// Writes the record of one thread.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
pub extern "C" fn tasks(context: *const Context) -> i32 {
    // SAFETY: the kernel calls an iterator with its context, which holds both pointers.
    let (meta, task) = unsafe { ((*context).meta, (*context).task) };
    // The last call of an iteration has no thread.
    if task.is_null() {
        return 0;
    }
    let mut record = MaybeUninit::uninit();
    // SAFETY: as above.
    fill(&mut record, task, unsafe { (*meta).number } == 0);
    let data = record.as_ptr().cast::<c_void>();
    // SAFETY: `meta` and its file are valid while the program runs, and every byte of the record has
    // been written. Where the file has no room left, the kernel calls again for this thread.
    unsafe { bpf_seq_write((*meta).seq, data, size_of::<TaskRecord>() as u32) };
    0
}

/// What all threads share is read with the first one.
#[inline(always)]
fn fill(record: &mut MaybeUninit<TaskRecord>, task: *const u8, is_first: bool) {
    let record = record.as_mut_ptr();
    // SAFETY: the record has room for its time, for one word for each member after it, and for a
    // name, and nothing else; the verifier checks that members of these sizes lie in the thread, and the
    // helper that reads the name checks the kernel's address.
    unsafe {
        (&raw mut (*record).at_ns).write(bpf_ktime_get_ns());
        let words = (&raw mut (*record).tid).cast::<u64>();
        let offsets = (&raw const TASK_OFFSETS.task).cast::<u32>();
        // A thread's number is the only member of four bytes.
        words.write(u64::from(load::<u32>(task, offset(offsets))));
        let mut index = 1;
        while index < TASK.len() {
            let member = load::<u64>(task, offset(offsets.add(index)));
            words.add(index).write(member);
            index += 1;
        }
        let signal = if is_first {
            read(task, offset(&raw const TASK_OFFSETS.signal_address)) as *const u8
        } else {
            ptr::null()
        };
        let words = words.add(TASK.len());
        let mut index = 0;
        while index < SIGNAL.len() {
            let offset = offset((&raw const TASK_OFFSETS.signal).cast::<u32>().add(index));
            let word = if is_first { read(signal, offset) } else { 0 };
            words.add(index).write(word);
            index += 1;
        }
        let name = task.wrapping_add(offset(&raw const TASK_OFFSETS.name));
        let to = (&raw mut (*record).name).cast::<c_void>();
        read_raw(to, NAME_LEN as u32, name.cast());
    }
}

/// A word of the kernel's memory; 0 where it is not readable.
#[inline(always)]
fn read(base: *const u8, offset: usize) -> u64 {
    // SAFETY: the helper checks the address.
    unsafe { bpf_probe_read_kernel(base.wrapping_add(offset).cast::<u64>()) }.unwrap_or(0)
}

/// # Safety
/// `offset` is one of [`TASK_OFFSETS`].
#[inline(always)]
unsafe fn offset(offset: *const u32) -> usize {
    // SAFETY: as above; volatile, because the agent overwrites it in the object.
    unsafe { ptr::read_volatile(offset) as usize }
}
