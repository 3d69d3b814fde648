//! Reflogs of the agent's repositories, read as the files that they are: git passes over an entry whose commit is not
//! there, and says nothing. One that is kept in another way (`reftable`) shows no entries here.

use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use gastown_api::git::Sha;
use rustix::fs::FileType;
use rustix::io::Errno;

use super::open::{RegularFile, kind_name, open_path};

/// The most bytes of a reflog that are read, its newest: about 6,000 entries.
const MAX_READ: u64 = 1 << 20;

/// An entry: what a name meant before, and what since then.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// The commit before; none where there was none.
    pub before: Option<Sha>,
    /// The commit since then.
    pub after: Option<Sha>,
    /// What was done, such as `checkout: moving from main to other`.
    pub how: String,
}

/// Why the entries of a reflog are not known.
#[derive(Debug, thiserror::Error)]
pub enum ReadReflog {
    /// It is there, and cannot be opened.
    #[error("failed to open {path:?}")]
    Open {
        /// Where, below the repository.
        path: String,
        /// What the system said.
        source: Errno,
    },
    /// Something else has its name.
    #[error("{path:?} is a {}, not a file", kind_name(*.kind))]
    FindFile {
        /// Where, below the repository.
        path: String,
        /// What it is.
        kind: FileType,
    },
    /// It cannot be read.
    #[error("failed to read {path:?}")]
    Read {
        /// Where, below the repository.
        path: String,
        /// What the system said.
        source: io::Error,
    },
}

/// The entries of the reflog of `HEAD`, `refs/stash` or `worktrees/NAME/HEAD`, the oldest first; none where there is none.
///
/// # Errors
///
/// There is one, and what it says is not known: git takes that for none, and says nothing.
pub fn entries(git_dir: &Path, name: &str) -> Result<Vec<Entry>, ReadReflog> {
    let path = match name.rsplit_once("/HEAD") {
        Some((work_tree, "")) => format!("{work_tree}/logs/HEAD"),
        _ => format!("logs/{name}"),
    };
    Ok(newest(git_dir, &path)?.lines().filter_map(parse).collect())
}

fn newest(git_dir: &Path, path: &str) -> Result<String, ReadReflog> {
    let named = || path.to_owned();
    let mut log = match open_path(git_dir, path.as_bytes()).and_then(RegularFile::of) {
        Ok(Ok(log)) => log,
        Ok(Err(kind)) => return Err(ReadReflog::FindFile { path: named(), kind }),
        Err(Errno::NOENT) => return Ok(String::new()),
        Err(source) => {
            return Err(ReadReflog::Open {
                path: named(),
                source,
            });
        }
    };
    let mut bytes = Vec::new();
    let start = SeekFrom::Start(log.size.saturating_sub(MAX_READ));
    log.file
        .seek(start)
        .and_then(|_| log.file.take(MAX_READ).read_to_end(&mut bytes))
        .map_err(|source| ReadReflog::Read {
            path: named(),
            source,
        })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// `BEFORE AFTER NAME <MAIL> SECONDS ZONE<tab>HOW` (git, refs/files-backend.c); none for the rest of a line that was cut.
fn parse(line: &str) -> Option<Entry> {
    let (who, how) = line.split_once('\t').unwrap_or((line, ""));
    let mut words = who.splitn(3, ' ');
    let mut commit = || -> Option<Option<Sha>> {
        let word = words.next()?;
        match word.parse() {
            Ok(id) => Some(Some(id)),
            Err(_) => (!word.is_empty() && word.bytes().all(|byte| byte == b'0')).then_some(None),
        }
    };
    Some(Entry {
        before: commit()?,
        after: commit()?,
        how: how.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_says_what_was_before_and_since_then_and_the_rest_of_a_line_is_none() {
        let (none, one, two) = ("0".repeat(40), "1".repeat(40), "2".repeat(40));
        let first = format!("{none} {one} A U Thor <a@b.invalid> 1796060046 +0000\tclone: from x");
        let entry = parse(&first).unwrap();
        assert_eq!((entry.before, entry.after), (None, one.parse().ok()));
        let second = format!("{one} {two} A <a@b.invalid> 1 +0000\tcheckout: moving from a to b");
        let entry = parse(&second).unwrap();
        assert_eq!((entry.before, entry.after), (one.parse().ok(), two.parse().ok()));
        assert_eq!(entry.how, "checkout: moving from a to b");
        assert_eq!(parse(&second[20..]), None);
        assert_eq!(parse(""), None);
    }
}
