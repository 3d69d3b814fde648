//! The operator: its looks, and what the API server makes of its acts.

use gastown_api::labels::{EVIDENCE_FINALIZER, POLECAT_FINALIZER};
use gastown_api::pod::BROKER;
use gastown_api::reason::Reason;
use k8s_openapi::api::core::v1::Pod;

use super::kubelet::evidence;
use super::*;
use crate::attempt::{self, BrokerReport, FIRST, PodAct, PodLookup};
use crate::controller::polecat::plan::{Act, Observed, StatusUpdate, Step, next, next_of_orphan};
use crate::types::{self, Refusal};

type Labels = BTreeMap<String, String>;

impl Town {
    /// One look of the operator; any call may fail, and the operator may die after any.
    pub(super) fn look(&mut self) {
        let Some(polecat) = self.seen_polecat.clone() else {
            self.tend_orphan();
            return;
        };
        let ready = self
            .seen_pod
            .as_ref()
            .and_then(|p| p.container(BROKER))
            .is_none_or(|b| b.ready);
        if ready {
            self.report = None;
        }
        let mut observed = Observed {
            polecat,
            rig: None,
            attempt: attempt::Observed {
                pod: self
                    .seen_pod
                    .clone()
                    .map_or(PodLookup::NotCached, PodLookup::Found),
                report: self.report.clone(),
                refusal: None,
                claimed: None,
                restored: false,
            },
            image: None,
            bound: None,
            lends_at: None,
        };
        for _ in 0..12 {
            match next(&observed, self.settings, at(self.now)).unwrap() {
                Step::Wait(wake) => {
                    self.wake = wake;
                    return;
                }
                Step::Act(act) => {
                    self.tell(format!("  {}", act.name()));
                    if !self.calm && self.rng.u8(..12) == 0 {
                        return self.tell("  the call fails");
                    }
                    if self.carry_out(act, &mut observed).is_err() {
                        self.tell("  a conflict, or gone");
                        return self.watches_deliver();
                    }
                    if !self.calm && self.rng.u8(..12) == 0 {
                        return self.operator_restarts();
                    }
                }
            }
        }
        self.demand(false, "a look has an end");
    }

    fn tend_orphan(&mut self) {
        let Some(pod) = self.seen_pod.clone() else { return };
        match next_of_orphan(&pod, self.settings, at(self.now)) {
            types::Step::Act(PodAct::Release { uid }) => self.release(&uid),
            types::Step::Wait(wake) => self.wake = wake,
            types::Step::Act(PodAct::Delete { uid }) if self.pod.as_ref().is_some_and(|p| p.uid() == uid) => {
                self.delete_pod(GRACE);
            }
            types::Step::Act(_) => {}
        }
        self.watches_deliver();
    }

    fn carry_out(&mut self, act: Act, observed: &mut Observed) -> Result<(), Broken> {
        match act {
            Act::Claim { finalizers, labels } => {
                self.precondition(observed)?;
                self.touch(|polecat| {
                    polecat.metadata.finalizers = Some(finalizers);
                    polecat.metadata.labels = Some(labels);
                });
                self.observe_polecat(observed)?;
                observed.attempt.claimed = Some(FIRST);
            }
            Act::RestorePolecat { finalizers, labels } => {
                self.restore_polecat(finalizers, labels, observed)?;
            }
            Act::Pod(PodAct::Restore { uid, labels }) => self.restore_pod(&uid, labels, observed)?,
            Act::AskForImage(_) => {
                self.demand(false, "no image is named");
            }
            Act::Pod(PodAct::Create(pod)) => self.create(&pod, observed),
            Act::Pod(PodAct::Look) => self.observe_pod(observed),
            Act::Pod(PodAct::ReadBroker { uid, attempt }) => {
                let machine = self
                    .machines
                    .iter()
                    .find(|m| m.uid == uid && m.node == Node::Well);
                let machine = machine.filter(|_| self.pod.is_some()).ok_or(Broken)?;
                let report = BrokerReport {
                    pod_uid: uid,
                    evidence: Some(evidence(machine)).filter(|e| i64::from(e.attempt) == i64::from(attempt)),
                    read_at: at(self.now),
                };
                self.report = Some(report.clone());
                observed.attempt.report = Some(report);
            }
            Act::Pod(PodAct::Grant { .. }) => {
                self.demand(false, "there is no budget");
            }
            Act::Pod(PodAct::Delete { uid }) => {
                if self.pod.as_ref().is_some_and(|p| p.uid() == uid) {
                    self.delete_pod(GRACE);
                } else if self.pod.is_some() {
                    return Err(Broken);
                }
                self.observe_pod(observed);
            }
            Act::Pod(PodAct::Release { uid }) => {
                if self.pod.as_ref().is_some_and(|p| p.uid() != uid) {
                    return Err(Broken);
                }
                self.release(&uid);
                self.observe_pod(observed);
            }
            Act::ReleasePolecat => {
                self.precondition(observed)?;
                self.check_release_of_the_polecat();
                self.touch(|polecat| {
                    if let Some(all) = &mut polecat.metadata.finalizers {
                        all.retain(|finalizer| finalizer != POLECAT_FINALIZER);
                    }
                });
                let released = self.polecat.clone();
                self.forget_released_polecat();
                observed.polecat = Arc::new(released.ok_or(Broken)?);
                self.watches_deliver();
            }
            Act::DeletePolecat => {
                self.demand(false, "nothing says that it should be deleted");
            }
            Act::WriteStatus(report) => {
                self.precondition(observed)?;
                self.check_status(&report);
                let StatusUpdate { status, claims, .. } = *report;
                self.touch(|polecat| polecat.status = Some(status));
                self.observe_polecat(observed)?;
                observed.attempt.refusal = None;
                observed.attempt.claimed = claims.or(observed.attempt.claimed);
            }
        }
        Ok(())
    }

    fn restore_polecat(
        &mut self,
        finalizers: Vec<String>,
        labels: Labels,
        observed: &mut Observed,
    ) -> Result<(), Broken> {
        self.precondition(observed)?;
        let deleting = self
            .polecat
            .as_ref()
            .is_some_and(|p| p.metadata.deletion_timestamp.is_some());
        self.demand(!deleting, "the API server adds no finalizer to what is deleted");
        self.touch(|polecat| {
            polecat.metadata.finalizers = Some(finalizers);
            polecat.labels_mut().extend(labels);
        });
        observed.attempt.restored = true;
        self.observe_polecat(observed)
    }

    fn restore_pod(&mut self, uid: &str, labels: Labels, observed: &mut Observed) -> Result<(), Broken> {
        let pod = self
            .pod
            .as_mut()
            .filter(|pod| pod.uid() == uid && !pod.is_deleting());
        let meta = &mut pod.ok_or(Broken)?.metadata;
        meta.finalizers = Some(vec![EVIDENCE_FINALIZER.to_owned()]);
        meta.labels.get_or_insert_default().extend(labels);
        self.observe_pod(observed);
        observed.attempt.restored = true;
        Ok(())
    }

    fn precondition(&self, observed: &Observed) -> Result<(), Broken> {
        let current = self.polecat.as_ref().map(|p| &p.metadata.resource_version);
        if current == Some(&observed.polecat.metadata.resource_version) {
            Ok(())
        } else {
            Err(Broken)
        }
    }

    /// What a write answered is what the next look waits to see.
    fn observe_polecat(&mut self, observed: &mut Observed) -> Result<(), Broken> {
        let polecat = Arc::new(self.polecat.clone().ok_or(Broken)?);
        self.seen_polecat = Some(polecat.clone());
        observed.polecat = polecat;
        Ok(())
    }

    fn observe_pod(&mut self, observed: &mut Observed) {
        self.seen_pod = self.labelled_pod();
        let pod = self.pod.clone().map(Arc::new);
        observed.attempt.pod = pod.map_or(PodLookup::NotFound, PodLookup::Found);
    }

    fn create(&mut self, pod: &Pod, observed: &mut Observed) {
        if self.pod.is_some() {
            return self.observe_pod(observed);
        }
        if !self.calm && self.rng.u8(..10) == 0 {
            let reason = self.rng.choice([Reason::QuotaExceeded, Reason::AdmissionRefused]);
            observed.attempt.refusal = reason.map(|reason| Refusal::new(reason, "no"));
            return self.tell("  the pod is refused");
        }
        let uid = format!("pod-{}", self.version);
        self.version += 1;
        let mut view = PodView {
            metadata: pod.metadata.clone(),
            ..PodView::default()
        };
        view.metadata.annotations = None;
        view.metadata.uid = Some(uid.clone());
        view.metadata.creation_timestamp = Some(Time(at(self.now)));
        view.status.phase = Some("Pending".to_owned());
        let number = view.attempt().unwrap_or(0);
        self.tell(format!("  pod {uid} of attempt {number}"));
        self.check_creation(&uid, number);
        self.pod = Some(view);
        self.observe_pod(observed);
        observed.attempt.claimed = None;
    }

    fn release(&mut self, uid: &str) {
        let Some(number) = self.numbers.get(uid).copied() else {
            return;
        };
        self.check_release(uid, number);
        if let Some(pod) = &mut self.pod {
            pod.metadata.finalizers = None;
        }
        self.forget_released_pod();
    }
}
