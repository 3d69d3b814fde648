//! Checkpoints: the base is learned as soon as the broker serves, and a snapshot is taken where one is due and something
//! changed.

use std::sync::Arc;
use std::time::Instant;

use gastown_api::control_api::{Checkpoint, ModelActivity};
use gastown_api::work_order::PaceOrder;

use super::change_detection::{self, Fingerprint};
use super::context::Purpose;
use super::schedule::Schedule;
use super::serve::Keeper;
use super::work_trees::Search;
use crate::await_broker;
use polecat_common::console::{escape, explain, say};
use polecat_common::control::ask;

/// A look by `stat` gets one part in so many of a checkpoint's time.
const SHARE_OF_LOOK: u32 = 4;

/// The most bytes of why a checkpoint failed that the status shows.
const MAX_FAILURE: usize = 300;

/// What the keeper remembers between two checkpoints.
#[derive(Debug)]
pub(super) struct Watch {
    schedule: Schedule,
    /// The tree of which everything is saved.
    saved: Option<Fingerprint>,
    /// What became of the last checkpoint, until the broker has heard it.
    untold: Option<Checkpoint>,
}

impl Watch {
    /// Nothing is saved yet.
    pub(super) fn starting(pace: &PaceOrder) -> Self {
        Self {
            schedule: Schedule::new(pace, Instant::now()),
            saved: None,
            untold: None,
        }
    }
}

impl Keeper {
    /// Fetches once the broker serves, so that the base is known before the agent pushes.
    pub(super) async fn learn(self: &Arc<Self>) -> Option<Watch> {
        let watch = Watch::starting(&self.order.role.pace);
        match await_broker::ask(self.port).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return None,
            // Nothing will ever be cloned.
            Err(_) => return Some(watch),
        }
        let keeper = Arc::clone(self);
        let deadline = self.deadline(Purpose::Last, Instant::now());
        let refresh = move || keeper.store.refresh(deadline).map_err(|error| explain(&error));
        let refreshed = tokio::task::spawn_blocking(refresh).await;
        match refreshed.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(_) => Some(watch),
            Err(words) => {
                say(&format!("polecat keeper: {words}"));
                None
            }
        }
    }

    /// Takes a checkpoint where one is due and something changed.
    pub(super) async fn look(self: &Arc<Self>, watch: &mut Watch) {
        if let Some(checkpoint) = &watch.untold
            && ask(self.port, checkpoint).await.is_ok()
        {
            watch.untold = None;
        }
        let turns = self.turns().await;
        if !watch.schedule.is_due(Instant::now(), turns) {
            return;
        }
        let started = Instant::now();
        let seen = {
            let keeper = Arc::clone(self);
            let deadline = started + (self.deadline(Purpose::Checkpoint, started) - started) / SHARE_OF_LOOK;
            let survey = move || keeper.detect_changes(deadline);
            tokio::task::spawn_blocking(survey).await.unwrap_or_default()
        };
        let unchanged = seen.is_some() && seen == watch.saved;
        let taken = if unchanged {
            None
        } else {
            Some(self.snapshot("checkpoint", Purpose::Checkpoint, started).await)
        };
        let saved = taken.as_ref().is_none_or(Result::is_ok);
        if let Some(taken) = taken {
            let failure = taken.err().map(|words| ending_of(&escape(&words)));
            let checkpoint = Checkpoint { failure };
            let heard = ask(self.port, &checkpoint).await.is_ok();
            watch.untold = Some(checkpoint).filter(|_| !heard);
        }
        watch.saved = seen.filter(|_| saved);
        watch.schedule.looked(Instant::now(), turns, saved);
    }

    /// Looks at every repository near the volumes' roots, whether or not it is a copy of the clone.
    fn detect_changes(&self, deadline: Instant) -> Option<Fingerprint> {
        let search = Search {
            clone: &self.work_tree,
            volumes: &self.volumes,
            deadline,
        };
        let trees = search.run(|_| true);
        let roots = trees.clone.iter().chain(&trees.others);
        change_detection::fingerprint(roots.map(|tree| tree.path.as_path()), deadline)
    }

    /// None: the broker is away, or too busy.
    async fn turns(&self) -> Option<u64> {
        let calls = ask(self.port, &ModelActivity {}).await.ok()?;
        Some(calls.turns)
    }
}

/// The last bytes of why a checkpoint failed: git and the host say the reason at the end.
fn ending_of(words: &str) -> String {
    match words.len().checked_sub(MAX_FAILURE) {
        None | Some(0) => words.to_owned(),
        Some(from) => format!("…{}", &words[words.ceil_char_boundary(from + '…'.len_utf8())..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_of_a_failure_is_at_its_end() {
        assert_eq!(ending_of("no space"), "no space");
        let long = format!("{}: no space", "\u{e4}".repeat(500));
        let shown = ending_of(&long);
        assert!(
            shown.starts_with('…') && shown.ends_with("ä: no space"),
            "{shown}"
        );
        assert!(
            shown.len() <= MAX_FAILURE && shown.len() > MAX_FAILURE - 3,
            "{}",
            shown.len()
        );
    }
}
