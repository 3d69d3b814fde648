//! The work order: what the containers of the pod are told.

use gastown_api::git::Sha;
use gastown_api::polecat::Polecat;
use gastown_api::work_order::{GitOrder, Limits, ModelOrder, WorkOrder};
use kube::ResourceExt as _;

use crate::config::Config;
use crate::controller::polecat::validate::Work;

/// The work order of attempt `attempt`.
#[must_use]
pub fn work_order(polecat: &Polecat, work: &Work, attempt: i32, config: &Config) -> WorkOrder {
    WorkOrder {
        polecat: polecat.name_any(),
        namespace: polecat.namespace().unwrap_or_default(),
        rig: polecat.spec.rig.clone(),
        attempt: u32::try_from(attempt).unwrap_or(1),
        bead: work.bead.clone(),
        task: work.task.clone(),
        git: git_order(polecat, work, config),
        model: ModelOrder {
            endpoint: work.endpoint.clone(),
            model: work.model.clone(),
            allowed_models: config.allowed_models.clone(),
            secret: work.model_secret.clone(),
            secret_key: work.model_key.clone(),
            tokens_left: work.tokens_left,
            micros_left: work.micros_left,
            prices: config.prices.clone(),
        },
        limits: Limits {
            deadline_seconds: work.deadline_seconds,
            parking_seconds: u64::from(config.parking_seconds),
            grace_seconds: u64::from(config.grace_seconds),
        },
    }
}

fn git_order(polecat: &Polecat, work: &Work, config: &Config) -> GitOrder {
    let base = polecat.status.as_ref().and_then(|s| s.base.as_deref());
    let base: Option<Sha> = base.and_then(|b| b.parse().ok());
    GitOrder {
        repository: work.repository.clone(),
        base_branch: work.base_branch.clone(),
        work_branch: work.work_branch.clone(),
        base,
        secret: work.git_secret.clone(),
        trusted_hosts: work.trusted_hosts.clone(),
        known_hosts: config.known_hosts.clone(),
        denied_paths: config.denied_paths.clone(),
        max_push_bytes: config.max_push_bytes,
    }
}
