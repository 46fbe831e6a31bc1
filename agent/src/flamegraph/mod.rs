//! Flame graphs: SVG pictures that answer to the mouse, drawn by inferno.

use anyhow::{Context as _, Result};
use inferno::flamegraph::color::{MultiPalette, Palette};
use inferno::flamegraph::{self, Options};

use crate::query::flames::Flame;
use crate::report::human::printable;

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
    options.colors = Palette::Multi(MultiPalette::Rust);
    options.hash = true;
    "µs".clone_into(&mut options.count_name);
    options.factor = 1e-3;
    let mut picture = Vec::new();
    flamegraph::from_lines(&mut options, lines.iter().map(String::as_str), &mut picture)
        .context("can't draw the flame graph")?;
    Ok(picture)
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
            (path(&["app::main"]), 1_000_000),
            (
                path(&["app::main", "<[u8; 4] as app::Get>::get"]),
                3_000_000,
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
            "app::main (4,000 µs, 100.00%)",
            "&lt;[u8: 4] as app::Get&gt;::get (3,000 µs, 75.00%)",
        ] {
            assert!(picture.contains(part), "{part} is not in {picture}");
        }
        assert_eq!(picture.as_bytes(), draw(&flames(), heading()).unwrap());
    }

    #[test]
    fn hostile_names_stay_names() {
        let flames = vec![(vec!["a\u{1b}[2J\n</svg><script>x".to_owned()], 5_000)];
        let picture = String::from_utf8(draw(&flames, heading()).unwrap()).unwrap();
        assert!(!picture.contains("<script>x") && !picture.contains('\u{1b}'));
    }
}
