//! Carries out the acts of an attempt: one call of the API server, and what came of it.

use std::sync::Arc;

use gastown_api::pod::BROKER;
use gastown_api::text::chain;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use super::act::PodAct;
use super::evidence::{Evidence, evidence_in_log};
use super::observed::{BrokerReport, Observed, PodLookup};
use super::reports::ReportCache;
use crate::cache::{Packed, Reflected};
use crate::cluster::{Call, Created};
use crate::driver::{Release, Then, Writes};
use crate::metrics::Metrics;
use crate::pod_view::PodView;
use crate::types::{Key, Step};

/// What the calls about one owner's pod are made with.
pub struct PodWriter<'a, E> {
    /// The API server, and what waits for its watches.
    pub writes: &'a Writes,
    /// The pods of the kind.
    pub pods: &'a Reflected<Packed<PodView>>,
    /// The reports of the kind.
    pub reports: &'a ReportCache<E>,
    /// The metrics.
    pub metrics: &'a Metrics,
    /// The owner.
    pub owner: Key,
    /// Its pod.
    pub pod: Key,
}

impl<E: Evidence> PodWriter<'_, E> {
    /// Makes one call, and puts what came of it into `seen`.
    pub async fn carry_out(&self, act: PodAct, seen: &mut Observed<E>) -> Result<Then, Call> {
        let cluster = &self.writes.cluster;
        let (namespace, name) = (&self.pod.namespace, &self.pod.name);
        match act {
            PodAct::Create(pod) => self.create(&pod, seen).await?,
            PodAct::Look => seen.pod = self.look().await?,
            PodAct::ReadBroker { uid, attempt } => self.read_broker(uid, attempt, seen).await?,
            PodAct::Grant { uid, granted } => {
                seen.pod = self.after(cluster.grant(namespace, name, &uid, granted).await?);
            }
            PodAct::Delete { uid } => {
                seen.pod = self.after(cluster.delete_pod(namespace, name, &uid).await?);
            }
            PodAct::Restore { uid, labels } => {
                seen.pod = self.after(cluster.restore_pod(namespace, name, &uid, &labels).await?);
                seen.restored = true;
            }
            // Its release triggers the owner again.
            PodAct::Release { uid } if !seen.pod.is_deleting() => {
                self.writes.background.release(Release {
                    owner: self.owner.clone(),
                    pod: self.pod.clone(),
                    uid,
                    watch: self.pods.version(namespace).cloned(),
                });
                return Ok(Then::Wait);
            }
            PodAct::Release { uid } => {
                seen.pod = self.after(cluster.release_pod(namespace, name, &uid).await?);
            }
        }
        Ok(Then::Next)
    }

    /// Takes `step` for the pod of an owner that is gone: none is left whose status could say anything.
    pub async fn clear_orphan(&self, step: Step<PodAct>) {
        let act = match step {
            Step::Act(act) => act,
            Step::Wait(None) => return,
            Step::Wait(Some(at)) => return self.writes.trigger_at(self.owner.clone(), at),
        };
        let cluster = &self.writes.cluster;
        let (namespace, name) = (&self.pod.namespace, &self.pod.name);
        let outcome = match act {
            PodAct::Release { uid } => cluster.release_pod(namespace, name, &uid).await,
            PodAct::Delete { uid } => cluster.delete_pod(namespace, name, &uid).await,
            _ => return,
        };
        if let Err(error) = outcome {
            let owner = &self.owner;
            tracing::warn!(error = %chain(&error), %owner, "failed to clear the pod of an object that is gone");
            self.writes.trigger(owner.clone());
        }
    }

    /// What a write left of the pod.
    fn after(&self, pod: Option<PodView>) -> PodLookup {
        pod.map_or(PodLookup::NotFound, |pod| {
            self.wrote(&pod);
            PodLookup::Found(Arc::new(pod))
        })
    }

    fn wrote(&self, pod: &PodView) {
        let watch = self.pods.version(&self.pod.namespace);
        self.writes.wrote_for(&self.owner, watch, &pod.metadata);
    }

    async fn create(&self, pod: &Pod, seen: &mut Observed<E>) -> Result<(), Call> {
        match self.writes.cluster.create_pod(pod).await? {
            Created::Pod(view) => {
                self.metrics.pod_created();
                self.wrote(&view);
                seen.pod = PodLookup::Found(Arc::new(*view));
                seen.claimed = None;
            }
            Created::Exists => seen.pod = self.look().await?,
            Created::Refused(refusal) => seen.refusal = Some(refusal),
        }
        Ok(())
    }

    /// Asks the API server for the pod.
    async fn look(&self) -> Result<PodLookup, Call> {
        let found = self
            .writes
            .cluster
            .find_pod(&self.pod.namespace, &self.pod.name)
            .await?;
        Ok(found.map_or(PodLookup::NotFound, |pod| PodLookup::Found(Arc::new(pod))))
    }

    /// Reads the end of the broker's log.
    async fn read_broker(&self, pod_uid: String, attempt: i32, seen: &mut Observed<E>) -> Result<(), Call> {
        let cluster = &self.writes.cluster;
        let log = cluster
            .end_of_log(&self.pod.namespace, &self.pod.name, BROKER, E::LOG_LINES)
            .await?;
        let report = BrokerReport {
            pod_uid,
            evidence: evidence_in_log(&log, attempt),
            read_at: Timestamp::now(),
        };
        self.reports.keep(self.owner.clone(), report.clone());
        seen.report = Some(report);
        Ok(())
    }
}
