//! Each test has a pod of its own: a remote, a clone in which an agent worked, and what the keeper saves of it.

mod apart;
mod content;
mod elsewhere;
mod held;
mod history;
mod hostile;
mod large;
mod occasion;
mod random;
mod repositories;
mod resume;
mod sparse;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::Command as Program;
use std::time::Instant;

use gastown_api::git::Sha;
use gastown_api::work_order::WorkOrder;

use super::context::{Context, Purpose, TakeSnapshot};
use super::end::End;
use super::save::Outcome;
use super::*;
use crate::testing::{clone_of, commit_file, order, upstream};
use polecat_common::git::Git;

/// Why nothing was saved, though nothing is lacking.
fn nothing(taken: Result<Outcome, TakeSnapshot>) -> &'static str {
    match taken.unwrap() {
        Outcome::Nothing { reason, left_out } if left_out.is_empty() => reason,
        outcome => panic!("{outcome:?}"),
    }
}

fn lacks_something(taken: Result<Outcome, TakeSnapshot>) -> bool {
    matches!(taken.unwrap(), Outcome::Saved { left_out, .. } if !left_out.is_empty())
}

const WIP: &str = "refs/gastown/wip/furiosa/01234567";

struct Pod {
    folder: tempfile::TempDir,
    url: String,
    order: WorkOrder,
    store: Store,
}

/// A pod whose base has `files` besides the upstream's own.
fn pod_with(files: &[(&str, &[u8])]) -> Pod {
    let folder = tempfile::tempdir().unwrap();
    let url = upstream(folder.path());
    let seed = folder.path().join("seed");
    for (name, content) in files {
        commit_file(&seed, name, content, name);
    }
    Git::at(&seed).run(&["push", "--quiet", &url, "main"]).unwrap();
    let order = order();
    fs::create_dir(folder.path().join("workspace")).unwrap();
    clone_of(&url, &folder.path().join("workspace/repo"), &order);
    let store = open_store(folder.path(), &url, &order);
    Pod {
        folder,
        url,
        order,
        store,
    }
}

fn pod() -> Pod {
    pod_with(&[])
}

fn open_store(folder: &Path, url: &str, order: &WorkOrder) -> Store {
    Store::open(&folder.join("keeper"), url, order, "0123456789ab").unwrap()
}

impl Pod {
    fn tree(&self) -> PathBuf {
        self.workspace().join("repo")
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.tree().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn take(&self) -> Result<Outcome, TakeSnapshot> {
        self.take_within(Duration::from_mins(1))
    }

    fn take_within(&self, time: Duration) -> Result<Outcome, TakeSnapshot> {
        let context = Context {
            order: &self.order,
            store: &self.store,
            work_tree: &self.tree(),
            volumes: &self.volumes(),
            deadline: Instant::now() + time,
            purpose: Purpose::Last,
            end: None,
            push_bytes: push_bytes(&self.order),
        };
        context.take()
    }

    /// The workspace, and scratch space beside it.
    fn volumes(&self) -> Vec<PathBuf> {
        let scratch = self.folder.path().join("tmp");
        fs::create_dir_all(&scratch).unwrap();
        vec![self.workspace(), scratch]
    }

    fn workspace(&self) -> PathBuf {
        self.folder.path().join("workspace")
    }

    /// A keeper of this pod that finds the broker on `port`.
    fn keeper(&self, port: u16) -> Keeper {
        Keeper {
            order: order(),
            store: open_store(self.folder.path(), &self.url, &self.order),
            work_tree: self.tree(),
            volumes: self.volumes(),
            push_bytes: AtomicU64::new(push_bytes(&self.order)),
            socket: self.folder.path().join("keeper.sock"),
            port,
            end: End::new(self.folder.path().join("termination-log")),
        }
    }

    fn save(&self) -> Sha {
        match self.take().unwrap() {
            Outcome::Saved { commit, .. } => commit,
            outcome => panic!("{outcome:?}"),
        }
    }

    fn upstream(&self) -> Git {
        Git::at(self.url.as_str())
    }

    /// Mode and content of every file of the WIP ref on the remote.
    fn saved(&self) -> BTreeMap<Vec<u8>, (String, Vec<u8>)> {
        let mut files = BTreeMap::new();
        let git = self.upstream();
        let mut records = Vec::new();
        git.records(&["ls-tree", "-r", "-z", WIP], 0, |record| {
            records.push(record.to_vec());
        })
        .unwrap();
        for record in records {
            let tab = record.iter().position(|byte| *byte == b'\t').unwrap();
            let head: Vec<_> = str::from_utf8(&record[..tab]).unwrap().split(' ').collect();
            let content = if head[1] == "commit" {
                Vec::new()
            } else {
                git.run(&["cat-file", "blob", head[2]]).unwrap()
            };
            files.insert(record[tab + 1..].to_vec(), (head[0].to_owned(), content));
        }
        files
    }

    /// The same of the work tree on disk, its `.git` folders and special files left out.
    fn on_disk(&self) -> BTreeMap<Vec<u8>, (String, Vec<u8>)> {
        let mut files = BTreeMap::new();
        let mut folders = vec![self.tree()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
                let path = entry.path();
                let name = path
                    .strip_prefix(self.tree())
                    .unwrap()
                    .as_os_str()
                    .as_bytes()
                    .to_vec();
                let metadata = fs::symlink_metadata(&path).unwrap();
                if metadata.is_dir() {
                    if entry.file_name() != ".git" {
                        folders.push(path);
                    }
                } else if metadata.is_symlink() {
                    let target = fs::read_link(&path).unwrap();
                    files.insert(
                        name,
                        ("120000".to_owned(), target.as_os_str().as_bytes().to_vec()),
                    );
                } else if metadata.is_file() {
                    let mode = if metadata.mode() & 0o100 == 0 {
                        "100644"
                    } else {
                        "100755"
                    };
                    files.insert(name, (mode.to_owned(), fs::read(&path).unwrap()));
                }
            }
        }
        files
    }

    fn message(&self) -> String {
        self.upstream().text(&["log", "-1", "--format=%B", WIP]).unwrap()
    }
}
