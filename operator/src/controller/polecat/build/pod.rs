//! The pod of an attempt: `broker`, `keeper`, `git-init` and `claude`. Its shape is in `docs/architecture.md`; who
//! mounts what is the reason why the agent cannot reach a key.

mod containers;
mod volumes;

use std::collections::BTreeMap;

use gastown_api::pod_metadata::Table;
use gastown_api::polecat::Polecat;
use gastown_api::work_order::Control;
use gastown_api::{labels, pod};
use gastown_crypto::sha256;
use k8s_openapi::api::core::v1::{LocalObjectReference, Pod, PodSecurityContext, PodSpec, SeccompProfile};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::ObjectMeta;
use kube::{Resource as _, ResourceExt as _};

use super::order::work_order;
use crate::controller::polecat::validate::{Work, labels_of};
use crate::types::Settings;

/// The longest that the API server lets a pod live.
const LONGEST: i64 = i32::MAX as i64;

/// The pod of attempt `attempt`.
pub fn pod(
    polecat: &Polecat,
    work: &Work,
    attempt: i32,
    settings: &Settings,
) -> Result<Pod, serde_json::Error> {
    let config = &settings.config;
    let order = work_order(polecat, work, attempt, config);
    let json = serde_json::to_string(&order)?;
    let digest = sha256(json.as_bytes()).hex();
    let mut annotations = work.options.annotations.clone();
    annotations.extend([
        (
            "kubectl.kubernetes.io/default-container".to_owned(),
            pod::CLAUDE.to_owned(),
        ),
        (labels::WORK_ORDER.to_owned(), json),
    ]);
    if order.model.has_budget() {
        let granted = order.model.left().first_quarter();
        let control = serde_json::to_string(&Control { granted })?;
        annotations.insert(labels::CONTROL.to_owned(), control);
    }
    let limits = order.limits;
    let backstop = [
        limits.deadline_seconds,
        limits.parking_seconds,
        limits.grace_seconds,
    ]
    .into_iter()
    .fold(0_i64, i64::saturating_add_unsigned);
    let pull_secret = |name: &String| LocalObjectReference { name: name.clone() };
    let options = &work.options;
    let pull_secrets: Vec<_> = options.pull_secrets.iter().map(pull_secret).collect();
    let placement = options.placement.clone();
    Ok(Pod {
        metadata: ObjectMeta {
            name: Some(pod::pod_name(&polecat.name_any())),
            namespace: polecat.namespace(),
            labels: Some(labels_with(&work.options.labels, polecat, attempt)),
            annotations: Some(annotations),
            finalizers: Some(vec![labels::EVIDENCE_FINALIZER.to_owned()]),
            owner_references: Some(owner(polecat).into_iter().collect()),
            ..ObjectMeta::default()
        },
        spec: Some(PodSpec {
            init_containers: Some(vec![
                containers::broker(work, settings, &digest),
                containers::keeper(settings, &digest),
                containers::git_init(settings, &digest),
            ]),
            containers: vec![containers::claude(work, &digest)],
            volumes: Some(volumes::volumes(work, config)),
            restart_policy: Some("Never".to_owned()),
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            host_users: options.host_users,
            node_selector: placement.node_selector,
            tolerations: placement.tolerations,
            affinity: placement.affinity.map(|affinity| *affinity),
            priority_class_name: placement.priority_class_name,
            runtime_class_name: placement.runtime_class_name,
            image_pull_secrets: (!pull_secrets.is_empty()).then_some(pull_secrets),
            security_context: Some(security_context()),
            termination_grace_period_seconds: Some(i64::from(config.grace_seconds)),
            active_deadline_seconds: Some(backstop.min(LONGEST)),
            ..PodSpec::default()
        }),
        status: None,
    })
}

/// No user, no group: OpenShift chooses them, and the images run as any.
fn security_context() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            localhost_profile: None,
        }),
        ..PodSecurityContext::default()
    }
}

/// The labels of the pod of attempt `attempt`.
#[must_use]
pub fn pod_labels(polecat: &Polecat, attempt: i32) -> BTreeMap<String, String> {
    let of_polecat = labels_of(polecat)
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value));
    let attempt = (labels::ATTEMPT.to_owned(), attempt.to_string());
    let managed = (
        "app.kubernetes.io/managed-by".to_owned(),
        "gastown-operator".to_owned(),
    );
    of_polecat.chain([attempt, managed]).collect()
}

/// Ours win: the tables were checked, and a polecat's labels are what its pods are found by.
fn labels_with(given: &Table, polecat: &Polecat, attempt: i32) -> BTreeMap<String, String> {
    let mut all = given.clone();
    all.extend(pod_labels(polecat, attempt));
    all
}

/// The controller reference without `blockOwnerDeletion`: with it, OpenShift asks for rights on finalizers of polecats.
fn owner(polecat: &Polecat) -> Option<OwnerReference> {
    Some(OwnerReference {
        api_version: Polecat::api_version(&()).into_owned(),
        kind: Polecat::kind(&()).into_owned(),
        name: polecat.name_any(),
        uid: polecat.uid()?,
        controller: Some(true),
        block_owner_deletion: None,
    })
}

#[cfg(test)]
mod tests;
