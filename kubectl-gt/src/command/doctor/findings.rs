//! What checks found, and how it is shown.

use serde_json::{Value, json};

use crate::error::CommandError;
use crate::output::fold::fold;
use crate::output::{Format, ListPrinter, Output};
use crate::session::Session;
use crate::view::escape;

/// The columns of mark and check.
const BEFORE: usize = 23;

/// What checks found, in the order of the checks.
#[derive(Debug, Default)]
pub struct Findings {
    all: Vec<Finding>,
}

#[derive(Debug)]
struct Finding {
    check: &'static str,
    level: Level,
    what: String,
    remedy: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Good,
    Unknown,
    Careful,
    Bad,
}

impl Findings {
    /// It is as it should be.
    pub fn good(&mut self, check: &'static str, what: &str) {
        self.add(check, Level::Good, what, "");
    }

    /// It could not be looked at.
    pub fn unknown(&mut self, check: &'static str, what: &str) {
        self.add(check, Level::Unknown, what, "");
    }

    /// It may be meant so.
    pub fn careful(&mut self, check: &'static str, what: &str, remedy: &str) {
        self.add(check, Level::Careful, what, remedy);
    }

    /// It keeps something from working.
    pub fn bad(&mut self, check: &'static str, what: &str, remedy: &str) {
        self.add(check, Level::Bad, what, remedy);
    }

    fn add(&mut self, check: &'static str, level: Level, what: &str, remedy: &str) {
        self.all.push(Finding {
            check,
            level,
            what: what.to_owned(),
            remedy: remedy.to_owned(),
        });
    }

    /// Prints them all.
    pub fn print(&self, session: &mut Session, format: &Format) -> Result<(), Output> {
        if !format.is_for_people() {
            let mut printer = ListPrinter::start(&mut session.out, format);
            for finding in &self.all {
                printer.element(finding.value(), finding.check)?;
            }
            return printer.end();
        }
        for (at, finding) in self.all.iter().enumerate() {
            let style = session.out.style;
            let mark = match finding.level {
                Level::Good => style.good("ok     "),
                Level::Unknown => style.faint("unknown"),
                Level::Careful => style.careful("warning"),
                Level::Bad => style.bad("problem"),
            };
            let out = &mut session.out;
            let width = out.width.map(|width| width.saturating_sub(BEFORE));
            for (at, part) in fold(&escape(&finding.what), width, 0).iter().enumerate() {
                let before = if at == 0 {
                    format!("{mark}  {:<13} ", finding.check)
                } else {
                    " ".repeat(BEFORE)
                };
                out.line(&format!("{before}{part}"))?;
            }
            // What cures several findings stands once, after the last of them.
            let again = self
                .all
                .get(at + 1)
                .is_some_and(|next| next.remedy == finding.remedy);
            if !finding.remedy.is_empty() && !again {
                let remedy = format!("           → {}", escape(&finding.remedy));
                for part in fold(&remedy, out.width, 2) {
                    out.line(&part)?;
                }
            }
        }
        Ok(())
    }

    /// What was found, in words.
    #[cfg(test)]
    pub fn words(&self) -> Vec<&str> {
        self.all.iter().map(|finding| finding.what.as_str()).collect()
    }

    /// How bad each is.
    #[cfg(test)]
    pub fn levels(&self) -> Vec<&'static str> {
        self.all.iter().map(|finding| finding.level.name()).collect()
    }

    /// An error when something keeps work from being done.
    pub fn verdict(&self) -> Result<(), CommandError> {
        let bad = self
            .all
            .iter()
            .filter(|finding| finding.level == Level::Bad)
            .count();
        if bad == 0 {
            Ok(())
        } else {
            Err(CommandError::Findings(format!(
                "problems were found: {bad}; each is shown with its remedy"
            )))
        }
    }
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Unknown => "unknown",
            Self::Careful => "warning",
            Self::Bad => "problem",
        }
    }
}

impl Finding {
    fn value(&self) -> Value {
        json!({"check": self.check, "level": self.level.name(), "finding": self.what, "remedy": self.remedy})
    }
}
