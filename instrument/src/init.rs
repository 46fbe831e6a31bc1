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

#[used]
#[unsafe(link_section = ".init_array")]
static INIT: extern "C" fn() = init;

extern "C" fn init() {
    // Linkers drop what nothing refers to; the page is wanted for its alignment alone.
    core::hint::black_box(&raw const SEMAPHORE_PAGE);
    #[cfg(target_arch = "x86_64")]
    {
        crate::chain_place::publish();
        crate::fork_guard::register();
    }
    if crate::SUPPORTED {
        crate::panic::set_hook();
    }
}
