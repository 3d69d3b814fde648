//! Tables with aligned columns, printed page by page: a column is as wide as what was seen so far.

use super::{Out, Output};
use crate::view::escape;

/// The space between columns; kubectl's.
const GAP: usize = 3;

/// A table that grows.
pub struct TablePrinter<'a> {
    out: &'a mut Out,
    titles: Vec<String>,
    widths: Vec<usize>,
    begun: bool,
}

impl<'a> TablePrinter<'a> {
    /// A table with these titles; they are printed with the first rows.
    pub fn start(out: &'a mut Out, titles: &[&str]) -> Self {
        let titles: Vec<_> = titles.iter().map(|title| title.to_uppercase()).collect();
        let widths = titles.iter().map(|title| title.chars().count()).collect();
        Self {
            out,
            titles,
            widths,
            begun: false,
        }
    }

    /// Prints rows; their widths count for the rows that follow.
    pub fn rows(&mut self, rows: &[Vec<String>]) -> Result<(), Output> {
        if rows.is_empty() {
            return Ok(());
        }
        let rows: Vec<Vec<String>> = rows
            .iter()
            .map(|row| row.iter().map(|cell| escape(cell)).collect())
            .collect();
        for row in &rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        // A page is written at once: a line each would wake its reader ten thousand times.
        let mut text = String::new();
        if !self.begun {
            self.begun = true;
            self.align(&mut text, &self.titles, false);
        }
        for row in &rows {
            self.align(&mut text, row, true);
        }
        self.out.text(&text)
    }

    /// Whether nothing was printed.
    pub fn is_empty(&self) -> bool {
        !self.begun
    }

    fn align(&self, text: &mut String, cells: &[String], styled: bool) {
        let start = text.len();
        for (at, cell) in cells.iter().enumerate() {
            let width = self.widths.get(at).copied().unwrap_or_default();
            let padding = width.saturating_sub(cell.chars().count()) + GAP;
            let shown = if styled {
                self.out.style.phase(cell)
            } else {
                self.out.style.strong(cell)
            };
            text.push_str(&shown);
            text.extend(std::iter::repeat_n(' ', padding));
        }
        let end = start + text[start..].trim_end().len();
        text.truncate(end);
        text.push('\n');
    }
}
