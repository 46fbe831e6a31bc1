//! The table of open calls; its layout is described in [`exoscope_abi::table`].
//!
//! Where a call is not in its home bucket, the others are searched by a *global function*: one that the
//! verifier checks once by itself, for any arguments. Whatever else is called it follows from every
//! place and in every state again, and eight buckets of seven keys make many: programs took seconds to
//! load.

use exoscope_abi::table::{Bucket, OpenCall, PROBES, WAYS, home};

use crate::{atomic, config, maps::TABLE};

/// A call in the table.
#[derive(Clone, Copy)]
pub struct Slot {
    key: *mut u64,
    /// The call; valid while the program runs.
    pub call: *mut OpenCall,
    /// Number of the slot in the table.
    pub index: u32,
    /// Counts of the home bucket, where the call lies in another one.
    displaced: Option<*mut u64>,
}

#[inline(always)]
fn bucket(index: u32) -> Option<*mut Bucket> {
    TABLE.get_ptr_mut(index & config::table_mask())
}

/// 0. Nobody changes it; but the verifier does not know that.
#[unsafe(no_mangle)]
static mut UNKNOWN_ZERO: u64 = 0;

/// The slot at `way` of `bucket`.
///
/// The verifier would follow what comes after for every way that a loop over the keys can end with,
/// seven times for each slot that a program holds. So it is kept from knowing which one it is.
#[inline(always)]
fn slot(bucket: *mut Bucket, index: u32, way: usize) -> Option<Slot> {
    // SAFETY: the static is never written.
    let way = way + (unsafe { (&raw const UNKNOWN_ZERO).read_volatile() } & 7) as usize;
    if way >= WAYS {
        return None;
    }
    // SAFETY: `way` is below `WAYS`, and the bucket comes from the map.
    Some(unsafe {
        Slot {
            key: (&raw mut (*bucket).keys).cast::<u64>().add(way),
            call: (&raw mut (*bucket).calls).cast::<OpenCall>().add(way),
            index: (index & config::table_mask()) * WAYS as u32 + way as u32,
            displaced: None,
        }
    })
}

/// The way of `bucket` that holds `key`: 0 finds a free one.
#[inline(always)]
fn way_of(bucket: *mut Bucket, key: u64) -> Option<usize> {
    // SAFETY: the bucket comes from the map; a key is one aligned word, read whole.
    let keys = unsafe { &(*bucket).keys };
    let mut way = 0;
    while way < WAYS {
        if keys[way] == key {
            return Some(way);
        }
        way += 1;
    }
    None
}

/// Finds an open call by its address.
#[inline(always)]
pub fn find(call: u64) -> Option<Slot> {
    let first = home(call, config::table_mask());
    find_from(bucket(first)?, first, call)
}

/// Finds an open call whose home bucket is the one at `first`.
#[inline(always)]
fn find_from(home: *mut Bucket, first: u32, call: u64) -> Option<Slot> {
    if let Some(way) = way_of(home, call) {
        return slot(home, first, way);
    }
    // SAFETY: the bucket comes from the map.
    let displaced = unsafe { &raw mut (*home).displaced };
    // SAFETY: as above.
    if unsafe { displaced.read_volatile() } == 0 {
        return None;
    }
    Some(Slot {
        displaced: Some(displaced),
        ..Place(find_displaced(call)).slot()?
    })
}

/// Where a call lies, as one number: the number of its bucket and, in the lowest three bits, its way. A
/// global function gives back nothing else.
#[derive(Clone, Copy)]
struct Place(u64);

impl Place {
    /// No way has this number.
    const NOWHERE: Self = Self(u64::MAX);

    #[inline(always)]
    fn of(index: u32, way: usize) -> Self {
        Self(u64::from(index) << 3 | way as u64)
    }

    #[inline(always)]
    fn slot(self) -> Option<Slot> {
        let (index, way) = ((self.0 >> 3) as u32, (self.0 & 7) as usize);
        slot(bucket(index)?, index, way)
    }
}

/// The [`Place`] of a call that is not in its home bucket.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn find_displaced(call: u64) -> u64 {
    let first = home(call, config::table_mask());
    for step in 1..PROBES {
        let index = first.wrapping_add(step);
        if let Some(next) = bucket(index)
            && let Some(way) = way_of(next, call)
        {
            return Place::of(index, way).0;
        }
    }
    Place::NOWHERE.0
}

/// The slot of a call that begins.
pub enum Begun {
    /// It has been taken.
    New(Slot),
    /// A call is still open at its address.
    Stale(Slot),
}

/// Takes a slot for a call that begins. `None`: the table is full there.
#[inline(always)]
pub fn begin(call: u64) -> Option<Begun> {
    let first = home(call, config::table_mask());
    let home = bucket(first)?;
    if let Some(stale) = find_from(home, first, call) {
        return Some(Begun::Stale(stale));
    }
    claim_from(home, first, call).map(Begun::New)
}

/// Takes a free slot for `call`, which is not in the table, and whose home bucket is the one at `first`.
#[inline(always)]
fn claim_from(home: *mut Bucket, first: u32, call: u64) -> Option<Slot> {
    if let Some(slot) = claim_in(home, first, call) {
        return Some(slot);
    }
    // SAFETY: the bucket comes from the map.
    let displaced = unsafe { &raw mut (*home).displaced };
    // SAFETY: as above. Counted before the slot is taken, so that no look-up stops too early.
    unsafe { atomic::add(displaced, 1) };
    if let Some(slot) = Place(claim_displaced(call)).slot() {
        return Some(slot);
    }
    // SAFETY: as above.
    unsafe { atomic::add(displaced, u64::MAX) };
    None
}

/// Takes a free slot for `call` outside of its home bucket, and gives back its [`Place`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn claim_displaced(call: u64) -> u64 {
    let first = home(call, config::table_mask());
    for step in 1..PROBES {
        let index = first.wrapping_add(step);
        if let Some(next) = bucket(index)
            && let Some(way) = way_of(next, 0)
            && let Some(slot) = slot(next, index, way)
            && take(slot, call)
        {
            return Place::of(index, way).0;
        }
    }
    Place::NOWHERE.0
}

/// Takes the slot in the home bucket.
#[inline(always)]
fn claim_in(bucket: *mut Bucket, index: u32, call: u64) -> Option<Slot> {
    let way = way_of(bucket, 0)?;
    let slot = slot(bucket, index, way)?;
    take(slot, call).then_some(slot)
}

/// Takes a slot that was free. Another CPU may have taken it since: its bucket then counts as full for
/// this call.
#[inline(always)]
fn take(slot: Slot, call: u64) -> bool {
    // SAFETY: the slot lies in the map.
    unsafe { atomic::compare_exchange(slot.key, 0, call) }
}

/// A call made directly by an open one begins. Whoever makes it runs that one, so nobody else adds
/// to it meanwhile, except for the end of a future that has been moved out of it.
///
/// # Safety
/// `call` lies in the map.
#[inline(always)]
pub unsafe fn child_begins(call: *mut OpenCall, start_ns: u64) {
    // SAFETY: the caller's promise.
    unsafe {
        if (*call).children == 0 {
            (*call).child_ns = (*call).child_ns.wrapping_sub(start_ns);
        }
        (*call).children += 1;
    }
}

impl Slot {
    /// As [`child_begins`], at its end; `id` is the number of the call that made it. Where
    /// another one has taken its place, that call has ended and wants no more.
    #[inline(always)]
    pub fn child_ends(self, id: u64, end_ns: u64) {
        // SAFETY: the slot lies in the map.
        unsafe {
            if (*self.call).id != id {
                return;
            }
            let children = (*self.call).children.wrapping_sub(1);
            (*self.call).children = children;
            if children == 0 {
                (*self.call).child_ns = (*self.call).child_ns.wrapping_add(end_ns);
            }
        }
    }

    /// Frees the slot. What the caller wants to know of the call it has read before.
    #[inline(always)]
    pub fn release(self) {
        // SAFETY: the slot lies in the map, and only the program that ends the call releases it.
        unsafe {
            (&raw mut (*self.call).id).write_volatile(0);
            self.key.write_volatile(0);
            if let Some(displaced) = self.displaced {
                atomic::add(displaced, u64::MAX);
            }
        }
    }
}
