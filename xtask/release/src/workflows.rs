//! The workflows that publish: what they must be like, since nobody sees them run here.

use xtask_image::process::Command;
use xtask_image::tools::{self, Tool};
use xtask_image::workspace;

fn workflows() -> Vec<(std::path::PathBuf, String)> {
    let folder = workspace::root().join(".github/workflows");
    let files = fs_err::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    files
        .map(|file| (file.clone(), fs_err::read_to_string(file).unwrap()))
        .collect()
}

#[test]
fn actionlint_accepts_the_workflows() {
    let [actionlint] = tools::ensure([Tool::Actionlint]).unwrap();
    let files = workflows().into_iter().map(|(file, _)| file);
    Command::new(actionlint)
        .args(["-shellcheck=", "-pyflakes="])
        .args(files)
        .output()
        .unwrap();
}

#[test]
fn actions_are_pinned_and_the_job_that_compiles_has_no_secret() {
    for (file, text) in workflows() {
        for line in text.lines().filter(|line| line.contains("uses: ")) {
            let commit = line
                .split('@')
                .nth(1)
                .and_then(|rest| rest.split(' ').next())
                .unwrap_or_default();
            let is_commit = commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
            assert!(is_commit, "{file:?}: {line}");
        }
        let jobs: Vec<_> = text.split("\n  publish:").collect();
        assert!(
            !jobs[0].contains("secrets."),
            "{file:?}: a job that compiles has a secret"
        );
        assert_eq!(jobs.len() > 1, file.ends_with("release.yml"), "{file:?}");
    }
}
