//! Pods that cannot begin, since their image cannot be had: of polecats in the namespace, and of the operators.

use std::collections::BTreeMap;

use serde_json::Value;

use super::findings::Findings;
use crate::cluster::{Call, Cluster};

/// What the kubelet says of a container whose image cannot be had. `ErrImageNeverPull`: the pull policy forbids to fetch it.
const NO_IMAGE: [&str; 6] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImageInspectError",
    "RegistryUnavailable",
];

/// Looks at them; each image is one finding.
pub async fn check(cluster: &Cluster, operators: &[String], findings: &mut Findings) {
    let polecats = format!(
        "/api/v1/namespaces/{}/pods?labelSelector={}",
        cluster.namespace(),
        gastown_api::labels::POLECAT.replace('/', "%2F")
    );
    let mut places = vec![polecats];
    places.extend(operators.iter().map(|namespace| {
        format!(
            "/api/v1/namespaces/{namespace}/pods?labelSelector=app.kubernetes.io%2Fname%3Dgastown-operator"
        )
    }));
    let mut missing = BTreeMap::new();
    for place in places {
        match cluster.read(&place, "pods").await {
            Ok(list) => {
                for pod in list["items"].as_array().into_iter().flatten() {
                    collect(pod, &mut missing);
                }
            }
            Err(Call::Forbidden { .. }) => findings.unknown("images", "you may not see the pods"),
            Err(error) => findings.unknown("images", &error.to_string()),
        }
    }
    for (image, missing) in &missing {
        findings.bad("images", &missing.what(image), missing.remedy());
    }
}

/// An image that cannot be had.
struct Missing {
    pods: Vec<String>,
    reason: String,
    words: String,
}

impl Missing {
    fn what(&self, image: &str) -> String {
        let more = self.pods.len().saturating_sub(1);
        let others = if more == 0 {
            String::new()
        } else {
            format!(" and {more} more")
        };
        let pod = self.pods.first().map_or("", String::as_str);
        let words = if self.words.is_empty() {
            String::new()
        } else {
            format!(": {}", self.words)
        };
        format!("{pod}{others}: {} for {image:?}{words}", self.reason)
    }

    fn remedy(&self) -> &'static str {
        match self.reason.as_str() {
            "InvalidImageName" => {
                "correct the image: spec.kubernetes.image of the polecat or rig, or the chart's values"
            }
            "ErrImageNeverPull" => {
                "load the image onto every node, or let it be pulled (the chart's image.pullPolicy)"
            }
            _ => {
                "make the image available: load or push it to where nodes look, or name a pull secret (spec.kubernetes.imagePullSecrets, the chart's imagePullSecrets and polecat.imagePullSecrets)"
            }
        }
    }
}

fn collect(pod: &Value, missing: &mut BTreeMap<String, Missing>) {
    let lists = ["initContainerStatuses", "containerStatuses"];
    let all = lists.iter().filter_map(|list| pod["status"][list].as_array());
    for status in all.flatten() {
        let waiting = &status["state"]["waiting"];
        let text = |field: &str| waiting[field].as_str().unwrap_or_default();
        if !NO_IMAGE.contains(&text("reason")) {
            continue;
        }
        let image = status["image"].as_str().unwrap_or_default().to_owned();
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let entry = missing.entry(image).or_insert_with(|| Missing {
            pods: Vec::new(),
            reason: text("reason").to_owned(),
            words: text("message").to_owned(),
        });
        if !entry.pods.iter().any(|pod| pod == name) {
            entry.pods.push(name.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cluster::testing::{answering, refusal};

    fn pod(name: &str, list: &str, image: &str, reason: &str) -> Value {
        json!({"metadata": {"name": name}, "status": {list: [
            {"name": "other", "image": "fine", "state": {"running": {}}},
            {"name": "x", "image": image, "state": {"waiting": {"reason": reason, "message": "no such host"}}},
        ]}})
    }

    #[tokio::test]
    async fn an_image_that_cannot_be_had_is_one_finding_however_many_pods_want_it() {
        let cluster = answering(|request| {
            let pods = if request.uri().path().contains("/town/") {
                vec![
                    pod(
                        "polecat-a",
                        "initContainerStatuses",
                        "agent:1",
                        "ImagePullBackOff",
                    ),
                    pod("polecat-b", "containerStatuses", "agent:1", "ErrImagePull"),
                    pod("polecat-c", "containerStatuses", "Agent", "InvalidImageName"),
                    pod("polecat-d", "containerStatuses", "agent:2", "ContainerCreating"),
                ]
            } else {
                vec![pod(
                    "operator",
                    "containerStatuses",
                    "operator:1",
                    "ErrImageNeverPull",
                )]
            };
            (200, json!({"items": pods}))
        });
        let mut findings = Findings::default();
        check(&cluster, &["system".to_owned()], &mut findings).await;
        assert_eq!(findings.levels(), ["problem"; 3]);
        let words = findings.words();
        assert!(words[0].contains("polecat-c: InvalidImageName"), "{words:?}");
        let shared = "polecat-a and 1 more: ImagePullBackOff for \"agent:1\": no such host";
        assert_eq!(words[1], shared);
        assert!(words[2].contains("operator: ErrImageNeverPull"), "{words:?}");
    }

    #[tokio::test]
    async fn pods_that_may_not_be_seen_are_no_pods_without_images() {
        let cluster = answering(|_| refusal(403, "Forbidden", ""));
        let mut findings = Findings::default();
        check(&cluster, &[], &mut findings).await;
        assert_eq!(findings.levels(), ["unknown"]);
    }
}
