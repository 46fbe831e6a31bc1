//! Numbers that identify calls which have no address of their own.
//!
//! A token is a number with [`TOKEN`] below it, and [`LINK`] above it where it is a link's: never an
//! address. No two of a process are
//! the same, whatever thread they are taken on, and whichever copy of this library: a program and a
//! plugin may have one each. (A signal handler that takes one while its thread takes one can get the
//! same: the thread's own count is not atomic, because that would cost more than all the rest.)

use core::cell::Cell;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use exoscope_abi::probe::{LINK, TOKEN};

/// Distance of one token to the next: [`TOKEN`] is set below it, and the other bits are 0.
const STEP: usize = 8;
/// Tokens that a thread takes from the common count at once, so that it takes most of them without
/// touching memory that other threads touch.
const BATCH: usize = 256;
/// Bytes between two copies of this library in one process at least.
const PAGE: usize = 4096;
/// Tokens that one copy has to itself.
const PER_COPY: usize = 1 << 25;

/// Batches that were taken.
static BATCHES: AtomicUsize = AtomicUsize::new(0);

std::thread_local! {
    /// The token after the one that this thread took last. At a multiple of a batch's length there
    /// is none left.
    static NEXT: Cell<usize> = const { Cell::new(0) };
}

/// A token for a call.
#[inline(always)]
pub(crate) fn of_call() -> usize {
    NEXT.with(|next| {
        let token = match next.get() {
            none if none.is_multiple_of(BATCH * STEP) => batch(),
            token => token,
        };
        next.set(token + STEP);
        token | TOKEN as usize
    })
}

/// A token for a link.
pub(crate) fn of_link() -> usize {
    of_call() | LINK as usize
}

/// Whether this is a call's token, and not a link's or an address.
pub(crate) const fn is_of_call(call: usize) -> bool {
    call & (TOKEN | LINK) as usize == TOKEN as usize
}

/// Whether this is a link's token, and not a call's address or token.
pub(crate) const fn is_of_link(call: usize) -> bool {
    call & LINK as usize != 0
}

/// The first of the numbers that nobody else takes.
///
/// The page on which the count lies tells this copy of the library from others in the process.
#[cold]
#[inline(never)]
fn batch() -> usize {
    let page = &raw const BATCHES as usize / PAGE;
    let count = BATCHES.fetch_add(1, Relaxed).wrapping_mul(BATCH);
    page.wrapping_mul(PER_COPY)
        .wrapping_add(count)
        .wrapping_mul(STEP)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn tokens_are_distinct_on_all_threads_and_are_no_addresses() {
        let take = || {
            let tokens = (0..3 * BATCH).map(|n| if n % 2 == 0 { of_call() } else { of_link() });
            tokens.collect::<Vec<_>>()
        };
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(take)).collect();
        let mut all = take();
        for thread in threads {
            all.extend(thread.join().expect("it does not panic"));
        }
        assert!(all.iter().all(|token| token & 7 == TOKEN as usize));
        assert_eq!(
            all.iter().filter(|token| is_of_link(**token)).count() * 2,
            all.len()
        );
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
    }
}
