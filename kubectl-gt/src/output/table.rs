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
        if !self.begun {
            self.begun = true;
            let titles = self.titles.clone();
            let line = self.align(&titles, false);
            self.out.line(&line)?;
        }
        for row in &rows {
            let line = self.align(row, true);
            self.out.line(&line)?;
        }
        Ok(())
    }

    /// Whether nothing was printed.
    pub fn is_empty(&self) -> bool {
        !self.begun
    }

    fn align(&self, cells: &[String], styled: bool) -> String {
        let mut line = String::new();
        for (at, cell) in cells.iter().enumerate() {
            let width = self.widths.get(at).copied().unwrap_or_default();
            let padding = width.saturating_sub(cell.chars().count()) + GAP;
            let shown = if styled {
                self.out.style.phase(cell)
            } else {
                self.out.style.strong(cell)
            };
            line.push_str(&shown);
            line.extend(std::iter::repeat_n(' ', padding));
        }
        line.trim_end().to_owned()
    }
}
