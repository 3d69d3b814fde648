//! Polecats: from a spec to one pod at a time, and from the pod's evidence to a status.

pub mod build;
mod carry_out;
pub mod classify;
mod dispatch;
#[cfg(test)]
mod fixture;
mod object;
mod observe;
pub mod plan;
pub mod retry;
pub mod status;
mod triggers;
pub mod validate;

use std::sync::Arc;

use gastown_api::evidence::Evidence;
use gastown_api::polecat::Polecat;
use gastown_api::rig::Rig;
use jiff::Timestamp;

use self::dispatch::Dispatch;
use self::plan::{Act, Observed, PlanPod, Step, next};
use super::Caches;
use crate::attempt::ReportCache;
use crate::cache::{Packed, Reflected, Unreadable};
use crate::cluster::Call;
use crate::driver::{Controller, Roster, Then, Writes};
use crate::images::Images;
use crate::metrics::Metrics;
use crate::pod_view::PodView;
use crate::types::{Key, Settings};

/// Registers the kind. A polecat is reconciled when its pod or its rig changes, too.
pub fn register(roster: &mut Roster, caches: &Caches, settings: &Arc<Settings>) {
    let polecats = Polecats {
        settings: settings.clone(),
        metrics: roster.metrics.clone(),
        rigs: caches.rigs.clone(),
        pods: caches.pods.clone(),
        reports: ReportCache::default(),
        images: Images::new(settings.clone()),
        dispatch: Dispatch::follow(caches, settings),
    };
    let dispatch = polecats.dispatch.clone();
    let triggers = roster.drive(&caches.polecats, polecats);
    dispatch.trigger(&triggers);
    triggers::on_pods(caches, &triggers);
    triggers::on_rigs(caches, triggers);
    let index = caches.polecats_by_rig.clone();
    roster
        .metrics
        .count_by_phase("polecats", "Polecats by phase", move || {
            let phases = index.phases().into_iter();
            phases
                .map(|(phase, count)| (object::phase_name(phase), count))
                .collect()
        });
}

/// The controller of polecats.
struct Polecats {
    settings: Arc<Settings>,
    metrics: Arc<Metrics>,
    rigs: Arc<Reflected<Rig>>,
    pods: Arc<Reflected<Packed<PodView>>>,
    reports: ReportCache<Evidence>,
    images: Images,
    dispatch: Arc<Dispatch>,
}

impl Controller for Polecats {
    type Stored = Packed<Polecat>;
    type Observed = Observed;
    type Act = Act;
    type Flaw = PlanPod;

    const KIND: &'static str = "Polecat";

    fn begin(&self) {
        self.dispatch.begin();
    }

    fn observe(&self, polecat: Arc<Polecat>) -> Result<Observed, Unreadable> {
        observe::observe(self, polecat)
    }

    fn next(&self, observed: &Observed, now: Timestamp) -> Result<Step, PlanPod> {
        next(observed, &self.settings, now)
    }

    fn name_of(act: &Act) -> &'static str {
        act.name()
    }

    async fn carry_out(&self, act: Act, observed: &mut Observed, writes: &Writes) -> Result<Then, Call> {
        carry_out::carry_out(self, act, observed, writes).await
    }

    async fn gone(&self, key: &Key, writes: &Writes) {
        self.reports.forget(key);
        self.dispatch.withdraw(key);
        carry_out::clear_orphan(self, key, writes).await;
    }
}
