//! A large body without most of its long strings, read piece by piece: what is checked of a body are its names, and the
//! texts, images and results between them would be in memory twice, in the body and in what was parsed of it.

use std::io::{self, Read};

/// How much is kept of a string, a little more where it would be cut within a character or an escape. No name that is
/// allowed is as long.
const KEPT: usize = 256;

/// JSON whose strings are cut. What is left out of a string is not looked at, but for where it ends.
pub(super) struct Shortened<'a> {
    rest: &'a [u8],
    place: Place,
}

/// Where in the JSON the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Not in a string.
    Outside,
    /// In a string of which so much was kept.
    Inside(usize),
    /// After a backslash in a string of which so much was kept.
    Escape(usize),
    /// Before so many hexadecimal digits of an escape in a string of which so much was kept.
    Digits(usize, u8),
}

impl<'a> Shortened<'a> {
    pub(super) fn new(json: &'a [u8]) -> Self {
        Self {
            rest: json,
            place: Place::Outside,
        }
    }

    /// Skips to the end of the string, if enough of it was kept and it may be cut before the next byte.
    fn skip(&mut self) {
        let Place::Inside(kept) = self.place else { return };
        let Some(first) = self.rest.first() else { return };
        let continues = first & 0xc0 == 0x80;
        if kept < KEPT || continues || self.is_second_half() {
            return;
        }
        let mut at = 0;
        while let Some(byte) = self.rest.get(at) {
            match byte {
                b'"' => break,
                b'\\' => at += 2,
                _ => at += 1,
            }
        }
        self.rest = self.rest.get(at..).unwrap_or_default();
    }

    /// Whether a low surrogate comes next: its first half was kept and must not stand alone.
    fn is_second_half(&self) -> bool {
        matches!(
            self.rest,
            [b'\\', b'u', b'd' | b'D', b'c'..=b'f' | b'C'..=b'F', ..]
        )
    }

    fn next(&mut self) -> Option<u8> {
        self.skip();
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        self.place = match (self.place, byte) {
            (Place::Outside, b'"') => Place::Inside(0),
            (Place::Outside, _) | (Place::Inside(_), b'"') => Place::Outside,
            (Place::Inside(kept), b'\\') => Place::Escape(kept + 1),
            (Place::Escape(kept), b'u') => Place::Digits(kept + 1, 4),
            (Place::Digits(kept, left @ 2..), _) => Place::Digits(kept + 1, left - 1),
            (Place::Inside(kept) | Place::Escape(kept) | Place::Digits(kept, _), _) => {
                Place::Inside(kept + 1)
            }
        };
        Some(*byte)
    }
}

impl Read for Shortened<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut count = 0;
        for (place, byte) in buffer.iter_mut().zip(std::iter::from_fn(|| self.next())) {
            *place = byte;
            count += 1;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn short(json: &str) -> String {
        let mut text = String::new();
        Shortened::new(json.as_bytes()).read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn what_is_short_stays_as_it_is() {
        for json in [
            r#"{"a": [1, "b\"\\", true], "": "\u00e9\ud83d\ude00é"}"#,
            "[]",
            "",
            r#"{"cut": "of"#,
            r#""\"#,
        ] {
            assert_eq!(short(json), json);
        }
    }

    #[test]
    fn long_strings_are_cut_and_everything_after_them_stays() {
        let long = [
            "x".repeat(1000),
            "é".repeat(1000),
            "😀".repeat(1000),
            "\n\"\\".repeat(1000),
            "\u{1}".repeat(1000),
        ];
        for text in long {
            let value = json!({"a": text, "b": [text, {"type": "url"}], "c": 1});
            let cut = short(&value.to_string());
            let parsed: Value = serde_json::from_str(&cut).unwrap_or_else(|error| panic!("{error}: {cut}"));
            let kept = parsed["a"].as_str().unwrap();
            assert!(text.starts_with(kept) && kept.len() >= 40, "{kept:?}");
            assert_eq!(parsed["b"][1], json!({"type": "url"}));
            assert_eq!(parsed["c"], 1);
        }
        let plain = json!(["x".repeat(1000)]).to_string();
        assert_eq!(short(&plain).len(), KEPT + 4);
    }

    #[test]
    fn pairs_of_surrogates_stay_together() {
        let json = format!("[\"{}\"]", "\\ud83d\\ude00".repeat(1000));
        let parsed: Value = serde_json::from_str(&short(&json)).unwrap();
        assert!(parsed[0].as_str().unwrap().starts_with('😀'));
    }

    #[test]
    fn a_string_that_does_not_end_is_still_none() {
        let json = format!("[\"{}", "x".repeat(1000));
        assert!(serde_json::from_str::<Value>(&short(&json)).is_err());
        let json = format!("[\"{}\\", "x".repeat(1000));
        assert!(serde_json::from_str::<Value>(&short(&json)).is_err());
    }
}
