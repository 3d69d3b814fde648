//! The operators of the cluster: one, that runs, of the plugin's version.

use std::collections::BTreeSet;

use gastown_api::text::counted;
use serde_json::Value;

use super::findings::Findings;
use super::pods::{self, Pods};
use crate::cluster::{Call, Cluster};
use crate::install;
use crate::reporter::Reporter;
use crate::view::Rig;

/// The version of the operator that runs, by the label of its deployment.
pub async fn operator_version(cluster: &Cluster) -> Result<Option<String>, Call> {
    let deployments = deployments(cluster).await?;
    let label = |deployment: &Value| {
        let labels = &deployment["metadata"]["labels"];
        labels["app.kubernetes.io/version"].as_str().map(str::to_owned)
    };
    Ok(deployments.first().and_then(label))
}

/// The deployments of operators, in every namespace.
pub async fn deployments(cluster: &Cluster) -> Result<Vec<Value>, Call> {
    let path = "/apis/apps/v1/deployments?labelSelector=app.kubernetes.io%2Fname%3Dgastown-operator";
    let list = cluster.read(path, "the operator's deployment").await?;
    Ok(list["items"].as_array().cloned().unwrap_or_default())
}

/// Whether a pod of the deployment serves.
pub fn is_available(deployment: &Value) -> bool {
    deployment["status"]["availableReplicas"].as_i64() > Some(0)
}

/// Whether its first pod, or that of its newest version, is still on its way: the deployment's own deadline has not passed.
pub fn is_starting(deployment: &Value) -> bool {
    let status = |type_: &str| {
        let conditions = deployment["status"]["conditions"].as_array();
        conditions?.iter().find(|condition| condition["type"] == type_)
    };
    let progresses = status("Progressing")
        // A version that has been rolled out and does not serve is not coming, but gone.
        .is_some_and(|it| it["status"] == "True" && it["reason"] != "NewReplicaSetAvailable");
    let fails = status("ReplicaFailure").is_some_and(|it| it["status"] == "True");
    progresses && !fails && deployment["spec"]["replicas"] != 0
}

/// Why no operator is at work. None also where the user may not list deployments: one may run all the same.
pub async fn none_runs(cluster: &Cluster) -> Option<&'static str> {
    match deployments(cluster).await.ok()?.as_slice() {
        [] => Some("no operator is installed"),
        found if found.iter().any(is_available) => None,
        found if found.iter().any(is_starting) => Some("no operator runs yet (one is starting)"),
        _ => Some("no operator runs"),
    }
}

/// Warns if no operator runs, since a request then has no effect until one does.
pub async fn warn_if_none_runs(reporter: Reporter, cluster: &Cluster) {
    if let Some(why) = none_runs(cluster).await {
        reporter.warn(&format!(
            "{why}: nothing goes on until one does; `kubectl gt doctor` says what to do"
        ));
    }
}

/// What was seen of the operators.
#[derive(Debug, Default)]
pub struct Operators {
    /// The namespaces that they run in.
    pub places: Vec<String>,
    /// The images that keep one from running, which were told with it.
    pub images: BTreeSet<String>,
}

/// Checks them all.
pub async fn check(cluster: &Cluster, findings: &mut Findings) -> Operators {
    let found = match deployments(cluster).await {
        Ok(found) => found,
        Err(Call::Forbidden { .. }) => {
            findings.unknown("operator", "you may not see deployments of every namespace");
            return Operators::default();
        }
        Err(error) => {
            // It ends with its remedy.
            findings.bad("operator", &error.to_string(), "");
            return Operators::default();
        }
    };
    if found.is_empty() {
        let remedy = format!("install the chart, in a checkout: `{}`", install::CHART);
        findings.bad("operator", "no deployment of it is on the cluster", &remedy);
    }
    let mut images = BTreeSet::new();
    for deployment in &found {
        let pods = if is_available(deployment) {
            Pods::default()
        } else {
            pods::of_the_operator(cluster, place(deployment)).await
        };
        one(deployment, &pods, findings);
        images.extend(pods.missing.into_keys());
    }
    if found.len() > 1 {
        several(&found, findings);
    }
    Operators {
        places: found
            .iter()
            .map(|deployment| place(deployment).to_owned())
            .collect(),
        images,
    }
}

fn version(deployment: &Value) -> &str {
    let labels = &deployment["metadata"]["labels"];
    labels["app.kubernetes.io/version"].as_str().unwrap_or("unknown")
}

fn place(deployment: &Value) -> &str {
    deployment["metadata"]["namespace"].as_str().unwrap_or_default()
}

fn one(deployment: &Value, pods: &Pods, findings: &mut Findings) {
    let version = version(deployment);
    let place = place(deployment);
    let name = deployment["metadata"]["name"].as_str().unwrap_or_default();
    let number = |field: &str| deployment.pointer(field).and_then(Value::as_i64);
    if number("/spec/replicas") == Some(0) {
        return findings.bad(
            "operator",
            &format!(
                "{version} in {place:?} is scaled to 0: nothing goes on, and what is deleted is not let go"
            ),
            &format!("`kubectl -n {place} scale deployment {name} --replicas=1`"),
        );
    }
    if !is_available(deployment) {
        return absent(deployment, pods, findings);
    }
    let own = env!("CARGO_PKG_VERSION");
    if version.trim_end_matches("-fips") == own {
        findings.good("operator", &format!("{version} in {place:?}"));
    } else {
        let remedy = "upgrade the chart, or use the plugin of the chart's version";
        findings.careful(
            "operator",
            &format!("is {version} in {place:?}, this plugin is {own}"),
            remedy,
        );
    }
}

/// One that does not serve: since its image cannot be had, since it is only starting, or for a reason that its pods know.
fn absent(deployment: &Value, pods: &Pods, findings: &mut Findings) {
    let version = version(deployment);
    let place = place(deployment);
    let name = deployment["metadata"]["name"].as_str().unwrap_or_default();
    if let Some((image, missing)) = pods.missing.first_key_value() {
        let what = format!("{version} in {place:?} cannot start: {}", missing.what(image));
        findings.bad("operator", &what, &missing.remedy());
    } else if is_starting(deployment) && !pods.crash {
        findings.careful(
            "operator",
            &format!("{version} in {place:?} is starting"),
            "repeat `kubectl gt doctor` in a minute",
        );
    } else {
        findings.bad(
            "operator",
            &format!("{version} in {place:?} is not available"),
            &format!(
                "read `kubectl -n {place} describe deployment {name}` and `kubectl -n {place} logs deployment/{name}`"
            ),
        );
    }
}

/// The namespaces that an operator watches; none: all.
fn watched(deployment: &Value) -> Vec<&str> {
    let containers = deployment.pointer("/spec/template/spec/containers");
    let containers = containers.and_then(Value::as_array).into_iter().flatten();
    let words: Vec<_> = containers
        .flat_map(|container| ["command", "args"].map(|field| container[field].as_array()))
        .flatten()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let joined = words.iter().find_map(|word| word.strip_prefix("--namespaces="));
    let apart = words.iter().position(|word| *word == "--namespaces");
    let apart = apart.and_then(|at| words.get(at + 1)).copied();
    let list = joined.or(apart).unwrap_or_default();
    list.split(',').filter(|name| !name.is_empty()).collect()
}

/// Two that watch the same polecats answer each other's writes. Those of different namespaces still share the rigs.
fn several(found: &[Value], findings: &mut Findings) {
    let scope = |deployment: &Value| {
        let watched = watched(deployment);
        if watched.is_empty() {
            "every namespace".to_owned()
        } else {
            watched.join(", ")
        }
    };
    let all: Vec<_> = found
        .iter()
        .map(|deployment| format!("one in {:?} for {}", place(deployment), scope(deployment)))
        .collect();
    let what = format!("there are {}: {}", found.len(), all.join("; "));
    let mut seen = BTreeSet::new();
    let overlap = found.iter().any(|deployment| {
        let watched = watched(deployment);
        watched.is_empty() || watched.into_iter().any(|name| !seen.insert(name))
    });
    if overlap {
        findings.bad(
            "operator",
            &what,
            "uninstall all but one (`helm list -A` names the releases), or give each namespaces of its own",
        );
    } else {
        findings.good(
            "operator",
            &format!("{what}; a rig's status has the counts of each"),
        );
    }
}

/// Counts of operators that are in none of the namespaces `places` any more: nobody corrects them, and the sums hold them.
pub fn left_behind(rigs: &[Rig], places: &[String], findings: &mut Findings) {
    for rig in rigs {
        let is_gone = |name: &str| !places.iter().any(|place| name.split('/').next() == Some(place));
        let gone = rig
            .status
            .operators
            .iter()
            .position(|operator| is_gone(&operator.name));
        let Some(at) = gone else { continue };
        let (name, operator) = (&rig.metadata.name, &rig.status.operators[at]);
        let patch = format!(r#"[{{"op":"remove","path":"/status/operators/{at}"}}]"#);
        findings.bad(
            "rigs",
            &format!(
                "rig {name:?} counts {} of the operator {:?}, which is not installed any more",
                counted(operator.polecat_count, "polecat"),
                operator.name
            ),
            &format!("`kubectl patch rig {name} --subresource=status --type=json -p '{patch}'`"),
        );
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cluster::testing::answering;

    fn operator(place: &str, args: &[&str], available: i64) -> Value {
        json!({
            "metadata": {"name": "gastown-operator", "namespace": place, "labels": {"app.kubernetes.io/version": env!("CARGO_PKG_VERSION")}},
            "spec": {"replicas": 1, "template": {"spec": {"containers": [{"args": args}]}}},
            "status": {"availableReplicas": available},
        })
    }

    async fn checked(deployments: Vec<Value>) -> (Vec<&'static str>, String) {
        let cluster = answering(move |_| (200, json!({"items": deployments})));
        let mut findings = Findings::default();
        check(&cluster, &mut findings).await;
        let words = findings.words().join("\n");
        (findings.levels(), words)
    }

    #[tokio::test]
    async fn no_operator_a_stopped_one_and_two_are_named() {
        assert_eq!(checked(Vec::new()).await.0, ["problem"]);
        assert_eq!(checked(vec![operator("a", &[], 1)]).await.0, ["ok"]);
        assert_eq!(checked(vec![operator("a", &[], 0)]).await.0, ["problem"]);
        let mut stopped = operator("a", &[], 0);
        stopped["spec"]["replicas"] = json!(0);
        let (levels, words) = checked(vec![stopped]).await;
        assert!(levels == ["problem"] && words.contains("scaled to 0"), "{words}");
        for (first, second, level) in [
            (&[][..], &[][..], "problem"),
            (&[], &["--namespaces=b"], "problem"),
            (&["--namespaces=a,b"], &["--namespaces", "b"], "problem"),
            (&["--namespaces=a"], &["--namespaces", "b"], "ok"),
        ] {
            let two = vec![operator("one", first, 1), operator("two", second, 1)];
            let (levels, words) = checked(two).await;
            assert_eq!(levels, ["ok", "ok", level], "{words}");
            assert!(words.contains("\"one\"") && words.contains("\"two\""), "{words}");
        }
    }

    /// The levels and words where the deployment has these conditions and its pods are waiting for that.
    async fn first(conditions: Value, waiting: Value) -> (Vec<&'static str>, String) {
        let mut deployment = operator("town", &[], 0);
        deployment["status"]["conditions"] = conditions;
        let cluster = answering(move |request| {
            let items = if request.uri().path().ends_with("/pods") {
                let status = json!({"image": "operator:1", "ready": false, "restartCount": waiting["restarts"], "state": {"waiting": waiting}});
                json!([{"metadata": {"name": "operator-x"}, "status": {"containerStatuses": [status]}}])
            } else {
                json!([deployment])
            };
            (200, json!({"items": items}))
        });
        let mut findings = Findings::default();
        let operators = check(&cluster, &mut findings).await;
        pods::check(&cluster, &operators.places, &operators.images, &mut findings).await;
        let words = findings.words().join("\n");
        (findings.levels(), words)
    }

    #[tokio::test]
    async fn an_operator_that_is_starting_is_no_problem_until_it_cannot() {
        let progressing =
            |status: &str, reason: &str| json!({"type": "Progressing", "status": status, "reason": reason});
        let fine = json!({"reason": "ContainerCreating"});
        for (conditions, waiting, level, words) in [
            (
                json!([progressing("True", "ReplicaSetUpdated")]),
                fine.clone(),
                "warning",
                "is starting",
            ),
            (
                json!([progressing("True", "NewReplicaSetAvailable")]),
                fine.clone(),
                "problem",
                "not available",
            ),
            (
                json!([progressing("False", "ProgressDeadlineExceeded")]),
                fine.clone(),
                "problem",
                "not available",
            ),
            (
                json!([progressing("True", "NewReplicaSetCreated"), {"type": "ReplicaFailure", "status": "True"}]),
                fine.clone(),
                "problem",
                "not available",
            ),
            (
                json!([progressing("True", "ReplicaSetUpdated")]),
                json!({"reason": "CrashLoopBackOff", "restarts": 2}),
                "problem",
                "not available",
            ),
            (json!(null), fine, "problem", "not available"),
            (
                json!([progressing("True", "ReplicaSetUpdated")]),
                json!({"reason": "ErrImagePull", "message": "no such host"}),
                "problem",
                "cannot start: operator-x: ErrImagePull for \"operator:1\": no such host",
            ),
        ] {
            let (levels, found) = first(conditions, waiting).await;
            assert_eq!(levels, [level], "one finding: {found}");
            assert!(found.contains(words), "{found}");
        }
    }

    #[tokio::test]
    async fn why_no_operator_runs_is_told_from_one_that_is_coming() {
        let why = async |deployments: Vec<Value>| {
            let cluster = answering(move |_| (200, json!({"items": deployments})));
            none_runs(&cluster).await
        };
        let mut starting = operator("a", &[], 0);
        starting["status"]["conditions"] =
            json!([{"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated"}]);
        assert_eq!(why(Vec::new()).await, Some("no operator is installed"));
        assert_eq!(why(vec![operator("a", &[], 0)]).await, Some("no operator runs"));
        assert_eq!(
            why(vec![starting]).await,
            Some("no operator runs yet (one is starting)")
        );
        assert_eq!(
            why(vec![operator("a", &[], 0), operator("b", &[], 1)]).await,
            None
        );
    }

    #[test]
    fn counts_of_an_operator_that_is_gone_are_named_with_the_patch_that_removes_them() {
        let rig = |operators: Value| {
            Rig::read(&json!({"metadata": {"name": "demo"}, "status": {"operators": operators}}))
        };
        let here = json!({"name": "here/gastown-operator", "polecatCount": 1});
        let gone = json!({"name": "gone/gastown-operator", "polecatCount": 7});
        let places = ["here".to_owned()];
        let mut findings = Findings::default();
        left_behind(&[rig(json!([here])), rig(json!([]))], &places, &mut findings);
        assert_eq!(findings.words().len(), 0);
        left_behind(&[rig(json!([here, gone]))], &places, &mut findings);
        let words = findings.words().join("\n");
        for part in ["\"demo\" counts 7 polecats", "gone/gastown-operator"] {
            assert!(words.contains(part), "{words}");
        }
    }
}
