//! A look at a folder by `stat` alone, far cheaper than a snapshot: whether anything changed since the last look, and how
//! much it holds. Nothing is opened but folders, no symbolic link is followed, and nothing is kept of what was seen.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

/// The most folders below each other; each takes a descriptor. A snapshot looks no deeper.
const MAX_DEPTH: usize = 200;

/// A file that changed so short a time before the look may change again without its times telling: they have the
/// resolution of the kernel's clock.
pub(super) const FRESH_SECONDS: i64 = 2;

/// What of the repository itself says that there are new commits, or work trees; an index changes with every `git status`.
const TELLING: [&[u8]; 5] = [b"HEAD", b"packed-refs", b"refs", b"logs", b"worktrees"];

/// The state of work trees and of their repositories' refs, as one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(u64);

/// The fingerprint of `roots`; none where one changed a moment ago, so that the next look must not trust it, or where
/// they could not be seen whole by `deadline`.
pub fn fingerprint<'a>(roots: impl IntoIterator<Item = &'a Path>, deadline: Instant) -> Option<Fingerprint> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let fresh = i64::try_from(now.as_secs()).ok()? - FRESH_SECONDS;
    let mut sum = 0_u64;
    for root in roots {
        let Fingerprint(each) = settled_before(root, deadline, fresh)?;
        let mut hasher = DefaultHasher::new();
        (sum, each).hash(&mut hasher);
        sum = hasher.finish();
    }
    Some(Fingerprint(sum))
}

/// The same; nothing may have changed since the second `fresh`.
fn settled_before(root: &Path, deadline: Instant, fresh: i64) -> Option<Fingerprint> {
    let (mut sum, mut settled) = (0_u64, true);
    let whole = walk(root, deadline, |place, name, stat| {
        let passed_over = match place.depth {
            // The agent's `.git` is looked at in part, those of nested repositories not at all.
            1 if place.below_git => !TELLING.contains(&name),
            0 => false,
            _ => name == b".git" || (place.below_git && name == b"index"),
        };
        if passed_over {
            return Enter::No;
        }
        let mut hasher = DefaultHasher::new();
        place.hash.hash(&mut hasher);
        name.hash(&mut hasher);
        let hash = hasher.finish();
        let is_git = place.depth == 0 && name == b".git";
        // A folder's own times change with entries that are passed over.
        let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        (stat.st_mode, stat.st_ino).hash(&mut hasher);
        if !is_folder {
            (stat.st_size, stat.st_mtime, stat.st_mtime_nsec).hash(&mut hasher);
            (stat.st_ctime, stat.st_ctime_nsec).hash(&mut hasher);
            settled &= stat.st_ctime < fresh;
        }
        // The order of a folder's entries does not count.
        sum = sum.wrapping_add(hasher.finish());
        Enter::Yes { hash, is_git }
    });
    (whole && settled).then_some(Fingerprint(sum))
}

/// The bytes on disk below `root`, as far as they were seen by `deadline`. An inode of several names counts once.
pub fn usage(root: &Path, deadline: Instant) -> u64 {
    let mut sum = 0_u64;
    walk(root, deadline, |_, _, stat| {
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
        Enter::Yes {
            hash: 0,
            is_git: false,
        }
    });
    sum
}

/// Where an entry was found.
struct Place {
    /// How many folders lie between it and the root.
    depth: usize,
    hash: u64,
    /// Whether it lies in the root's `.git`.
    below_git: bool,
}

/// Whether to look into a folder.
enum Enter {
    No,
    Yes { hash: u64, is_git: bool },
}

/// Shows every entry; says whether all of them could be seen.
fn walk(root: &Path, deadline: Instant, mut see: impl FnMut(&Place, &[u8], &Stat) -> Enter) -> bool {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(folder) = rustix::fs::open(root, flags, Mode::empty()).and_then(Dir::new) else {
        return false;
    };
    let place = Place {
        depth: 0,
        hash: 0,
        below_git: false,
    };
    let (mut stack, mut whole) = (vec![(folder, place)], true);
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
        let Enter::Yes { hash, is_git } = see(place, name, &stat) else {
            continue;
        };
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            continue;
        }
        let below = Place {
            depth: place.depth + 1,
            hash,
            below_git: is_git || place.below_git,
        };
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

    /// As if all of it had been there for long.
    fn seen(root: &Path) -> Fingerprint {
        settled_before(root, soon(), i64::MAX).unwrap()
    }

    #[test]
    fn every_change_that_a_snapshot_would_hold_tells_and_others_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in [".git/refs/heads", ".git/objects", "sub", "nested/.git"] {
            fs::create_dir_all(path(name)).unwrap();
        }
        for name in ["a", "sub/b", ".git/HEAD", ".git/index", "nested/.git/config"] {
            fs::write(path(name), "1").unwrap();
        }
        let mut last = seen(folder.path());
        let changes: [(&str, &dyn Fn()); 9] = [
            ("content", &|| fs::write(path("a"), "22").unwrap()),
            ("new file", &|| fs::write(path("sub/c"), "").unwrap()),
            ("deleted", &|| fs::remove_file(path("sub/c")).unwrap()),
            ("renamed", &|| fs::rename(path("a"), path("d")).unwrap()),
            ("moved", &|| fs::rename(path("d"), path("sub/d")).unwrap()),
            ("mode", &|| {
                use std::os::unix::fs::PermissionsExt as _;
                fs::set_permissions(path("sub/d"), fs::Permissions::from_mode(0o755)).unwrap();
            }),
            ("link", &|| symlink("sub", path("link")).unwrap()),
            ("new branch", &|| {
                fs::write(path(".git/refs/heads/x"), "1").unwrap();
            }),
            ("head", &|| fs::write(path(".git/HEAD"), "22").unwrap()),
        ];
        for (name, change) in changes {
            change();
            let now = seen(folder.path());
            assert_ne!(now, last, "{name}");
            last = now;
        }
        fs::create_dir_all(path(".git/worktrees/x")).unwrap();
        let linked = seen(folder.path());
        assert_ne!(linked, last, "linked work tree");
        last = linked;
        fs::write(path(".git/worktrees/x/index"), "22").unwrap();
        fs::write(path(".git/index"), "22").unwrap();
        fs::write(path(".git/objects/x"), "22").unwrap();
        fs::write(path("nested/.git/config"), "22").unwrap();
        assert_eq!(seen(folder.path()), last);
    }

    #[test]
    fn what_changed_a_moment_ago_is_not_trusted() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        assert!(fingerprint([root], soon()).is_some());
        fs::write(folder.path().join("a"), "1").unwrap();
        assert_eq!(fingerprint([root], soon()), None);
        assert_eq!(fingerprint([&*root.join("none")], soon()), None);
        assert_eq!(fingerprint([root], Instant::now()), None);
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
