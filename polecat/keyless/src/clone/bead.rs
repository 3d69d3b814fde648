//! The bead's text in `.beads/issues.jsonl` of the clone: what `bd export` writes, and what towns before 0.50 kept.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::path::Path;

use gastown_api::reason::Reason;
use gastown_api::text::counted;
use gastown_api::work_order::WorkOrder;
use rustix::fs::{FileType, Mode, OFlags};
use serde::Deserialize;
use serde_json::Value;

use polecat_common::console::say;

/// The most bytes of a line: beads' own reader takes no more.
const MAX_LINE: usize = 64 * 1024 * 1024;

/// The most bytes of each text of a bead that go into the prompt.
const MAX_TEXT: usize = 128 * 1024;

/// The most bytes of `metadata.json`, which has a dozen fields.
const MAX_METADATA: u64 = 64 * 1024;

/// The most comments that go into the prompt, the newest ones.
const MAX_COMMENTS: usize = 200;

/// What shows where the beads of a repository are that the file in the clone does not have. A database is not in the clone,
/// wherever it is: `bd` writes the file that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Nothing does.
    Unknown,
    /// `.beads/metadata.json` names Dolt.
    InDolt,
    /// `.beads/metadata.json` names another database.
    InDatabase,
    /// The upstream has Dolt's ref.
    InDoltUpstream,
}

impl Kept {
    /// What to do.
    fn remedy(self) -> String {
        let shown = match self {
            Self::Unknown => return Reason::BeadTextMissing.remedy().to_owned(),
            Self::InDolt => "in Dolt (.beads/metadata.json)",
            Self::InDatabase => "in a database (.beads/metadata.json)",
            Self::InDoltUpstream => "in Dolt (refs/dolt/data)",
        };
        format!(
            "the beads of this repository are {shown}; {}",
            Reason::BeadTextMissing.remedy()
        )
    }
}

/// Why there is no task.
#[derive(Debug, thiserror::Error)]
pub enum ReadTask {
    /// The bead is not in the repository.
    #[error("failed to find the text of bead {bead:?}: {looked}; {}", kept.remedy())]
    FindBead {
        /// The bead.
        bead: String,
        /// What was looked through.
        looked: String,
        /// Where the beads are.
        kept: Kept,
    },
    /// Neither a task nor a bead.
    #[error("failed to find a task: the polecat has neither a description nor a bead")]
    NoTask,
    /// The file breaks off.
    #[error("failed to read .beads/issues.jsonl of the clone")]
    ReadFile {
        /// What the system said.
        source: io::Error,
    },
}

/// What the prompt says of a bead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bead {
    /// Its title.
    pub title: String,
    /// Heading and text of each part that has one.
    pub sections: Vec<(&'static str, String)>,
    /// Author, time and text of each comment.
    pub comments: Vec<[String; 3]>,
}

/// A bead that was looked for, and what was seen on the way.
#[derive(Debug, Default)]
struct Search {
    bead: Option<Bead>,
    lines: u64,
    unreadable: u64,
}

/// What decides whether a line is an issue, and which one.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(rename = "_type", borrow, default)]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    status: Option<Cow<'a, str>>,
}

/// The bead of the order with its text, if it has one. A missing text is an error only where there is no task either.
pub fn of_order(order: &WorkOrder, clone: &Path) -> Result<Option<Bead>, ReadTask> {
    let Some(id) = &order.role.bead else {
        return if order.role.task.is_some() {
            Ok(None)
        } else {
            Err(ReadTask::NoTask)
        };
    };
    let (bead, looked) = look(id, clone)?;
    match bead {
        Some(bead) => Ok(Some(bead)),
        None if order.role.task.is_some() => {
            say(&format!(
                "polecat clone: the task stands alone: bead {id:?}: {looked}"
            ));
            Ok(None)
        }
        None => Err(ReadTask::FindBead {
            bead: id.clone(),
            looked,
            kept: kept(clone),
        }),
    }
}

fn kept(clone: &Path) -> Kept {
    match database(clone).as_deref() {
        Some("dolt") => Kept::InDolt,
        Some(_) => Kept::InDatabase,
        None => Kept::Unknown,
    }
}

/// What `.beads/metadata.json` of the clone calls its database, if anything. `backend` is the word of newer towns.
fn database(clone: &Path) -> Option<String> {
    let mut text = Vec::new();
    let file = open(clone, "metadata.json").ok()?;
    file.take(MAX_METADATA).read_to_end(&mut text).ok()?;
    let metadata: Value = serde_json::from_slice(&text).ok()?;
    let named = |field: &str| metadata.get(field).and_then(Value::as_str).map(str::to_owned);
    let is_dolt = metadata.get("dolt_database").is_some() || metadata.get("dolt_mode").is_some();
    is_dolt
        .then(|| "dolt".to_owned())
        .or_else(|| named("backend"))
        .or_else(|| named("database"))
}

fn look(id: &str, clone: &Path) -> Result<(Option<Bead>, String), ReadTask> {
    match open(clone, "issues.jsonl") {
        Ok(file) => {
            let search =
                search(BufReader::new(file), id, MAX_LINE).map_err(|source| ReadTask::ReadFile { source })?;
            let looked = format!(
                ".beads/issues.jsonl has {}, {} of them unreadable, and none is this bead with a text",
                counted(search.lines, "line"),
                search.unreadable
            );
            Ok((search.bead, looked))
        }
        Err(error) => Ok((None, format!(".beads/issues.jsonl of the clone: {error}"))),
    }
}

/// The repository may hold a symbolic link of that name; what lies elsewhere is not its beads.
fn open(clone: &Path, name: &str) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let root: OwnedFd = File::open(clone)?.into();
    let folder = rustix::fs::openat(&root, ".beads", flags | OFlags::DIRECTORY, Mode::empty())?;
    let file = rustix::fs::openat(&folder, name, flags, Mode::empty())?;
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode);
    if kind == FileType::RegularFile {
        Ok(file.into())
    } else {
        Err(io::Error::other("it is no regular file"))
    }
}

/// The last line about `id` counts: later lines of an export supersede earlier ones.
fn search(mut reader: impl BufRead, id: &str, max_line: usize) -> io::Result<Search> {
    let mut found = Search::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        let most = u64::try_from(max_line).unwrap_or(u64::MAX).saturating_add(1);
        if (&mut reader).take(most).read_until(b'\n', &mut line)? == 0 {
            return Ok(found);
        }
        if line.len() > max_line && line.last() != Some(&b'\n') {
            skip_line(&mut reader)?;
            line.clear();
            found.unreadable += 1;
        }
        found.lines += 1;
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match serde_json::from_slice::<Head<'_>>(&line) {
            Err(_) => found.unreadable += 1,
            Ok(head) if head.is_issue(id) => {
                found.bead = serde_json::from_slice(&line).ok().and_then(|v| parse(&v));
            }
            Ok(_) => {}
        }
    }
}

fn skip_line(reader: &mut impl BufRead) -> io::Result<()> {
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok(());
        }
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let count = end.map_or(buffer.len(), |position| position + 1);
        reader.consume(count);
        if end.is_some() {
            return Ok(());
        }
    }
}

impl Head<'_> {
    fn is_issue(&self, id: &str) -> bool {
        self.kind.as_deref().is_none_or(|kind| kind == "issue")
            && self.status.as_deref() != Some("tombstone")
            && self.id.as_deref() == Some(id)
    }
}

/// None where the bead has no text at all. Fields of another type than text are left out.
fn parse(line: &Value) -> Option<Bead> {
    let text = |value: &Value, field: &str| {
        let text = value.get(field).and_then(Value::as_str).unwrap_or_default();
        polecat_common::console::cut(text.trim(), MAX_TEXT)
    };
    let sections = [
        ("Description", "description"),
        ("Design", "design"),
        ("Acceptance criteria", "acceptance_criteria"),
        ("Notes", "notes"),
    ];
    let sections: Vec<_> = sections
        .into_iter()
        .map(|(heading, field)| (heading, text(line, field)))
        .filter(|(_, text)| !text.is_empty())
        .collect();
    let comments = line.get("comments").and_then(Value::as_array);
    let comments = comments.map_or(&[][..], |comments| {
        &comments[comments.len().saturating_sub(MAX_COMMENTS)..]
    });
    let comments: Vec<_> = comments
        .iter()
        .map(|comment| ["author", "created_at", "text"].map(|field| text(comment, field)))
        .filter(|[_, _, text]| !text.is_empty())
        .collect();
    let title = text(line, "title");
    let empty = title.is_empty() && sections.is_empty();
    (!empty).then_some(Bead {
        title,
        sections,
        comments,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(text: &[u8], id: &str) -> Search {
        search(text, id, 4096).unwrap()
    }

    #[test]
    fn all_texts_of_an_issue_are_read() {
        let line = br#"{"_type":"issue","id":"gt-a1b2","title":" Fix \u00e9 login","description":"D","design":"S","acceptance_criteria":"A","notes":"N","status":"open","comments":[{"id":1,"author":"mayor","text":"C","created_at":"2026-05-01T10:00:00Z"},{"text":""},7]}"#;
        let bead = find(line, "gt-a1b2").bead.unwrap();
        assert_eq!(bead.title, "Fix é login");
        let headings: Vec<_> = bead.sections.iter().map(|(heading, _)| *heading).collect();
        assert_eq!(
            headings,
            ["Description", "Design", "Acceptance criteria", "Notes"]
        );
        assert_eq!(
            bead.comments,
            [["mayor", "2026-05-01T10:00:00Z", "C"].map(str::to_owned)]
        );
    }

    #[test]
    fn lines_that_are_no_living_issue_are_skipped() {
        let lines: [&[u8]; 6] = [
            br#"{"_type":"memory","id":"x","title":"t"}"#,
            br#"{"id":"x","title":"t","status":"tombstone"}"#,
            br#"{"_schema":"beads-jsonl/1","title":"t"}"#,
            br#"{"id":"x","title":"  "}"#,
            br#"{"id":"x.1","title":"child"}"#,
            br#"{"title":"no id"}"#,
        ];
        for line in lines {
            assert_eq!(find(line, "x").bead, None, "{}", String::from_utf8_lossy(line));
        }
        assert!(
            find(br#"{"id":"x","title":"old form, without _type"}"#, "x")
                .bead
                .is_some()
        );
    }

    #[test]
    fn garbage_is_counted_and_passed_over() {
        let mut text =
            b"\xff\xfe\n{\n[]\n\"x\"\n{\"id\":5}\n\n{\"id\":\"x\",\"title\":\"y\",\"description\":[1]}\n"
                .to_vec();
        text.extend_from_slice(&vec![b'a'; 9000]);
        text.extend_from_slice(b"\n{\"id\":\"x\",\"title\":\"last\"}");
        let search = find(&text, "x");
        assert_eq!(search.bead.unwrap().title, "last");
        assert_eq!(search.unreadable, 5);
        assert_eq!(search.lines, 9);
    }

    #[test]
    fn a_symbolic_link_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(".beads")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join(".beads/issues.jsonl")).unwrap();
        assert!(open(folder.path(), "issues.jsonl").is_err());
        std::fs::remove_file(folder.path().join(".beads/issues.jsonl")).unwrap();
        std::fs::write(folder.path().join(".beads/issues.jsonl"), "x").unwrap();
        assert!(open(folder.path(), "issues.jsonl").is_ok());
    }

    #[test]
    fn beads_that_are_in_a_database_are_to_be_exported() {
        let folder = tempfile::tempdir().unwrap();
        let of = |metadata: &str| {
            std::fs::create_dir_all(folder.path().join(".beads")).unwrap();
            std::fs::write(folder.path().join(".beads/metadata.json"), metadata).unwrap();
            kept(folder.path())
        };
        for (metadata, shown) in [
            (r#"{"database": "dolt", "dolt_mode": "server"}"#, Kept::InDolt),
            (r#"{"backend": "dolt"}"#, Kept::InDolt),
            (r#"{"database": "beads.db", "dolt_database": "mp"}"#, Kept::InDolt),
            (r#"{"database": "beads.db"}"#, Kept::InDatabase),
            ("{}", Kept::Unknown),
            ("not json", Kept::Unknown),
            ("[]", Kept::Unknown),
            ("", Kept::Unknown),
        ] {
            assert_eq!(of(metadata), shown, "{metadata}");
        }
        std::fs::remove_file(folder.path().join(".beads/metadata.json")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join(".beads/metadata.json")).unwrap();
        assert_eq!(kept(folder.path()), Kept::Unknown);
        for kept in [Kept::InDolt, Kept::InDatabase, Kept::InDoltUpstream] {
            let words = kept.remedy();
            assert!(words.contains("`bd export"), "{words}");
            assert!(
                words.starts_with("the beads of this repository are in "),
                "{words}"
            );
        }
        assert_eq!(Kept::Unknown.remedy(), Reason::BeadTextMissing.remedy());
    }
}
