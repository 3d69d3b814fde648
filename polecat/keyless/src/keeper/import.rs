//! A tree by `git fast-import`: contents go straight from the files to git, byte for byte, without any filter.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::process::{ChildStdin, Stdio};
use std::time::Instant;

use gastown_api::git::{ParseGitName, Sha};

use super::store::Store;
use crate::snapshot::quoted::quote;
use polecat_common::git::{Child, RunGit};

/// The ref that holds the last import, so that its objects are not thrown away.
const IMPORT_REF: &str = "refs/gastown/import";

/// Files up to here are read whole before git hears of their size: the agent may still be writing them.
const MAX_WHOLE: u64 = 256 * 1024;

/// How often a larger file is read again when its size changed meanwhile.
const TRIES: u32 = 3;

/// Why a tree could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ImportTree {
    /// Git failed.
    #[error("failed to import the work tree")]
    Run {
        /// What git said.
        #[from]
        source: RunGit,
    },
    /// Git's answer is no object id.
    #[error("failed to read the id of the imported tree")]
    ReadId {
        /// What is wrong with it.
        #[from]
        source: ParseGitName,
    },
}

/// How one file was imported.
#[derive(Debug, PartialEq, Eq)]
pub enum Imported {
    /// As it was.
    Whole,
    /// What stands in the tree is of no one moment, or not the whole file, and why.
    Torn(String),
    /// It could not be read and is not in the tree.
    Unreadable(String),
}

/// An import under way.
#[derive(Debug)]
pub struct Import {
    child: Child,
    stdin: BufWriter<ChildStdin>,
    /// Bytes of files so far.
    pub bytes: u64,
    /// Files and symbolic links so far.
    pub files: u64,
}

impl Import {
    /// Starts with an empty tree.
    pub fn begin(store: &Store, deadline: Instant) -> Result<Self, ImportTree> {
        let command = ["fast-import", "--quiet", "--done", "--force", "--date-format=now"];
        let mut child = store
            .git(deadline)
            .start(&command, Stdio::piped(), Stdio::piped())?;
        let Some(stdin) = child.stdin() else {
            return child
                .blame(Err(io::Error::other("it has no standard input")))
                .map_err(Into::into);
        };
        let mut import = Self {
            child,
            stdin: BufWriter::with_capacity(64 * 1024, stdin),
            bytes: 0,
            files: 0,
        };
        let head =
            format!("commit {IMPORT_REF}\nmark :1\ncommitter keeper <keeper> now\ndata 0\ndeleteall\n");
        import.write(head.as_bytes())?;
        Ok(import)
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, path: &[u8], target: &[u8]) -> Result<(), ImportTree> {
        self.entry(b"120000", path, target.len() as u64)?;
        self.write(target)?;
        self.write(b"\n")?;
        self.files += 1;
        Ok(())
    }

    /// Adds a regular file of about `size` bytes.
    pub fn file(
        &mut self,
        path: &[u8],
        executable: bool,
        size: u64,
        mut file: File,
    ) -> Result<Imported, ImportTree> {
        let mode: &[u8] = if executable { b"100755" } else { b"100644" };
        if size <= MAX_WHOLE {
            let mut content = Vec::new();
            if let Err(error) = (&mut file).take(MAX_WHOLE + 1).read_to_end(&mut content) {
                return Ok(Imported::Unreadable(error.to_string()));
            }
            if content.len() as u64 <= MAX_WHOLE {
                self.entry(mode, path, content.len() as u64)?;
                self.write(&content)?;
                self.write(b"\n")?;
                self.count(content.len() as u64);
                return Ok(Imported::Whole);
            }
        }
        self.stream(mode, path, file)
    }

    /// The size is promised before the content: a file that got shorter is filled up and read again, and the last
    /// entry of a path is the one that counts. What an earlier try put into the tree stays there.
    fn stream(
        &mut self,
        mode: &[u8],
        path: &[u8],
        mut file: impl Read + Seek,
    ) -> Result<Imported, ImportTree> {
        let (mut outcome, mut size) = match self.once(mode, path, &mut file)? {
            Ok(imported) => imported,
            Err(error) => return Ok(Imported::Unreadable(error.to_string())),
        };
        for _ in 1..TRIES {
            if outcome == Imported::Whole {
                break;
            }
            (outcome, size) = match self.once(mode, path, &mut file)? {
                Ok(imported) => imported,
                Err(error) => (torn(Some(&error)), size),
            };
        }
        self.count(size);
        Ok(outcome)
    }

    /// One try, and the size that was promised; an error: nothing was promised.
    fn once(
        &mut self,
        mode: &[u8],
        path: &[u8],
        file: &mut (impl Read + Seek),
    ) -> Result<io::Result<(Imported, u64)>, ImportTree> {
        let size = match file.seek(SeekFrom::End(0)) {
            Ok(size) => size,
            Err(error) => return Ok(Err(error)),
        };
        if let Err(error) = file.rewind() {
            return Ok(Err(error));
        }
        self.entry(mode, path, size)?;
        let (copied, broken) = self.copy(file, size)?;
        let short = size - copied;
        let filled = io::copy(&mut io::repeat(0).take(short), &mut self.stdin);
        self.child.blame(filled)?;
        self.write(b"\n")?;
        let grown = file.read(&mut [0]).unwrap_or(0) > 0;
        let outcome = if broken.is_some() || short > 0 || grown {
            torn(broken.as_ref())
        } else {
            Imported::Whole
        };
        Ok(Ok((outcome, size)))
    }

    /// Copies at most `size` bytes; gives how many there were, and why no more could be read.
    fn copy(&mut self, file: &mut impl Read, size: u64) -> Result<(u64, Option<io::Error>), ImportTree> {
        let mut buffer = [0; 16 * 1024];
        let mut copied = 0;
        while copied < size {
            let room = usize::try_from(size - copied)
                .unwrap_or(usize::MAX)
                .min(buffer.len());
            match file.read(&mut buffer[..room]) {
                Ok(0) => break,
                Ok(count) => {
                    self.write(&buffer[..count])?;
                    copied += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Ok((copied, Some(error))),
            }
        }
        Ok((copied, None))
    }

    fn entry(&mut self, mode: &[u8], path: &[u8], size: u64) -> Result<(), ImportTree> {
        let mut line = b"M ".to_vec();
        line.extend_from_slice(mode);
        line.extend_from_slice(b" inline ");
        line.extend_from_slice(quote(path).as_bytes());
        line.extend_from_slice(format!("\ndata {size}\n").as_bytes());
        self.write(&line)
    }

    fn count(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.files += 1;
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), ImportTree> {
        let written = self.stdin.write_all(bytes);
        Ok(self.child.blame(written)?)
    }

    /// Ends the import and gives its commit.
    pub fn finish(mut self) -> Result<Sha, ImportTree> {
        self.write(b"\nget-mark :1\ndone\n")?;
        let flushed = self.stdin.flush();
        self.child.blame(flushed)?;
        let mut answer = String::new();
        if let Some(stdout) = self.child.stdout() {
            let read = BufReader::new(stdout.take(256)).read_line(&mut answer);
            self.child.blame(read)?;
        }
        drop(self.stdin);
        self.child.finish()?;
        Ok(answer.trim().parse()?)
    }
}

fn torn(broken: Option<&io::Error>) -> Imported {
    Imported::Torn(match broken {
        Some(error) => format!("it is saved as far as it was read: {error}"),
        None => "it was being written; it is saved as it was read".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shorter than it says, and after so many looks gone.
    struct Fickle {
        looks: u32,
        content: io::Cursor<&'static [u8]>,
    }

    impl Read for Fickle {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.content.read(buffer)
        }
    }

    impl Seek for Fickle {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            if to != SeekFrom::End(0) {
                return self.content.seek(to);
            }
            self.looks = self
                .looks
                .checked_sub(1)
                .ok_or(io::ErrorKind::StaleNetworkFileHandle)?;
            Ok(5)
        }
    }

    #[test]
    fn what_an_earlier_try_put_into_the_tree_is_not_called_unreadable() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), "/nowhere", &crate::testing::order(), "x").unwrap();
        let deadline = Instant::now() + std::time::Duration::from_mins(1);
        let mut import = Import::begin(&store, deadline).unwrap();
        let mut add = |looks, path: &[u8]| {
            let content = io::Cursor::new(&b"abc"[..]);
            import.stream(b"100644", path, Fickle { looks, content }).unwrap()
        };
        let gone = io::Error::from(io::ErrorKind::StaleNetworkFileHandle).to_string();
        assert_eq!(add(0, b"never"), Imported::Unreadable(gone.clone()));
        let Imported::Torn(why) = add(1, b"once") else {
            panic!("it is in the tree");
        };
        assert!(why.contains("saved as far as") && why.contains(&gone), "{why}");
        assert_eq!(add(9, b"short"), torn(None));
        assert_eq!((import.files, import.bytes), (2, 10));
        let commit = import.finish().unwrap();
        let git = store.git(deadline);
        assert_eq!(
            git.text(&["ls-tree", "--name-only", commit.as_str()]).unwrap(),
            "once\nshort"
        );
        let content = git.run(&["cat-file", "blob", &format!("{commit}:once")]).unwrap();
        assert_eq!(content, b"abc\0\0");
    }
}
