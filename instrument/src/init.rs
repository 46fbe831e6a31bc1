//! What happens when the executable starts or the shared library is loaded.

use core::sync::atomic::AtomicU8;

/// Puts the semaphores on pages of their own.
///
/// The kernel raises a semaphore in a writable mapping of its file page only. If that page began
/// with data that is read-only after relocation, the semaphore would stay 0 without an error.
#[repr(C, align(4096))]
struct SemaphorePage([AtomicU8; 4096]);

#[used]
#[unsafe(link_section = ".probes")]
static SEMAPHORE_PAGE: SemaphorePage = SemaphorePage([const { AtomicU8::new(0) }; 4096]);

/// Has the code begin on a page of its own.
///
/// Linkers that save space leave the end of what precedes the code on the code's first page, and that page of
/// the file is then mapped twice. Where a library is loaded while probes are attached to it, the kernel puts
/// each probe of such a page into both mappings, but raises its semaphore once. When it is to take both out it
/// lowers the semaphore for each, finds it at 0 too early, and leaves probes in the code for good.
#[cfg(target_arch = "x86_64")]
fn align_code() {
    // SAFETY: it takes an address. What is there is no part of this function, and is never executed: it is
    // wanted for its alignment, and it is kept because it is referred to.
    unsafe {
        core::arch::asm!(
            ".pushsection .text.exoscope,\"ax\",@progbits",
            ".balign 4096",
            "990: ud2",
            ".popsection",
            "lea 990b(%rip), {address}",
            address = out(reg) _,
            options(att_syntax, nostack, nomem, preserves_flags),
        );
    }
}

#[used]
#[unsafe(link_section = ".init_array")]
static INIT: extern "C" fn() = init;

extern "C" fn init() {
    // Linkers drop what nothing refers to; the page is wanted for its alignment alone.
    core::hint::black_box(&raw const SEMAPHORE_PAGE);
    #[cfg(target_arch = "x86_64")]
    {
        align_code();
        crate::chain_place::publish();
        crate::fork_guard::register();
    }
    if crate::SUPPORTED {
        crate::panic::set_hook();
    }
}
