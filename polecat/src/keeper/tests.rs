use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::Command as Program;
use std::time::Instant;

use gastown_api::git::Sha;
use gastown_api::work_order::WorkOrder;

use super::serve::Purpose;
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
            purpose: Purpose::Last,
        };
        context.take()
    }

    /// A keeper of this pod that finds the broker on `port`.
    fn keeper(&self, port: u16) -> Keeper {
        Keeper {
            order: order(),
            store: open_store(self.folder.path(), &self.url, &self.order),
            work_tree: self.tree(),
            socket: self.folder.path().join("keeper.sock"),
            port,
        }
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
    pod.write("large", vec![7; 700_000]);
    symlink("loop", pod.tree().join("loop")).unwrap();
    pod.write("trailing. ", "x");
    fs::hard_link(pod.tree().join("large"), pod.tree().join("hard")).unwrap();
    fs::write(pod.tree().join(path_of(b"odd \xff\n\"\\\x01name")), "odd").unwrap();
    pod.write(":(exclude)magic", "x");
    pod.write("-rf", "x");
    pod.write("deep/er/and/deeper", "x");
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
    assert_eq!(pod.saved().len(), 19);
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
            purpose: Purpose::Last,
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
        purpose: Purpose::Last,
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
    let keeper = pod.keeper(1);
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
        served = Arc::new(keeper).serve(Disk::none()) => panic!("{served:?}"),
        answer = asking => answer.unwrap(),
    };
    assert!(answer.starts_with("saved ") && answer.contains(WIP), "{answer}");
    assert_eq!(pod.saved()[&b"a"[..]].1, b"1");
}

/// What a later attempt finds when it starts from what this pod saved.
fn resumed(pod: &Pod, change: impl FnOnce(&Git)) -> (PathBuf, String) {
    let sha = pod.upstream().text(&["rev-parse", WIP]).unwrap();
    // As the broker serves it.
    pod.upstream()
        .run(&["update-ref", gastown_api::pod::RESUME_REF, &sha])
        .unwrap();
    change(&pod.upstream());
    let mut order = order();
    order.attempt = 2;
    order.git.resume = Some(gastown_api::work_order::ResumeOrder {
        name: WIP.to_owned(),
        sha: sha.parse().unwrap(),
    });
    let again = pod.folder.path().join("again");
    fs::create_dir(&again).unwrap();
    crate::clone::prepare_repository(&order, &pod.url, &again);
    let report = fs::read_to_string(again.join("repo/.git/gastown-resumed.json")).unwrap();
    (again.join("repo"), report)
}

#[test]
fn a_later_attempt_starts_from_the_snapshot_byte_for_byte() {
    let pod = pod_with(&[
        (".github/workflows/ci.yml", b"old\n"),
        (".gitlab-ci.yml", b"gone\n"),
        ("text.txt", b"unix\n"),
        ("folder/file", b"x"),
        ("link", b"a file"),
    ]);
    pod.write("new", [0, 255, 10, 13]);
    pod.write("calculator.py", "changed\r\n");
    pod.write("text.txt", "dos\r\n");
    pod.write(
        ".gitattributes",
        "* text=auto eol=lf ident filter=evil working-tree-encoding=UTF-16\n",
    );
    pod.write("ident.txt", "$Id$\n");
    pod.write("run.sh", "#!/bin/sh\n");
    fs::set_permissions(pod.tree().join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(pod.tree().join(path_of(b"odd \xff\n\"\\\x01name")), "odd").unwrap();
    symlink("/nowhere", pod.tree().join("dangling")).unwrap();
    fs::remove_file(pod.tree().join("README")).unwrap();
    fs::remove_file(pod.tree().join(".gitlab-ci.yml")).unwrap();
    fs::remove_dir_all(pod.tree().join("folder")).unwrap();
    symlink("/etc", pod.tree().join("folder")).unwrap();
    fs::remove_file(pod.tree().join("link")).unwrap();
    pod.write("link/below", "y");
    pod.write(".github/workflows/ci.yml", "new\n");
    pod.write(".github/workflows/more.yml", "more\n");
    pod.write("sub/.gitmodules", "[submodule \"x\"]\n\turl = -evil\n");
    pod.write("gastown-held/mine", "mine\n");
    fs::create_dir(pod.tree().join("nested")).unwrap();
    Git::at(pod.tree().join("nested"))
        .run(&["init", "--quiet"])
        .unwrap();
    commit_file(&pod.tree().join("nested"), "inside", b"in\n", "Nested");
    pod.save();
    let left = pod.on_disk();
    let (again, report) = resumed(&pod, |_| ());
    let found = Pod {
        folder: tempfile::tempdir().unwrap(),
        url: pod.url.clone(),
        order: order(),
        store: pod.store,
    };
    fs::rename(&again, found.tree()).unwrap();
    assert_eq!(found.on_disk(), left);
    assert!(report.contains(r#""left_out":[]"#), "{report}");
    let git = Git::at(found.tree());
    assert_eq!(
        git.text(&["symbolic-ref", "HEAD"]).unwrap(),
        "refs/heads/polecat/furiosa/gt-1@m1"
    );
    assert_eq!(
        git.text(&["rev-parse", "HEAD"]).unwrap(),
        git.text(&["rev-parse", "origin/main"]).unwrap()
    );
    let status = git
        .text(&["-c", "core.quotePath=true", "status", "--porcelain"])
        .unwrap();
    assert!(
        status.contains(" D README") && status.contains("?? new"),
        "{status}"
    );
}

#[test]
fn commits_never_pushed_are_on_their_branches_again() {
    let pod = pod();
    let git = Git::at(pod.tree())
        .config("user.name=x")
        .config("user.email=x@x.invalid");
    commit_file(&pod.tree(), "mine", b"1", "Mine");
    let mine = git.text(&["rev-parse", "HEAD"]).unwrap();
    git.run(&["checkout", "--quiet", "-b", "side"]).unwrap();
    commit_file(&pod.tree(), "side", b"side", "Side");
    let side = git.text(&["rev-parse", "HEAD"]).unwrap();
    git.run(&["checkout", "--quiet", "-"]).unwrap();
    pod.write("mine", "stashed");
    git.run(&["stash", "push", "--quiet"]).unwrap();
    pod.write("mine", "2");
    pod.save();
    let (again, report) = resumed(&pod, |_| ());
    let git = Git::at(&again);
    assert_eq!(git.text(&["rev-parse", "HEAD"]).unwrap(), mine);
    assert_eq!(git.text(&["rev-parse", "side"]).unwrap(), side);
    assert_eq!(git.text(&["show", "stash@{0}:mine"]).unwrap(), "stashed");
    assert_eq!(git.text(&["status", "--porcelain"]).unwrap(), " M mine");
    assert_eq!(fs::read(again.join("mine")).unwrap(), b"2");
    assert!(!again.join("gastown-held").exists());
    assert!(
        report.contains("side") && report.contains("the stash"),
        "{report}"
    );
}

#[test]
fn what_the_branch_has_changed_since_is_not_undone() {
    let pod = pod();
    pod.write("calculator.py", "half");
    pod.write("new", "x");
    pod.save();
    let git = Git::at(pod.tree())
        .config("user.name=x")
        .config("user.email=x@x.invalid");
    pod.write("calculator.py", "whole");
    git.run(&["add", "calculator.py"]).unwrap();
    git.run(&["commit", "--quiet", "-m", "Whole"]).unwrap();
    git.run(&["push", "--quiet", &pod.url, "HEAD"]).unwrap();
    let (again, report) = resumed(&pod, |_| ());
    assert_eq!(fs::read(again.join("calculator.py")).unwrap(), b"whole");
    assert_eq!(fs::read(again.join("new")).unwrap(), b"x");
    assert_eq!(
        Git::at(&again).text(&["status", "--porcelain"]).unwrap(),
        "?? new"
    );
    assert!(
        report.contains("calculator.py: the branch has a newer version"),
        "{report}"
    );
}

#[test]
fn a_snapshot_that_is_gone_does_not_stop_an_attempt_and_one_without_a_message_is_restored() {
    let pod = pod();
    pod.write("new", "x");
    pod.save();
    let gone = |git: &Git| {
        git.run(&["update-ref", "-d", gastown_api::pod::RESUME_REF])
            .map(drop)
            .unwrap();
    };
    let (again, report) = resumed(&pod, gone);
    assert!(again.join("README").exists() && !again.join("new").exists());
    assert!(report.contains(r#""found":false"#), "{report}");
    fs::remove_dir_all(pod.folder.path().join("again")).unwrap();
    let tree = pod
        .upstream()
        .text(&["rev-parse", &format!("{WIP}^{{tree}}")])
        .unwrap();
    let git = pod
        .upstream()
        .env("GIT_AUTHOR_NAME", "x")
        .env("GIT_AUTHOR_EMAIL", "x")
        .env("GIT_COMMITTER_NAME", "x");
    let git = git.env("GIT_COMMITTER_EMAIL", "x");
    let plain = git
        .text(&["commit-tree", "-p", "main", "-m", "by hand", &tree])
        .unwrap();
    let by_hand = |git: &Git| {
        git.run(&["update-ref", gastown_api::pod::RESUME_REF, &plain])
            .map(drop)
            .unwrap();
    };
    let (again, _) = resumed(&pod, by_hand);
    assert_eq!(fs::read(again.join("new")).unwrap(), b"x");
}

#[test]
fn a_last_snapshot_of_what_was_delivered_holds_nothing_back_any_more() {
    let pod = pod();
    commit_file(&pod.tree(), "a", b"1", "A");
    let first = pod.save();
    assert!(pod.saved().contains_key(&b"gastown-held/unpushed.bundle"[..]));
    Git::at(pod.tree())
        .run(&["push", "--quiet", &pod.url, "HEAD"])
        .unwrap();
    assert_eq!(
        pod.take().unwrap(),
        Outcome::Nothing("the work tree equals the branch on the remote")
    );
    assert!(!pod.saved().contains_key(&b"gastown-held/unpushed.bundle"[..]));
    let parent = pod.upstream().text(&["rev-parse", &format!("{WIP}~1")]).unwrap();
    assert_eq!(parent, first.to_string());
    let work = "refs/heads/polecat/furiosa/gt-1@m1";
    let tree = |name: &str| {
        pod.upstream()
            .text(&["rev-parse", &format!("{name}^{{tree}}")])
            .unwrap()
    };
    assert_eq!(tree(WIP), tree(work));
}

#[test]
fn names_that_git_forbids_and_what_lies_too_deep_are_left_out_and_listed() {
    let pod = pod();
    for name in [".GIT/config", "sub/git~1", "sub/.git./x", "sub/.g\u{200c}it"] {
        pod.write(name, "x");
    }
    let deep = "d/".repeat(250);
    pod.write(&format!("{deep}file"), "x");
    pod.write("kept", "x");
    pod.save();
    let saved = pod.saved();
    let names: Vec<_> = saved
        .keys()
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect();
    assert_eq!(names, ["README", "calculator.py", "kept"]);
    let message = pod.message();
    for part in [
        "\".GIT\": git forbids",
        "\"sub/git~1\": git forbids",
        "\"sub/.git.\": git forbids",
        "it lies too deep",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
}

/// Runs `change` over and over until the guard is dropped.
struct Restless(
    Arc<std::sync::atomic::AtomicBool>,
    Option<std::thread::JoinHandle<()>>,
);

impl Restless {
    fn doing(change: impl Fn() + Send + 'static) -> Self {
        let on = Arc::new(std::sync::atomic::AtomicBool::new(true));
        let seen = Arc::clone(&on);
        let thread = std::thread::spawn(move || {
            while seen.load(std::sync::atomic::Ordering::Relaxed) {
                change();
            }
        });
        Self(on, Some(thread))
    }
}

impl Drop for Restless {
    fn drop(&mut self) {
        self.0.store(false, std::sync::atomic::Ordering::Relaxed);
        self.1.take().unwrap().join().unwrap();
    }
}

#[test]
fn a_folder_that_is_swapped_for_a_link_shows_nothing_of_where_it_leads() {
    let pod = pod();
    let outside = pod.folder.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("key"), "secret").unwrap();
    let (folder, aside) = (pod.tree().join("swapped"), pod.folder.path().join("aside"));
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("key"), "mine").unwrap();
    let restless = Restless::doing(move || {
        fs::rename(&folder, &aside).unwrap();
        symlink(&outside, &folder).unwrap();
        fs::remove_file(&folder).unwrap();
        fs::rename(&aside, &folder).unwrap();
    });
    for round in 0..15 {
        pod.write("round", round.to_string());
        pod.save();
        for (name, (_, content)) in pod.saved() {
            assert_ne!(content, b"secret", "{name:?}");
        }
    }
    drop(restless);
}

#[test]
fn files_that_change_and_vanish_while_they_are_read_spoil_nothing_else() {
    let pod = pod();
    pod.write("steady", vec![3; 400_000]);
    let (growing, fleeting) = (pod.tree().join("growing"), pod.tree().join("fleeting"));
    let restless = Restless::doing(move || {
        fs::write(&growing, vec![1; 600_000]).unwrap();
        fs::write(&fleeting, vec![1; 300_000]).unwrap();
        fs::OpenOptions::new()
            .write(true)
            .open(&growing)
            .unwrap()
            .set_len(270_000)
            .unwrap();
        fs::remove_file(&fleeting).unwrap();
    });
    for round in 0..10 {
        pod.write("round", round.to_string());
        pod.save();
        let saved = pod.saved();
        assert_eq!(saved[&b"steady"[..]].1, vec![3; 400_000]);
        assert_eq!(saved[&b"round"[..]].1, round.to_string().into_bytes());
    }
    drop(restless);
}

/// Runs the test of this name again as a process of its own, and as nobody: root reads everything, and the memory of
/// this process is that of all its tests. True in the process that is to do the work.
fn is_apart(name: &str) -> bool {
    use std::os::unix::process::CommandExt as _;
    const APART: &str = "KEEPER_TEST_APART";
    if std::env::var_os(APART).is_some() {
        return true;
    }
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("tests");
    // The build folder may not be open to others. Written by another process, since a program is busy as long as anything
    // that other tests start meanwhile has inherited the file.
    let copied = Program::new("cp")
        .args([&std::env::current_exe().unwrap(), &program])
        .status();
    assert!(copied.unwrap().success());
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let mut command = Program::new(&program);
    command
        .args(["--exact", "--nocapture", &format!("keeper::tests::{name}")])
        .env(APART, "1")
        .env("TMPDIR", folder.path())
        .env("HOME", folder.path())
        .current_dir(folder.path());
    if rustix::process::getuid().is_root() {
        command.uid(65534).gid(65534);
    }
    let output = command.output().unwrap();
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success() && words.contains("1 passed"),
        "{words}{errors}"
    );
    false
}

/// The most memory that this process has had, in KiB.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_hundred_thousand_files_cost_no_memory_each() {
    if !is_apart("a_hundred_thousand_files_cost_no_memory_each") {
        return;
    }
    let pod = pod();
    pod.write("first", "x");
    pod.save();
    let before = peak();
    for folder in 0..100 {
        let path = pod.tree().join(format!("folder-{folder}"));
        fs::create_dir(&path).unwrap();
        for file in 0..1000 {
            fs::write(
                path.join(format!("a-file-with-quite-a-long-name-{file}")),
                format!("{folder} {file}"),
            )
            .unwrap();
        }
    }
    pod.save();
    let grown = peak() - before;
    assert!(grown < 6 * 1024, "{before} KiB before, {grown} KiB more");
}

#[test]
fn a_folder_that_cannot_be_read_keeps_what_the_branch_has_and_is_listed() {
    if !is_apart("a_folder_that_cannot_be_read_keeps_what_the_branch_has_and_is_listed") {
        return;
    }
    let pod = pod_with(&[("closed/tracked", b"1\n")]);
    pod.write("closed/new", "x");
    pod.write("open", "x");
    pod.write("secret", "x");
    for (name, mode) in [("closed", 0o000), ("secret", 0o200)] {
        fs::set_permissions(pod.tree().join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    pod.save();
    let saved = pod.saved();
    assert_eq!(saved[&b"closed/tracked"[..]].1, b"1\n");
    assert_eq!(saved[&b"open"[..]].1, b"x");
    assert!(!saved.contains_key(&b"secret"[..]) && !saved.contains_key(&b"closed/new"[..]));
    let message = pod.message();
    assert!(
        message.contains("\"closed\": Permission denied") && message.contains("\"secret\": Permission"),
        "{message}"
    );
    fs::set_permissions(pod.tree().join("closed"), fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn a_checkpoint_is_taken_after_turns_and_none_when_nothing_changed() {
    use axum::routing::get;
    let pod = pod();
    let turns = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let said = Arc::clone(&turns);
    let count = move || async move { said.load(std::sync::atomic::Ordering::Relaxed).to_string() };
    let router = axum::Router::new().route(crate::loopback::TURNS, get(count));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let keeper = Arc::new(pod.keeper(port));
    let mut watch = serve::Watch::starting(&keeper.order.limits);
    let tip = || {
        pod.upstream()
            .text(&["rev-parse", "--quiet", "--verify", WIP])
            .ok()
    };
    pod.write("a", "1");
    keeper.look(&mut watch).await;
    assert_eq!(tip(), None, "nothing is due");
    turns.store(20, std::sync::atomic::Ordering::Relaxed);
    keeper.look(&mut watch).await;
    let first = tip().unwrap();
    turns.store(40, std::sync::atomic::Ordering::Relaxed);
    keeper.look(&mut watch).await;
    assert_eq!(tip().unwrap(), first, "nothing changed");
    pod.write("a", "2");
    keeper.look(&mut watch).await;
    assert_eq!(tip().unwrap(), first, "nothing is due");
    turns.store(60, std::sync::atomic::Ordering::Relaxed);
    keeper.look(&mut watch).await;
    let parent = pod.upstream().text(&["rev-parse", &format!("{WIP}~1")]).unwrap();
    assert_eq!(parent, first, "a checkpoint is a child of the one before");
}
