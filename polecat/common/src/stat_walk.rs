//! A walk through a folder by `stat` alone. Nothing is opened but folders, no symbolic link is followed, and nothing is
//! kept of what was seen.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Instant;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

/// The most folders below each other; each takes a descriptor. A snapshot looks no deeper.
const MAX_DEPTH: usize = 200;

/// The bytes on disk below `root`, as far as they were seen by `deadline`. An inode of several names counts once.
#[must_use]
pub fn usage(root: &Path, deadline: Instant) -> u64 {
    let mut sum = 0_u64;
    walk(root, deadline, (), |(), _, stat| {
        let bytes = u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512);
        let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        // The kernel's type of the count differs between machines.
        let names = usize::try_from(stat.st_nlink).unwrap_or(1).max(1);
        let names = if is_folder {
            1
        } else {
            u64::try_from(names).unwrap_or(1)
        };
        // No name of an inode can lie outside of its volume.
        sum = sum.saturating_add(bytes / names);
        Some(())
    });
    sum
}

/// Shows every entry below `root` with what `see` made of the folder that holds it (`top` of the root itself); what it
/// makes of a folder shows that folder's own entries, none passes it over. Says whether all of them could be seen.
pub fn walk<T>(
    root: &Path,
    deadline: Instant,
    top: T,
    mut see: impl FnMut(&T, &[u8], &Stat) -> Option<T>,
) -> bool {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(folder) = rustix::fs::open(root, flags, Mode::empty()).and_then(Dir::new) else {
        return false;
    };
    let (mut stack, mut whole) = (vec![(folder, top)], true);
    while let Some((folder, place)) = stack.last_mut() {
        if Instant::now() >= deadline {
            return false;
        }
        let entry = match folder.read() {
            None => {
                stack.pop();
                continue;
            }
            Some(Err(_)) => {
                whole = false;
                stack.pop();
                continue;
            }
            Some(Ok(entry)) => entry,
        };
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            continue;
        }
        let Some(stat) = look(folder, name) else { continue };
        let Some(below) = see(place, name, &stat) else {
            continue;
        };
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            continue;
        }
        match folder
            .fd()
            .and_then(|fd| open_folder(fd, name))
            .and_then(Dir::new)
        {
            Ok(opened) if stack.len() < MAX_DEPTH => stack.push((opened, below)),
            // What lies deeper, or cannot be opened, no snapshot can read either.
            Ok(_) | Err(_) => {}
        }
    }
    whole
}

/// None: it is gone, as if it had never been there.
fn look(folder: &Dir, name: &[u8]) -> Option<Stat> {
    let fd = folder.fd().ok()?;
    rustix::fs::statat(fd, name, AtFlags::SYMLINK_NOFOLLOW).ok()
}

fn open_folder(folder: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(folder.as_fd(), name, flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_mins(1)
    }

    #[test]
    fn an_inode_of_several_names_counts_once_and_a_sparse_file_by_its_blocks() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("sub")).unwrap();
        let before = usage(folder.path(), soon());
        fs::write(path("a"), vec![7; 1 << 20]).unwrap();
        let one = usage(folder.path(), soon()) - before;
        assert!((1 << 20..(1 << 20) + 65536).contains(&one), "{one}");
        fs::hard_link(path("a"), path("sub/b")).unwrap();
        assert_eq!(usage(folder.path(), soon()) - before, one);
        fs::File::create(path("sparse"))
            .unwrap()
            .set_len(1 << 40)
            .unwrap();
        symlink("/", path("link")).unwrap();
        let all = usage(folder.path(), soon()) - before;
        assert!(all < 2 << 20, "{all}");
    }
}
