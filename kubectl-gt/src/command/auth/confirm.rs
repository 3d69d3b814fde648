//! Asks a person before something is sent or trusted.

use std::io::{BufRead as _, IsTerminal as _, Write as _, stderr, stdin};

use crate::error::CommandError;

/// A question, and what is said to whoever cannot or does not agree.
pub struct Question<'a> {
    /// What is asked.
    pub text: &'a str,
    /// Why nothing is done where there is no terminal, with the flags that answer instead.
    pub unasked: &'a str,
    /// What is left as it was, and what to do instead.
    pub declined: &'a str,
}

impl Question<'_> {
    /// Goes on if a person says yes. Without a terminal nobody can, so nothing is done; no answer is no.
    pub fn agree(&self) -> Result<(), CommandError> {
        if !(stdin().is_terminal() && stderr().is_terminal()) {
            return Err(CommandError::Usage(self.unasked.to_owned()));
        }
        match ask(self.text) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(CommandError::Refused(self.declined.to_owned())),
        }
    }
}

fn ask(question: &str) -> std::io::Result<bool> {
    let mut reporter = stderr();
    write!(reporter, "{question} [y/N] ")?;
    reporter.flush()?;
    let mut answer = String::new();
    stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
