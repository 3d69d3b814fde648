//! Paths that may not be changed in any commit of a push.

use super::*;

/// Each makes commits on a fresh clone that must not be delivered, by a shell script.
const DENIED: [(&str, &str); 13] = [
    ("changed", "echo x >> .github/workflows/ci.yml; save"),
    ("added", "echo x > .github/workflows/new.yml; save"),
    ("deep", "mkdir -p .github/workflows/a/b; echo x > .github/workflows/a/b/c.yml; save"),
    ("removed", "git rm -q .github/workflows/ci.yml; save"),
    ("mode", "chmod +x .github/workflows/ci.yml; save"),
    ("renamed", "git mv .github/workflows/ci.yml .github/ci.yml; save"),
    ("other case", "mkdir -p .GitHub/Workflows; echo x > .GitHub/Workflows/x.yml; save"),
    ("whole path", "echo x > .gitlab-ci.yml; save"),
    ("whole path as folder", "mkdir .gitlab-ci.yml; echo x > .gitlab-ci.yml/x; save"),
    ("folder as link", "rm -r .github/workflows; ln -s ../src .github/workflows; save"),
    ("put back", "echo x >> .github/workflows/ci.yml; save; git checkout -q HEAD~ -- .github; save"),
    (
        "in the merge itself",
        "git checkout -q -b side; echo s > s; save; git checkout -q -; echo t > t; save;
         git merge -q --no-commit side; echo x >> .github/workflows/ci.yml; save",
    ),
    (
        "on the side of a merge",
        "git checkout -q -b side; echo x >> .github/workflows/ci.yml; save; git checkout -q -; echo t > t; save;
         git merge -q --no-edit side; git checkout -q HEAD~1 -- .github; save",
    ),
];

#[tokio::test]
async fn denied_paths_cannot_be_touched_in_any_commit_on_either_ref() {
    let trial = Trial::new().await;
    let base = trial.clone("base").await;
    for (index, (name, script)) in DENIED.iter().enumerate() {
        let clone = trial.clone(&format!("c{index}")).await;
        let script = format!("set -e; save() {{ git add -A; git commit -q -m x; }}; {script}");
        git(&clone, &["-c", &format!("alias.x=!{script}"), "x"])
            .await
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_ne!(tip(&clone, "HEAD").await, tip(&base, "HEAD").await, "{name}");
        for target in [WORK, WIP] {
            trial
                .refused(
                    &clone,
                    &["origin", &format!("HEAD:{target}")],
                    "may not be changed",
                )
                .await;
        }
    }
}

#[tokio::test]
async fn a_link_in_the_place_of_a_denied_paths_folder_is_refused() {
    let trial = Trial::of(Remote::http().await, |order| {
        order.role.git.denied_paths = vec![".ci/jobs/".to_owned()];
    })
    .await;
    let clone = trial.clone("a").await;
    std::fs::create_dir(clone.join("mine")).unwrap();
    std::os::unix::fs::symlink("mine", clone.join(".ci")).unwrap();
    commit(&clone, "mine/jobs/x", "x").await;
    trial
        .refused(&clone, &["origin", "HEAD"], "\".ci\" may not")
        .await;
}

#[tokio::test]
async fn held_paths_and_lookalikes_are_delivered() {
    let trial = Trial::new().await;
    let clone = trial.clone("a").await;
    for path in [
        "gastown-held/.github/workflows/ci.yml",
        ".github/CODEOWNERS",
        ".gitlab-ci.yml.md",
        "x/.gitlab-ci.yml",
    ] {
        commit(&clone, path, "x").await;
        git(&clone, &["push", "-q", "origin", "HEAD"])
            .await
            .unwrap_or_else(|e| panic!("{path}: {e}"));
    }
}

#[tokio::test]
async fn a_file_of_modules_with_options_is_refused_and_a_submodule_is_never_fetched() {
    let trial = Trial::new().await;
    let clone = trial.clone("a").await;
    for url in ["-u./payload", "--upload-pack=touch"] {
        git(&clone, &["reset", "-q", "--hard", "origin/main"])
            .await
            .unwrap();
        let text = format!("[submodule \"x\"]\n\tpath = x\n\turl = {url}\n");
        commit(&clone, ".gitmodules", &text).await;
        for target in [WORK, WIP] {
            trial
                .refused(&clone, &["origin", &format!("HEAD:{target}")], "not accepted")
                .await;
        }
    }
    git(&clone, &["reset", "-q", "--hard", "origin/main"])
        .await
        .unwrap();
    let nowhere = format!("160000,{},module", "a".repeat(40));
    git(&clone, &["update-index", "--add", "--cacheinfo", &nowhere])
        .await
        .unwrap();
    git(&clone, &["commit", "-q", "-m", "module"]).await.unwrap();
    git(&clone, &["push", "-q", "origin", "HEAD"]).await.unwrap();
    assert_eq!(tip(&trial.remote.repo, WORK).await, tip(&clone, "HEAD").await);
}
