//! What others do to polecats and their pods: policies that inject containers and limits, manifests applied anew, changes of
//! mind, and people who try to change a pod that works.

use std::time::Duration;

use gastown_api::labels;
use gastown_api::polecat::{AttemptOutcome, Polecat, PolecatPhase};
use gastown_tests::harness::{PATIENCE, World, condition, node, operator, stand_in, with_world, within};
use http::Request;
use k8s_openapi::api::core::v1::{LimitRange, Node, Pod};
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use crate::ends::{HALF_WAY, holds_everything, wip_of};

/// Delivers, and leaves nothing behind.
const DELIVER: &str =
    "echo done > work.txt; git add work.txt; git commit -q -m Work; git push -q origin HEAD";

#[tokio::test]
async fn an_eviction_without_a_grace_says_what_may_be_lost() {
    with_world("hard-eviction", async |world: &World| {
        let _remote = world.testbed().await;
        world.credentials().await;
        let wait =
            "until [ -e /tmp/go ]; do sleep 0.2; done; head -c 400M /dev/zero > /tmp/fill; exec sleep 600";
        world
            .sling(stand_in("evicted", &format!("{HALF_WAY}\n{wait}")))
            .await;
        world.log_holds("evicted", "claude", "half way there").await;
        // A keeper that stands still neither warns nor saves.
        let keeper = node::process_one(world, "evicted", "keeper").await;
        node::run(&format!(
            "kill -STOP {}; touch /proc/{}/root/tmp/go",
            keeper.pid, keeper.pid
        ))
        .await;
        let (polecat, attempt) = world.attempt_ends("evicted", 1).await;
        assert_eq!(attempt.reason.as_deref(), Some("Evicted"), "{attempt:?}");
        let (lost, _, message) = condition(&polecat, "WorkMayBeLost").unwrap();
        assert!(lost, "{message}");
    })
    .await;
}

#[tokio::test]
async fn a_manifest_that_is_replaced_gets_its_finalizer_and_labels_back() {
    with_world("replaced", async |world: &World| {
        let _remote = world.testbed().await;
        world.credentials().await;
        let manifest = stand_in(
            "replaced",
            &format!("echo at work; until [ -e /tmp/go ]; do sleep 0.2; done; {DELIVER}"),
        );
        world.sling(manifest.clone()).await;
        world.log_holds("replaced", "claude", "at work").await;
        let before = world.api::<Polecat>().get("replaced").await.unwrap();
        let original: Polecat = serde_json::from_value(manifest).unwrap();
        let polecats = world.api::<Polecat>();
        // As `kubectl replace` does; the operator may write the status in between.
        let replaced = within(PATIENCE, "the manifest replaces the object", async || {
            let now = polecats.get("replaced").await.unwrap();
            let mut original = original.clone();
            original.metadata.resource_version = now.resource_version();
            let replaced = polecats
                .replace("replaced", &PostParams::default(), &original)
                .await;
            replaced.map_err(|error| error.to_string())
        })
        .await;
        assert!(replaced.finalizers().is_empty() && replaced.labels().is_empty());
        let marked = |polecat: &Polecat| {
            polecat.finalizers() == before.finalizers() && polecat.labels() == before.labels()
        };
        world
            .polecat_until("replaced", "finalizer and labels are back", marked)
            .await;
        let pod = world.pod_of("replaced").await.unwrap();
        let taken = json!({"metadata": {"finalizers": null, "labels": null}});
        world.patch::<Pod>("polecat-replaced", taken).await;
        let holds = |now: Option<&Pod>| {
            now.is_some_and(|now| now.finalizers() == pod.finalizers() && now.labels() == pod.labels())
        };
        world
            .until("polecat-replaced", PATIENCE, "the pod has them back", holds)
            .await;
        let agent = node::process_one(world, "replaced", "claude").await;
        node::run(&format!("touch /proc/{}/root/tmp/go", agent.pid)).await;
        let polecat = world.ends("replaced", PolecatPhase::Done).await;
        assert_eq!(polecat.status.unwrap().attempts.len(), 1, "one pod did it all");
    })
    .await;
}

#[tokio::test]
async fn a_container_that_a_policy_injects_does_not_hold_a_delivered_polecat() {
    with_world("injected", async |world: &World| {
        let remote = world.testbed().await;
        world.credentials().await;
        inject_sidecar(world).await;
        world.sling(stand_in("meshed", DELIVER)).await;
        // The injected container ignores SIGTERM, so that the pod takes all of its grace.
        let done = |polecat: Option<&Polecat>| {
            polecat.is_some_and(|p| {
                p.status
                    .as_ref()
                    .is_some_and(|s| s.phase == Some(PolecatPhase::Done))
            })
        };
        let limit = Duration::from_mins(5);
        let polecat = world.until("meshed", limit, "it is Done", done).await.unwrap();
        let status = polecat.status.unwrap();
        assert_eq!(status.attempts.len(), 1, "{:?}", status.attempts);
        let head = remote
            .sha(&format!("refs/heads/{}", status.branch.unwrap()))
            .await;
        assert_eq!(status.head, Some(head));
        for plural in ["mutatingadmissionpolicies", "mutatingadmissionpolicybindings"] {
            operator::remove(&world.client, MUTATIONS, plural, &world.namespace).await;
        }
    })
    .await;
}

const MUTATIONS: &str = "admissionregistration.k8s.io/v1beta1";

/// Adds an ordinary container to every pod of a polecat of this world, as a mesh does. It ignores SIGTERM.
async fn inject_sidecar(world: &World) {
    let image = stand_in("any", "")["spec"]["kubernetes"]["image"].clone();
    let sidecar = format!(
        "Object.spec.containers{{name: \"mesh\", image: {image}, command: [\"sleep\", \"100000\"], \
         securityContext: Object.spec.containers.securityContext{{allowPrivilegeEscalation: false, runAsNonRoot: true, \
         capabilities: Object.spec.containers.securityContext.capabilities{{drop: [\"ALL\"]}}}}}}"
    );
    let name = &world.namespace;
    let policy = json!({"apiVersion": MUTATIONS, "kind": "MutatingAdmissionPolicy", "metadata": {"name": name}, "spec": {
        "failurePolicy": "Fail", "reinvocationPolicy": "Never",
        "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]},
        "matchConditions": [{"name": "polecat", "expression": "object.metadata.name.startsWith('polecat-')"}],
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {
            "expression": format!("[JSONPatch{{op: \"add\", path: \"/spec/containers/-\", value: {sidecar}}}]")}}],
    }});
    let binding = json!({"apiVersion": MUTATIONS, "kind": "MutatingAdmissionPolicyBinding", "metadata": {"name": name}, "spec": {
        "policyName": name, "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}},
    }});
    operator::apply(&world.client, "mutatingadmissionpolicies", &policy).await;
    operator::apply(&world.client, "mutatingadmissionpolicybindings", &binding).await;
    let probe: Pod = serde_json::from_value(json!({"metadata": {"name": "polecat-probe"}, "spec": {
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{"name": "claude", "image": image, "securityContext": {
            "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}],
    }}))
    .unwrap();
    let dry_run = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    within(PATIENCE, "the policy injects", async || {
        let pod = world.api::<Pod>().create(&dry_run, &probe).await;
        let count = pod
            .map_err(|error| error.to_string())?
            .spec
            .unwrap()
            .containers
            .len();
        if count == 2 {
            Ok(())
        } else {
            Err("it does not yet".to_owned())
        }
    })
    .await;
}

#[tokio::test]
async fn a_limit_of_storage_that_a_limit_range_injects_ends_the_pod_before_the_kubelet_does() {
    with_world("limited", async |world: &World| {
        let remote = world.testbed().await;
        world.credentials().await;
        let amounts = |storage: &str| json!({"ephemeral-storage": storage});
        let limits = json!({"metadata": {"name": "defaults"}, "spec": {"limits": [
            {"type": "Container", "default": amounts("100Mi"), "defaultRequest": amounts("10Mi")}]}});
        world.create::<LimitRange>(limits).await;
        // Each volume may hold far more than three containers of 100 MiB together.
        let fill = "while :; do head -c 3M /dev/urandom >> \"$HOME/fill\"; sleep 1; done";
        world
            .sling(stand_in("limited", &format!("{HALF_WAY}\n{fill}")))
            .await;
        world.log_holds("limited", "claude", "half way there").await;
        let wip = wip_of(world, "limited").await;
        let (_, attempt) = world.attempt_ends("limited", 1).await;
        assert_eq!(attempt.reason.as_deref(), Some("DiskFull"), "{attempt:?}");
        let message = attempt.message.unwrap();
        assert!(
            message.contains("ephemeral storage") && message.contains("of 314572800 bytes"),
            "{message}"
        );
        holds_everything(&remote, &wip).await;
    })
    .await;
}

#[tokio::test]
async fn idle_and_working_again_while_the_pod_ends_is_a_stop_and_then_a_new_attempt() {
    with_world("mind", async |world: &World| {
        let _remote = world.testbed().await;
        world.credentials().await;
        let script = format!(
            "if [ -e half.txt ]; then git add half.txt; {DELIVER}; exit 0; fi\necho half > half.txt; echo at work; exec sleep 600"
        );
        world.sling(stand_in("mind", &script)).await;
        world.log_holds("mind", "claude", "at work").await;
        let want = async |desired: &str| {
            let patch = json!({"spec": {"desiredState": desired}});
            world.patch::<Polecat>("mind", patch).await;
        };
        want("Idle").await;
        let going = |pod: Option<&Pod>| pod.is_none_or(|pod| pod.metadata.deletion_timestamp.is_some());
        world.until("polecat-mind", PATIENCE, "the pod is to go", going).await;
        want("Working").await;
        let (_, attempt) = world.attempt_ends("mind", 1).await;
        assert_eq!(attempt.outcome, Some(AttemptOutcome::Stopped), "{attempt:?}");
        assert_eq!(attempt.reason.as_deref(), Some("Idle"));
        let polecat = world.ends("mind", PolecatPhase::Done).await;
        assert_eq!(polecat.status.unwrap().attempts.len(), 2);
    })
    .await;
}

fn forged() -> Value {
    json!({"metadata": {"annotations": {labels::WORK_ORDER: "{\"attempt\": 1, \"model\": {\"endpoint\": \"http://evil\"}}"}}})
}

#[tokio::test]
async fn a_work_order_that_is_changed_changes_no_pod_that_works_and_starts_none() {
    with_world("forged", async |world: &World| {
        let _remote = world.testbed().await;
        world.credentials().await;
        let script = format!("echo at work; until [ -e /tmp/go ]; do sleep 0.2; done; {DELIVER}");
        world.sling(stand_in("working", &script)).await;
        world.log_holds("working", "claude", "at work").await;
        let before = node::container(world, "working", "broker").await;
        world.patch::<Pod>("polecat-working", forged()).await;
        let agent = node::process_one(world, "working", "claude").await;
        let broker = node::process_one(world, "working", "broker").await;
        // Until the kubelet has written the annotation into the broker's volume.
        let order = format!("/proc/{}/root/etc/gastown/work-order.json", broker.pid);
        within(PATIENCE, "the change is in the volume", async || {
            let now = node::run(&format!("cat {order}")).await;
            if now.contains("evil") { Ok(()) } else { Err(now) }
        })
        .await;
        node::run(&format!("kill -KILL {}", broker.pid)).await;
        node::container_after(world, "working", "broker", &before).await;
        world
            .log_holds("working", "broker", "goes on with the order that it began with")
            .await;
        node::run(&format!("touch /proc/{}/root/tmp/go", agent.pid)).await;
        world.ends("working", PolecatPhase::Done).await;

        // No node takes this pod until it has been changed.
        let mut waiting = stand_in("waiting", DELIVER);
        let label = format!("gastown-tests/{}", world.namespace);
        waiting["spec"]["kubernetes"]["nodeSelector"] = json!({label.clone(): "yes"});
        world.sling(waiting).await;
        let unschedulable =
            |p: &Polecat| condition(p, "Ready").is_some_and(|(_, reason, _)| reason == "Unschedulable");
        world
            .polecat_until("waiting", "no node takes it", unschedulable)
            .await;
        world.patch::<Pod>("polecat-waiting", forged()).await;
        let nodes = Api::<Node>::all(world.client.clone());
        for node in nodes.list(&ListParams::default()).await.unwrap() {
            let patch = json!({"metadata": {"labels": {label.clone(): "yes"}}});
            nodes
                .patch(&node.name_any(), &PatchParams::default(), &Patch::Merge(&patch))
                .await
                .unwrap();
        }
        let (_, message) = world.is_stuck("waiting", "WorkOrderChanged").await;
        assert!(message.contains("gastown.io/work-order"), "{message}");
    })
    .await;
}

#[tokio::test]
async fn who_may_patch_and_exec_pods_reaches_no_broker_and_no_keeper() {
    with_world("guarded", async |world: &World| {
        let _remote = world.testbed().await;
        world.credentials().await;
        let binding = json!({"metadata": {"name": "developer"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "developer"}]});
        world.create::<RoleBinding>(binding).await;
        world
            .sling(stand_in("guarded", "echo at work; exec sleep 600"))
            .await;
        world.log_holds("guarded", "claude", "at work").await;
        let ask = async |method: &str, what: &str, body: Value| {
            let path = format!("/api/v1/namespaces/{}/pods/polecat-guarded{what}", world.namespace);
            let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
            let request = Request::builder()
                .method(method)
                .uri(path)
                .header("content-type", "application/strategic-merge-patch+json")
                .header("impersonate-user", "developer")
                .body(body)
                .unwrap();
            let answer = world.client.request_text(request).await;
            answer.err().map_or_else(String::new, |error| error.to_string())
        };
        for what in [
            "/exec?command=id&container=broker",
            "/exec?command=id&container=keeper",
            "/attach?container=broker",
            "/portforward?ports=8418",
        ] {
            let said = ask("GET", what, Value::Null).await;
            assert!(said.contains("gastown-operator-pods-access"), "{what}: {said}");
        }
        let image = json!({"spec": {"containers": [{"name": "claude", "image": "evil"}]}});
        let restricted = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
        let debugger = json!({"spec": {"ephemeralContainers": [{"name": "d", "image": "evil", "securityContext": restricted}]}});
        for (what, patch) in [("", forged()), ("", image), ("/ephemeralcontainers", debugger)] {
            let said = ask("PATCH", what, patch).await;
            assert!(said.contains("gastown-operator-pods-changes"), "{what}: {said}");
        }
        // What `kubectl gt attach` does is refused by no policy.
        let said = ask("GET", "/exec?command=id&container=claude", Value::Null).await;
        assert!(!said.contains("gastown-operator-pods"), "{said}");
    })
    .await;
}
