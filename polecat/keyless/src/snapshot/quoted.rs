//! Paths as text: git's are bytes.

use std::fmt::Write as _;

/// A path as fast-import and people can read it: quoted as in C, with octal escapes for all that is not plain.
#[must_use]
pub fn quote(path: &[u8]) -> String {
    let mut quoted = String::with_capacity(path.len() + 2);
    quoted.push('"');
    for byte in path {
        match byte {
            b'"' | b'\\' => {
                quoted.push('\\');
                quoted.push(char::from(*byte));
            }
            b' '..=b'~' => quoted.push(char::from(*byte)),
            _ => {
                let _strings_take_everything = write!(quoted, "\\{byte:03o}");
            }
        }
    }
    quoted.push('"');
    quoted
}

/// What [`quote`] made `text` of.
#[must_use]
pub fn unquote(text: &str) -> Option<Vec<u8>> {
    let mut rest = text.strip_prefix('"')?.strip_suffix('"')?.bytes();
    let mut path = Vec::new();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            path.push(byte);
            continue;
        }
        match rest.next()? {
            plain @ (b'"' | b'\\') => path.push(plain),
            first @ b'0'..=b'3' => {
                let mut value = first - b'0';
                for _ in 0..2 {
                    let digit = rest.next().filter(|digit| (b'0'..=b'7').contains(digit))?;
                    value = value * 8 + (digit - b'0');
                }
                path.push(value);
            }
            _ => return None,
        }
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_can_be_read_back() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(unquote(&quote(&all)), Some(all));
        for broken in ["", "\"", "x", "\"\\\"", "\"\\9\"", "\"\\400\"", "\"\\01\""] {
            assert_eq!(unquote(broken), None, "{broken}");
        }
    }

    #[test]
    fn odd_bytes_are_quoted() {
        assert_eq!(quote(b"a b\n\"\\\xff\x7f"), r#""a b\012\"\\\377\177""#);
    }
}
