//! Tells who looks from outside where a thread's chain of open calls begins.
//!
//! The address of the innermost open call is a thread-local variable, which no debugger finds
//! without symbols. So when the binary is loaded, its place among a thread's variables is written
//! down once, in a section that an agent finds by its name. Nothing reads it in this process.

use core::arch::asm;
use core::ffi::{c_int, c_void};
use core::mem;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use exoscope_abi::sample::{ChainPlace, THREAD_POINTER, UNKNOWN};

use crate::chain;

/// The words of a [`ChainPlace`]. Linkers keep the section since [`publish`] writes to it.
#[used]
#[unsafe(link_section = ".exoscope.chain")]
static PLACE: [AtomicU64; 2] = [AtomicU64::new(UNKNOWN), AtomicU64::new(0)];

/// Writes down where the chain is; runs when the binary is loaded.
pub(crate) fn publish() {
    let Some(place) = place() else { return };
    // Whoever reads a known block must find its offset.
    PLACE[1].store(place.offset, Relaxed);
    PLACE[0].store(place.block, core::sync::atomic::Ordering::Release);
}

/// A loaded binary, as the dynamic linker describes it.
#[derive(Default)]
struct Loaded {
    /// Binaries before it in the list: none before the executable.
    before: usize,
    /// Number of its block of thread-local variables, from 1.
    block: u64,
    /// Address of this thread's block.
    variables: u64,
    found: bool,
}

fn place() -> Option<ChainPlace> {
    let variable = chain::address() as u64;
    let mut loaded = Loaded::default();
    // SAFETY: the callback takes what is passed on for a `Loaded`, which it is.
    unsafe { libc::dl_iterate_phdr(Some(is_ours), (&raw mut loaded).cast()) };
    if !loaded.found {
        None
    } else if loaded.before == 0 {
        Some(ChainPlace {
            block: THREAD_POINTER,
            offset: variable.wrapping_sub(thread_pointer()),
        })
    } else if cfg!(target_env = "gnu") && loaded.block != 0 && loaded.variables != 0 {
        Some(ChainPlace {
            block: loaded.block,
            offset: variable.wrapping_sub(loaded.variables),
        })
    } else {
        None
    }
}

/// Fills in the [`Loaded`] at `data` where `info` is the binary that this code is part of; 1 ends
/// the search.
unsafe extern "C" fn is_ours(
    info: *mut libc::dl_phdr_info,
    size: usize,
    data: *mut c_void,
) -> c_int {
    // SAFETY: the linker passes a description that lives during this call, and the pointer that
    // `place` gave it.
    let (info, loaded) = unsafe { (&*info, &mut *data.cast::<Loaded>()) };
    // SAFETY: the linker says where the headers are and how many.
    let headers = unsafe { core::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    let here = &raw const PLACE as u64;
    let holds = |header: &libc::Elf64_Phdr| {
        let start = info.dlpi_addr.wrapping_add(header.p_vaddr);
        header.p_type == libc::PT_LOAD && here.wrapping_sub(start) < header.p_memsz
    };
    if !headers.iter().any(holds) {
        loaded.before += 1;
        return 0;
    }
    loaded.found = true;
    // Linkers of long ago describe less.
    if size >= mem::size_of::<libc::dl_phdr_info>() {
        loaded.block = info.dlpi_tls_modid as u64;
        loaded.variables = info.dlpi_tls_data as u64;
    }
    1
}

/// What every thread-local variable of an executable lies at a fixed distance from.
fn thread_pointer() -> u64 {
    let pointer;
    // SAFETY: the ABI of x86-64 puts the thread pointer at its own address.
    unsafe {
        asm!(
            "mov {}, fs:0",
            out(reg) pointer,
            options(pure, readonly, nostack, preserves_flags)
        );
    }
    pointer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_finds_its_chain_at_the_place() {
        let place = place().expect("this is an executable");
        assert_eq!(place.block, THREAD_POINTER);
        for thread in [1, 2] {
            let found = std::thread::spawn(move || {
                let outer = chain::replace(thread);
                let at = thread_pointer().wrapping_add(place.offset);
                // SAFETY: if the place is right, that is the variable of this thread.
                let innermost = unsafe { *(at as *const usize) };
                chain::pop(outer);
                innermost
            });
            assert_eq!(found.join().ok(), Some(thread));
        }
    }

    #[test]
    fn the_place_is_written_when_the_binary_is_loaded() {
        let written = [0, 1].map(|word| PLACE[word].load(Relaxed));
        let place = place().expect("this is an executable");
        assert_eq!(written, [place.block, place.offset]);
    }
}
