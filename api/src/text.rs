//! Words of others that people will read: in a log, a status, an event.

use std::fmt::Write as _;

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
#[must_use]
pub fn is_harmful(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_can_start_a_line_or_drive_a_terminal() {
        let text = "a\nb\r\u{1b}[2J\u{202e}\u{9b}\t\u{2028}é✓";
        assert_eq!(escape(text), "a\\nb\\r\\u{1b}[2J\\u{202e}\\u{9b}\\t\\u{2028}é✓");
    }
}
