use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::Command as Program;
use std::time::Instant;

use gastown_api::git::Sha;
use gastown_api::work_order::WorkOrder;

use super::snapshot::{Context, Outcome, TakeSnapshot};
use super::*;
use crate::git::Git;
use crate::testing::{clone_of, commit_file, order, upstream};

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
    clone_of(&url, &folder.path().join("repo"), &order);
    let store = Store::open(&folder.path().join("keeper"), &url, &order, "0123456789ab").unwrap();
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

impl Pod {
    fn tree(&self) -> PathBuf {
        self.folder.path().join("repo")
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.tree().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn take(&self) -> Result<Outcome, TakeSnapshot> {
        let context = Context {
            order: &self.order,
            store: &self.store,
            work_tree: &self.tree(),
            deadline: Instant::now() + Duration::from_mins(1),
        };
        context.take()
    }

    fn save(&self) -> Sha {
        match self.take().unwrap() {
            Outcome::Saved { commit, .. } => commit,
            Outcome::Nothing(reason) => panic!("nothing to save: {reason}"),
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

#[test]
fn a_work_tree_is_saved_byte_for_byte() {
    let pod = pod();
    fs::remove_file(pod.tree().join("README")).unwrap();
    pod.write("binary", [0, 255, 10, 13, 0, 7]);
    pod.write("empty", "");
    pod.write("windows.txt", "a\r\nb\r\n");
    pod.write("ident.txt", "$Id$\n");
    pod.write(
        ".gitattributes",
        "* text=auto eol=lf ident filter=evil working-tree-encoding=UTF-16\n",
    );
    pod.write("run.sh", "#!/bin/sh\n");
    fs::set_permissions(pod.tree().join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("calculator.py", pod.tree().join("link")).unwrap();
    symlink("/nowhere/at\nall", pod.tree().join("dangling")).unwrap();
    symlink("/etc", pod.tree().join("folder-link")).unwrap();
    fs::write(pod.tree().join(path_of(b"odd \xff\n\"\\\x01name")), "odd").unwrap();
    pod.write(":(exclude)magic", "x");
    pod.write("-rf", "x");
    pod.write("deep/er/and/deeper", "x");
    pod.write("large", vec![7; 700_000]);
    fs::create_dir(pod.tree().join("nothing")).unwrap();
    for nested in ["nested", "nested-empty"] {
        let path = pod.tree().join(nested);
        fs::create_dir(&path).unwrap();
        Git::at(&path).run(&["init", "--quiet"]).unwrap();
    }
    commit_file(&pod.tree().join("nested"), "inside", b"in\n", "Nested");
    assert!(
        Program::new("mkfifo")
            .arg(pod.tree().join("fifo"))
            .status()
            .unwrap()
            .success()
    );
    let _socket = std::os::unix::net::UnixListener::bind(pod.tree().join("socket")).unwrap();
    pod.save();
    assert_eq!(pod.saved(), pod.on_disk());
    assert_eq!(pod.saved().len(), 16);
    let message = pod.message();
    for skipped in [
        "\"fifo\": it is a FIFO",
        "\"socket\": it is a socket",
        "\"nested/.git\": git forbids the name",
    ] {
        assert!(message.contains(skipped), "{message}");
    }
}

#[test]
fn nothing_of_the_agents_configuration_runs() {
    let pod = pod();
    let trap = pod.folder.path().join("trap");
    let spring = format!("touch {}; cat", trap.display());
    let git = Git::at(pod.tree());
    for key in [
        "core.fsmonitor",
        "filter.evil.clean",
        "filter.evil.process",
        "diff.external",
        "core.sshCommand",
        "core.pager",
    ] {
        git.run(&["config", key, &spring]).unwrap();
    }
    pod.write(".gitattributes", "* filter=evil diff=evil\n");
    commit_with_hook(&pod, &spring);
    pod.write("new", "x");
    pod.save();
    assert!(!trap.exists());
    assert_eq!(pod.saved()[&b"new"[..]].1, b"x");
}

fn commit_with_hook(pod: &Pod, script: &str) {
    let hooks = pod.tree().join(".git/hooks");
    fs::create_dir_all(&hooks).unwrap();
    for name in ["reference-transaction", "pre-push", "post-index-change"] {
        fs::write(hooks.join(name), format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(hooks.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn only_the_bases_ignore_rules_leave_files_out() {
    let pod = pod_with(&[
        (".gitignore", b"*.log\nbuild/\n!keep.log\n"),
        ("sub/.gitignore", b"local\n"),
        ("build/tracked", b"1\n"),
    ]);
    pod.write(".gitignore", "*\n");
    pod.write(".git/info/exclude", "hidden\n");
    for name in [
        "hidden",
        "a.log",
        "keep.log",
        "build/out",
        "build/deep/out",
        "sub/local",
        "local",
        "sub/build/x",
    ] {
        pod.write(name, "x");
    }
    pod.write("build/tracked", "2\n");
    fs::remove_file(pod.tree().join("sub/.gitignore")).unwrap();
    pod.save();
    let saved = pod.saved();
    let names: Vec<_> = saved
        .keys()
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect();
    assert_eq!(
        names,
        [
            ".gitignore",
            "README",
            "build/tracked",
            "calculator.py",
            "hidden",
            "keep.log",
            "local"
        ]
    );
    assert_eq!(saved[&b"build/tracked"[..]].1, b"2\n");
}

#[test]
fn paths_that_no_push_may_touch_are_held() {
    let pod = pod_with(&[(".github/workflows/ci.yml", b"old\n"), (".gitmodules", b"")]);
    pod.write(".github/workflows/ci.yml", "new\n");
    pod.write(".github/workflows/more.yml", "more\n");
    pod.write(".gitmodules", "[submodule \"x\"]\n\turl = -evil\n");
    pod.write("sub/.gitattributes", format!("{} text\n", "x".repeat(5000)));
    pod.write("gastown-held/mine", "mine\n");
    pod.save();
    let saved = pod.saved();
    let content = |name: &str| String::from_utf8_lossy(&saved[name.as_bytes()].1).into_owned();
    assert_eq!(content(".github/workflows/ci.yml"), "old\n");
    assert!(!saved.contains_key(&b".github/workflows/more.yml"[..]));
    assert!(!saved.contains_key(&b"sub/.gitattributes"[..]));
    assert_eq!(content("gastown-held-1/.github/workflows/ci.yml"), "new\n");
    assert_eq!(content("gastown-held-1/.github/workflows/more.yml"), "more\n");
    assert_eq!(content("gastown-held/mine"), "mine\n");
    assert!(content("gastown-held-1/.gitmodules.held").contains("-evil"));
    assert!(content("gastown-held-1/sub/.gitattributes.held").starts_with("xxx"));
    assert_eq!(content(".gitmodules"), "");
    fs::remove_dir_all(pod.tree().join(".github")).unwrap();
    symlink("elsewhere", pod.tree().join(".github")).unwrap();
    pod.save();
    let saved = pod.saved();
    assert_eq!(saved[&b"gastown-held-1/.github"[..]].0, "120000");
    assert_eq!(saved[&b".github/workflows/ci.yml"[..]].1, b"old\n");
}

#[test]
fn commits_never_pushed_are_bundled() {
    let pod = pod();
    let git = Git::at(pod.tree())
        .config("user.name=x")
        .config("user.email=x@x.invalid");
    commit_file(&pod.tree(), "pushed", b"1", "Pushed");
    git.run(&["push", "--quiet", &pod.url, "HEAD"]).unwrap();
    git.run(&["checkout", "--quiet", "-b", "side"]).unwrap();
    commit_file(&pod.tree(), "side", b"side", "Side");
    let side = git.text(&["rev-parse", "HEAD"]).unwrap();
    git.run(&["checkout", "--quiet", "-"]).unwrap();
    pod.write("pushed", "stashed");
    git.run(&["stash", "push", "--quiet"]).unwrap();
    pod.save();
    let bundle = pod.folder.path().join("bundle");
    fs::write(&bundle, &pod.saved()[&b"gastown-held/unpushed.bundle"[..]].1).unwrap();
    let fresh = pod.folder.path().join("fresh");
    Git::at(pod.folder.path())
        .run(&["clone", "--quiet", "upstream.git", "fresh"])
        .unwrap();
    let heads = Git::at(&fresh)
        .text(&["ls-remote", bundle.to_str().unwrap()])
        .unwrap();
    assert!(
        heads.contains(&format!("{side}\trefs/heads/side")) && heads.contains("refs/stash"),
        "{heads}"
    );
    Git::at(&fresh)
        .run(&["fetch", "--quiet", bundle.to_str().unwrap(), "refs/heads/side"])
        .unwrap();
    assert_eq!(
        pod.take().unwrap(),
        Outcome::Nothing("the last snapshot holds it all")
    );
}

#[test]
fn what_is_delivered_is_not_saved_again_and_a_later_snapshot_is_a_child_of_the_last() {
    let pod = pod();
    let delivered = Outcome::Nothing("the work tree equals the branch on the remote");
    assert_eq!(pod.take().unwrap(), delivered);
    pod.write("a", "1");
    let first = pod.save();
    assert_eq!(
        pod.take().unwrap(),
        Outcome::Nothing("the last snapshot holds it all")
    );
    pod.write("a", "2");
    let second = pod.save();
    let parent = pod
        .upstream()
        .text(&["rev-parse", &format!("{second}~1")])
        .unwrap();
    assert_eq!(parent, first.to_string());
    let base = pod.upstream().text(&["rev-parse", "main"]).unwrap();
    assert_eq!(
        pod.upstream()
            .text(&["rev-parse", &format!("{first}~1")])
            .unwrap(),
        base
    );
    let git = Git::at(pod.tree())
        .config("user.name=x")
        .config("user.email=x@x.invalid");
    git.run(&["add", "a"]).unwrap();
    git.run(&["commit", "--quiet", "-m", "A"]).unwrap();
    git.run(&["push", "--quiet", &pod.url, "HEAD"]).unwrap();
    assert_eq!(pod.take().unwrap(), delivered);
}

#[test]
fn a_keeper_that_forgot_goes_on_from_what_the_remote_has() {
    let pod = pod();
    pod.write("a", "1");
    let first = pod.save();
    fs::remove_file(pod.folder.path().join("keeper/last.json")).unwrap();
    pod.write("a", "2");
    let second = pod.save();
    assert_eq!(
        pod.upstream()
            .text(&["rev-parse", &format!("{second}~1")])
            .unwrap(),
        first.to_string()
    );
}

#[test]
fn what_is_too_large_is_skipped_and_keeps_what_the_branch_has() {
    let mut pod = pod_with(&[("grows", b"small\n"), ("module/x", b"x")]);
    pod.order.git.max_push_bytes = 1_000_000;
    let file = fs::File::create(pod.tree().join("sparse")).unwrap();
    file.set_len(1 << 40).unwrap();
    pod.write("grows", vec![0; 2_000_000]);
    assert!(matches!(pod.take().unwrap(), Outcome::Nothing(_)));
    pod.write("small", "x");
    pod.save();
    let saved = pod.saved();
    assert!(!saved.contains_key(&b"sparse"[..]));
    assert_eq!(saved[&b"grows"[..]].1, b"small\n");
    assert!(
        pod.message().contains("\"sparse\": its 1099511627776 bytes"),
        "{}",
        pod.message()
    );
}

#[test]
fn an_empty_folder_of_a_submodule_stays_a_submodule() {
    let pod = pod();
    let seed = pod.folder.path().join("seed");
    let head = Git::at(&seed).text(&["rev-parse", "HEAD"]).unwrap();
    let git = Git::at(&seed)
        .config("user.name=x")
        .config("user.email=x@x.invalid");
    git.run(&[
        "update-index",
        "--add",
        "--cacheinfo",
        &format!("160000,{head},module"),
    ])
    .unwrap();
    git.run(&["commit", "--quiet", "-m", "Module"]).unwrap();
    git.run(&["push", "--quiet", &pod.url, "main"]).unwrap();
    Git::at(pod.tree())
        .run(&["pull", "--quiet", &pod.url, "main"])
        .unwrap();
    assert!(pod.tree().join("module").is_dir());
    assert_eq!(
        pod.take().unwrap(),
        Outcome::Nothing("the work tree equals the branch on the remote")
    );
    pod.write("new", "x");
    pod.save();
    assert_eq!(pod.saved()[&b"module"[..]].0, "160000");
}

#[test]
fn without_a_clone_there_is_nothing_and_without_a_base_an_error() {
    let pod = pod();
    let nowhere = pod.folder.path().join("nowhere");
    let context = |tree: &Path| {
        let store = Store::open(
            &pod.folder.path().join("other"),
            "/no/such/upstream",
            &pod.order,
            "x",
        )
        .unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        Context {
            order: &pod.order,
            store: &store,
            work_tree: tree,
            deadline,
        }
        .take()
    };
    assert_eq!(
        context(&nowhere).unwrap(),
        Outcome::Nothing("there is no clone yet")
    );
    let error = context(&pod.tree()).unwrap_err();
    assert!(error.to_string().contains("find the base"), "{error}");
}

#[test]
fn a_work_tree_whose_repository_is_gone_is_saved() {
    let pod = pod();
    pod.write("a", "1");
    fs::remove_dir_all(pod.tree().join(".git")).unwrap();
    pod.save();
    assert_eq!(pod.saved()[&b"a"[..]].1, b"1");
    assert!(pod.message().contains("could not be read"), "{}", pod.message());
}

#[test]
fn a_repository_that_hangs_does_not_hold_a_snapshot_up() {
    let pod = pod();
    pod.write("a", "1");
    let git = pod.tree().join(".git");
    for name in ["packed-refs", "config", "HEAD"] {
        let _not_there = fs::remove_file(git.join(name));
        assert!(
            Program::new("mkfifo")
                .arg(git.join(name))
                .status()
                .unwrap()
                .success()
        );
    }
    let context = Context {
        order: &pod.order,
        store: &pod.store,
        work_tree: &pod.tree(),
        deadline: Instant::now() + Duration::from_secs(12),
    };
    assert!(matches!(context.take().unwrap(), Outcome::Saved { .. }));
}

#[test]
fn a_fetch_that_is_refused_does_not_stop_a_snapshot() {
    let pod = pod();
    pod.store
        .refresh(Instant::now() + Duration::from_secs(10))
        .unwrap();
    pod.upstream()
        .run(&["config", "uploadpack.hideRefs", "refs/heads"])
        .unwrap();
    pod.write("a", "1");
    pod.save();
    assert_eq!(pod.saved()[&b"a"[..]].1, b"1");
}

#[tokio::test]
async fn a_snapshot_is_taken_when_asked() {
    let pod = pod();
    pod.write("a", "1");
    let socket = pod.folder.path().join("keeper.sock");
    fs::write(&socket, "left by a killed keeper").unwrap();
    let keeper = Keeper {
        order: order(),
        store: Store::open(
            &pod.folder.path().join("keeper"),
            &pod.url,
            &pod.order,
            "0123456789ab",
        )
        .unwrap(),
        work_tree: pod.tree(),
        socket: socket.clone(),
    };
    let asking = tokio::task::spawn_blocking(move || {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            match serve::ask(&socket, Duration::from_secs(20)) {
                Ok(answer) => return answer,
                Err(error) if Instant::now() > deadline => panic!("{error}"),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    });
    let answer = tokio::select! {
        served = keeper.serve() => panic!("{served:?}"),
        answer = asking => answer.unwrap(),
    };
    assert!(answer.starts_with("saved ") && answer.contains(WIP), "{answer}");
    assert_eq!(pod.saved()[&b"a"[..]].1, b"1");
}
