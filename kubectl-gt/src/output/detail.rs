//! One object for people: names on the left, values on the right, sections below.

use super::fold::fold;
use super::{Out, Output};
use crate::view::escape;

/// The width of names.
const NAME: usize = 16;

/// The details of one object.
#[derive(Default)]
pub struct Detail {
    lines: Vec<Line>,
}

enum Line {
    Field(String, String),
    Section(String),
    Text(String),
}

impl Detail {
    /// A field, omitted if empty.
    pub fn field(&mut self, name: &str, value: impl AsRef<str>) -> &mut Self {
        if !value.as_ref().is_empty() {
            self.lines
                .push(Line::Field(name.to_owned(), value.as_ref().to_owned()));
        }
        self
    }

    /// A headline.
    pub fn section(&mut self, name: &str) -> &mut Self {
        self.lines.push(Line::Section(name.to_owned()));
        self
    }

    /// An indented line.
    pub fn text(&mut self, text: impl Into<String>) -> &mut Self {
        self.lines.push(Line::Text(text.into()));
        self
    }

    /// Prints it.
    pub fn print(&self, out: &mut Out) -> Result<(), Output> {
        for line in &self.lines {
            match line {
                Line::Field(name, value) => field(out, name, value)?,
                Line::Section(name) => out.line(&out.style.strong(&format!("{name}:")))?,
                Line::Text(text) => {
                    for part in fold(&format!("  {}", escape(text)), out.width, 2) {
                        out.line(&part)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// A long value is folded below its beginning.
fn field(out: &mut Out, name: &str, value: &str) -> Result<(), Output> {
    let width = out.width.map(|width| width.saturating_sub(NAME));
    for (at, part) in fold(&escape(value), width, 0).iter().enumerate() {
        let label = if at == 0 {
            format!("{name}:")
        } else {
            String::new()
        };
        let label = out.style.strong(&format!("{label:<NAME$}"));
        let text = format!("{label}{}", out.style.phase(part));
        out.line(text.trim_end())?;
    }
    Ok(())
}
