//! Asks a person before something is sent or trusted.

use std::io::{BufRead as _, IsTerminal as _, Write as _, stderr, stdin};

/// Whether a person can be asked: both what is shown and what is typed is a terminal.
pub fn can_ask() -> bool {
    stdin().is_terminal() && stderr().is_terminal()
}

/// Whether the person says yes; no answer is no.
pub fn ask(question: &str) -> std::io::Result<bool> {
    let mut talk = stderr();
    write!(talk, "{question} [y/N] ")?;
    talk.flush()?;
    let mut answer = String::new();
    stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
