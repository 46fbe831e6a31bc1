//! Flame graphs: SVG pictures that answer to the mouse, drawn by inferno.

use anyhow::{Context as _, Result};
use inferno::flamegraph::color::{BasicPalette, Palette};
use inferno::flamegraph::{self, Options};

use crate::query::flames::Flame;
use crate::report::human::printable;

/// Width of a character in heights of one: pictures are also shown where no script can fit the names
/// to the font that is there.
const CHARACTER_WIDTH: f64 = 0.62;
/// Flames narrower than so many per cent of the picture, which is half a pixel, are left out.
const NARROWEST_PERCENT: f64 = 0.05;

/// What stands above the picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heading {
    /// What is drawn.
    pub title: String,
    /// What the person should know of it.
    pub subtitle: Option<String>,
}

/// Draws flames. The same flames give the same picture, byte by byte.
///
/// # Errors
/// Where there are none.
pub fn draw(flames: &[Flame], heading: Heading) -> Result<Vec<u8>> {
    let lines: Vec<String> = flames.iter().map(line).collect();
    let mut options = Options::default();
    options.title = heading.title;
    options.subtitle = heading.subtitle;
    options.colors = Palette::Basic(BasicPalette::Hot);
    options.deterministic = true;
    options.font_width = CHARACTER_WIDTH;
    options.min_width = NARROWEST_PERCENT;
    let (unit, factor) = unit(flames);
    unit.clone_into(&mut options.count_name);
    options.factor = factor;
    let mut picture = Vec::new();
    flamegraph::from_lines(&mut options, lines.iter().map(String::as_str), &mut picture)
        .context("can't draw the flame graph")?;
    Ok(picture)
}

/// What the times are told in, and how many of it a nanosecond is.
fn unit(flames: &[Flame]) -> (&'static str, f64) {
    match total_ns(flames) {
        ns if ns < 10_000_000 => ("ns", 1.0),
        ns if ns < 10_000_000_000 => ("µs", 1e-3),
        _ => ("ms", 1e-6),
    }
}

/// Nanoseconds of all flames.
pub fn total_ns(flames: &[Flame]) -> i64 {
    let sum = |sum: i64, (_, ns): &Flame| sum.saturating_add(*ns);
    flames.iter().fold(0, sum)
}

/// A path and its nanoseconds, as tools for flame graphs take them.
fn line((path, ns): &Flame) -> String {
    let names: Vec<String> = path
        .iter()
        .map(|name| printable(name).replace(';', ":"))
        .collect();
    format!("{} {ns}", names.join(";"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flames() -> Vec<Flame> {
        let path = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        vec![
            (path(&["app::main"]), 10_000_000),
            (
                path(&["app::main", "<[u8; 4] as app::Get>::get"]),
                30_000_000,
            ),
        ]
    }

    fn heading() -> Heading {
        Heading {
            title: "app, wall time".into(),
            subtitle: Some("half of it".into()),
        }
    }

    #[test]
    fn names_and_times_are_in_the_picture() {
        let picture = String::from_utf8(draw(&flames(), heading()).unwrap()).unwrap();
        for part in [
            "app, wall time",
            "half of it",
            "app::main (40,000 µs, 100.00%)",
            "&lt;[u8: 4] as app::Get&gt;::get (30,000 µs, 75.00%)",
        ] {
            assert!(picture.contains(part), "{part} is not in {picture}");
        }
        assert_eq!(picture.as_bytes(), draw(&flames(), heading()).unwrap());
    }

    #[test]
    fn times_are_told_in_numbers_that_are_read() {
        for (ns, shown) in [
            (9_000, "a (9,000 ns, 100.00%)"),
            (9_000_000_000, "a (9,000,000 µs, 100.00%)"),
            (90_000_000_000, "a (90,000 ms, 100.00%)"),
        ] {
            let flames = [(vec!["a".to_owned()], ns)];
            let picture = String::from_utf8(draw(&flames, heading()).unwrap()).unwrap();
            assert!(picture.contains(shown), "{shown} is not in {picture}");
        }
    }

    #[test]
    fn hostile_names_stay_names() {
        let flames = vec![(vec!["a\u{1b}[2J\n</svg><script>x".to_owned()], 5_000)];
        let picture = String::from_utf8(draw(&flames, heading()).unwrap()).unwrap();
        assert!(!picture.contains("<script>x") && !picture.contains('\u{1b}'));
    }
}
