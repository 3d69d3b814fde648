//! Carries out a step of a polecat: one call of the API server, and what came of it.

use std::sync::Arc;

use gastown_api::labels;
use gastown_api::pod::{BROKER, pod_name};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::Resource as _;

use super::Polecats;
use super::judge::evidence_in_log;
use super::plan::{
    Act, BrokerReport, FIRST_ATTEMPT, Observed, PodLookup, StatusUpdate, Step, next_of_orphan,
};
use crate::cluster::{Call, Created};
use crate::driver::{Release, Then, Writes};
use crate::images::Asked;
use crate::pod_view::PodView;
use crate::types::Key;

/// Lines read of a broker's log: evidence is the last thing it says, but its logs share the stream.
const LOG_LINES: i64 = 20;

/// One act on one polecat.
struct Acting<'a> {
    polecats: &'a Polecats,
    writes: &'a Writes,
    key: Key,
    /// The name of the polecat's pod.
    pod: String,
}

/// Makes one call, and observes what came of it.
pub(super) async fn carry_out(
    polecats: &Polecats,
    act: Act,
    observed: &mut Observed,
    writes: &Writes,
) -> Result<Then, Call> {
    let key = Key::of(&*observed.polecat);
    let acting = Acting {
        polecats,
        writes,
        pod: pod_name(&key.name),
        key,
    };
    acting.carry_out(act, observed).await
}

impl Acting<'_> {
    async fn carry_out(&self, act: Act, observed: &mut Observed) -> Result<Then, Call> {
        let cluster = &self.writes.cluster;
        let (namespace, pod) = (&self.key.namespace, &self.pod);
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
                observed.claimed = Some(FIRST_ATTEMPT);
            }
            Act::RestorePolecat { finalizers, labels } => {
                let restored = cluster.mark("restore", &*observed.polecat, &finalizers, &labels);
                self.saw_polecat(observed, restored.await?);
                observed.restored = true;
            }
            Act::RestorePod { uid, labels } => {
                let restored = cluster.restore_pod(namespace, pod, &uid, &labels).await?;
                observed.pod = self.seen_pod(restored);
                observed.restored = true;
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
            Act::CreatePod(pod) => self.create_pod(&pod, observed).await?,
            Act::LookForPod => observed.pod = self.look_for_pod().await?,
            Act::ReadBroker { uid, attempt } => self.read_broker(uid, attempt, observed).await?,
            Act::Grant { uid, granted } => {
                observed.pod = self.seen_pod(cluster.grant(namespace, pod, &uid, granted).await?);
            }
            Act::DeletePod { uid } => {
                observed.pod = self.seen_pod(cluster.delete_pod(namespace, pod, &uid).await?);
            }
            // Its release triggers this polecat again.
            Act::ReleasePod { uid } if !observed.pod.is_deleting() => {
                self.writes.background.release(self.release(uid));
                return Ok(Then::Wait);
            }
            Act::ReleasePod { uid } => {
                observed.pod = self.seen_pod(cluster.release_pod(namespace, pod, &uid).await?);
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

    fn saw_polecat(&self, observed: &mut Observed, polecat: gastown_api::polecat::Polecat) {
        self.writes.wrote(&self.key, &polecat.metadata);
        observed.polecat = Arc::new(polecat);
    }

    /// What a write left of the pod.
    fn seen_pod(&self, pod: Option<PodView>) -> PodLookup {
        pod.map_or(PodLookup::NotFound, |pod| {
            self.wrote_pod(&pod);
            PodLookup::Found(Arc::new(pod))
        })
    }

    fn wrote_pod(&self, pod: &PodView) {
        let watch = self.polecats.pods.version(&self.key.namespace);
        self.writes.wrote_for(&self.key, watch, &pod.metadata);
    }

    fn release(&self, uid: String) -> Release {
        Release {
            owner: self.key.clone(),
            pod: self.pod.clone(),
            uid,
            watch: self.polecats.pods.version(&self.key.namespace).cloned(),
        }
    }

    async fn create_pod(&self, pod: &Pod, observed: &mut Observed) -> Result<(), Call> {
        match self.writes.cluster.create_pod(pod).await? {
            Created::Pod(view) => {
                self.polecats.metrics.pod_created();
                self.wrote_pod(&view);
                observed.pod = PodLookup::Found(Arc::new(*view));
                observed.claimed = None;
            }
            Created::Exists => observed.pod = self.look_for_pod().await?,
            Created::Refused(refusal) => observed.refusal = Some(refusal),
        }
        Ok(())
    }

    /// Asks the API server for the pod.
    async fn look_for_pod(&self) -> Result<PodLookup, Call> {
        let found = self
            .writes
            .cluster
            .find_pod(&self.key.namespace, &self.pod)
            .await?;
        Ok(found.map_or(PodLookup::NotFound, |pod| PodLookup::Found(Arc::new(pod))))
    }

    /// Reads the end of the broker's log.
    async fn read_broker(&self, pod_uid: String, attempt: i32, observed: &mut Observed) -> Result<(), Call> {
        let cluster = &self.writes.cluster;
        let log = cluster
            .end_of_log(&self.key.namespace, &self.pod, BROKER, LOG_LINES)
            .await?;
        let report = BrokerReport {
            pod_uid,
            evidence: evidence_in_log(&log, attempt),
            read_at: Timestamp::now(),
        };
        self.polecats.reports.keep(self.key.clone(), report.clone());
        observed.report = Some(report);
        Ok(())
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
        observed.refusal = None;
        observed.claimed = update.claims.or(observed.claimed);
        Ok(())
    }
}

/// A pod whose polecat is gone, because someone took its finalizer off, is released when it has ended.
pub(super) async fn clear_orphan(polecats: &Polecats, key: &Key, writes: &Writes) {
    let name = pod_name(&key.name);
    let pod = match polecats.pods.get(&Key::new(&key.namespace, &name)) {
        Ok(Some(pod)) => pod,
        Ok(None) => return,
        Err(error) => {
            tracing::warn!(error = ?error, "cannot clear the pod of a polecat that is gone");
            return;
        }
    };
    let act = match next_of_orphan(&pod, &polecats.settings, Timestamp::now()) {
        Step::Act(act) => act,
        Step::Wait(None) => return,
        Step::Wait(Some(at)) => return writes.trigger_at(key.clone(), at),
    };
    let cluster = &writes.cluster;
    let outcome = match act {
        Act::ReleasePod { uid } => cluster.release_pod(&key.namespace, &name, &uid).await,
        Act::DeletePod { uid } => cluster.delete_pod(&key.namespace, &name, &uid).await,
        _ => return,
    };
    if let Err(error) = outcome {
        tracing::warn!(error = ?error, polecat = %key, "failed to clear the pod of a polecat that is gone");
        writes.trigger(key.clone());
    }
}
