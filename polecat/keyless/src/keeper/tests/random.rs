//! Random trees and histories, made with real git, ended in different ways and begun again: nothing that the agent did not
//! delete is deleted, and nothing that it wrote is missing from the branch, the snapshot and the list of what was left out.
//!
//! `tests/scripts/random_tree.py` is the agent; the end-to-end tests run it in pods.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use gastown_api::pod::RESUME_REF;
use gastown_api::work_order::ResumeOrder;

use super::*;
use crate::keeper::left_out::LeftOut;
use polecat_common::console::explain;

/// How many in a run of all tests; `GASTOWN_RANDOM_TREES` asks for another number, `GASTOWN_RANDOM_SEED` for one alone.
const TREES: u64 = 24;

const AGENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/scripts/random_tree.py");

/// Files of more bytes are left out.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// An upstream with a submodule, made once and copied for each tree.
fn template() -> &'static Path {
    static TEMPLATE: OnceLock<tempfile::TempDir> = OnceLock::new();
    let made = TEMPLATE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let module = folder.path().join("module");
        fs::create_dir(&module).unwrap();
        Git::at(&module)
            .run(&["init", "--quiet", "--initial-branch=main"])
            .unwrap();
        commit_file(&module, "inside", b"inside\n", "Module");
        let seed = folder.path().join("seed");
        upstream(folder.path());
        for parent in ["", "src/", "src/deep/", "docs/"] {
            for name in ["a", "b with space", "c\u{e4}.txt"] {
                let path = seed.join(format!("{parent}{name}"));
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, format!("base {parent}{name}\n")).unwrap();
            }
        }
        let git = Git::at(&seed).config("protocol.file.allow=always");
        let url = module.to_str().unwrap();
        git.run(&["submodule", "--quiet", "add", url, "module"]).unwrap();
        git.run(&["add", "--all"]).unwrap();
        commit_file(
            &seed,
            ".gitignore",
            b"ignored/\n.claude/worktrees/\n*.o\n",
            "Files",
        );
        git.run(&["push", "--quiet", "../upstream.git", "main"]).unwrap();
        folder
    });
    made.path()
}

fn fresh_pod() -> Pod {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (
        template().join("upstream.git"),
        folder.path().join("upstream.git"),
    );
    let copied = Program::new("cp").arg("-r").args([&from, &to]).status();
    assert!(copied.unwrap().success());
    let mut order = order();
    order.role.git.max_push_bytes = MAX_BYTES;
    fs::create_dir(folder.path().join("workspace")).unwrap();
    let url = to.to_str().unwrap().to_owned();
    clone_of(&url, &folder.path().join("workspace/repo"), &order);
    let store = open_store(folder.path(), &url, &order);
    Pod {
        folder,
        url,
        order,
        store,
    }
}

/// Runs the agent's program in `clone`; gives what it told.
fn tell(clone: &Path, arguments: &[&str]) -> String {
    let output = Program::new("python3")
        .arg(AGENT)
        .args(arguments)
        .current_dir(clone)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && told.ends_with("end\n"),
        "{told}\n{error}"
    );
    told
}

/// What an agent told of its work.
#[derive(Default)]
struct Journal {
    /// The newest content of each file, by work tree and path.
    written: BTreeMap<(String, String), String>,
    /// Those of them that are in commits alone.
    committed: BTreeSet<String>,
    /// Paths that it may have deleted, in any work tree.
    gone: BTreeSet<String>,
    broke: bool,
}

fn words(text: &str) -> Vec<String> {
    serde_json::Deserializer::from_str(text)
        .into_iter()
        .map(Result::unwrap)
        .collect()
}

impl Journal {
    fn of(told: &str) -> Self {
        let mut journal = Self::default();
        for line in told.lines() {
            let (what, rest) = line.split_once(' ').unwrap_or((line, ""));
            match what {
                "wrote" => {
                    let (object, place) = rest.split_once(' ').unwrap();
                    let [tree, path] = words(place).try_into().unwrap();
                    journal.written.insert((tree, path), object.to_owned());
                }
                "gone" => {
                    let [tree, path] = words(rest).try_into().unwrap();
                    journal.gone.insert(path.clone());
                    journal.written.remove(&(tree, path));
                }
                "committed" => {
                    journal.committed.insert(rest.to_owned());
                }
                "moved" => {
                    let [from, to] = words(rest).try_into().unwrap();
                    let moved = |((tree, path), object)| {
                        ((if tree == from { to.clone() } else { tree }, path), object)
                    };
                    journal.written = journal.written.into_iter().map(moved).collect();
                }
                "dropped" => journal.written.retain(|_, object| object != rest),
                "broke" => journal.broke = true,
                _ => {}
            }
        }
        journal
    }

    /// What is missing of what the agent wrote: in work trees, and in commits alone.
    fn missing(&self, found: &BTreeSet<String>) -> (Vec<String>, Vec<String>) {
        let lost = self.written.iter().filter(|(_, object)| !found.contains(*object));
        let (committed, there): (Vec<_>, Vec<_>) =
            lost.partition(|(_, object)| self.committed.contains(*object));
        let path = |((_, path), _): (&'_ (String, String), &'_ String)| path.as_str().to_owned();
        (
            there.into_iter().map(path).collect(),
            committed.into_iter().map(path).collect(),
        )
    }
}

/// One tree, from its first attempt to its last.
struct Trial {
    pod: Pod,
    told: String,
    notes: Vec<String>,
}

impl Trial {
    fn wip(&self) -> &str {
        self.pod.store.wip()
    }

    fn work(&mut self, seed: u64, clone: &Path) {
        let scratch = self.pod.folder.path().join("tmp");
        let earlier = self.pod.folder.path().join("earlier");
        fs::write(&earlier, &self.told).unwrap();
        let (seed, scratch, earlier) = (
            seed.to_string(),
            scratch.to_string_lossy(),
            earlier.to_string_lossy(),
        );
        let told = tell(clone, &["work", &seed, &scratch, "0", &earlier]);
        self.told.push_str(&told);
    }

    /// Whether something was saved, and what was left out.
    fn save(&mut self) -> (bool, LeftOut) {
        let taken = self.pod.take();
        match taken.unwrap_or_else(|error| panic!("{}: {}", explain(&error), self.told)) {
            Outcome::Saved { left_out, .. } => (true, left_out),
            Outcome::Nothing { left_out, reason } => {
                self.notes.push(reason.to_owned());
                (false, left_out)
            }
            // One without a repository that was moved is no copy that anybody knows; that is said.
            Outcome::NoClone if self.told.contains("did \"damage none\"") => {
                (false, LeftOut::no_clone(&self.pod.tree()))
            }
            Outcome::NoClone => panic!("no clone: {}", self.told),
        }
    }

    fn deliver(&mut self, clone: &Path) {
        let context = crate::run::delivery::Context {
            order: &self.pod.order,
            repository: clone,
            url: &self.pod.url,
            within: Duration::from_secs(30),
            reread: &|| (),
        };
        self.notes.push(format!("{:?}", context.deliver(true)));
    }

    /// The next attempt: nothing is left of the pod but what is on the remote.
    fn resume(&mut self, attempt: u32) -> PathBuf {
        for volume in self.pod.volumes() {
            fs::remove_dir_all(&volume).unwrap();
            fs::create_dir(&volume).unwrap();
        }
        let sha = self.pod.upstream().text(&["rev-parse", self.wip()]);
        let order = &mut self.pod.order;
        order.attempt = attempt;
        order.role.git.resume = None;
        if let Ok(sha) = sha {
            Git::at(self.pod.url.as_str())
                .run(&["update-ref", RESUME_REF, &sha])
                .unwrap();
            order.role.git.resume = Some(ResumeOrder {
                name: self.pod.store.wip().to_owned(),
                sha: sha.parse().unwrap(),
            });
        }
        crate::clone::prepare_repository(&self.pod.order, &self.pod.url, &self.pod.workspace());
        let folder = self.pod.folder.path().join(format!("keeper{attempt}"));
        self.pod.store =
            Store::open(&folder, &self.pod.url, &self.pod.order, &format!("{attempt:08}")).unwrap();
        let report = fs::read_to_string(self.pod.tree().join(".git/gastown-resumed.json"));
        self.notes.extend(report);
        self.pod.tree()
    }

    fn check(&self, seed: u64, left_out: &LeftOut) {
        let journal = Journal::of(&self.told);
        let story = || {
            let told: Vec<_> = self.told.lines().map(|line| format!("{line:.200}")).collect();
            let told = told.join("\n");
            format!("seed {seed}:\n{told}{:#?}\n{left_out:?}", self.notes)
        };
        let (mut found, mut lacking) = (BTreeSet::new(), Vec::new());
        for line in tell(&self.pod.tree(), &["look"]).lines() {
            match line.split_once(' ') {
                Some(("has", object)) => {
                    found.insert(object.to_owned());
                }
                Some(("lacks", path)) => lacking.extend(words(path)),
                _ => {}
            }
        }
        let (there, committed) = journal.missing(&found);
        // Of a repository that the agent broke nobody can say what is committed: it is said that commits are missing.
        let is_said = journal.broke && !left_out.notes.is_empty();
        // A folder that is no repository any more and was moved is found by nobody.
        let no_clone = LeftOut::no_clone(&self.pod.tree()).notes;
        assert!(
            left_out.notes.ends_with(&no_clone) || there.len() as u64 <= left_out.paths,
            "{there:?} is missing of {}",
            story()
        );
        assert!(
            is_said || committed.is_empty(),
            "the committed {committed:?} is missing of {}",
            story()
        );
        for path in lacking.iter().chain(&self.deleted_by_us()) {
            assert!(journal.gone.contains(path), "{path:?} is deleted in {}", story());
        }
    }

    /// What the commit of leftovers deletes.
    fn deleted_by_us(&self) -> Vec<String> {
        let work = self.pod.order.role.git.work_branch.full();
        let git = self.pod.upstream();
        let subject = git.text(&["log", "-1", "--format=%s", &work]).unwrap_or_default();
        if !subject.starts_with("chore: save what") {
            return Vec::new();
        }
        let parent = format!("{work}^");
        let diff = [
            "diff-tree",
            "-r",
            "-z",
            "--name-only",
            "--no-renames",
            "--diff-filter=D",
            &parent,
            &work,
        ];
        let latin = |path: &[u8]| path.iter().map(|byte| char::from(*byte)).collect();
        let paths = git.run(&diff).unwrap();
        paths
            .split(|byte| *byte == 0)
            .filter(|path| !path.is_empty())
            .map(latin)
            .collect()
    }
}

fn try_one(seed: u64) {
    let mut trial = Trial {
        pod: fresh_pod(),
        told: String::new(),
        notes: Vec::new(),
    };
    trial.pod.volumes();
    let mut clone = trial.pod.tree();
    // A keeper settles the base when it starts, long before anything is delivered.
    trial
        .pod
        .store
        .refresh(Instant::now() + Duration::from_mins(1))
        .unwrap();
    trial.work(seed, &clone);
    let end = ["saved", "saved twice", "delivered", "interrupted twice"][usize::try_from(seed % 4).unwrap()];
    trial.notes.push(end.to_owned());
    let mut left_out = match end {
        "saved twice" => {
            trial.save();
            trial.save().1
        }
        "delivered" => {
            trial.deliver(&clone);
            trial.save().1
        }
        _ => trial.save().1,
    };
    clone = trial.resume(2);
    if end == "interrupted twice" {
        trial.check(seed, &left_out);
        trial.work(seed + 1_000_000, &clone);
        let again = trial.save().1;
        left_out.paths += again.paths;
        left_out.notes.extend(again.notes);
        trial.resume(3);
    }
    trial.check(seed, &left_out);
}

#[test]
fn of_random_trees_nothing_is_lost_and_nothing_deleted() {
    let asked = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    if let Some(seed) = asked("GASTOWN_RANDOM_SEED") {
        return try_one(seed);
    }
    let count = asked("GASTOWN_RANDOM_TREES").unwrap_or(TREES);
    let (next, failed) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= count {
                        return;
                    }
                    if std::panic::catch_unwind(|| try_one(seed)).is_err() {
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner();
    assert_eq!(failed, 0, "of {count} random trees {failed} lost something");
}
