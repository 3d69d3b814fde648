//! Names that git forbids in a tree, or reads as its own configuration, in all the spellings that some file system
//! takes for them. The rules are those of git's `verify_path` and `fsck` (`path.c`, `utf8.c`, `fsck.c`) with
//! `core.protectHFS` and `core.protectNTFS`, and rather wider than narrower.

/// Whether no tree may hold `name`.
#[must_use]
pub fn is_forbidden(name: &[u8]) -> bool {
    matches!(name, b"" | b"." | b"..") || spellings(name).any(|name| matches!(&name[..], b".git" | b"git~1"))
}

/// Whether git reads files of this name as `.gitmodules`; a bad one makes a host refuse the whole push.
#[must_use]
pub fn is_modules(name: &[u8]) -> bool {
    spellings(name).any(|name| name == b".gitmodules" || is_short(&name, b"gitmod", b"gi7e"))
}

/// Whether git reads files of this name as `.gitattributes`.
#[must_use]
pub fn is_attributes(name: &[u8]) -> bool {
    spellings(name).any(|name| name == b".gitattributes" || is_short(&name, b"gitatt", b"gi7d"))
}

/// NTFS's short names: six letters or a hash of the long name, then `~` and a digit.
fn is_short(name: &[u8], letters: &[u8], hash: &[u8]) -> bool {
    name.contains(&b'~') && (name.starts_with(letters) || name.starts_with(hash))
}

/// Each part that a backslash starts, in lower case, without what HFS+ ignores, and without what NTFS cuts off.
fn spellings(name: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let folded = without_ignored(name);
    let parts: Vec<_> = folded.split(|byte| *byte == b'\\').map(cut_off).collect();
    parts.into_iter()
}

fn cut_off(part: &[u8]) -> Vec<u8> {
    let stream = part.iter().position(|byte| *byte == b':').unwrap_or(part.len());
    let mut part = part[..stream].to_vec();
    while matches!(part.last(), Some(b'.' | b' ')) {
        part.pop();
    }
    part
}

/// HFS+ ignores U+200C–200F, U+202A–202E, U+206A–206F and U+FEFF.
fn without_ignored(name: &[u8]) -> Vec<u8> {
    let mut folded = Vec::with_capacity(name.len());
    let mut rest = name;
    while let [first, tail @ ..] = rest {
        match rest {
            [0xe2, 0x80, 0x8c..=0x8f | 0xaa..=0xae, after @ ..]
            | [0xe2, 0x81, 0xaa..=0xaf, after @ ..]
            | [0xef, 0xbb, 0xbf, after @ ..] => rest = after,
            _ => {
                folded.push(first.to_ascii_lowercase());
                rest = tail;
            }
        }
    }
    folded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_the_git_folder_is_forbidden() {
        for name in [
            "",
            ".",
            "..",
            ".git",
            ".GIT",
            ".gIt ",
            ".git.",
            ".git . .",
            "git~1",
            "GIT~1",
            ".git::$INDEX_ALLOCATION",
            ".g\u{200c}it",
            "\u{feff}.git",
            ".git\u{202e}",
            "x\\.git",
            "x\\git~1",
            ".git\\hooks",
        ] {
            assert!(is_forbidden(name.as_bytes()), "{name:?}");
        }
    }

    #[test]
    fn other_names_are_not() {
        for name in [
            ".gitignore",
            ".github",
            "git",
            ".git2",
            "x.git",
            "...",
            "git~2",
            "a\\b",
            "\u{202e}x",
            "é",
        ] {
            assert!(!is_forbidden(name.as_bytes()), "{name:?}");
        }
        assert!(!is_forbidden(b"\xff\xfe"));
    }

    #[test]
    fn files_that_git_reads_are_known_by_every_spelling() {
        for name in [
            ".gitmodules",
            ".GitModules",
            ".gitmodules ",
            "gitmod~1",
            "GI7EBA~1",
            ".gitmodules:x",
        ] {
            assert!(is_modules(name.as_bytes()), "{name:?}");
        }
        for name in [".gitmodules.held", "gitmodules", "gi7eba", ".gitmodule"] {
            assert!(!is_modules(name.as_bytes()), "{name:?}");
        }
        assert!(
            is_attributes(b".gitattributes") && is_attributes(b"gitatt~1") && !is_attributes(b"attributes")
        );
    }
}
