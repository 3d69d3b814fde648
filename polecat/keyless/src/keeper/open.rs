//! Opens files of the agent: each below its own folder's descriptor, no symbolic link followed, no FIFO waited for.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Instant;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::end::Version;
use super::import::{Import, ImportTree, Imported};

/// The longest line of a `.gitattributes` that git's own check takes.
const MAX_ATTRIBUTE_LINE: usize = 2047;

/// A file that is known to be one.
pub struct RegularFile {
    /// The file.
    pub file: File,
    /// Its size.
    pub size: u64,
    /// Its state, if a later one can be told from it.
    pub version: Option<Version>,
    executable: bool,
}

impl RegularFile {
    /// The inner error: what it is instead.
    pub fn of(fd: OwnedFd) -> Result<Result<Self, FileType>, Errno> {
        let stat = rustix::fs::fstat(&fd)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind != FileType::RegularFile {
            return Ok(Err(kind));
        }
        Ok(Ok(Self {
            file: File::from(fd),
            size: u64::try_from(stat.st_size).unwrap_or(u64::MAX),
            version: Version::of(&stat),
            executable: Mode::from_raw_mode(stat.st_mode).contains(Mode::XUSR),
        }))
    }

    /// The inner error says why the file is not in the tree as it is on disk.
    pub fn import(self, path: &[u8], import: &mut Import) -> Result<Result<(), String>, ImportTree> {
        Ok(match import.file(path, self.executable, self.size, self.file)? {
            Imported::Whole => Ok(()),
            Imported::Torn(why) | Imported::Unreadable(why) => Err(why),
        })
    }
}

/// What became of files that a walk put off.
#[derive(Default)]
pub struct Late {
    /// Those that are not in the tree as they are on disk, and why.
    pub skipped: Vec<(Vec<u8>, String)>,
    /// Those that are, as they were when they were opened.
    pub whole: HashMap<Vec<u8>, Version>,
}

/// Imports files that a walk put off, each by its path below `root`.
pub fn import_late(
    root: &Path,
    paths: &[Vec<u8>],
    import: &mut Import,
    deadline: Instant,
) -> Result<Late, ImportTree> {
    let mut late = Late::default();
    for path in paths {
        let taken = if Instant::now() >= deadline {
            Err("the time was over".to_owned())
        } else {
            match open_path(root, path).and_then(RegularFile::of) {
                Ok(Ok(file)) => {
                    let version = file.version.clone();
                    let imported = file.import(path, import)?;
                    if let (Ok(()), Some(version)) = (&imported, version) {
                        late.whole.insert(path.clone(), version);
                    }
                    imported
                }
                Ok(Err(kind)) => Err(format!("it became a {}", kind_name(kind))),
                Err(Errno::NOENT) => Ok(()),
                Err(error) => Err(error.to_string()),
            }
        };
        late.skipped
            .extend(taken.err().map(|reason| (path.clone(), reason)));
    }
    Ok(late)
}

/// The state of a file, if it is one and a later state can be told from it.
#[must_use]
pub fn version(root: &Path, path: &[u8]) -> Option<Version> {
    let file = open_path(root, path).and_then(RegularFile::of).ok()?.ok()?;
    file.version
}

/// Opens a file folder by folder, so that no symbolic link on the way is followed.
pub fn open_path(root: &Path, path: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut folder = rustix::fs::open(root, flags, Mode::empty())?;
    let mut names = path.split(|byte| *byte == b'/').peekable();
    while let Some(name) = names.next() {
        if names.peek().is_none() {
            return open_below(folder.as_fd(), name, OFlags::NONBLOCK | OFlags::NOCTTY);
        }
        folder = open_below(folder.as_fd(), name, OFlags::DIRECTORY)?;
    }
    Err(Errno::NOENT)
}

/// Opens `name` in `folder` and nowhere else. Where a seccomp profile refuses `openat2`, `O_NOFOLLOW` says the same of
/// a name without a slash.
pub fn open_below(folder: BorrowedFd<'_>, name: &[u8], kind: OFlags) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | kind;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(folder.as_fd(), name, flags, Mode::empty(), resolve) {
        Err(Errno::NOSYS | Errno::PERM) => rustix::fs::openat(folder, name, flags, Mode::empty()),
        outcome => outcome,
    }
}

/// Reads without moving the position that the import starts from. A file too large to look through counts as long.
pub fn has_long_line(file: &File) -> bool {
    use std::os::unix::fs::FileExt;
    let mut content = vec![0; 256 * 1024];
    let Ok(count) = file.read_at(&mut content, 0) else {
        return true;
    };
    let longest = content[..count]
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::len)
        .max();
    count == content.len() || longest.unwrap_or(0) > MAX_ATTRIBUTE_LINE
}

/// The name of a kind of file.
pub fn kind_name(kind: FileType) -> &'static str {
    match kind {
        FileType::Fifo => "FIFO",
        FileType::Socket => "socket",
        FileType::CharacterDevice | FileType::BlockDevice => "device",
        FileType::Directory => "folder",
        FileType::Symlink => "symbolic link",
        FileType::RegularFile | FileType::Unknown => "special file",
    }
}
