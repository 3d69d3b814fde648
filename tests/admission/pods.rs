//! The chart's policies for the pods of polecats: who may change them, and who may look into them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::ask::{Answer, Person, Server, parse};

const POLICIES: &str = include_str!("../../helm/gastown-operator/files/pod-policy.yaml");
const NAMESPACE: &str = "pod-policy";
const POLICY: &str = "pod-policy-test";
const OPERATOR: &str = "system:serviceaccount:gastown-system:gastown-operator";
const WORK_ORDER: &str = "gastown.io/work-order";

/// Who may do anything with pods, as far as RBAC goes.
const MALLORY: Person<'static> = Person {
    user: "mallory",
    groups: &["people", "system:authenticated"],
};

/// A change of a pod, as a strategic merge patch of a subresource.
struct Change {
    what: &'static str,
    subresource: &'static str,
    patch: Value,
}

fn change(what: &'static str, subresource: &'static str, patch: Value) -> Change {
    Change {
        what,
        subresource,
        patch,
    }
}

fn pod(name: &str, labels: &Value) -> Value {
    let container = |name: &str| json!({"name": name, "image": "registry.example.com/agent:1"});
    let mut broker = container("broker");
    broker["restartPolicy"] = json!("Always");
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {
        "name": name, "namespace": NAMESPACE, "labels": labels, "finalizers": ["gastown.io/evidence"],
        "annotations": {WORK_ORDER: "{}", "kubectl.kubernetes.io/default-container": "claude"},
    }, "spec": {"initContainers": [broker], "containers": [container("claude"), container("mesh")]}})
}

/// The chart's policies, bound to the namespace of this test.
async fn policies(server: &Server) {
    let text = POLICIES
        .replace("POLICY", POLICY)
        .replace("OPERATOR", OPERATOR)
        .replace("EXEMPT_USERS", r#"["root"]"#)
        .replace("EXEMPT_GROUPS", r#"["system:masters"]"#);
    let group = "/apis/admissionregistration.k8s.io/v1";
    for document in text.split("\n---\n") {
        let policy = parse(document);
        let name = policy["metadata"]["name"].as_str().unwrap();
        let path = format!("{group}/validatingadmissionpolicies/{name}");
        server.put(&path, &policy).await.unwrap();
        let binding = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": name}, "spec": {"policyName": name, "validationActions": ["Deny"],
                "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}}}}});
        let path = format!("{group}/validatingadmissionpolicybindings/{name}");
        server.put(&path, &binding).await.unwrap();
    }
}

async fn scene() -> Server {
    let server = Server::connect().await;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    server.ensure("/api/v1/namespaces", &namespace).await;
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": POLICY},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "people"}]});
    server
        .ensure("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", &binding)
        .await;
    let pods = format!("/api/v1/namespaces/{NAMESPACE}/pods");
    let labels = json!({"gastown.io/polecat": "x", "gastown.io/attempt": "1"});
    server.ensure(&pods, &pod("polecat-x", &labels)).await;
    server
        .ensure(&pods, &pod("other", &json!({"app": "other"})))
        .await;
    policies(&server).await;
    let deadline = Instant::now() + Duration::from_mins(1);
    let relabel = change("", "", json!({"metadata": {"labels": {"a": "b"}}}));
    let forward = "portforward?ports=8418";
    while patch(&server, "polecat-x", &relabel, &MALLORY).await.is_ok()
        || !is_denied(&connect(&server, forward, &MALLORY).await)
    {
        assert!(Instant::now() < deadline, "the policies do not come into force");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    server
}

async fn patch(server: &Server, pod: &str, change: &Change, person: &Person<'_>) -> Answer {
    let (subresource, body) = (change.subresource, &change.patch);
    let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{pod}{subresource}?dryRun=All");
    server.patch_as(person, &path, body).await
}

/// Nothing answers behind the API server here: what it lets pass fails in another way.
async fn connect(server: &Server, how: &str, person: &Person<'_>) -> Answer {
    let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/polecat-x/{how}");
    server.get_as(person, &path).await
}

fn is_denied(answer: &Answer) -> bool {
    answer.as_ref().is_err_and(|message| message.contains(POLICY))
}

#[rustfmt::skip]
fn changes() -> Vec<Change> {
    vec![
        change("a label", "", json!({"metadata": {"labels": {"gastown.io/attempt": "2"}}})),
        change("a label that a NetworkPolicy may select", "", json!({"metadata": {"labels": {"egress": "all"}}})),
        change("the label that the policy goes by", "", json!({"metadata": {"labels": {"gastown.io/polecat": null}}})),
        change("the finalizer", "", json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["gastown.io/evidence"]}})),
        change("an owner", "", json!({"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "b"}]}})),
        change("the work order", "", json!({"metadata": {"annotations": {WORK_ORDER: "{\"git\":1}"}}})),
        change("no work order", "", json!({"metadata": {"annotations": {WORK_ORDER: null}}})),
        change("more of the budget", "", json!({"metadata": {"annotations": {"gastown.io/control": "{\"granted\":{\"tokens\":9}}"}}})),
        change("where exec leads", "", json!({"metadata": {"annotations": {"kubectl.kubernetes.io/default-container": "broker"}}})),
        change("the agent's image", "", json!({"spec": {"containers": [{"name": "claude", "image": "evil:1"}]}})),
        change("the broker's image", "", json!({"spec": {"initContainers": [{"name": "broker", "image": "evil:1"}]}})),
        change("a container for debugging", "/ephemeralcontainers", json!({"spec": {"ephemeralContainers": [
            {"name": "debugger", "image": "busybox", "targetContainerName": "broker"}]}})),
        change("evidence", "/status", json!({"status": {"phase": "Succeeded", "containerStatuses": [{"name": "claude",
            "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": {"terminated": {"exitCode": 0}}}]}})),
    ]
}

#[tokio::test]
async fn nobody_but_the_operator_and_the_system_changes_a_polecats_pod() {
    let server = scene().await;
    for change in changes() {
        let answer = patch(&server, "polecat-x", &change, &MALLORY).await;
        assert!(is_denied(&answer), "{}: {answer:?}", change.what);
        // Not everything is a change that the API server allows at all; no policy stands in the way of these.
        for (user, group) in [
            (OPERATOR, "people"),
            ("system:kube-controller-manager", "people"),
            ("system:node:n1", "system:nodes"),
            (
                "system:serviceaccount:kube-system:pod-garbage-collector",
                "system:serviceaccounts:kube-system",
            ),
            ("root", "people"),
            ("admin", "system:masters"),
        ] {
            let person = Person {
                user,
                groups: &[group, "people"],
            };
            let answer = patch(&server, "polecat-x", &change, &person).await;
            assert!(!is_denied(&answer), "{} by {user}: {answer:?}", change.what);
        }
        // Nor in that of other pods.
        let answer = patch(&server, "other", &change, &MALLORY).await;
        let takes_the_label = change.patch["metadata"]["labels"]["gastown.io/polecat"].is_string();
        assert_eq!(is_denied(&answer), takes_the_label, "{}: {answer:?}", change.what);
    }
    let note = json!({"metadata": {"annotations": {"k8s.v1.cni.cncf.io/network-status": "[]"}}});
    for subresource in ["", "/status"] {
        let note = change("a network's note", subresource, note.clone());
        patch(&server, "polecat-x", &note, &MALLORY).await.unwrap();
    }
    let join = change(
        "the label",
        "",
        json!({"metadata": {"labels": {"gastown.io/polecat": "x"}}}),
    );
    assert!(is_denied(&patch(&server, "other", &join, &MALLORY).await));
}

#[tokio::test]
async fn nobody_runs_anything_where_the_keys_are_and_the_agents_container_stays_open() {
    let server = scene().await;
    for denied in [
        "exec?command=id&container=broker",
        "exec?command=id&container=keeper",
        "attach?container=broker",
        "attach?container=keeper",
        "portforward",
        "portforward?ports=8417",
    ] {
        let answer = connect(&server, denied, &MALLORY).await;
        assert!(is_denied(&answer), "{denied}: {answer:?}");
        let root = Person {
            user: "root",
            groups: &["people"],
        };
        let answer = connect(&server, denied, &root).await;
        assert!(!is_denied(&answer), "{denied}: {answer:?}");
    }
    for allowed in [
        "exec?command=id&container=claude",
        "exec?command=id",
        "attach?container=claude",
        "exec?command=id&container=mesh",
    ] {
        let answer = connect(&server, allowed, &MALLORY).await;
        assert!(!is_denied(&answer), "{allowed}: {answer:?}");
    }
}
