//! Reads the secret's archive of a `.claude` folder, and writes the one for the agent. Nothing is ever unpacked here: files
//! are only read into memory, within bounds.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Component, Path};

use flate2::read::GzDecoder;
use tar::{Archive, Builder, EntryType, Header};

use super::{Collected, Entry, MAX_BYTES, MAX_FILE, MAX_FILES, ReadSettings};

/// Folders below `.claude` whose files pass, and files that do by themselves. Never credentials, transcripts, history or
/// plugins' caches.
const FOLDERS: [&str; 5] = ["skills", "hooks", "commands", "agents", "output-styles"];
const FILES: [&str; 2] = ["settings.json", "CLAUDE.md"];

/// The deepest path.
const MAX_DEPTH: usize = 12;

/// The most entries that are looked at, those that do not pass included.
const MAX_ENTRIES: usize = 20_000;

/// The most bytes that are inflated, whatever passes.
const INFLATED: u64 = 4 * MAX_BYTES;

/// The files of `gzipped` that pass.
pub fn read(gzipped: &[u8]) -> Result<Collected, ReadSettings> {
    // The whole stream counts, so that what does not pass cannot keep the broker busy either.
    let exceeded = Cell::new(false);
    let unpack = |error| {
        if exceeded.get() {
            exceed(format!("{INFLATED} bytes inflated"))
        } else {
            ReadSettings::Unpack(error)
        }
    };
    let inflated = Bounded {
        inner: GzDecoder::new(gzipped),
        left: INFLATED,
        exceeded: &exceeded,
    };
    let mut archive = Archive::new(inflated);
    let mut collected = Collected::default();
    let mut total = 0;
    for (index, entry) in archive.entries().map_err(unpack)?.enumerate() {
        if index >= MAX_ENTRIES {
            return Err(exceed(format!("{MAX_ENTRIES} entries")));
        }
        let mut entry = entry.map_err(unpack)?;
        let kind = entry.header().entry_type();
        if matches!(kind, EntryType::Directory | EntryType::XGlobalHeader) {
            continue;
        }
        let raw = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        match passes(&raw, kind) {
            Err(why) => collected.left_out.push(format!("{:?}: {why}", short(&raw))),
            Ok(path) if collected.files.contains_key(&path) => {
                collected
                    .left_out
                    .push(format!("{path}: it stands in the archive twice"));
            }
            Ok(path) => {
                if collected.files.len() >= MAX_FILES {
                    return Err(exceed(format!("{MAX_FILES} files")));
                }
                let executable = entry.header().mode().is_ok_and(|mode| mode & 0o100 != 0);
                let mut bytes = Vec::new();
                let read = (&mut entry)
                    .take(MAX_FILE + 1)
                    .read_to_end(&mut bytes)
                    .map_err(unpack)?;
                total += u64::try_from(read).unwrap_or(u64::MAX);
                if bytes.len() as u64 > MAX_FILE {
                    return Err(exceed(format!("{MAX_FILE} bytes in {path:?}")));
                }
                if total > MAX_BYTES {
                    return Err(exceed(format!("{MAX_BYTES} bytes in all")));
                }
                collected.files.insert(path, Entry { executable, bytes });
            }
        }
        // What does not pass is told by the first, not by thousands.
        collected.left_out.truncate(100);
    }
    Ok(collected)
}

/// Ends with an error when more is read than may be, and remembers it.
struct Bounded<'a, R> {
    inner: R,
    left: u64,
    exceeded: &'a Cell<bool>,
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let left = self.left.checked_sub(u64::try_from(read).unwrap_or(u64::MAX));
        self.exceeded.set(left.is_none());
        self.left = left.ok_or_else(|| io::Error::other("it inflates to too much"))?;
        Ok(read)
    }
}

fn exceed(limit: String) -> ReadSettings {
    ReadSettings::Exceed { limit }
}

/// The path below `.claude` as it will be written, or why it is left out. The archive may have been made in that folder
/// or beside it.
fn passes(raw: &str, kind: EntryType) -> Result<String, &'static str> {
    if !matches!(kind, EntryType::Regular | EntryType::Continuous) {
        return Err("it is no regular file");
    }
    if raw.chars().any(char::is_control) || raw.contains('\\') || raw.contains('\u{fffd}') {
        return Err("its name has characters that are not allowed");
    }
    let mut names = Vec::new();
    for component in Path::new(raw).components() {
        match component {
            Component::CurDir => {}
            Component::Normal(name) => names.extend(name.to_str()),
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err("its path leads out of the folder");
            }
        }
    }
    if names.first() == Some(&".claude") {
        names.remove(0);
    }
    let allowed = match names.as_slice() {
        [file] => FILES.contains(file),
        [folder, ..] => FOLDERS.contains(folder),
        [] => false,
    };
    if !allowed {
        return Err(
            "only skills, hooks, commands, agents, output-styles, settings.json and CLAUDE.md are taken",
        );
    }
    if names.iter().any(|name| name.ends_with("credentials.json")) {
        return Err("credentials are not taken");
    }
    if names.len() > MAX_DEPTH || raw.len() > 512 {
        return Err("its path is too long");
    }
    Ok(names.join("/"))
}

fn short(raw: &str) -> String {
    raw.chars().take(120).collect()
}

/// A tar archive of `files`, the same for the same files.
pub fn write(files: &BTreeMap<String, Entry>) -> io::Result<Vec<u8>> {
    let mut builder = Builder::new(Vec::new());
    for (path, entry) in files {
        let mut header = Header::new_gnu();
        header.set_size(entry.bytes.len() as u64);
        header.set_mode(if entry.executable { 0o755 } else { 0o644 });
        header.set_cksum();
        builder.append_data(&mut header, path, entry.bytes.as_slice())?;
    }
    builder.into_inner()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    /// A header whose name is written as it is, which the library's own setters refuse.
    fn header(name: &str, kind: EntryType, size: u64) -> Header {
        let mut header = Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(0o755);
        header.set_cksum();
        header
    }

    fn gzip(tar: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(tar).unwrap();
        encoder.finish().unwrap()
    }

    fn archive(entries: &[(&str, EntryType, &[u8])]) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        for (name, kind, bytes) in entries {
            builder
                .append(&header(name, *kind, bytes.len() as u64), *bytes)
                .unwrap();
        }
        gzip(&builder.into_inner().unwrap())
    }

    fn paths(collected: &Collected) -> Vec<&str> {
        collected.files.keys().map(String::as_str).collect()
    }

    #[test]
    fn what_is_on_the_list_passes_wherever_the_archive_was_made() {
        let regular = EntryType::Regular;
        let collected = read(&archive(&[
            ("./skills/", EntryType::Directory, b""),
            ("./skills/a/SKILL.md", regular, b"a"),
            (".claude/hooks/check.sh", regular, b"b"),
            ("commands/x.md", regular, b"c"),
            ("agents/y.md", regular, b"d"),
            ("CLAUDE.md", regular, b"e"),
            ("settings.json", regular, b"{}"),
        ]))
        .unwrap();
        let expected = [
            "CLAUDE.md",
            "agents/y.md",
            "commands/x.md",
            "hooks/check.sh",
            "settings.json",
            "skills/a/SKILL.md",
        ];
        assert_eq!(paths(&collected), expected);
        assert!(collected.files["hooks/check.sh"].executable && collected.left_out.is_empty());
    }

    #[test]
    fn every_attack_is_left_out_and_said() {
        let regular = EntryType::Regular;
        let attacks = [
            ("../skills/x", regular),
            ("skills/../../x", regular),
            ("skills/../.credentials.json", regular),
            ("/etc/passwd", regular),
            ("/skills/x", regular),
            (".credentials.json", regular),
            ("skills/.credentials.json", regular),
            ("history.jsonl", regular),
            ("projects/x/session.jsonl", regular),
            ("settings.local.json", regular),
            ("skills", regular),
            ("skills/link", EntryType::Symlink),
            ("skills/hard", EntryType::Link),
            ("skills/fifo", EntryType::Fifo),
            ("skills/device", EntryType::Char),
            ("skills/block", EntryType::Block),
            ("skills/a\nb", regular),
            ("skills\\..\\x", regular),
            ("skills/1/2/3/4/5/6/7/8/9/10/11/12/13", regular),
        ];
        let mut all: Vec<(&str, EntryType, &[u8])> =
            attacks.map(|(name, kind)| (name, kind, &b""[..])).to_vec();
        all.push(("skills/good", regular, b"x"));
        all.push(("skills/good", regular, b"another"));
        let collected = read(&archive(&all)).unwrap();
        assert_eq!(paths(&collected), ["skills/good"]);
        assert_eq!(collected.files["skills/good"].bytes, b"x");
        assert_eq!(
            collected.left_out.len(),
            attacks.len() + 1,
            "{:#?}",
            collected.left_out
        );
    }

    #[test]
    fn bombs_and_crowds_are_refused() {
        let exceeds = |gzipped: &[u8]| matches!(read(gzipped), Err(ReadSettings::Exceed { .. }));
        let zeros = vec![0; 2 * 1024 * 1024];
        assert!(exceeds(&archive(&[("skills/large", EntryType::Regular, &zeros)])));
        let names: Vec<_> = (0..600).map(|number| format!("skills/{number}")).collect();
        let crowd: Vec<_> = names
            .iter()
            .map(|name| (name.as_str(), EntryType::Regular, &b"x"[..]))
            .collect();
        assert!(exceeds(&archive(&crowd)));
        let names: Vec<_> = (0..20).map(|number| format!("skills/{number}")).collect();
        let heavy: Vec<_> = names
            .iter()
            .map(|name| (name.as_str(), EntryType::Regular, &zeros[..1024 * 1024]))
            .collect();
        assert!(exceeds(&archive(&heavy)));
        let bomb = vec![0; 64 * 1024 * 1024];
        assert!(exceeds(&archive(&[("left/out", EntryType::Regular, &bomb)])));
    }

    #[test]
    fn a_damaged_archive_is_refused_and_does_not_panic() {
        let whole = archive(&[("skills/a", EntryType::Regular, &[7; 2000])]);
        for cut in [1, 10, whole.len() / 2] {
            assert!(read(&whole[..cut]).is_err(), "{cut}");
        }
        assert!(read(b"not gzip").is_err());
        assert!(read(&gzip(&[0xff; 1024])).is_err());
        let mut claims = Builder::new(Vec::new());
        let lie = header("skills/x", EntryType::Regular, u64::MAX / 2);
        claims.append(&lie, &b"x"[..]).unwrap();
        assert!(read(&gzip(&claims.into_inner().unwrap())).is_err());
    }

    #[test]
    fn what_is_written_can_be_read_again() {
        let collected = read(&archive(&[("skills/a/SKILL.md", EntryType::Regular, b"a")])).unwrap();
        let written = gzip(&write(&collected.files).unwrap());
        assert_eq!(read(&written).unwrap().files, collected.files);
    }
}
