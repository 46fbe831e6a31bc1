//! What the kernel's text files say, where the crate `procfs` has no parser for it or where its parser
//! costs too much.
//!
//! `schedstat` and `status` of a thread are read for every thread and sample. `procfs` makes a map of
//! all 60 lines of a `status`, which takes 27 µs; the three lines that are needed take 1 µs.

use super::sample::{Name, Switches};

/// `schedstat` of a thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Schedstat {
    /// Nanoseconds on a CPU.
    pub cpu_ns: u64,
    /// Nanoseconds waiting for one.
    pub runqueue_ns: u64,
    /// How often it got one.
    pub turns: u64,
}

/// Reads `CPU_NS RUNQUEUE_NS TURNS`.
pub fn schedstat(text: &[u8]) -> Option<Schedstat> {
    let mut words = words(text);
    let mut next = || number(words.next()?);
    Some(Schedstat {
        cpu_ns: next()?,
        runqueue_ns: next()?,
        turns: next()?,
    })
}

/// The number behind `key` at the beginning of a line, such as `oom_kill 3` or `VmRSS:  120 kB`.
pub fn keyed(text: &[u8], key: &str) -> Option<u64> {
    number(words(value(text, key)?).next()?)
}

/// As [`keyed`], in bytes where the text counts kibibytes.
pub fn keyed_kib(text: &[u8], key: &str) -> Option<u64> {
    keyed(text, key)?.checked_mul(1024)
}

/// The rest of the line that begins with `key`.
fn value<'t>(text: &'t [u8], key: &str) -> Option<&'t [u8]> {
    let lines = text.split(|&byte| byte == b'\n');
    let mut values = lines.filter_map(|line| line.strip_prefix(key.as_bytes()));
    values.find(|rest| rest.first().is_some_and(u8::is_ascii_whitespace))
}

/// Name and switches in the `status` of a thread.
pub fn thread_status(text: &[u8]) -> Option<(Name, Switches)> {
    let name = value(text, "Name:")?.strip_prefix(b"\t")?;
    let switches = Switches {
        voluntary: keyed(text, "voluntary_ctxt_switches:")?,
        involuntary: keyed(text, "nonvoluntary_ctxt_switches:")?,
    };
    Some((Name::new(&unescaped(name)), switches))
}

/// In a `status`, a line end in the name stands as `\n` and a backslash as `\\`.
fn unescaped(name: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(name.len());
    let mut rest = name;
    loop {
        let (byte, after) = match rest {
            [b'\\', b'n', after @ ..] => (b'\n', after),
            [b'\\', b'\\', after @ ..] => (b'\\', after),
            [byte, after @ ..] => (*byte, after),
            [] => return plain,
        };
        plain.push(byte);
        rest = after;
    }
}

/// Nanoseconds for which some, and all, threads waited: the totals of a pressure file.
pub fn pressure(text: &[u8]) -> Option<(u64, Option<u64>)> {
    let total = |key| {
        let mut words = words(value(text, key)?);
        let total = words.find_map(|word| word.strip_prefix(b"total="))?;
        number(total)?.checked_mul(1_000)
    };
    // Before Linux 5.13, `cpu` has no line `full`.
    Some((total("some")?, total("full")))
}

/// A number that is all of the text, but for the line end.
pub fn single(text: &[u8]) -> Option<u64> {
    number(text.trim_ascii_end())
}

fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let words = text.split(u8::is_ascii_whitespace);
    words.filter(|word| !word.is_empty())
}

fn number(word: &[u8]) -> Option<u64> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &[u8] =
        b"Name:\ta\\nb\\\\c\nUmask:\t0022\nVmRSS:\t    1616 kB\nRssAnon:\t     112 kB\n\
        VmSwap:\t       0 kB\nvoluntary_ctxt_switches:\t12\nnonvoluntary_ctxt_switches:\t3\n";

    #[test]
    fn files_say_what_they_say() {
        let scheduled = schedstat(b"101597007 21045230 186\n").unwrap();
        assert_eq!(
            (scheduled.cpu_ns, scheduled.runqueue_ns, scheduled.turns),
            (101_597_007, 21_045_230, 186)
        );
        assert_eq!(keyed_kib(STATUS, "VmRSS:"), Some(1616 * 1024));
        assert_eq!(keyed_kib(STATUS, "VmSwap:"), Some(0));
        assert_eq!(keyed_kib(STATUS, "Rss"), None);
        assert_eq!(keyed_kib(STATUS, "VmHWM:"), None);
        let (name, switches) = thread_status(STATUS).unwrap();
        assert_eq!(name, Name::new(b"a\nb\\c"));
        assert_eq!((switches.voluntary, switches.involuntary), (12, 3));
        let events = b"low 0\nhigh 0\nmax 15\noom 2\noom_kill 1\noom_group_kill 0\n";
        assert_eq!(keyed(events, "oom_kill"), Some(1));
        assert_eq!(keyed(events, "max"), Some(15));
        let waited = b"some avg10=0.00 avg60=0.01 avg300=0.00 total=266490728\n\
            full avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
        assert_eq!(pressure(waited), Some((266_490_728_000, Some(7_000))));
        assert_eq!(pressure(&waited[..60]), Some((266_490_728_000, None)));
        assert_eq!(single(b"4096\n"), Some(4096));
        assert_eq!(single(b"max\n"), None);
    }

    #[test]
    fn a_thread_that_is_named_like_a_line_changes_nothing() {
        let text = b"Name:\tVmRSS: 7 kB\nVmRSS:\t1 kB\nvoluntary_ctxt_switches:\t1\n\
            nonvoluntary_ctxt_switches:\t2\n";
        assert_eq!(keyed_kib(text, "VmRSS:"), Some(1024));
        assert_eq!(thread_status(text).unwrap().0, Name::new(b"VmRSS: 7 kB"));
    }

    #[test]
    fn anything_else_is_nothing_and_never_panics() {
        for text in [
            &b""[..],
            b"\n",
            b" ",
            b"1",
            b"1 2",
            b"a b c",
            b"-1 2 3",
            b"1 2 99999999999999999999",
        ] {
            assert_eq!(schedstat(text), None, "{text:?}");
        }
        assert_eq!(pressure(b"some total=\n"), None);
        assert_eq!(pressure(b"some total=18446744073709551615\n"), None);
        assert_eq!(keyed_kib(b"VmRSS: 18446744073709551615 kB", "VmRSS:"), None);
        // Every file with one byte changed, and every beginning of it.
        let files = [
            STATUS,
            b"1 2 3\n",
            b"some avg10=0.00 total=1\nfull total=2\n",
            b"oom_kill 1\n",
        ];
        for file in files {
            for at in 0..file.len() {
                for value in [0, b'\n', b' ', b'\\', b'9', b'=', 0xff] {
                    let mut changed = file.to_vec();
                    changed[at] = value;
                    for text in [&changed[..], &file[..at]] {
                        let _ = (schedstat(text), thread_status(text), pressure(text));
                        let _ = (keyed(text, "VmRSS:"), keyed(text, "oom_kill"), single(text));
                    }
                }
            }
        }
    }
}
