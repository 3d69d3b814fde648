//! Fixtures for the tests of several containers: a work order, and an upstream with a small history.

use std::path::Path;

use gastown_api::work_order::{Role, WorkOrder};

use polecat_common::git::Git;

/// An order for `furiosa` of rig `demo`, from `main` to `polecat/furiosa/gt-1@m1`.
pub fn order() -> WorkOrder {
    let order: WorkOrder<Role> =
        serde_json::from_str(include_str!("../../common/src/order/sample.json")).unwrap();
    order.map(|Role::Polecat(own)| *own)
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
