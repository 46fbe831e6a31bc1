//! Figures, their bounds, and how they are printed.

use anyhow::Result;
use serde::Serialize;

/// One figure.
#[derive(Debug, Serialize)]
pub struct Figure {
    /// What it is.
    pub name: String,
    /// Its value: a median where there were rounds.
    pub value: f64,
    /// Its unit.
    pub unit: &'static str,
    /// What it is to stay below, if anything.
    pub bound: Option<f64>,
    /// Smallest and largest of the rounds.
    pub range: Option<(f64, f64)>,
}

/// All figures, by group.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    groups: Vec<(String, Vec<Figure>)>,
}

impl Report {
    /// Begins a group.
    pub fn group(&mut self, name: &str) {
        self.groups.push((name.to_owned(), Vec::new()));
    }

    /// Adds a figure to the last group.
    pub fn add(&mut self, name: &str, value: f64, unit: &'static str, bound: Option<f64>) {
        self.push(Figure {
            name: name.to_owned(),
            value,
            unit,
            bound,
            range: None,
        });
    }

    /// Adds the median of `rounds` to the last group.
    pub fn add_median(
        &mut self,
        name: &str,
        rounds: &[f64],
        unit: &'static str,
        bound: Option<f64>,
    ) {
        let least = rounds.iter().copied().reduce(f64::min);
        let most = rounds.iter().copied().reduce(f64::max);
        self.push(Figure {
            name: name.to_owned(),
            value: median(rounds.to_vec()),
            unit,
            bound,
            range: least.zip(most),
        });
    }

    fn push(&mut self, figure: Figure) {
        if let Some((_, figures)) = self.groups.last_mut() {
            figures.push(figure);
        }
    }

    /// Prints JSON.
    ///
    /// # Errors
    /// Where the figures can't be written.
    pub fn print_json(&self) -> Result<()> {
        println!("{}", serde_json::to_string_pretty(&self.groups)?);
        Ok(())
    }

    /// Prints a table for a person.
    ///
    /// # Errors
    /// None; the signature is that of [`Report::print_json`].
    pub fn print_text(&self) -> Result<()> {
        for (group, figures) in &self.groups {
            println!("\n{group}");
            for figure in figures {
                println!("  {}", figure.line());
            }
        }
        Ok(())
    }
}

impl Figure {
    fn line(&self) -> String {
        let range = self
            .range
            .map(|(least, most)| format!("{} to {}", digits(least), digits(most)))
            .unwrap_or_default();
        let bound = match self.bound {
            Some(bound) if self.value <= bound => format!("at most {}: kept", digits(bound)),
            Some(bound) => format!("at most {}: EXCEEDED", digits(bound)),
            None => String::new(),
        };
        let (name, value, unit) = (&self.name, digits(self.value), self.unit);
        format!("{name:52} {value:>10} {unit:9} {range:22} {bound}")
            .trim_end()
            .to_owned()
    }
}

/// The middle one of values; NaN where there are none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Three significant digits, without an exponent.
fn digits(value: f64) -> String {
    match value.abs() {
        small if small < 10.0 => format!("{value:.2}"),
        middle if middle < 100.0 => format!("{middle:.1}"),
        _ => format!("{value:.0}"),
    }
}
