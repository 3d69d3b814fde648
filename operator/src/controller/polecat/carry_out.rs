//! Carries out a step of a polecat: one call of the API server, and what came of it.

use std::sync::Arc;

use gastown_api::evidence::Evidence;
use gastown_api::labels;
use gastown_api::pod::pod_name;
use gastown_api::polecat::Polecat;
use gastown_api::text::chain;
use jiff::Timestamp;
use kube::Resource as _;

use super::Polecats;
use super::plan::{Act, Observed, StatusUpdate, next_of_orphan};
use crate::attempt::{FIRST, PodWriter};
use crate::cluster::Call;
use crate::driver::{Then, Writes};
use crate::images::Asked;
use crate::types::Key;

/// One act on one polecat.
struct Acting<'a> {
    polecats: &'a Polecats,
    writes: &'a Writes,
    key: Key,
}

/// Makes one call, and observes what came of it.
pub(super) async fn carry_out(
    polecats: &Polecats,
    act: Act,
    observed: &mut Observed,
    writes: &Writes,
) -> Result<Then, Call> {
    let acting = Acting {
        polecats,
        writes,
        key: Key::of(&*observed.polecat),
    };
    acting.carry_out(act, observed).await
}

impl Acting<'_> {
    async fn carry_out(&self, act: Act, observed: &mut Observed) -> Result<Then, Call> {
        let cluster = &self.writes.cluster;
        if act.starts_an_attempt() {
            observed.bound = self.polecats.dispatch.ask(&observed.polecat);
            if observed.bound.is_some() {
                return Ok(Then::Next);
            }
        }
        match act {
            Act::Claim { finalizers, labels } => {
                let claimed = cluster.mark("claim", &*observed.polecat, &finalizers, &labels);
                self.saw_polecat(observed, claimed.await?);
                observed.attempt.claimed = Some(FIRST);
            }
            Act::RestorePolecat { finalizers, labels } => {
                let restored = cluster.mark("restore", &*observed.polecat, &finalizers, &labels);
                self.saw_polecat(observed, restored.await?);
                observed.attempt.restored = true;
            }
            Act::AskForImage(question) => {
                match self.polecats.images.ask(&question, &self.key, Timestamp::now()) {
                    Asked::Known(answer) => observed.image = Some((*question, answer)),
                    Asked::Errand(errand) => {
                        self.writes.background.run_errand(errand);
                        return Ok(Then::Wait);
                    }
                    Asked::Joined => return Ok(Then::Wait),
                }
            }
            Act::Pod(act) => {
                let pod = pod_writer(self.polecats, &self.key, self.writes);
                return pod.carry_out(act, &mut observed.attempt).await;
            }
            Act::ReleasePolecat => {
                let finalizer = labels::POLECAT_FINALIZER;
                let released = cluster.release_finalizer(&*observed.polecat, finalizer).await?;
                observed.polecat = Arc::new(released);
            }
            Act::DeletePolecat => {
                let deleted = cluster.delete(&*observed.polecat).await?;
                self.saw_polecat(observed, deleted);
            }
            Act::WriteStatus(update) => self.write_status(*update, observed).await?,
        }
        Ok(Then::Next)
    }

    fn saw_polecat(&self, observed: &mut Observed, polecat: Polecat) {
        self.writes.wrote(&self.key, &polecat.metadata);
        observed.polecat = Arc::new(polecat);
    }

    /// The status first, and then what is told of it.
    async fn write_status(&self, update: StatusUpdate, observed: &mut Observed) -> Result<(), Call> {
        let cluster = &self.writes.cluster;
        let applied = cluster.apply_status(&*observed.polecat, &update.status).await?;
        self.polecats.dispatch.wrote(&applied);
        if let Some(ended) = update.ended {
            self.polecats.metrics.attempt_ended(&ended);
        }
        if let Some(transition) = update.transition {
            let Key { namespace, name } = &self.key;
            let reason = transition.reason;
            self.polecats.metrics.told(reason);
            tracing::info!(namespace, name, %reason, note = transition.note, "transition");
            self.writes
                .background
                .publish(applied.object_ref(&()), transition);
        }
        self.saw_polecat(observed, applied);
        observed.attempt.refusal = None;
        observed.attempt.claimed = update.claims.or(observed.attempt.claimed);
        Ok(())
    }
}

fn pod_writer<'a>(polecats: &'a Polecats, key: &Key, writes: &'a Writes) -> PodWriter<'a, Evidence> {
    PodWriter {
        writes,
        pods: &polecats.pods,
        reports: &polecats.reports,
        metrics: &polecats.metrics,
        owner: key.clone(),
        pod: Key::new(&key.namespace, pod_name(&key.name)),
    }
}

/// A pod whose polecat is gone, because someone took its finalizer off, is released when it has ended.
pub(super) async fn clear_orphan(polecats: &Polecats, key: &Key, writes: &Writes) {
    let orphan = pod_writer(polecats, key, writes);
    match polecats.pods.get(&orphan.pod) {
        Ok(Some(pod)) => {
            let step = next_of_orphan(&pod, &polecats.settings, Timestamp::now());
            orphan.clear_orphan(step).await;
        }
        Ok(None) => {}
        Err(error) => {
            tracing::warn!(error = %chain(&error), "cannot clear the pod of a polecat that is gone");
        }
    }
}
