//! Keeps children of `fork` alive while fast markers are attached.
//!
//! Linux 6.18 turns an attached five-byte nop into a `call` to a page of its own,
//! `[uprobes-trampoline]`, and does not copy that page on `fork`: a child that runs such a nop would
//! die of `SIGSEGV`. So handlers of `pthread_atfork` give the child pages of `ret` in their place.
//!
//! The handler before the fork runs a marker of its own, which the agent attaches whenever it
//! attaches fast ones. Where its nop has not become a `call`, that is all it does: an ordinary fork
//! costs a few instructions. The handlers allocate nothing and call what may be called in a signal
//! handler only.
//!
//! A child made by a raw `clone` system call, without the C library, is not guarded. `vfork` and
//! `posix_spawn` need no guard: their child has the parent's pages until it runs another program.

use core::ffi::c_int;
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use exoscope_abi::probe::MARKER_FIVE;

/// Smallest page of x86-64, which is what the kernel's trampoline takes.
const PAGE: usize = 4096;
/// Pages remembered. One serves all markers within 2 GiB of it.
const PAGES: usize = 16;
/// `ret`: back behind the nop that became a call.
const RET: u8 = 0xc3;
/// `call` with a relative address of 32 bits.
const CALL: u8 = 0xe8;

/// Addresses of the trampoline pages at the latest fork; 0 where there is none.
static TRAMPOLINES: [AtomicUsize; PAGES] = [const { AtomicUsize::new(0) }; PAGES];

/// Has the handlers run at every fork of this process and of its children.
pub(crate) fn register() {
    // SAFETY: both handlers keep to what is allowed between `fork` and `exec`. Where the list of
    // handlers can not grow, the program goes on without the guard.
    unsafe { libc::pthread_atfork(Some(prepare), None, Some(child)) };
}

/// In the parent, before the fork: remembers the trampoline pages.
extern "C" fn prepare() {
    let marker = fork_guard_marker();
    let mut pages = [0; PAGES];
    if let Some(target) = call_target(marker + MARKER_FIVE as usize) {
        pages[0] = target & !(PAGE - 1);
        read_trampolines(&mut pages);
    }
    // Two threads that fork at once store the same addresses.
    for (remembered, page) in TRAMPOLINES.iter().zip(pages) {
        remembered.store(page, Relaxed);
    }
}

/// In the child, after the fork: maps a page of `ret` where a trampoline is missing.
extern "C" fn child() {
    for page in &TRAMPOLINES {
        let page = page.load(Relaxed);
        if page != 0 {
            map_returns(page);
        }
    }
}

/// The marker `fork_guard`; gives its address.
fn fork_guard_marker() -> usize {
    let address: usize;
    crate::__marker_with_notes!(
        [crate::__nops!(), "lea 990b(%rip), {address}"]
        [att_syntax, preserves_flags, readonly]
        ForkGuard, "fork_guard", "", "0", "0", "0", "0", "",
        address = out(reg) address,
    );
    address
}

/// Where the five bytes at `address` call, or `None` while they are a nop.
fn call_target(address: usize) -> Option<usize> {
    // SAFETY: the bytes are those of our own marker. The kernel may rewrite them meanwhile, so they
    // are read as volatile.
    let bytes: [u8; 5] = unsafe { ptr::read_volatile(address as *const [u8; 5]) };
    let [CALL, offset @ ..] = bytes else {
        return None;
    };
    let offset = i32::from_le_bytes(offset) as isize;
    Some((address + bytes.len()).wrapping_add_signed(offset))
}

/// Adds the pages that `/proc/self/maps` names `[uprobes-trampoline]`.
fn read_trampolines(pages: &mut [usize; PAGES]) {
    // SAFETY: the path ends in NUL.
    let file = unsafe {
        libc::open(
            c"/proc/self/maps".as_ptr(),
            libc::O_RDONLY | libc::O_CLOEXEC,
        )
    };
    if file < 0 {
        return;
    }
    let mut lines = Lines::default();
    let mut buffer = [0_u8; PAGE];
    loop {
        // SAFETY: the buffer is as long as said.
        let len = unsafe { libc::read(file, buffer.as_mut_ptr().cast(), buffer.len()) };
        if len <= 0 {
            break;
        }
        for &byte in &buffer[..len as usize] {
            if let Some(page) = lines.push(byte) {
                remember(pages, page);
            }
        }
    }
    // SAFETY: `file` was opened above.
    unsafe { libc::close(file) };
}

fn remember(pages: &mut [usize; PAGES], page: usize) {
    for slot in pages {
        if *slot == page {
            return;
        }
        if *slot == 0 {
            *slot = page;
            return;
        }
    }
}

/// Finds the trampolines in the text of `/proc/self/maps`, which comes byte by byte.
#[derive(Default)]
struct Lines {
    /// The line's first number, in hexadecimal digits before the first `-`.
    start: usize,
    start_done: bool,
    /// Bytes of [`Lines::NAME`] that the line's latest bytes are equal to.
    matched: usize,
}

impl Lines {
    const NAME: &[u8] = b"[uprobes-trampoline]\n";

    /// The start of the mapping, where `byte` ends the line of a trampoline.
    fn push(&mut self, byte: u8) -> Option<usize> {
        match (byte as char).to_digit(16) {
            Some(digit) if !self.start_done => self.start = self.start << 4 | digit as usize,
            _ => self.start_done = true,
        }
        self.matched = match byte {
            _ if byte == Self::NAME[self.matched] => self.matched + 1,
            b'[' => 1,
            _ => 0,
        };
        if byte != b'\n' {
            return None;
        }
        let found = (self.matched == Self::NAME.len()).then_some(self.start);
        *self = Self::default();
        found
    }
}

fn map_returns(page: usize) {
    let protection: c_int = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
    // SAFETY: nothing is replaced: where the page exists, because this kernel copied it or another
    // copy of this library was here first, the kernel refuses (or, before 4.17, maps elsewhere).
    let mapped = unsafe { libc::mmap(page as *mut _, PAGE, protection, flags, -1, 0) };
    if mapped == libc::MAP_FAILED || mapped.is_null() {
        return;
    }
    // SAFETY: the page at `mapped` is ours, and nothing else knows of it.
    unsafe {
        if mapped as usize != page {
            libc::munmap(mapped, PAGE);
            return;
        }
        ptr::write_bytes(mapped.cast::<u8>(), RET, PAGE);
        libc::mprotect(mapped, PAGE, libc::PROT_READ | libc::PROT_EXEC);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(text: &str) -> Vec<usize> {
        let mut lines = Lines::default();
        text.bytes().filter_map(|byte| lines.push(byte)).collect()
    }

    #[test]
    fn trampolines_are_found_among_other_mappings() {
        let maps = "\
7ffff7a00000-7ffff7a01000 r-xp 00000000 00:00 0                          [uprobes-trampoline]
555555554000-555555555000 r--p 00000000 fe:00 12                         /a [[uprobes-trampoline] b
7fffeffff000-7ffff0000000 r-xp 00000000 00:00 0                          [uprobes-trampoline]
7ffffffde000-7ffffffff000 rw-p 00000000 00:00 0                          [stack]
";
        assert_eq!(starts(maps), [0x7fff_f7a0_0000, 0x7fff_efff_f000]);
    }

    #[test]
    fn nops_are_no_call() {
        assert_eq!(
            call_target(fork_guard_marker() + MARKER_FIVE as usize),
            None
        );
    }

    #[test]
    fn a_call_leads_to_its_target() {
        let mut code = [0_u8; 16];
        code[4] = CALL;
        code[5..9].copy_from_slice(&(-9_i32).to_le_bytes());
        let address = code.as_ptr() as usize;
        assert_eq!(call_target(address + 4), Some(address));
    }

    #[test]
    fn pages_are_remembered_once() {
        let mut pages = [0; PAGES];
        remember(&mut pages, PAGE);
        remember(&mut pages, PAGE);
        remember(&mut pages, 2 * PAGE);
        assert_eq!(pages[..3], [PAGE, 2 * PAGE, 0]);
    }

    /// A forked child runs a call into a page that only the child's handler made.
    #[test]
    fn a_child_gets_the_missing_page() {
        // SAFETY: an anonymous page of our own, which, as a trampoline, is not copied by `fork`.
        let page = unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let page = libc::mmap(ptr::null_mut(), PAGE, libc::PROT_NONE, flags, -1, 0);
            assert_ne!(page, libc::MAP_FAILED);
            assert_eq!(libc::madvise(page, PAGE, libc::MADV_DONTFORK), 0);
            page as usize
        };
        // SAFETY: the child calls nothing but the page and `_exit`.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            map_returns(page);
            // SAFETY: the page holds `ret` everywhere, which is a function that does nothing.
            unsafe {
                let returns: extern "C" fn() = core::mem::transmute(page + 64);
                returns();
                libc::_exit(42);
            }
        }
        let mut status = 0;
        // SAFETY: `pid` is our child.
        assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
        assert!(
            libc::WIFEXITED(status),
            "the child died of signal {}",
            libc::WTERMSIG(status)
        );
        assert_eq!(libc::WEXITSTATUS(status), 42);
    }
}
