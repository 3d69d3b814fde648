//! Random trees and histories, made with real git, interrupted and begun again: nothing that the agent did not delete is
//! deleted, and nothing that it wrote is missing.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;

use super::resume::resumed;
use super::*;

/// How many in a run of all tests; `GASTOWN_RANDOM_TREES` asks for another number.
const TREES: u64 = 24;

/// What an agent does to a work tree, and what must be found of it later.
struct Agent<'a> {
    pod: &'a Pod,
    rng: Rng,
    /// The clone, wherever it is, and the work trees linked to it.
    trees: Vec<PathBuf>,
    /// Files by path that the agent deleted in some work tree: they may be absent.
    deleted: BTreeSet<String>,
    /// The newest content of each file that the agent wrote, by work tree and path.
    written: BTreeMap<(PathBuf, String), String>,
    /// What it did, for the message of a failure.
    story: Vec<String>,
    count: u32,
}

fn files() -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for folder in ["", "src/", "src/deep/", "docs/", "docs/old/"] {
        for name in ["a", "b with space", "c\u{e4}.txt"] {
            let path = format!("{folder}{name}");
            files.push((path.clone(), format!("base {path}\n").into_bytes()));
        }
    }
    files.push((".gitignore".to_owned(), b"ignored/\n.claude/\n*.o\n".to_vec()));
    files
}

impl<'a> Agent<'a> {
    fn new(pod: &'a Pod, seed: u64) -> Self {
        Self {
            pod,
            rng: Rng::with_seed(seed),
            trees: vec![pod.tree()],
            deleted: BTreeSet::new(),
            written: BTreeMap::new(),
            story: Vec::new(),
            count: 0,
        }
    }

    fn git(tree: &Path) -> Git {
        Git::at(tree)
            .config("user.name=x")
            .config("user.email=x@x.invalid")
    }

    fn tree(&mut self) -> PathBuf {
        let at = self.rng.usize(..self.trees.len());
        self.trees[at].clone()
    }

    /// The regular files of a work tree, by path.
    fn present(tree: &Path) -> Vec<String> {
        let text = Git::at(tree)
            .text(&["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .unwrap_or_default();
        let paths = text
            .split('\0')
            .filter(|path| !path.is_empty() && !path.ends_with('/'));
        let mut paths: Vec<_> = paths
            .filter(|path| fs::symlink_metadata(tree.join(path)).is_ok_and(|found| found.is_file()))
            .filter(|path| !path.starts_with(".git"))
            .map(str::to_owned)
            .collect();
        paths.dedup();
        paths
    }

    fn write(&mut self, tree: &Path, path: &str) {
        self.count += 1;
        let content = format!("content {} of {}\r\n", self.count, self.rng.u32(..));
        let target = tree.join(path);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::write(target, &content).unwrap();
        self.written.insert((tree.to_owned(), path.to_owned()), content);
        self.deleted.remove(path);
        self.story.push(format!("write {path} in {}", tree.display()));
    }

    fn act(&mut self) {
        let tree = self.tree();
        let git = Self::git(&tree);
        let present = Self::present(&tree);
        let any = (!present.is_empty()).then(|| present[self.rng.usize(..present.len())].clone());
        match (self.rng.u8(..14), any) {
            (0..=2, Some(path)) => self.write(&tree, &path),
            (3, _) => {
                let folder = ["", "src/", "new/", "odd \u{1}name/"][self.rng.usize(..4)];
                let path = format!("{folder}n{}", self.rng.u8(..4));
                self.write(&tree, &path);
            }
            (4, Some(path)) => {
                fs::remove_file(tree.join(&path)).unwrap();
                self.written.remove(&(tree.clone(), path.clone()));
                self.story.push(format!("delete {path} in {}", tree.display()));
                self.deleted.insert(path);
            }
            (5, _) => {
                let pattern = ["src", "docs", "docs/old"][self.rng.usize(..3)];
                self.try_git(&git, &["sparse-checkout", "set", "--cone", pattern]);
            }
            (6, Some(path)) => {
                // Only what is as in a commit: otherwise the agent throws its own work away.
                let tracked = git
                    .text(&["status", "--porcelain", "--", &path])
                    .is_ok_and(|text| text.is_empty());
                if tracked && self.try_git(&git, &["update-index", "--skip-worktree", "--", &path]) {
                    fs::remove_file(tree.join(&path)).unwrap();
                }
            }
            (7, _) => {
                self.try_git(&git, &["add", "--all"]);
                self.try_git(&git, &["commit", "--quiet", "-m", "Commit"]);
            }
            (8, _) => {
                let name = format!("branch{}", self.rng.u8(..5));
                self.try_git(&git, &["checkout", "--quiet", "-b", &name]);
            }
            (9, _) => {
                let back = format!("HEAD~{}", self.rng.u8(1..4));
                self.try_git(&git, &["checkout", "--quiet", "--detach", &back]);
            }
            (10, _) if self.trees.len() < 4 => self.link(&git),
            (11, _) => {
                self.try_git(&git, &["stash", "push", "--quiet", "--include-untracked"]);
            }
            (12, _) if tree == self.pod.tree() => {
                let _none_there = fs::remove_file(tree.join(".git/index"));
                self.story.push("remove the index".to_owned());
            }
            (13, _) => self.move_clone(),
            _ => {}
        }
    }

    fn link(&mut self, git: &Git) {
        let number = self.trees.len();
        let place = match self.rng.u8(..3) {
            0 => self.pod.tree().join(format!(".claude/worktrees/w{number}")),
            1 => self.pod.folder.path().join(format!("tmp/w{number}")),
            _ => self.pod.tree().join(format!("w{number}")),
        };
        let shown = place.to_string_lossy().into_owned();
        let branch = format!("linked{number}");
        if self.try_git(git, &["worktree", "add", "--quiet", &shown, "-b", &branch]) {
            self.trees.push(place);
        }
    }

    fn move_clone(&mut self) {
        let (from, to) = (self.pod.tree(), self.pod.workspace().join("repo.old"));
        if self.trees.len() > 1 || !from.exists() || to.exists() {
            return;
        }
        fs::rename(&from, &to).unwrap();
        self.trees = vec![to.clone()];
        let written = std::mem::take(&mut self.written);
        self.written = written
            .into_iter()
            .map(|((_, path), content)| ((to.clone(), path), content))
            .collect();
        self.story.push("move the clone".to_owned());
    }

    fn try_git(&mut self, git: &Git, arguments: &[&str]) -> bool {
        let done = git.run(arguments).is_ok();
        self.story.push(format!(
            "git {} {}",
            arguments.join(" "),
            if done { "" } else { "(refused)" }
        ));
        done
    }
}

/// Every content that a later attempt finds: on disk in its work trees, or in any commit of its clone.
fn contents(clone: &Path, trees: &[PathBuf]) -> BTreeSet<Vec<u8>> {
    let mut found = BTreeSet::new();
    for tree in trees {
        let mut folders = vec![tree.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() && entry.file_name() != ".git" => folders.push(path),
                    Ok(kind) if kind.is_file() => found.extend(fs::read(path)),
                    _ => {}
                }
            }
        }
    }
    let git = Git::at(clone);
    let objects = git
        .text(&["rev-list", "--objects", "--all", "--reflog", "--no-object-names"])
        .unwrap();
    for id in objects.lines() {
        if git.text(&["cat-file", "-t", id]).is_ok_and(|kind| kind == "blob") {
            found.extend(git.run(&["cat-file", "blob", id]));
        }
    }
    found
}

fn try_one(seed: u64) {
    let base = files();
    let base: Vec<_> = base
        .iter()
        .map(|(path, content)| (path.as_str(), content.as_slice()))
        .collect();
    let pod = pod_with(&base);
    pod.volumes();
    let mut agent = Agent::new(&pod, seed);
    for _ in 0..agent.rng.u32(3..12) {
        agent.act();
    }
    let story = format!("seed {seed}: {:#?}", agent.story);
    let saved = match pod.take().unwrap_or_else(|error| panic!("{error}: {story}")) {
        Outcome::Saved { .. } => true,
        Outcome::Nothing { .. } => false,
        Outcome::NoClone => panic!("no clone: {story}"),
    };
    if !saved {
        assert!(
            agent.written.is_empty(),
            "{:?} is not saved: {story}",
            agent.written
        );
        return;
    }
    for tree in &agent.trees {
        fs::remove_dir_all(tree).unwrap_or_default();
    }
    let (again, report) = resumed(&pod, |_| ());
    let listing = Git::at(&again)
        .text(&["worktree", "list", "--porcelain"])
        .unwrap();
    let trees: Vec<_> = listing
        .lines()
        .filter_map(|line| line.strip_prefix("worktree "))
        .map(PathBuf::from)
        .collect();
    let found = contents(&again, &trees);
    for ((_, path), content) in &agent.written {
        assert!(
            found.contains(content.as_bytes()),
            "{path} ({content:?}) is missing: {story}\n{report}"
        );
    }
    let deleted = Git::at(&again).text(&["ls-files", "-z", "--deleted"]).unwrap();
    for path in deleted.split('\0').filter(|path| !path.is_empty()) {
        assert!(
            agent.deleted.contains(path),
            "{path} is deleted: {story}\n{report}"
        );
    }
}

#[test]
fn of_random_trees_nothing_is_lost_and_nothing_deleted() {
    let asked = std::env::var("GASTOWN_RANDOM_TREES")
        .ok()
        .and_then(|text| text.parse().ok());
    let next = std::sync::atomic::AtomicU64::new(0);
    let count = asked.unwrap_or(TREES);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if seed >= count {
                        return;
                    }
                    try_one(seed);
                }
            });
        }
    });
}
