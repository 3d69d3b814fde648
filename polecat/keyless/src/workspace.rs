//! What clone, keeper and run agree on: places in the volumes that they share, and the polecat's identity.

use gastown_api::work_order::WorkOrder;

/// Where the clone is made, beside its place, until it is complete.
pub const PARTIAL: &str = ".clone";

/// Where below `HOME` the prompt is.
pub const PROMPT_FILE: &str = ".gastown/prompt.md";

/// The variables that name author and committer of commits to git.
#[must_use]
pub fn identity(order: &WorkOrder) -> [(&'static str, String); 4] {
    let (author, committer) = (order.author(), order.committer());
    [
        ("GIT_AUTHOR_NAME", author.name),
        ("GIT_AUTHOR_EMAIL", author.email),
        ("GIT_COMMITTER_NAME", committer.name),
        ("GIT_COMMITTER_EMAIL", committer.email),
    ]
}
