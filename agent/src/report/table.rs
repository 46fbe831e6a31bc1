//! Aligned columns without borders, made to fit the terminal.

use std::io::{self, Write};

/// Spaces between two columns.
const GAP: usize = 2;
/// Characters that a column that shrinks keeps at least.
const SHORTEST: usize = 16;
/// Rows after which a table is printed as far as it goes, so that long ones need no memory.
const PRINT_AFTER: usize = 1000;

const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

/// How a column is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// To the left; names and messages, which are shortened where the terminal is narrow.
    Text,
    /// To the left, never shortened.
    Word,
    /// To the right, never shortened.
    Number,
}

/// A table that is being filled. The last column is not padded.
pub struct Table {
    columns: Vec<(&'static str, Layout)>,
    /// Characters of the widest cell so far, by column.
    widths: Vec<usize>,
    rows: Vec<Vec<String>>,
    terminal_width: Option<usize>,
    headed: bool,
}

impl Table {
    /// An empty table with these titles, for a terminal of so many characters a line.
    pub fn new(columns: &[(&'static str, Layout)], terminal_width: Option<usize>) -> Self {
        let widths = columns
            .iter()
            .map(|(title, _)| title.chars().count())
            .collect();
        Self {
            columns: columns.to_vec(),
            widths,
            rows: Vec::new(),
            terminal_width,
            headed: false,
        }
    }

    /// Adds a row, one cell a column; prints the rows so far where they have become many.
    ///
    /// # Errors
    /// Where they can't be written.
    pub fn push(&mut self, row: Vec<String>, out: &mut dyn Write) -> io::Result<()> {
        for (width, cell) in self.widths.iter_mut().zip(&row) {
            *width = (*width).max(cell.chars().count());
        }
        self.rows.push(row);
        if self.rows.len() >= PRINT_AFTER {
            self.print(out)
        } else {
            Ok(())
        }
    }

    /// Prints what has not been printed: the titles, if there is any row, and the rows.
    ///
    /// # Errors
    /// Where they can't be written.
    pub fn print(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let widths = self.fitted();
        if !self.headed && !self.rows.is_empty() {
            self.headed = true;
            let titles: Vec<String> = self
                .columns
                .iter()
                .map(|(title, _)| (*title).to_owned())
                .collect();
            writeln!(out, "{BOLD}{}{PLAIN}", self.line(&titles, &widths))?;
        }
        for row in &self.rows {
            writeln!(out, "{}", self.line(row, &widths))?;
        }
        self.rows.clear();
        Ok(())
    }

    /// The widths, with those that may shrink shortened until a line fits.
    fn fitted(&self) -> Vec<usize> {
        let mut widths = self.widths.clone();
        let Some(terminal_width) = self.terminal_width else {
            return widths;
        };
        while widths.iter().sum::<usize>() + GAP * (widths.len() - 1) > terminal_width {
            let shrinkable = (0..widths.len()).filter(|index| {
                self.columns[*index].1 == Layout::Text && widths[*index] > SHORTEST
            });
            match shrinkable.max_by_key(|index| widths[*index]) {
                Some(widest) => widths[widest] -= 1,
                None => break,
            }
        }
        widths
    }

    fn line(&self, cells: &[String], widths: &[usize]) -> String {
        let mut line = String::new();
        for (index, (cell, (_, layout))) in cells.iter().zip(&self.columns).enumerate() {
            let cell = shortened(cell, widths[index]);
            let padding = " ".repeat(widths[index] - cell.chars().count());
            if index > 0 {
                line.push_str(&" ".repeat(GAP));
            }
            match layout {
                Layout::Number => line.extend([padding, cell]),
                Layout::Text | Layout::Word => line.extend([cell, padding]),
            }
        }
        line.truncate(line.trim_end().len());
        line
    }
}

/// A text of at most `width` characters: what is too much is taken out of its middle.
fn shortened(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    let head = (width - 1) / 2;
    let tail = width - 1 - head;
    let mut short: String = text.chars().take(head).collect();
    short.push('…');
    short.extend(text.chars().skip(length - tail));
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(table: &mut Table) -> Vec<String> {
        let mut out = Vec::new();
        table.print(&mut out).unwrap();
        String::from_utf8(out)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn a_long_name_loses_its_middle_and_the_line_fits() {
        let columns = [("function", Layout::Text), ("calls", Layout::Number)];
        let mut table = Table::new(&columns, Some(30));
        let path = "crate_name::a_module::another_module::function".to_owned();
        table
            .push(vec![path, "1,234".into()], &mut io::sink())
            .unwrap();
        let lines = printed(&mut table);
        assert_eq!(lines[0], "\x1b[1mfunction                 calls\x1b[0m");
        assert_eq!(lines[1], "crate_name:…e::function  1,234");
    }

    #[test]
    fn a_long_table_is_printed_in_parts_with_one_heading() {
        let mut table = Table::new(&[("n", Layout::Number)], None);
        let mut out = Vec::new();
        for number in 0..PRINT_AFTER + 1 {
            table.push(vec![number.to_string()], &mut out).unwrap();
        }
        let early = out.iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(early, PRINT_AFTER + 1);
        assert_eq!(printed(&mut table), [PRINT_AFTER.to_string()]);
    }
}
