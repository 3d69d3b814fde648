//! What the cluster does not let in.

use gastown_api::polecat::{Polecat, PolecatPhase};
use gastown_tests::harness::{PATIENCE, World, condition, operator, polecat, reason, with_world, within};
use k8s_openapi::api::core::v1::{Pod, ResourceQuota};
use kube::api::{DeleteParams, PostParams};
use serde_json::json;

/// What the API server says to a pod that every world may have; none is made.
async fn say_to_a_pod(world: &World) -> kube::Result<Pod> {
    let pod = json!({"metadata": {"name": "never-made"}, "spec": {
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{"name": "x", "image": "none", "securityContext": {
            "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}],
    }});
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    world
        .api::<Pod>()
        .create(&dry, &serde_json::from_value(pod).unwrap())
        .await
}

#[tokio::test]
async fn a_quota_that_forbids_the_pod_is_stuck_and_says_so() {
    with_world("quota", async |world: &World| {
        world
            .create::<ResourceQuota>(json!({"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}))
            .await;
        let in_force = |quota: Option<&ResourceQuota>| {
            let status = quota.and_then(|quota| quota.status.as_ref());
            status.is_some_and(|status| status.hard.as_ref().is_some_and(|hard| hard.contains_key("pods")))
        };
        world
            .until("none", PATIENCE, "the quota is in force", in_force)
            .await;
        world.sling(polecat("bearclaw", "unused")).await;
        let (_, message) = world.is_stuck("bearclaw", "QuotaExceeded").await;
        assert!(message.contains("exceeded quota: none"), "{message}");
        assert!(world.pods_of("bearclaw").await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn an_admission_policy_that_forbids_the_pod_is_stuck_with_its_words() {
    const GROUP: &str = "admissionregistration.k8s.io/v1";
    const POLICIES: &str = "validatingadmissionpolicies";
    const BINDINGS: &str = "validatingadmissionpolicybindings";
    with_world("policy", async |world: &World| {
        let name = &world.namespace;
        let policy = json!({
            "apiVersion": GROUP, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name},
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {"resourceRules": [{
                    "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"],
                }]},
                "validations": [{"expression": "false", "message": "no pods on Sundays"}],
            },
        });
        let binding = json!({
            "apiVersion": GROUP, "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": name},
            "spec": {
                "policyName": name, "validationActions": ["Deny"],
                "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}},
            },
        });
        operator::apply(&world.client, POLICIES, &policy).await;
        operator::apply(&world.client, BINDINGS, &binding).await;
        // A policy takes effect a moment after it is stored.
        within(PATIENCE, "the policy is in force", async || {
            match say_to_a_pod(world).await {
                Err(kube::Error::Api(refusal)) if refusal.message.contains("no pods on Sundays") => Ok(()),
                answer => Err(format!("the answer to a pod is {answer:?}")),
            }
        })
        .await;
        world.sling(polecat("coma", "unused")).await;
        let stuck = world.is_stuck("coma", "AdmissionRefused").await;
        operator::remove(&world.client, GROUP, BINDINGS, name).await;
        operator::remove(&world.client, GROUP, POLICIES, name).await;
        assert!(stuck.1.contains("no pods on Sundays"), "{}", stuck.1);
        assert!(world.pods_of("coma").await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn an_image_that_cannot_be_pulled_is_stuck() {
    with_world("image", async |world: &World| {
        world.testbed().await;
        world.credentials().await;
        let mut object = polecat("doof", "unused");
        object["spec"]["kubernetes"]["image"] = json!("registry.invalid/none:1");
        world.sling(object).await;
        let (_, message) = world.is_stuck("doof", "ImagePullFailed").await;
        assert!(message.contains("registry.invalid/none:1"), "{message}");
    })
    .await;
}

#[tokio::test]
async fn a_pod_that_no_node_can_take_says_why_and_is_not_stuck() {
    with_world("unschedulable", async |world: &World| {
        let mut object = polecat("rictus", "unused");
        object["spec"]["kubernetes"]["resources"] =
            json!({"requests": {"cpu": "1000"}, "limits": {"cpu": "1000"}});
        world.sling(object).await;
        let polecat = world
            .polecat_until("rictus", "it is Unschedulable", |polecat| {
                reason(polecat) == "Unschedulable"
            })
            .await;
        let (ready, _, message) = condition(&polecat, "Ready").unwrap();
        assert!(!ready && message.contains("Insufficient cpu"), "{message}");
        assert_eq!(polecat.status.unwrap().phase, Some(PolecatPhase::Working));
        let deleted = world
            .api::<Polecat>()
            .delete("rictus", &DeleteParams::default())
            .await;
        deleted.unwrap();
        world
            .until("rictus", PATIENCE, "it is gone", |polecat: Option<&Polecat>| {
                polecat.is_none()
            })
            .await;
    })
    .await;
}
