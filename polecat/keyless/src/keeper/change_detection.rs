//! Change detection by `stat` alone, far cheaper than a snapshot: whether a folder changed since the last check.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use polecat_common::stat_walk::walk;
use rustix::fs::FileType;

/// A file that changed this recently may change again without new times, because they have the resolution of the
/// kernel's clock.
pub(super) const FRESH_SECONDS: i64 = 2;

/// The files of the repository that change with new commits or work trees. Every `git status` changes the index, so it
/// is not among them.
const TELLING: [&[u8]; 5] = [b"HEAD", b"packed-refs", b"refs", b"logs", b"worktrees"];

/// The state of work trees and of their repositories' refs, as one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(u64);

/// The fingerprint of `roots`; `None` if one changed a moment ago, so that the next check must not trust it, or if not
/// all could be read by `deadline`.
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
    let whole = walk(root, deadline, Place::default(), |place, name, stat| {
        let passed_over = match place.depth {
            // Only parts of the agent's `.git` are read, and nothing of nested repositories' `.git`.
            1 if place.below_git => !TELLING.contains(&name),
            0 => false,
            _ => name == b".git" || (place.below_git && name == b"index"),
        };
        if passed_over {
            return None;
        }
        let mut hasher = DefaultHasher::new();
        place.hash.hash(&mut hasher);
        name.hash(&mut hasher);
        let hash = hasher.finish();
        let is_git = place.depth == 0 && name == b".git";
        // The folder's own times also change with entries that are skipped.
        let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        (stat.st_mode, stat.st_ino).hash(&mut hasher);
        if !is_folder {
            (stat.st_size, stat.st_mtime, stat.st_mtime_nsec).hash(&mut hasher);
            (stat.st_ctime, stat.st_ctime_nsec).hash(&mut hasher);
            settled &= stat.st_ctime < fresh;
        }
        // The order of a folder's entries does not matter.
        sum = sum.wrapping_add(hasher.finish());
        Some(Place {
            depth: place.depth + 1,
            hash,
            below_git: is_git || place.below_git,
        })
    });
    (whole && settled).then_some(Fingerprint(sum))
}

/// The folder that holds an entry.
#[derive(Default)]
struct Place {
    /// How many folders lie between it and the root.
    depth: usize,
    hash: u64,
    /// Whether it lies in the root's `.git`.
    below_git: bool,
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
}
