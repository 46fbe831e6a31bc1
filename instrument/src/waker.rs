//! Wakers that tell of wake-ups, while somebody looks at polls.
//!
//! A waker is a data pointer and a table of functions. A telling one has the data pointer of the
//! original and a table of ours, so it owns nothing more, and needs no allocation. Which table is the
//! original's cannot be told from the data, so each distinct original gets a table of ours for itself:
//! programs have as many as they have kinds of executors and combinators, which is a handful.

use core::mem::{self, ManuallyDrop};
use core::ptr;
use core::sync::atomic::{
    AtomicPtr,
    Ordering::{AcqRel, Acquire},
};
use core::task::{RawWaker, RawWakerVTable, Waker};

/// Originals that can be told apart. Of more, wake-ups are not seen.
const SLOTS: usize = 16;

/// The original of each slot, once it is taken: the address of a table that lives for ever.
static ORIGINALS: [AtomicPtr<RawWakerVTable>; SLOTS] =
    [const { AtomicPtr::new(ptr::null_mut()) }; SLOTS];

/// The table of each slot.
static TELLING: [RawWakerVTable; SLOTS] = [
    table::<0>(),
    table::<1>(),
    table::<2>(),
    table::<3>(),
    table::<4>(),
    table::<5>(),
    table::<6>(),
    table::<7>(),
    table::<8>(),
    table::<9>(),
    table::<10>(),
    table::<11>(),
    table::<12>(),
    table::<13>(),
    table::<14>(),
    table::<15>(),
];

const fn table<const SLOT: usize>() -> RawWakerVTable {
    RawWakerVTable::new(
        clone::<SLOT>,
        wake::<SLOT>,
        wake_by_ref::<SLOT>,
        drop_waker::<SLOT>,
    )
}

/// The waker, borrowed, as one that tells of wake-ups: it must not be dropped, and its clones must.
/// As it is where it tells already, or where every slot is taken.
pub(crate) fn telling(waker: &Waker) -> ManuallyDrop<Waker> {
    // SAFETY: the table is the original's or forwards to it, and the data is the original's. The
    // waker is not dropped, so that it counts as none.
    ManuallyDrop::new(unsafe { Waker::new(waker.data(), telling_table(waker.vtable())) })
}

fn telling_table(original: &'static RawWakerVTable) -> &'static RawWakerVTable {
    if TELLING.as_ptr_range().contains(&ptr::from_ref(original)) {
        return original;
    }
    slot_of(original).map_or(original, |slot| &TELLING[slot])
}

/// The slot of an original, which is taken now if it was not.
fn slot_of(original: &'static RawWakerVTable) -> Option<usize> {
    let original = ptr::from_ref(original).cast_mut();
    ORIGINALS.iter().position(|slot| {
        let mut found = slot.load(Acquire);
        if found.is_null() {
            found = match slot.compare_exchange(found, original, AcqRel, Acquire) {
                Ok(_) => original,
                Err(other) => other,
            };
        }
        found == original
    })
}

/// The original of a telling waker.
///
/// # Safety
/// `data` is that of a waker whose table is the slot's.
unsafe fn original<const SLOT: usize>(data: *const ()) -> Waker {
    let table = ORIGINALS[SLOT].load(Acquire);
    // SAFETY: the slot's table is in no waker before the slot is taken, and the slot stays taken.
    // The original had this data when its table was replaced.
    unsafe { Waker::new(data, &*table) }
}

unsafe fn clone<const SLOT: usize>(data: *const ()) -> RawWaker {
    // SAFETY: as the caller promises, by the contract of `RawWakerVTable`. The original stays.
    let original = ManuallyDrop::new(unsafe { original::<SLOT>(data) });
    let clone = ManuallyDrop::new(Waker::clone(&original));
    RawWaker::new(clone.data(), telling_table(clone.vtable()))
}

unsafe fn wake<const SLOT: usize>(data: *const ()) {
    tell(data);
    // SAFETY: as in `clone`.
    unsafe { original::<SLOT>(data) }.wake();
}

unsafe fn wake_by_ref<const SLOT: usize>(data: *const ()) {
    tell(data);
    // SAFETY: as in `clone`. The original stays.
    ManuallyDrop::new(unsafe { original::<SLOT>(data) }).wake_by_ref();
}

unsafe fn drop_waker<const SLOT: usize>(data: *const ()) {
    // SAFETY: as in `clone`.
    mem::drop(unsafe { original::<SLOT>(data) });
}

/// Fires the marker, before anything can come of the wake-up.
#[inline(never)]
fn tell(data: *const ()) {
    let waker = data as usize;
    crate::__markers!(wake waker);
}
