//! How long each part of a push may take, from the git host outwards to the agent's container. Whoever waits for another
//! waits longer than that one may take: a slow answer is then heard, and no limit of ours is taken for a refusal.
//!
//! ```text
//! polecat run: DELIVER  >  broker: RECEIVE, of one push before ours and of ours
//!                            = INDEX + INSPECT + FORWARD
//!                                                = PUSH_AGAIN_WITHIN + PUSH + 2 × REREAD + FOLLOW
//!                                                                      PUSH > HOST_ANSWER (the gateway)
//! ```
//!
//! Where an outer limit must be shorter all the same (the grace of a pod that is told to stop), the broker goes on when
//! its client is gone, and the remote is read again before anything is said of the push.

use std::time::Duration;

/// The longest the git host may take before it begins its answer: its hooks run before.
pub const HOST_ANSWER: Duration = Duration::from_mins(10);

/// One `git push` of the broker to the git host.
pub const PUSH: Duration = Duration::from_mins(11);

/// For how long after it was begun a push that failed is tried again.
pub const PUSH_AGAIN_WITHIN: Duration = Duration::from_mins(1);

/// One listing of the git host's refs.
pub const LIST: Duration = Duration::from_mins(1);

/// Reading the remote again until it answers.
pub const REREAD: Duration = Duration::from_mins(2);

/// Fetching what another hand pushed.
pub const FOLLOW: Duration = Duration::from_mins(5);

/// Reading and indexing the pack of one push.
pub const INDEX: Duration = Duration::from_mins(5);

/// Judging what one push brings.
pub const INSPECT: Duration = Duration::from_mins(5);

/// One push as the broker's clients see it.
pub const RECEIVE: Duration = Duration::from_secs(
    INDEX.as_secs()
        + INSPECT.as_secs()
        + PUSH_AGAIN_WITHIN.as_secs()
        + PUSH.as_secs()
        + 2 * REREAD.as_secs()
        + FOLLOW.as_secs(),
);

/// Delivery by `polecat run`, when the agent ended by itself. The keeper's push may stand before it.
pub const DELIVER: Duration = Duration::from_mins(65);

/// How long delivery goes on when the pod is told to stop: the keeper and the broker share what is left of the grace.
pub const DELIVER_WHILE_STOPPING: Duration = Duration::from_secs(20);

const _: () = assert!(HOST_ANSWER.as_secs() < PUSH.as_secs());
const _: () = assert!(LIST.as_secs() < REREAD.as_secs());
const _: () = assert!(2 * RECEIVE.as_secs() < DELIVER.as_secs());
