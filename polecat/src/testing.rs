//! What the tests of several containers start from: a work order, and an upstream with a small history.

use std::path::Path;

use gastown_api::work_order::WorkOrder;
use serde_json::json;

use crate::git::Git;

/// An order for `furiosa` of rig `demo`, from `main` to `polecat/furiosa/gt-1@m1`.
pub fn order() -> WorkOrder {
    serde_json::from_value(json!({
        "polecat": "furiosa", "namespace": "town", "rig": "demo", "attempt": 1, "task": "Make add add.",
        "agent": { "kind": "claude-code" },
        "git": {
            "repository": "https://git.example/demo.git", "baseBranch": "main",
            "workBranch": "polecat/furiosa/gt-1@m1", "secret": "git-creds", "trustedHosts": [], "knownHosts": "",
            "deniedPaths": [".github/workflows/", ".gitlab-ci.yml"], "maxPushBytes": 104_857_600
        },
        "model": {
            "provider": "anthropic", "apis": ["messages"], "endpoint": "https://api.anthropic.com", "allowedModels": ["claude-*"], "secret": "claude-creds", "prices": {}
        },
        "limits": { "deadlineSeconds": 3600, "parkingSeconds": 600, "graceSeconds": 120,
            "checkpointSeconds": 300, "checkpointTurns": 20, "silenceSeconds": 1800 },
        "disk": { "workspace": 1_073_741_824, "home": 1_073_741_824, "tmp": 1_073_741_824, "keeper": 1_073_741_824, "broker": 1_073_741_824 }
    }))
    .unwrap()
}

/// A bare repository below `folder` whose `main` has two commits; gives its path.
pub fn upstream(folder: &Path) -> String {
    let seed = folder.join("seed");
    std::fs::create_dir(&seed).unwrap();
    Git::at(&seed)
        .run(&["init", "--quiet", "--initial-branch=main"])
        .unwrap();
    commit_file(&seed, "README", b"demo\n", "First");
    commit_file(
        &seed,
        "calculator.py",
        b"def add(a, b):\n    return a - b\n",
        "Second",
    );
    let bare = folder.join("upstream.git");
    let git = Git::at(folder);
    git.run(&["clone", "--quiet", "--bare", "seed", "upstream.git"])
        .unwrap();
    bare.to_str().unwrap().to_owned()
}

/// Writes and commits one file of the work tree `clone`.
pub fn commit_file(clone: &Path, name: &str, content: &[u8], message: &str) {
    let path = clone.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
    let git = Git::at(clone)
        .config("user.name=test")
        .config("user.email=test@test.invalid");
    git.run(&["add", "--force", "--", name]).unwrap();
    git.run(&["commit", "--quiet", "-m", message]).unwrap();
}

/// A clone of `url` as `polecat clone` leaves it.
pub fn clone_of(url: &str, target: &Path, order: &WorkOrder) {
    let workspace = tempfile::tempdir_in(target.parent().unwrap()).unwrap();
    crate::clone::prepare_repository(order, url, workspace.path());
    std::fs::rename(workspace.path().join("repo"), target).unwrap();
}
