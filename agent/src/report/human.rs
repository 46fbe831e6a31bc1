//! Numbers and texts as people read them.

const NS_PER_S: u64 = 1_000_000_000;
const NS_PER_MIN: u64 = 60 * NS_PER_S;
const NS_PER_H: u64 = 60 * NS_PER_MIN;

/// Nanoseconds with three digits and a unit: `812 ns`, `1.24 ms`, `2 min 05 s`.
pub fn duration(ns: i64) -> String {
    let ns = u64::try_from(ns).unwrap_or(0);
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..NS_PER_MIN => scaled(ns),
        NS_PER_MIN..NS_PER_H => format!(
            "{} min {:02} s",
            ns / NS_PER_MIN,
            ns % NS_PER_MIN / NS_PER_S
        ),
        _ => format!(
            "{} h {:02} min",
            grouped(ns / NS_PER_H),
            ns % NS_PER_H / NS_PER_MIN
        ),
    }
}

/// The sum of numbers that a file holds, which may be too large for one.
pub fn total(numbers: impl Iterator<Item = i64>) -> i64 {
    numbers.fold(0, i64::saturating_add)
}

/// As [`duration`]; `-` where there is none.
pub fn maybe_duration(ns: Option<i64>) -> String {
    ns.map_or_else(|| "-".to_owned(), duration)
}

/// Page faults, with those that read in words: `12`, `12 + 3 disk`; `-` where they are not known.
pub fn faults(minor: Option<i64>, major: Option<i64>) -> String {
    match (minor, major) {
        (Some(minor), None | Some(0)) => count(minor),
        (Some(minor), Some(major)) => format!("{} + {} disk", count(minor), count(major)),
        (None, _) => "-".to_owned(),
    }
}

/// Bytes that came or went, with three digits and a unit: `+1.05 MB`, `-4.10 kB`, `0`; `-` where they are
/// not known.
pub fn change(bytes: Option<i64>) -> String {
    let Some(bytes) = bytes else {
        return "-".to_owned();
    };
    let units = ["B", "kB", "MB", "GB", "TB"];
    let (mut value, mut unit) = (bytes.unsigned_abs() as f64, 0);
    while value >= 999.5 && unit + 1 < units.len() {
        (value, unit) = (value / 1000.0, unit + 1);
    }
    let digits = match value {
        _ if unit == 0 => 0,
        small if small < 9.995 => 2,
        middle if middle < 99.95 => 1,
        _ => 0,
    };
    match bytes {
        0 => "0".to_owned(),
        _ => format!(
            "{}{value:.digits$} {}",
            if bytes < 0 { '-' } else { '+' },
            units[unit]
        ),
    }
}

/// Three digits of a duration between a microsecond and a minute.
fn scaled(ns: u64) -> String {
    let units = [(1_000, "µs"), (1_000_000, "ms"), (NS_PER_S, "s")];
    for (unit, name) in units {
        let value = ns as f64 / unit as f64;
        // What rounds up to 1,000 belongs to the next unit.
        if value < 999.5 || unit == NS_PER_S {
            let digits = if value < 9.995 {
                2
            } else {
                usize::from(value < 99.95)
            };
            return format!("{value:.digits$} {name}");
        }
    }
    String::new()
}

/// A number with separators between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count from the file, with separators.
pub fn count(number: i64) -> String {
    grouped(u64::try_from(number).unwrap_or(0))
}

/// `1 call`, `2 calls`.
pub fn counted(number: i64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// A part of a whole in per cent: `0.4 %`, `37 %`.
pub fn share(part: i64, whole: i64) -> String {
    let percent = 100.0 * part as f64 / whole.max(1) as f64;
    let digits = usize::from(percent < 9.95);
    format!("{percent:.digits$} %")
}

/// Time of day in UTC of nanoseconds since 1970, to the microsecond.
pub fn time_of_day(unix_ns: i64) -> String {
    let us = unix_ns.div_euclid(1_000).rem_euclid(86_400_000_000);
    let seconds = us / 1_000_000;
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    format!(
        "{hours:02}:{minutes:02}:{:02}.{:06}",
        seconds % 60,
        us % 1_000_000
    )
}

/// A text of the target on one line, without characters that steer a terminal.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits_and_a_unit() {
        let shown = [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_000, "1.00 µs"),
            (9_994, "9.99 µs"),
            (9_996, "10.0 µs"),
            (99_960, "100 µs"),
            (999_499, "999 µs"),
            (999_500, "1.00 ms"),
            (1_240_000, "1.24 ms"),
            (999_999_999, "1.00 s"),
            (59_940_000_000, "59.9 s"),
            (125_000_000_000, "2 min 05 s"),
            (7_380_000_000_000, "2 h 03 min"),
        ];
        for (ns, text) in shown {
            assert_eq!(duration(ns), text, "{ns}");
        }
    }

    #[test]
    fn numbers_are_grouped_and_agree_with_their_noun() {
        assert_eq!(
            [0, 999, 1_000, 1_234_567].map(grouped),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(
            [share(0, 0), share(1, 250), share(2, 3)],
            ["0.0 %", "0.4 %", "67 %"]
        );
        assert_eq!(
            [0, 4096, -1_048_576, 200_000_000, 999_600].map(|bytes| change(Some(bytes))),
            ["0", "+4.10 kB", "-1.05 MB", "+200 MB", "+1.00 MB"]
        );
        assert_eq!(
            [
                faults(Some(1_200), Some(0)),
                faults(Some(0), Some(3)),
                faults(None, None)
            ],
            ["1,200", "0 + 3 disk", "-"]
        );
        assert_eq!(counted(1, "call", "calls"), "1 call");
        assert_eq!(counted(1_000, "call", "calls"), "1,000 calls");
    }

    #[test]
    fn texts_cannot_steer_the_terminal() {
        assert_eq!(printable("a\u{1b}[2J\nb ü"), "a\\u{1b}[2J\\nb ü");
        assert_eq!(time_of_day(1_700_000_000_123_456_789), "22:13:20.123456");
    }
}
