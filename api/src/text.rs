//! Words of others that people will read: in a log, a status, an event.

use std::error::Error;
use std::fmt::{self, Write as _};

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

/// `1 call`, `2 calls`: a number with its noun, whose plural ends in s.
#[must_use]
pub fn counted<N: Copy + fmt::Display + PartialEq + From<u8>>(count: N, noun: &str) -> String {
    let s = if count == N::from(1) { "" } else { "s" };
    format!("{count} {noun}{s}")
}

/// An error with its causes, in one piece; a cause whose words another one repeats is said once.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.contains(&words) {
            let _strings_take_everything = write!(text, ": {words}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_of_a_kind_has_no_plural() {
        assert_eq!(counted(0_u64, "call"), "0 calls");
        assert_eq!(counted(1_usize, "pod"), "1 pod");
        assert_eq!(counted(2_i64, "polecat"), "2 polecats");
    }

    #[test]
    fn an_error_is_told_with_its_causes_and_none_of_them_twice() {
        #[derive(Debug)]
        struct Told(&'static str, Option<Box<Self>>);
        impl std::fmt::Display for Told {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.0)
            }
        }
        impl Error for Told {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                self.1.as_deref().map(|cause| cause as _)
            }
        }
        let refused = Told("connection refused", None);
        let connect = Told("connection refused", Some(Box::new(refused)));
        let error = Told("failed to list", Some(Box::new(connect)));
        assert_eq!(chain(&error), "failed to list: connection refused");
    }

    #[test]
    fn no_text_can_start_a_line_or_drive_a_terminal() {
        let text = "a\nb\r\u{1b}[2J\u{202e}\u{9b}\t\u{2028}é✓";
        assert_eq!(escape(text), "a\\nb\\r\\u{1b}[2J\\u{202e}\\u{9b}\\t\\u{2028}é✓");
    }
}
