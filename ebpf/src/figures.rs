//! Taking the kernel's counts when a call begins and when it ends: [`exoscope_abi::figures`].

use core::{ffi::c_void, ptr};

use aya_ebpf::{
    btf_maps::{Array, PerCpuArray},
    helpers::{bpf_probe_read_kernel, generated::bpf_map_lookup_percpu_elem},
    macros::btf_map,
};
use exoscope_abi::figures::{
    CPU, FAULTS, Figures, IN_POLLS, MEMORY, Moment, NEVER, PolledFigures, RSS_COUNTERS, RSS_CPUS,
    RSS_SWAPPED, SWITCHES,
};

use crate::{
    config::{self, OFFSETS, offset},
    cpu_time,
    kernel::{Memory, Task},
    marker::{Site, now},
    table::Slot,
};

/// When the calls began, or their latest polls: one for each slot of the table of open calls, or one in
/// all where nobody asks.
#[btf_map]
static BEGINNINGS: Array<Moment, 1> = Array::new();

/// Of the calls that run in polls, likewise.
#[btf_map]
static POLLED_FIGURES: Array<PolledFigures, 1> = Array::new();

/// Where each CPU keeps its share of the process's counters of memory.
#[repr(C)]
struct Shares {
    /// The memory that the rest belongs to; 0 until it is found.
    memory: u64,
    /// Addresses of the shares.
    of_cpu: [u64; RSS_CPUS],
}

/// One in all.
#[btf_map]
static SHARES: Array<Shares, 1> = Array::new();

/// Tells how far the memory of one CPU is from that of another: each CPU has a value of its own. This
/// CPU's holds the addresses of all of them.
#[btf_map]
static PER_CPU: PerCpuArray<[u64; RSS_CPUS], 1> = PerCpuArray::new();

/// A time, and what tells whether the thread has kept its CPU since.
#[derive(Clone, Copy)]
pub struct Clock {
    /// `CLOCK_MONOTONIC` nanoseconds.
    pub ns: u64,
    switches: u32,
}

impl Clock {
    /// Now.
    #[inline(always)]
    pub fn read() -> Self {
        // In this order: a switch between the two is noticed.
        let switches = if takes_times() { switches() } else { 0 };
        Self {
            ns: now(),
            switches,
        }
    }
}

/// A call begins now, or when the clock is read again, as it may have to be.
#[inline(always)]
pub fn begin(site: Site, slot: Slot, start: &mut Clock) {
    if !are_taken_at(site) {
        return;
    }
    let Some(beginning) = BEGINNINGS.get_ptr_mut(slot.index) else {
        return;
    };
    // SAFETY: both lie in maps, and belong to the slot, which this program has claimed.
    unsafe {
        *beginning = moment(start);
        if site.says(IN_POLLS)
            && let Some(polled) = POLLED_FIGURES.get_ptr_mut(slot.index)
        {
            *polled = PolledFigures {
                sum: Figures::none(config::figures()),
                in_poll: 1,
            };
        }
    }
}

/// Likewise, a call ends that still has its slot.
#[inline(always)]
pub fn ended(site: Site, slot: Slot, items: u32, end: &mut Clock) -> Figures {
    let unknown = Figures::none(0);
    // Between its items an iterator is open, and its thread does other things.
    if !are_taken_at(site) || items != 0 && !site.says(IN_POLLS) {
        return unknown;
    }
    let Some(beginning) = BEGINNINGS.get_ptr(slot.index) else {
        return unknown;
    };
    let end = moment(end);
    // SAFETY: as in `begin`; nobody else ends the call.
    unsafe {
        if !site.says(IN_POLLS) {
            return (*beginning).until(&end);
        }
        match POLLED_FIGURES.get_ptr_mut(slot.index) {
            Some(polled) => {
                (*polled).end(&*beginning, &end);
                (*polled).sum
            }
            None => unknown,
        }
    }
}

/// Likewise, a later poll of a call begins.
#[inline(always)]
pub fn poll_begins(site: Site, slot: Slot, at: &mut Clock) {
    if !are_taken_at(site) {
        return;
    }
    if let (Some(beginning), Some(polled)) = (
        BEGINNINGS.get_ptr_mut(slot.index),
        POLLED_FIGURES.get_ptr_mut(slot.index),
    ) {
        // SAFETY: as in `begin`; whoever polls the call is alone with them.
        unsafe {
            *beginning = moment(at);
            (*polled).begin();
        }
    }
}

/// Likewise, a poll of a call ends.
#[inline(always)]
pub fn poll_ends(site: Site, slot: Slot, at: &mut Clock) {
    if !are_taken_at(site) {
        return;
    }
    if let (Some(beginning), Some(polled)) = (
        BEGINNINGS.get_ptr(slot.index),
        POLLED_FIGURES.get_ptr_mut(slot.index),
    ) {
        // SAFETY: as in `poll_begins`.
        unsafe { (*polled).end(&*beginning, &moment(at)) };
    }
}

/// Somebody asks, and they can be told of this function's calls.
#[inline(always)]
fn are_taken_at(site: Site) -> bool {
    config::figures() != 0 && !site.says(NEVER)
}

/// Times and switches are taken, which have to be of one moment.
#[inline(always)]
fn takes_times() -> bool {
    config::figures() & (CPU | SWITCHES) != 0
}

/// How often this thread has left its CPU.
#[inline(always)]
fn switches() -> u32 {
    let task = Task::current();
    task.voluntary_switches()
        .wrapping_add(task.involuntary_switches())
}

/// How often the counts are taken at most, until the thread keeps its CPU meanwhile.
const TRIES: u32 = 3;

/// The counts at a time that has just been read; where the thread was off its CPU since, it is read again.
#[inline(always)]
fn moment(at: &mut Clock) -> Moment {
    let wanted = config::figures();
    let task = Task::current();
    let mut moment = Moment {
        tid: task.number(),
        ..Moment::default()
    };
    if wanted & FAULTS != 0 {
        moment.known |= FAULTS;
        moment.minor_faults = task.minor_faults();
        moment.major_faults = task.major_faults();
    }
    if wanted & MEMORY != 0
        && let Some(pages) = resident_pages(task.memory())
    {
        moment.known |= MEMORY;
        moment.rss_pages = pages;
    }
    let mut tries = 0;
    while takes_times() && tries < TRIES {
        if wanted & CPU != 0
            && let Some(off_ns) = cpu_time::off_ns(task)
        {
            moment.known |= CPU;
            moment.off_ns = off_ns;
            moment.runqueue_ns = task.runqueue_ns();
        }
        moment.known |= wanted & SWITCHES;
        moment.voluntary_switches = task.voluntary_switches();
        moment.involuntary_switches = task.involuntary_switches();
        let switches = moment
            .voluntary_switches
            .wrapping_add(moment.involuntary_switches);
        if switches == at.switches {
            break;
        }
        *at = Clock::read();
        tries += 1;
    }
    moment
}

/// Resident pages of a process: what all CPUs have told, and what each has not told yet.
#[inline(always)]
fn resident_pages(memory: Memory) -> Option<u32> {
    let shares = SHARES.get_ptr_mut(0)?;
    // SAFETY: the addresses lie in the map. Whoever writes them writes the same.
    unsafe {
        if (&raw const (*shares).memory).read_volatile() != memory.0 as u64 {
            find_shares(memory, shares)?;
        }
        let told = pages_told(memory);
        let mut untold = untold_pages(shares)?;
        let mut pages = pages_told(memory);
        if pages != told {
            // A CPU told its share meanwhile.
            untold = untold_pages(shares)?;
            pages = pages_told(memory);
        }
        Some(pages.wrapping_add(untold))
    }
}

#[inline(always)]
fn pages_told(memory: Memory) -> u32 {
    let mut pages = 0_u32;
    let mut counter = 0;
    while counter < RSS_COUNTERS {
        if counter != RSS_SWAPPED {
            pages = pages.wrapping_add(memory.told(counter));
        }
        counter += 1;
    }
    pages
}

/// # Safety
/// `shares` is that of the map.
#[inline(always)]
unsafe fn untold_pages(shares: *const Shares) -> Option<u32> {
    let mut pages = 0_u32;
    let mut cpu = 0;
    while cpu < RSS_CPUS && cpu < config::memory_cpus() as usize {
        // SAFETY: the caller's promise; the helper checks the kernel's address.
        let share: [u32; RSS_COUNTERS] =
            unsafe { bpf_probe_read_kernel((*shares).of_cpu[cpu] as *const _) }.ok()?;
        let mut counter = 0;
        while counter < RSS_COUNTERS {
            if counter != RSS_SWAPPED {
                pages = pages.wrapping_add(share[counter]);
            }
            counter += 1;
        }
        cpu += 1;
    }
    Some(pages)
}

/// Finds where each CPU keeps its share. A counter names it by what has to be added to the beginning of
/// the CPU's own memory. The kernel does not tell where that is; but a map with a value for each CPU has
/// its values at places that are found in both ways.
///
/// # Safety
/// `shares` is that of the map.
#[inline(always)]
unsafe fn find_shares(memory: Memory, shares: *mut Shares) -> Option<()> {
    let map = (&raw const PER_CPU).cast_mut().cast::<c_void>();
    // SAFETY: the helper checks the kernel's addresses; the rest lies in maps.
    unsafe {
        let addresses = PER_CPU.get_ptr_mut(0)?.cast::<u64>();
        let map_address = number(addresses, map);
        let values: u64 =
            bpf_probe_read_kernel((map_address + offset(&OFFSETS.array_values) as u64) as *const _)
                .ok()?;
        let counters: u64 =
            bpf_probe_read_kernel(memory.0.wrapping_add(offset(&OFFSETS.rss_counters)).cast())
                .ok()?;
        let mut cpu = 0;
        while cpu < RSS_CPUS && cpu < config::memory_cpus() as usize {
            let key = 0_u32;
            let value = bpf_map_lookup_percpu_elem(map, (&raw const key).cast(), cpu as u32);
            if value.is_null() {
                return None;
            }
            let distance = number(addresses.add(cpu), value).wrapping_sub(values);
            let share = ptr::addr_of_mut!((*shares).of_cpu).cast::<u64>().add(cpu);
            share.write_volatile(counters.wrapping_add(distance));
            cpu += 1;
        }
        (&raw mut (*shares).memory).write_volatile(memory.0 as u64);
    }
    Some(())
}

/// An address as a number: the verifier takes what comes out of a map for one, and lets it be reckoned
/// with.
///
/// # Safety
/// `place` lies in a map.
#[inline(always)]
unsafe fn number(place: *mut u64, address: *const c_void) -> u64 {
    // SAFETY: the caller's promise.
    unsafe {
        place.write_volatile(address as u64);
        place.read_volatile()
    }
}
