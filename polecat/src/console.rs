//! Lines for `kubectl logs`. What others wrote is escaped, so that no text of an agent or a repository can look like
//! a line of ours or drive a terminal.

use std::fmt::Write as _;
use std::io::Write as _;

/// Writes one line to standard output. A reader that went away is no reason to stop working.
pub fn say(line: &str) {
    let mut stdout = std::io::stdout().lock();
    let _reader_is_gone = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

/// `text` with every character escaped that moves a terminal's cursor, colours, reorders or hides text. Line breaks
/// and tabs are escaped too.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        if is_harmful(character) {
            let _strings_take_everything = write!(safe, "{}", character.escape_default());
        } else {
            safe.push(character);
        }
    }
    safe
}

/// Control characters, line separators, and the bidirectional and invisible formatting characters of Unicode
/// (<https://trojansource.codes>).
fn is_harmful(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
        )
}

/// The first `limit` bytes of `text`, and how many were left out.
#[must_use]
pub fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let mut short = text.to_owned();
    gastown_api::evidence::truncate(&mut short, limit);
    let left_out = text.len() - short.len();
    let _strings_take_everything = write!(short, "… ({left_out} bytes more)");
    short
}

/// An error with its causes, in one line.
#[must_use]
pub fn explain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let _strings_take_everything = write!(text, ": {cause}");
        source = cause.source();
    }
    escape(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_can_start_a_line_or_drive_a_terminal() {
        let text = "a\nb\r\u{1b}[2J\u{202e}\u{9b}\t\u{2028}é✓";
        assert_eq!(escape(text), "a\\nb\\r\\u{1b}[2J\\u{202e}\\u{9b}\\t\\u{2028}é✓");
    }

    #[test]
    fn a_cut_says_what_it_left_out() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("aéb", 2), "a… (3 bytes more)");
    }
}
