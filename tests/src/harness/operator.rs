//! The operator that the tests watch, and what a cluster may do around it.

use std::panic::{AssertUnwindSafe, resume_unwind};

use futures::FutureExt as _;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{DeleteParams, ListParams, LogParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};

use super::{MANAGER, PATIENCE, polecats, within};

/// Where the chart is installed.
pub const NAMESPACE: &str = "gastown-system";
/// The operator's user, as the audit log names it.
pub const USER: &str = "system:serviceaccount:gastown-system:gastown-operator";
/// Namespaces with this label give a UID to pods that set none.
pub const INJECT_LABEL: &str = "gastown-tests-inject-uid";
/// The UID they get: one of the range that OpenShift would give.
pub const INJECTED_UID: i64 = 1_000_680_000;

const PODS: &str = "app.kubernetes.io/name=gastown-operator";

/// Ends every operator pod at once, and waits until others are ready: what a restart or a drained node does.
pub async fn restart(client: &Client) {
    end(client, &DeleteParams::default()).await;
}

async fn end(client: &Client, how: &DeleteParams) {
    let api = Api::<Pod>::namespaced(client.clone(), NAMESPACE);
    let labelled = ListParams::default().labels(PODS);
    let before = api.list(&labelled).await.unwrap();
    let old: Vec<_> = before.iter().filter_map(kube::ResourceExt::uid).collect();
    assert!(
        !old.is_empty(),
        "no operator runs in {NAMESPACE}: install the chart"
    );
    for pod in &before {
        // One that is gone already is as good as deleted.
        let _ = api.delete(&pod.name_any(), how).await;
    }
    within(PATIENCE, "another operator is ready", async || {
        let now = api.list(&labelled).await.map_err(|error| error.to_string())?;
        let fresh = |pod: &&Pod| pod.uid().is_some_and(|uid| !old.contains(&uid));
        let ready = now
            .iter()
            .filter(fresh)
            .any(|pod| polecats::pod_condition(pod, "Ready"));
        if ready {
            Ok(())
        } else {
            Err("none is ready".to_owned())
        }
    })
    .await;
}

/// Kills every operator pod without a moment's grace, and waits until another is ready.
pub async fn kill(client: &Client) {
    end(client, &DeleteParams::default().grace_period(0)).await;
}

/// Runs that many operator pods, and waits until they are ready, or gone.
pub async fn scale(client: &Client, replicas: i32) {
    let deployments = Api::<Deployment>::namespaced(client.clone(), NAMESPACE);
    let patch = json!({"spec": {"replicas": replicas}});
    deployments
        .patch("gastown-operator", &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .unwrap_or_else(|error| panic!("failed to scale the operator: {error}"));
    let api = Api::<Pod>::namespaced(client.clone(), NAMESPACE);
    within(PATIENCE, "the operator is scaled", async || {
        let pods = api
            .list(&ListParams::default().labels(PODS))
            .await
            .map_err(|error| error.to_string())?;
        let ready = pods
            .iter()
            .filter(|pod| polecats::pod_condition(pod, "Ready"))
            .count();
        if i32::try_from(ready) == Ok(replicas) && pods.items.len() == ready {
            Ok(())
        } else {
            Err(format!("{ready} of {} are ready", pods.items.len()))
        }
    })
    .await;
}

/// Runs `test` under an operator whose configuration has `changes`, then gives it back the old one. Only for a test that
/// runs alone.
pub async fn with_configuration(client: &Client, changes: Value, test: impl AsyncFnOnce()) {
    let maps = Api::<ConfigMap>::namespaced(client.clone(), NAMESPACE);
    let before = maps.get("gastown-operator").await.unwrap();
    let before = before.data.unwrap().remove("config.yaml").unwrap();
    let mut configuration: Value = serde_yaml_ng::from_str(&before).unwrap();
    let (object, changes) = (
        configuration.as_object_mut().unwrap(),
        changes.as_object().unwrap(),
    );
    object.extend(changes.clone());
    let put = async |text: String| {
        let patch = json!({"data": {"config.yaml": text}});
        maps.patch("gastown-operator", &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .unwrap_or_else(|error| panic!("failed to change the operator's configuration: {error}"));
        restart(client).await;
    };
    put(configuration.to_string()).await;
    let outcome = AssertUnwindSafe(test()).catch_unwind().await;
    put(before).await;
    if let Err(panic) = outcome {
        resume_unwind(panic);
    }
}

/// What the operator's pods logged.
pub async fn log(client: &Client) -> String {
    let api = Api::<Pod>::namespaced(client.clone(), NAMESPACE);
    let Ok(pods) = api.list(&ListParams::default().labels(PODS)).await else {
        return String::new();
    };
    let mut text = String::new();
    for pod in pods {
        let tail = LogParams {
            tail_lines: Some(4000),
            ..LogParams::default()
        };
        text += &api.logs(&pod.name_any(), &tail).await.unwrap_or_default();
    }
    text
}

/// Makes the cluster give UIDs to pods as OpenShift's `restricted-v2` does, in namespaces with [`INJECT_LABEL`].
pub async fn inject_uids(client: &Client) {
    let group = "admissionregistration.k8s.io/v1beta1";
    let name = "gastown-tests-inject-uid";
    let policy = json!({
        "apiVersion": group, "kind": "MutatingAdmissionPolicy", "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            "reinvocationPolicy": "Never",
            "matchConstraints": {"resourceRules": [{
                "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"],
            }]},
            "matchConditions": [{
                "name": "sets-no-uid",
                "expression": "!has(object.spec.securityContext) || !has(object.spec.securityContext.runAsUser)",
            }],
            "mutations": [{
                "patchType": "ApplyConfiguration",
                "applyConfiguration": {"expression": format!(
                    "Object{{spec: Object.spec{{securityContext: Object.spec.securityContext{{runAsUser: {INJECTED_UID}, fsGroup: {INJECTED_UID}}}}}}}"
                )},
            }],
        },
    });
    let binding = json!({
        "apiVersion": group, "kind": "MutatingAdmissionPolicyBinding", "metadata": {"name": name},
        "spec": {
            "policyName": name,
            "matchResources": {"namespaceSelector": {"matchLabels": {INJECT_LABEL: "true"}}},
        },
    });
    apply(client, "mutatingadmissionpolicies", &policy).await;
    apply(client, "mutatingadmissionpolicybindings", &binding).await;
}

/// Applies a cluster-wide object of admission registration.
pub async fn apply(client: &Client, plural: &str, object: &Value) {
    let version = object["apiVersion"].as_str().unwrap();
    let name = object["metadata"]["name"].as_str().unwrap();
    let request = http::Request::patch(format!(
        "/apis/{version}/{plural}/{name}?fieldManager={MANAGER}&force=true"
    ))
    .header("content-type", "application/apply-patch+yaml")
    .body(serde_json::to_vec(object).unwrap())
    .unwrap();
    let _: Value = client
        .request(request)
        .await
        .unwrap_or_else(|error| panic!("failed to apply {plural} {name:?}: {error}"));
}

/// Deletes a cluster-wide object of admission registration.
pub async fn remove(client: &Client, version: &str, plural: &str, name: &str) {
    let request = http::Request::delete(format!("/apis/{version}/{plural}/{name}"))
        .body(Vec::new())
        .unwrap();
    // That there is none is as good as deleted.
    let _ = client.request::<Value>(request).await;
}
