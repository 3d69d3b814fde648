//! Judges what a push brings, in quarantine and without the remote: whole, sound, a fast-forward, and no denied
//! path touched.

use std::time::Duration;

use gastown_api::git::Sha;

use super::child::{Bounds, Git, LOCAL, RunGit, run};
use super::policy::{Move, Refusal};
use super::repository::State;

/// Ids of new commits: 100,000 of them.
const COMMITS: Bounds = Bounds {
    stdout: 4 * 1024 * 1024,
    time: Duration::from_mins(5),
};

/// Why a push is not taken: a rule, or git itself failed.
#[derive(Debug, thiserror::Error)]
pub enum Inspect {
    /// A rule refuses it.
    #[error(transparent)]
    Refuse(#[from] Refusal),
    /// git could not answer.
    #[error(transparent)]
    Ask(#[from] RunGit),
}

/// Judges the commit that `step` brings; `git` sees the quarantine and `state` the refs before it.
pub async fn inspect(git: &Git, step: &Move, state: &State, denied: &[String]) -> Result<(), Inspect> {
    is_commit(git, &step.new).await?;
    is_whole(git, &step.new).await?;
    descends(git, step, state).await?;
    let tips = known_tips(step, state);
    let news = new_commits(git, &step.new, &tips).await?;
    spares_denied_paths(git, &step.new, &tips, &news, denied).await
}

async fn is_commit(git: &Git, new: &Sha) -> Result<(), Inspect> {
    match git.ask(["cat-file", "-t", new.as_str()]).await {
        Ok(kind) if kind == "commit" => Ok(()),
        Ok(_) => Err(Refusal::NotACommit.into()),
        Err(RunGit::Succeed { .. }) => Err(Refusal::MissingObjects.into()),
        Err(error) => Err(error.into()),
    }
}

/// git's own receive-pack checks connectivity the same way.
async fn is_whole(git: &Git, new: &Sha) -> Result<(), Inspect> {
    let command = git.command(["rev-list", "--objects", "--quiet", new.as_str(), "--not", "--all"]);
    let finished = run(command, b"", LOCAL).await?;
    if finished.status.success() {
        return Ok(());
    }
    tracing::warn!(words = finished.stderr.trim(), "a push is not whole");
    Err(Refusal::MissingObjects.into())
}

async fn descends(git: &Git, step: &Move, state: &State) -> Result<(), Inspect> {
    let from = step.old.as_ref().unwrap_or(&state.start);
    let command = git.command(["merge-base", "--is-ancestor", from.as_str(), step.new.as_str()]);
    let finished = run(command, b"", LOCAL).await?;
    match (finished.status.code(), &step.old) {
        (Some(0), _) => Ok(()),
        (Some(1), Some(_)) => Err(Refusal::NotFastForward.into()),
        (Some(1), None) => Err(Refusal::NotFromBase { base: from.clone() }.into()),
        _ => Err(finished
            .success()
            .map(drop)
            .map_or_else(Inspect::Ask, |()| Refusal::NotFastForward.into())),
    }
}

/// What the remote holds already, without repeats.
fn known_tips(step: &Move, state: &State) -> Vec<Sha> {
    let known = [
        step.old.as_ref(),
        state.tips.work.as_ref(),
        state.tips.wip.as_ref(),
    ];
    let known = known
        .into_iter()
        .flatten()
        .chain([&state.base_branch, &state.start]);
    let mut tips: Vec<Sha> = Vec::new();
    for tip in known {
        if !tips.contains(tip) {
            tips.push(tip.clone());
        }
    }
    tips
}

/// The commits that the remote does not hold, one id a line.
async fn new_commits(git: &Git, new: &Sha, tips: &[Sha]) -> Result<Vec<u8>, Inspect> {
    let mut args = vec!["rev-list", new.as_str(), "--not"];
    args.extend(tips.iter().map(Sha::as_str));
    let finished = run(git.command(args), b"", COMMITS).await?;
    let news = finished.stdout.clone();
    finished.success()?;
    Ok(news)
}

/// No new commit may touch a denied path, and at the end denied paths must stand as in one of the commits that the
/// remote holds (so that the base branch can be merged into the work). Pathspecs let git look into the trees of denied paths
/// only: a tree that holds itself many times over costs nothing. Letters of either case count, for hosts that do not tell them apart.
async fn spares_denied_paths(
    git: &Git,
    new: &Sha,
    tips: &[Sha],
    news: &[u8],
    denied: &[String],
) -> Result<(), Inspect> {
    let paths: Vec<&str> = denied.iter().map(|path| path.trim_end_matches('/')).collect();
    let specs: Vec<String> = paths
        .iter()
        .map(|path| format!(":(icase,literal){path}"))
        .collect();
    if specs.is_empty() || news.is_empty() {
        return Ok(());
    }
    // A merge shows the paths in which it differs from all its parents.
    let options = [
        "diff-tree",
        "--stdin",
        "-r",
        "-c",
        "--root",
        "--no-commit-id",
        "--no-renames",
        "--name-only",
        "-z",
        "--",
    ];
    let touched = first_path(git, &options, &specs, news).await?;
    if let Some(path) = touched {
        return Err(Refusal::DeniedPath { path }.into());
    }
    let mut changed = None;
    for tip in tips {
        let options = [
            "diff-tree",
            "-r",
            "--no-renames",
            "--name-only",
            "-z",
            tip.as_str(),
            new.as_str(),
            "--",
        ];
        changed = first_path(git, &options, &specs, b"").await?;
        if changed.is_none() {
            break;
        }
    }
    if let Some(path) = changed {
        return Err(Refusal::DeniedPath { path }.into());
    }
    spares_parents(git, new, tips, &paths).await
}

/// The first path that a diff names.
async fn first_path(
    git: &Git,
    options: &[&str],
    specs: &[String],
    input: &[u8],
) -> Result<Option<String>, Inspect> {
    let args = options.iter().copied().chain(specs.iter().map(String::as_str));
    let finished = match run(git.command(args), input, COMMITS).await {
        // So many that the first may be among what was read; the rule holds without its name.
        Err(RunGit::BoundOutput { .. }) => return Ok(Some(specs.join(" "))),
        finished => finished?,
    };
    let paths = finished.stdout.clone();
    finished.success()?;
    let first = paths.split(|b| *b == 0).find(|path| !path.is_empty());
    Ok(first.map(|path| path[..path.len().min(200)].escape_ascii().to_string()))
}

/// A folder above a denied path must not become a link, a file or a submodule: that would put something else in the
/// denied path's place.
async fn spares_parents(git: &Git, new: &Sha, tips: &[Sha], paths: &[&str]) -> Result<(), Inspect> {
    let parents: Vec<&str> = paths
        .iter()
        .flat_map(|path| path.match_indices('/').map(|(end, _)| &path[..end]))
        .collect();
    if parents.is_empty() {
        return Ok(());
    }
    let entries = async |sha: &Sha| {
        let options = ["ls-tree", "-z", sha.as_str(), "--"];
        git.ask(options.iter().chain(&parents)).await
    };
    let now = entries(new).await?;
    let mut before = Vec::new();
    for tip in tips {
        before.push(entries(tip).await?);
    }
    for entry in now
        .split('\0')
        .filter(|entry| !entry.is_empty() && !entry.starts_with("040000 "))
    {
        if !before.iter().any(|tip| tip.split('\0').any(|old| old == entry)) {
            let path = entry.split_once('\t').map_or(entry, |(_, path)| path);
            return Err(Refusal::DeniedPath {
                path: path.to_owned(),
            }
            .into());
        }
    }
    Ok(())
}
