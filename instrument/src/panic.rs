//! The message of a panic, told before anything unwinds.
//!
//! Only a panic hook sees the message. Ours goes over the default hook when the program starts: a hook
//! that the program sets takes the place of both, and what the program takes and calls again is ours,
//! with the default hook behind it.

use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicU16, Ordering::Relaxed};
use std::panic::{self, PanicHookInfo};
use std::sync::OnceLock;

use exoscope_abi::probe::ErrorDetail;
use exoscope_abi::record::MESSAGE_LEN;

use crate::{chain, contain};

/// What an error that is a panic has as its type.
const KIND: &str = "panic";

/// Somebody wants the messages of panics.
#[unsafe(link_section = ".probes")]
static WANTED: AtomicU16 = AtomicU16::new(0);

/// The hook that was there.
static FOUND: OnceLock<Box<Hook>> = OnceLock::new();

type Hook = dyn Fn(&PanicHookInfo<'_>) + Send + Sync;

/// Puts our hook over the default one. Allocates nothing: the boxes of both have nothing in them.
pub(crate) fn set_hook() {
    if is_default() && FOUND.set(panic::take_hook()).is_ok() {
        panic::set_hook(Box::new(hook));
    }
}

fn hook(info: &PanicHookInfo<'_>) {
    if WANTED.load(Relaxed) != 0 && !contain::is_running() {
        tell(info);
    }
    if let Some(found) = FOUND.get() {
        found(info);
    }
}

/// Fires the marker for the thread's innermost call. Must not panic: the program would end.
#[cold]
#[inline(never)]
fn tell(info: &PanicHookInfo<'_>) {
    let payload = info.payload();
    let message = if let Some(message) = payload.downcast_ref::<&'static str>() {
        message
    } else if let Some(message) = payload.downcast_ref::<String>() {
        message
    } else {
        // What the default hook prints.
        "Box<dyn Any>"
    };
    let detail = ErrorDetail {
        kind: KIND.as_ptr() as u64,
        message: if message.is_empty() {
            0
        } else {
            message.as_ptr() as u64
        },
        kind_len: KIND.len() as u32,
        message_len: message.len().min(MESSAGE_LEN) as u32,
        truncated: u32::from(message.len() > MESSAGE_LEN),
        reserved: 0,
    };
    let (call, detail) = (chain::innermost(), &raw const detail as usize);
    crate::__markers!(panic WANTED call detail);
}

/// Whether the program can have set no hook of its own yet, and no copy of this library that goes away
/// before the hook does.
///
/// So it is where this code is part of the program itself, whose constructors run before its `main`,
/// and in a shared library that has a standard library of its own, and with it a hook of its own.
fn is_default() -> bool {
    let mut home = Home {
        ours: hook as *const () as usize,
        std: panic::take_hook as *const () as usize,
        is_program: true,
        is_default: false,
    };
    // SAFETY: the callback gets what it expects, and keeps none of it.
    unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut home).cast()) };
    home.is_default
}

/// A search through the loaded objects for the one that this code is part of.
struct Home {
    /// Address of a function of this library.
    ours: usize,
    /// Address of a function of the standard library.
    std: usize,
    /// The object that comes is the first, which is the program.
    is_program: bool,
    is_default: bool,
}

/// Looks at one loaded object; gives other than 0 to end the search.
unsafe extern "C" fn visit(object: *mut libc::dl_phdr_info, _: usize, home: *mut c_void) -> c_int {
    // SAFETY: the loader describes an object, and `is_default` hands over its search.
    let (object, home) = unsafe { (&*object, &mut *home.cast::<Home>()) };
    let headers = if object.dlpi_phnum == 0 {
        &[]
    } else {
        // SAFETY: so many program headers lie there.
        unsafe { core::slice::from_raw_parts(object.dlpi_phdr, object.dlpi_phnum.into()) }
    };
    let holds = |address: usize| {
        headers.iter().any(|header| {
            let start = (object.dlpi_addr as usize).wrapping_add(header.p_vaddr as usize);
            header.p_type == libc::PT_LOAD && address.wrapping_sub(start) < header.p_memsz as usize
        })
    };
    let found = holds(home.ours);
    home.is_default = found && (home.is_program || holds(home.std));
    home.is_program = false;
    c_int::from(found)
}
