//! What the agent is told.

use std::fmt::Write as _;

use gastown_api::pod::REPO_DIR;
use gastown_api::work_order::WorkOrder;

use super::bead::Bead;
use super::resume::Resumed;

/// The most branches and the most paths that are named.
const MAX_NAMED: usize = 100;

/// The prompt of an order, with the text of its bead if one was found.
#[must_use]
pub fn compose(order: &WorkOrder, bead: Option<&Bead>, resumed: Option<&Resumed>) -> String {
    let mut prompt = format!(
        "You are {}, a polecat of the rig {}. You work alone on one task; nobody can answer questions.\n",
        order.owner, order.rig
    );
    if let Some(task) = &order.role.task {
        section(&mut prompt, "Task", task);
    }
    if let Some(id) = &order.role.bead {
        match bead {
            Some(bead) => describe(&mut prompt, id, bead),
            None => section(
                &mut prompt,
                &format!("Bead {id}"),
                "The task above is the text of this bead.",
            ),
        }
    }
    if let Some(resumed) = resumed {
        section(&mut prompt, "Work that was begun", &resumption(resumed));
    }
    section(&mut prompt, "How your work is delivered", &delivery(order));
    prompt
}

/// The first of many: the prompt has to fit a command line.
fn named(all: &[String], separator: &str) -> String {
    let (first, more) = all.split_at(all.len().min(MAX_NAMED));
    let mut text = first.join(separator);
    if !more.is_empty() {
        let _strings_take_everything = write!(text, "{separator}and {} more", more.len());
    }
    text
}

/// What an earlier attempt left and where it is now.
#[must_use]
pub fn resumption(resumed: &Resumed) -> String {
    if !resumed.found {
        return format!(
            "An earlier attempt was interrupted, but what it had left on {} is no longer on the remote.",
            resumed.name
        );
    }
    let mut text = "An earlier attempt was interrupted. What it had changed is in the work tree again, uncommitted: look at it \
                    with `git status` and `git diff`, and go on from there."
        .to_owned();
    if !resumed.branches.is_empty() {
        let _strings_take_everything = write!(
            text,
            " Commits that it had not pushed are on: {}.",
            named(&resumed.branches, ", ")
        );
    }
    if !resumed.work_trees.is_empty() {
        let _strings_take_everything = write!(
            text,
            " These work trees, linked to the clone, have uncommitted changes too: {}.",
            named(&resumed.work_trees, ", ")
        );
    }
    if !resumed.left_out.is_empty() {
        let _strings_take_everything = write!(text, " Not restored: {}.", named(&resumed.left_out, "; "));
    }
    text
}

fn describe(prompt: &mut String, id: &str, bead: &Bead) {
    section(prompt, &format!("Bead {id}: {}", bead.title), "");
    for (heading, text) in &bead.sections {
        let _strings_take_everything = write!(prompt, "\n## {heading}\n{text}\n");
    }
    if !bead.comments.is_empty() {
        prompt.push_str("\n## Comments\n");
    }
    for [author, time, text] in &bead.comments {
        let _strings_take_everything = writeln!(prompt, "- {author} ({time}): {text}");
    }
}

fn section(prompt: &mut String, heading: &str, text: &str) {
    let _strings_take_everything = write!(prompt, "\n# {heading}\n");
    if !text.is_empty() {
        let _strings_take_everything = writeln!(prompt, "{}", text.trim_end());
    }
}

fn delivery(order: &WorkOrder) -> String {
    let mut text = format!(
        "- {repository} is cloned in {REPO_DIR}, with the branch `{work}` checked out. Stay on this branch: \
         only what is on it is delivered. Merge into it whatever you do on another branch or in another work tree.\n\
         - Commit your work with git, in small commits whose messages say why.\n\
         - Push with `git push origin HEAD:refs/heads/{work}`. `origin` is a host inside this pod that passes your \
         commits on; it takes this branch only, and no force-push. No pull request is needed.\n\
         - The commands `gt` and `bd` do not exist here.\n\
         - When the task is done and pushed, stop. If nothing has to change, or you cannot do it, say why in your \
         last message.\n",
        repository = order.role.git.remote.repository,
        work = order.role.git.work_branch,
    );
    if order.role.git.other_branches {
        text.push_str(
            "- Another branch or tag of the repository is fetched by its name, for reading: `git fetch origin NAME`.\n",
        );
    }
    if !order.role.git.denied_paths.is_empty() {
        let paths: Vec<_> = order
            .role
            .git
            .denied_paths
            .iter()
            .map(|path| format!("`{path}`"))
            .collect();
        let _strings_take_everything = writeln!(
            text,
            "- Pushes that change these paths are refused: {}.",
            paths.join(", ")
        );
    }
    text
}
