//! From the bytes of a ring to samples.

use exoscope_abi::sample::{FRAMES, OFF_CPU_WORDS, SampleRecord};

/// A sample as the program took it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawSample {
    /// `CLOCK_MONOTONIC` nanoseconds.
    pub at_ns: u64,
    /// Number of the call that it happened in, where that is known.
    pub call: Option<u64>,
    /// Nanoseconds for which the thread had been off the CPU; `None` for a running thread.
    pub off_ns: Option<u64>,
    /// Thread.
    pub tid: u32,
    /// Where the thread was, then the return addresses, the innermost first.
    pub stack: Vec<u64>,
}

impl RawSample {
    /// When the call was looked up, or some time before that.
    pub fn looked_up_ns(&self) -> u64 {
        self.at_ns.saturating_sub(self.off_ns.unwrap_or(0))
    }
}

/// Decodes one record; `None` where its length is not that of one.
pub fn decode(bytes: &[u8]) -> Option<RawSample> {
    let bytes: &[u8; size_of::<SampleRecord>()] = bytes.try_into().ok()?;
    // SAFETY: the length is that of the type, every field is an integer or an array of them, and
    // the read does not need alignment.
    let record = unsafe { bytes.as_ptr().cast::<SampleRecord>().read_unaligned() };
    let frames = (record.frames as usize).min(FRAMES);
    Some(RawSample {
        at_ns: record.at_ns,
        call: (record.call != 0).then_some(record.call),
        off_ns: (record.off_ns != 0).then_some(record.off_ns),
        tid: record.tid,
        stack: record.stack[..frames].to_vec(),
    })
}

/// The sample of a thread that is off the CPU at `now`, from the words of an
/// [`OffCpu`](exoscope_abi::sample::OffCpu); `None` for one that runs.
pub fn absent(tid: u32, words: &[u64; OFF_CPU_WORDS], now: u64) -> Option<RawSample> {
    let [since_ns, call, frames, stack @ ..] = words;
    let frames = usize::try_from(*frames).map_or(FRAMES, |frames| frames.min(FRAMES));
    (*since_ns != 0).then(|| RawSample {
        at_ns: now,
        call: (*call != 0).then_some(*call),
        off_ns: Some(now.saturating_sub(*since_ns).max(1)),
        tid,
        stack: stack[..frames].to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_records_are_samples_and_hostile_lengths_stay_inside() {
        let bytes = vec![0xff; size_of::<SampleRecord>()];
        assert_eq!(
            decode(&bytes).map(|sample| sample.stack.len()),
            Some(FRAMES)
        );
        assert_eq!(decode(&bytes[1..]), None);
        assert_eq!(decode(&[]), None);
    }

    #[test]
    fn a_thread_is_absent_since_it_left() {
        let mut words = [7; OFF_CPU_WORDS];
        words[2] = u64::MAX;
        let sample = absent(3, &words, 10).expect("it is absent");
        assert_eq!((sample.off_ns, sample.call), (Some(3), Some(7)));
        assert_eq!(sample.stack.len(), FRAMES);
        words[0] = 0;
        assert_eq!(absent(3, &words, 10), None);
    }
}
