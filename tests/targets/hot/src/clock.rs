//! CPU time, and its use.

use std::hint::black_box;

/// CPU time that this thread has used, in nanoseconds.
pub fn cpu_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is valid for the call to write.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Uses the CPU for so many nanoseconds, and a little more; gives how many it were.
///
/// The clock is asked seldom: it lies in the C library, which has no frame pointers, so a stack from
/// there lacks the function that called it.
#[inline(never)]
pub fn spin(ns: u64) -> u64 {
    let begin = cpu_ns();
    loop {
        for n in 0..10_000_u64 {
            black_box(n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        }
        let used = cpu_ns() - begin;
        if used >= ns {
            return used;
        }
    }
}

/// Lengths that follow no rhythm: the parts of `from..from + range` are hit alike, and no two
/// neighbours are in step with a clock.
pub fn uneven(from: u64, range: u64) -> impl Iterator<Item = u64> {
    (0_u64..).map(move |n| {
        let fraction = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        from + ((fraction * range) >> 32)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spinning_uses_what_it_says() {
        let begin = cpu_ns();
        let used = spin(2_000_000);
        assert!(used >= 2_000_000 && cpu_ns() - begin >= used);
    }

    #[test]
    fn lengths_are_spread_over_their_range() {
        let lengths: Vec<u64> = uneven(100, 50).take(1000).collect();
        let mean = lengths.iter().sum::<u64>() / 1000;
        assert!(lengths.iter().all(|length| (100..150).contains(length)));
        assert!((123..=126).contains(&mean), "{mean}");
    }
}
