//! Where two files that should be equal differ: in which entry of an archive, which value of a document, which section of a
//! program, at which byte. diffoscope says more, and can be asked about the two folders.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use flate2::read::GzDecoder;
use serde_json::Value;
use xtask_image::process::Command;

/// A file that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    name: String,
    how: String,
}

impl Difference {
    pub fn new(name: &str, how: String) -> Self {
        Self {
            name: name.to_owned(),
            how,
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.how)
    }
}

/// Compares two files.
pub fn files(name: &str, one: &Path, other: &Path) -> Result<Option<Difference>> {
    let (left, right) = (fs_err::read(one)?, fs_err::read(other)?);
    if left == right {
        return Ok(None);
    }
    let how = if left.starts_with(b"\x7fELF") && right.starts_with(b"\x7fELF") {
        program(one, other, &left, &right)
    } else {
        bytes(&left, &right)
    };
    Ok(Some(Difference::new(name, how)))
}

/// How two contents that differ do so.
fn bytes(left: &[u8], right: &[u8]) -> String {
    if let (Some(left), Some(right)) = (archive(left), archive(right)) {
        return entries(&left, &right);
    }
    if let (Ok(left), Ok(right)) = (serde_json::from_slice(left), serde_json::from_slice(right)) {
        return value("", &left, &right)
            .unwrap_or_else(|| "the same values, written in another way".to_owned());
    }
    first_byte(left, right)
}

fn first_byte(left: &[u8], right: &[u8]) -> String {
    let at = left.iter().zip(right).position(|(left, right)| left != right);
    match at {
        Some(at) => format!(
            "byte {at} of {} is {:#04x}, then {:#04x}",
            left.len(),
            left[at],
            right[at]
        ),
        None => format!("{} bytes, then {}", left.len(), right.len()),
    }
}

/// The entries of a compressed tar archive: type, mode, time and owner, and content.
fn archive(bytes: &[u8]) -> Option<BTreeMap<String, (String, Vec<u8>)>> {
    if !bytes.starts_with(b"\x1f\x8b") {
        return None;
    }
    let mut found = BTreeMap::new();
    for entry in tar::Archive::new(GzDecoder::new(bytes)).entries().ok()? {
        let mut entry = entry.ok()?;
        let header = entry.header();
        let about = format!(
            "{:?} mode {:o} time {} owner {}:{}",
            header.entry_type(),
            header.mode().ok()?,
            header.mtime().ok()?,
            header.uid().ok()?,
            header.gid().ok()?
        );
        let path = entry.path().ok()?.display().to_string();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).ok()?;
        found.insert(path, (about, content));
    }
    Some(found)
}

fn entries(
    left: &BTreeMap<String, (String, Vec<u8>)>,
    right: &BTreeMap<String, (String, Vec<u8>)>,
) -> String {
    let names = left
        .keys()
        .chain(right.keys().filter(|name| !left.contains_key(*name)));
    let differs = |name: &String| match (left.get(name), right.get(name)) {
        (Some(_), None) => Some(format!("entry {name:?} is missing then")),
        (None, _) => Some(format!("entry {name:?} is there only then")),
        (Some((one, _)), Some((other, _))) if one != other => {
            Some(format!("entry {name:?} is {one}, then {other}"))
        }
        (Some((_, one)), Some((_, other))) if one != other => {
            Some(format!("entry {name:?}: {}", first_byte(one, other)))
        }
        _ => None,
    };
    let found: Vec<_> = names.filter_map(differs).collect();
    if found.is_empty() {
        "the same entries, compressed in another way".to_owned()
    } else {
        found.join("; ")
    }
}

/// The first value that differs, by its JSON pointer.
fn value(at: &str, left: &Value, right: &Value) -> Option<String> {
    if left == right {
        return None;
    }
    let inner = match (left, right) {
        (Value::Object(left), Value::Object(right)) if left.keys().eq(right.keys()) => left
            .iter()
            .find_map(|(key, one)| value(&format!("{at}/{key}"), one, &right[key])),
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            let pairs = left.iter().zip(right).enumerate();
            pairs
                .into_iter()
                .find_map(|(index, (one, other))| value(&format!("{at}/{index}"), one, other))
        }
        _ => None,
    };
    inner.or_else(|| Some(format!("{at:?} is {left}, then {right}")))
}

/// The first section of two programs that differs.
fn program(one: &Path, other: &Path, left: &[u8], right: &[u8]) -> String {
    let found = sections(one).and_then(|left| Ok((left, sections(other)?)));
    let section = found
        .ok()
        .and_then(|(left, right)| differing_section(&left, &right));
    let section = section
        .map(|name| format!("section {name}: "))
        .unwrap_or_default();
    section + &first_byte(left, right)
}

/// The sections of a program, each with what objdump prints of its content.
fn sections(file: &Path) -> Result<BTreeMap<String, String>> {
    let text = Command::new("objdump")
        .args(["--full-contents", "--wide"])
        .arg(file)
        .text()?;
    let parts = text.split("Contents of section ").skip(1);
    parts
        .map(|part| {
            let (name, content) = part.split_once(":\n").context("objdump names no section")?;
            Ok((name.to_owned(), content.to_owned()))
        })
        .collect()
}

fn differing_section(left: &BTreeMap<String, String>, right: &BTreeMap<String, String>) -> Option<String> {
    let mut names = left.keys().chain(right.keys());
    names.find(|name| left.get(*name) != right.get(*name)).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use serde_json::json;

    fn layer(entries: &[(&str, u32, u64, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (path, mode, time, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_mode(*mode);
            header.set_mtime(*time);
            header.set_uid(0);
            header.set_gid(0);
            header.set_size(content.len() as u64);
            builder
                .append_data(&mut header, path, content.as_bytes())
                .unwrap();
        }
        builder.into_inner().unwrap().finish().unwrap()
    }

    #[test]
    fn an_entry_of_a_layer_is_named_with_what_differs() {
        let one = layer(&[("a", 0o644, 1, "x"), ("b", 0o644, 1, "same")]);
        let how = |other: &[(&str, u32, u64, &str)]| bytes(&one, &layer(other));
        assert_eq!(
            how(&[("a", 0o644, 1, "y"), ("b", 0o644, 1, "same")]),
            r#"entry "a": byte 0 of 1 is 0x78, then 0x79"#
        );
        let mode = how(&[("a", 0o600, 1, "x"), ("b", 0o644, 1, "same")]);
        assert!(
            mode.contains("mode 644 time 1") && mode.contains("mode 600"),
            "{mode}"
        );
        let time = how(&[("a", 0o644, 2, "x"), ("b", 0o644, 1, "same")]);
        assert!(time.contains("time 2"), "{time}");
        assert_eq!(
            how(&[("a", 0o644, 1, "x"), ("c", 0o644, 1, "")]),
            r#"entry "b" is missing then; entry "c" is there only then"#
        );
    }

    #[test]
    fn a_value_of_a_document_is_named_by_its_pointer() {
        let how = |one: Value, other: Value| bytes(one.to_string().as_bytes(), other.to_string().as_bytes());
        assert_eq!(
            how(json!({"a": [1, {"b": 2}]}), json!({"a": [1, {"b": 3}]})),
            r#""/a/1/b" is 2, then 3"#
        );
        assert_eq!(
            how(json!({"a": 1}), json!({"c": 1})),
            r#""" is {"a":1}, then {"c":1}"#
        );
        assert_eq!(
            bytes(b"{\"a\":1}", b"{\"a\": 1}"),
            "the same values, written in another way"
        );
    }

    #[test]
    fn a_section_of_a_program_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (folder.path().join("one"), folder.path().join("other"));
        let mut bytes = fs_err::read("/bin/true").unwrap();
        fs_err::write(&one, &bytes).unwrap();
        let text = b"GNU coreutils";
        let at = bytes
            .windows(text.len())
            .position(|window| window == text)
            .unwrap();
        bytes[at] ^= 1;
        fs_err::write(&other, &bytes).unwrap();
        let found = files("true", &one, &other).unwrap().unwrap().to_string();
        assert!(
            found.starts_with(&format!("true: section .rodata: byte {at} of ")),
            "{found}"
        );
        assert_eq!(files("true", &one, &one).unwrap(), None);
    }
}
