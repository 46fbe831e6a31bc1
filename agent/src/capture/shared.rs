//! The arrays that the programs write and the agent maps: open calls and their polls, totals, losses.

use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use aya::maps::{HashMap, MapData};
use exoscope_abi::polls::{CallPolls, OpenPolls, WAKES, Wakes};
use exoscope_abi::table::{Bucket, OpenCall as TableCall, WAYS};
use exoscope_abi::totals::{FunctionTotals, HISTOGRAM_BUCKETS, Recorded, SessionLosses};
use memmap2::{MmapOptions, MmapRaw};

use crate::event::{FunctionCounts, OpenCall};

/// Everything that is read beside the rings.
pub struct Shared {
    /// The table of open calls.
    pub open_calls: OpenCalls,
    /// Their polls, where these are captured.
    pub polls: Option<Polls>,
    /// The counts of every function.
    pub totals: Totals,
    /// What was lost of no known function.
    pub losses: Losses,
}

/// An array map, mapped to be read; where it is `writable`, words may also be stored.
struct MappedArray<T> {
    map: MmapRaw,
    len: usize,
    value: std::marker::PhantomData<T>,
}

impl<T> MappedArray<T> {
    fn new(map: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        let mapped = Self::bytes(len).map_raw_read_only(map.as_raw_fd())?;
        Ok(Self::of(mapped, len))
    }

    /// One whose words may be stored to.
    fn writable(map: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        let mapped = Self::bytes(len).map_raw(map.as_raw_fd())?;
        Ok(Self::of(mapped, len))
    }

    fn bytes(len: usize) -> MmapOptions {
        let mut options = MmapOptions::new();
        options.len((len * size_of::<T>()).next_multiple_of(4096));
        options
    }

    fn of(map: MmapRaw, len: usize) -> Self {
        Self {
            map,
            len,
            value: std::marker::PhantomData,
        }
    }

    /// The words of entry `index`: the programs write them while they are read.
    fn words(&self, index: usize) -> &[AtomicU64] {
        assert!(index < self.len);
        let words = size_of::<T>() / size_of::<u64>();
        // SAFETY: the mapping holds `len` values of `T`, which are whole words; they are accessed
        // only as atomics, and the kernel keeps the memory while the mapping lives.
        unsafe {
            let start = self.map.as_ptr().cast::<AtomicU64>().add(index * words);
            std::slice::from_raw_parts(start, words)
        }
    }
}

/// The table of open calls.
pub struct OpenCalls {
    array: MappedArray<Bucket>,
}

/// Buckets of a part.
const PART: usize = 1 << 13;

/// Words of a bucket before its first call.
const KEYS_AND_COUNT: usize = WAYS + 1;
/// Words of a call in the table.
const CALL_WORDS: usize = size_of::<TableCall>() / size_of::<u64>();

impl OpenCalls {
    /// Maps the table of `buckets` buckets.
    ///
    /// # Errors
    /// Where the kernel refuses the mapping.
    pub fn new(map: BorrowedFd<'_>, buckets: u32) -> io::Result<Self> {
        Ok(Self {
            array: MappedArray::new(map, buckets as usize)?,
        })
    }

    /// The calls that are open now, oldest first, each with the number of its slot.
    pub fn snapshot(&self) -> Vec<(usize, OpenCall)> {
        let mut calls: Vec<(usize, OpenCall)> = self.slots(0..self.array.len).collect();
        calls.sort_unstable_by_key(|(_, call)| (call.start_ns, call.id));
        calls
    }

    /// The buckets, in parts that are read in some tenths of a millisecond each.
    pub fn parts(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let buckets = self.array.len;
        let part = move |first: usize| first..(first + PART).min(buckets);
        (0..buckets).step_by(PART).map(part)
    }

    /// The calls that are open in some buckets, each with the number of its slot.
    pub fn slots(&self, buckets: Range<usize>) -> impl Iterator<Item = (usize, OpenCall)> {
        buckets.flat_map(|bucket| {
            let words = self.array.words(bucket);
            let call = move |way| Some((bucket * WAYS + way, read_call(words, way)?));
            (0..WAYS).filter_map(call)
        })
    }
}

/// Reads one slot; `None` where it is free or changes meanwhile.
fn read_call(bucket: &[AtomicU64], way: usize) -> Option<OpenCall> {
    let key = bucket[way].load(Ordering::Acquire);
    if key == 0 {
        return None;
    }
    let call = &bucket[KEYS_AND_COUNT + way * CALL_WORDS..][..CALL_WORDS];
    let word = |index: usize| call[index].load(Ordering::Acquire);
    let (id, parent, start_ns, child_ns) = (word(0), word(1), word(2), word(3));
    let (children, place) = (word(4), word(6));
    let unchanged = bucket[way].load(Ordering::Acquire) == key && word(0) == id;
    (id != 0 && unchanged).then_some(OpenCall {
        id,
        parent: (parent != 0).then_some(parent),
        function: place as u32,
        tid: (place >> 32) as u32,
        start_ns,
        child_ns,
        children,
    })
}

/// The polls of open calls, by slot, and the wake-ups that they wait for.
pub struct Polls {
    array: MappedArray<OpenPolls>,
    wakers: HashMap<MapData, u64, WakeWords>,
}

/// [`Wakes`] as words.
type WakeWords = [u64; size_of::<Wakes>() / size_of::<u64>()];

impl Polls {
    /// Maps the polls of `slots` slots, and reads wake-ups from `wakers`.
    ///
    /// # Errors
    /// Where the kernel refuses the mapping.
    pub fn new(
        map: BorrowedFd<'_>,
        slots: usize,
        wakers: HashMap<MapData, u64, WakeWords>,
    ) -> io::Result<Self> {
        let array = MappedArray::new(map, slots)?;
        Ok(Self { array, wakers })
    }

    /// What is known of the polls of the call `id` in a slot, if it ended at `end_ns`; `None` for one
    /// that is not polled. Nothing is attached any more.
    pub fn ended(&self, slot: usize, id: u64, end_ns: u64) -> Option<CallPolls> {
        let words = self.array.words(slot);
        let word = |index: usize| words[index].load(Ordering::Acquire);
        let mut polls = OpenPolls {
            id: word(0),
            waker: word(1),
            begun_ns: word(2),
            ended_ns: word(3),
            polls: word(4),
            polled_ns: word(5),
            ready_ns: word(6),
        };
        if polls.id != id {
            return None;
        }
        // A waker that is forgotten is as good as one that has not woken.
        let wakes = self.wakers.get(&polls.waker, 0);
        let woken_ns = wakes.map_or(0, |words| wakes_of(words).first_since(polls.begun_ns));
        Some(polls.finish(end_ns, woken_ns))
    }
}

fn wakes_of(words: WakeWords) -> Wakes {
    let (&[polled_ns, count], at_ns) = words.split_first_chunk().expect("it has more words");
    let at_ns: [u64; WAKES] = at_ns.try_into().expect("the rest of the words");
    Wakes {
        polled_ns,
        count,
        at_ns,
    }
}

/// What was lost of which no function is known.
pub struct Losses {
    array: MappedArray<SessionLosses>,
}

impl Losses {
    /// Maps the losses.
    ///
    /// # Errors
    /// Where the kernel refuses the mapping.
    pub fn new(map: BorrowedFd<'_>) -> io::Result<Self> {
        let array = MappedArray::new(map, 1)?;
        Ok(Self { array })
    }

    /// The losses so far.
    pub fn snapshot(&self) -> SessionLosses {
        let words = self.array.words(0);
        SessionLosses {
            links: words[0].load(Ordering::Relaxed),
            panics: words[1].load(Ordering::Relaxed),
        }
    }
}

/// The totals.
pub struct Totals {
    array: MappedArray<FunctionTotals>,
    functions: usize,
    numbered: Numbered,
    exits_only: bool,
}

/// How many functions have a number. There is room for more, of libraries that may be loaded; whoever
/// gives a number writes it down before programs may count for it.
pub type Numbered = Arc<AtomicU32>;

impl Totals {
    /// Maps the totals of `functions` functions in `shards` shards. Where only ends are captured,
    /// the calls are those that ended.
    ///
    /// # Errors
    /// Where the kernel refuses the mapping.
    pub fn new(
        map: BorrowedFd<'_>,
        functions: u32,
        shards: u32,
        exits_only: bool,
    ) -> io::Result<Self> {
        let numbered = Arc::new(AtomicU32::new(functions));
        let functions = functions as usize;
        let array = MappedArray::writable(map, functions * shards as usize)?;
        Ok(Self {
            array,
            functions,
            numbered,
            exits_only,
        })
    }

    /// The same, of which only the first ones are looked at, those that are `numbered`: the others have no
    /// counts, and may be more.
    pub fn of_numbered(self, numbered: Numbered) -> Self {
        Self { numbered, ..self }
    }

    /// The counts of every function that has any, summed over the shards.
    pub fn snapshot(&self) -> Vec<FunctionCounts> {
        let numbered = self.numbered.load(Ordering::Acquire) as usize;
        (0..numbered.min(self.functions))
            .filter_map(|function| self.of(function))
            .collect()
    }

    /// How many functions there may be.
    pub fn functions(&self) -> u32 {
        self.functions as u32
    }

    /// From now on so much is recorded of a function's calls.
    pub fn record(&self, function: u32, recorded: Recorded) {
        let place = std::mem::offset_of!(FunctionTotals, recorded) / size_of::<u64>();
        for entry in (function as usize..self.array.len).step_by(self.functions) {
            self.array.words(entry)[place].store(recorded as u64, Ordering::Relaxed);
        }
    }

    fn of(&self, function: usize) -> Option<FunctionCounts> {
        let mut sum = [0_u64; size_of::<FunctionTotals>() / size_of::<u64>()];
        for entry in (function..self.array.len).step_by(self.functions) {
            for (sum, word) in sum.iter_mut().zip(self.array.words(entry)) {
                *sum = sum.wrapping_add(word.load(Ordering::Relaxed));
            }
        }
        sum[std::mem::offset_of!(FunctionTotals, recorded) / size_of::<u64>()] = 0;
        if sum.iter().all(|&count| count == 0) {
            return None;
        }
        let (counts, histogram) = sum.split_at(sum.len() - HISTOGRAM_BUCKETS);
        let &[
            calls,
            _recorded,
            err,
            panic,
            cancelled,
            lost_ring,
            lost_table,
            unmatched,
            replaced,
            lost_detail,
            lost_fields,
            only_counted,
        ] = counts
        else {
            unreachable!("FunctionTotals has twelve words before its histogram");
        };
        Some(FunctionCounts {
            function: function as u32,
            calls: if self.exits_only {
                histogram.iter().copied().fold(0, u64::wrapping_add)
            } else {
                calls
            },
            err,
            panic,
            cancelled,
            lost_ring,
            lost_table,
            unmatched,
            replaced,
            lost_detail,
            lost_fields,
            only_counted,
            histogram: histogram.try_into().expect("the rest of the array"),
        })
    }
}
