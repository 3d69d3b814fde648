//! Pods that cannot begin, since their image cannot be had: of polecats in the namespace, and of the operators.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::findings::Findings;
use crate::cluster::{Call, Cluster};
use crate::install;

/// What the kubelet says of a container whose image cannot be had. `ErrImageNeverPull`: the pull policy forbids to fetch it.
const NO_IMAGE: [&str; 6] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImageInspectError",
    "RegistryUnavailable",
];

/// What keeps pods from beginning.
#[derive(Debug, Default)]
pub struct Pods {
    /// By image.
    pub missing: BTreeMap<String, Missing>,
    /// Whether a container began and ended more than once.
    pub crash: bool,
}

/// Looks at them, in the polecats' namespace and those of `operators`; each image is one finding, except those that were told
/// with the operator.
pub async fn check(
    cluster: &Cluster,
    operators: &[String],
    told: &BTreeSet<String>,
    findings: &mut Findings,
) {
    let polecats = format!(
        "/api/v1/namespaces/{}/pods?labelSelector={}",
        cluster.namespace(),
        gastown_api::labels::POLECAT.replace('/', "%2F")
    );
    let mut places = vec![polecats];
    places.extend(operators.iter().map(|place| pods_of_the_operator(place)));
    let mut pods = Pods::default();
    for place in places {
        match cluster.read(&place, "pods").await {
            Ok(list) => pods.collect(&list),
            Err(Call::Forbidden { .. }) => findings.unknown("images", "you may not see the pods"),
            Err(error) => findings.unknown("images", &error.to_string()),
        }
    }
    for (image, missing) in &pods.missing {
        if !told.contains(image) {
            findings.bad("images", &missing.what(image), &missing.remedy());
        }
    }
}

/// Those of the operator in that namespace. That they cannot be seen is said by the check of all.
pub async fn of_the_operator(cluster: &Cluster, place: &str) -> Pods {
    let mut pods = Pods::default();
    if let Ok(list) = cluster.read(&pods_of_the_operator(place), "pods").await {
        pods.collect(&list);
    }
    pods
}

fn pods_of_the_operator(place: &str) -> String {
    format!("/api/v1/namespaces/{place}/pods?labelSelector=app.kubernetes.io%2Fname%3Dgastown-operator")
}

/// An image that cannot be had.
#[derive(Debug)]
pub struct Missing {
    pods: Vec<String>,
    reason: String,
    words: String,
}

impl Missing {
    /// What is missing, and who wants it.
    pub fn what(&self, image: &str) -> String {
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

    /// How it can be had.
    pub fn remedy(&self) -> String {
        match self.reason.as_str() {
            "InvalidImageName" => {
                "correct the image: spec.kubernetes.image of the polecat or rig, or the chart's values"
                    .to_owned()
            }
            "ErrImageNeverPull" => format!(
                "load the image onto every node (on kind, in a checkout: `{}`), or let it be pulled (the chart's image.pullPolicy)",
                install::IMAGE
            ),
            _ => format!(
                "make the image available: load it onto the nodes (on kind, in a checkout: `{}`), or push it to where nodes look, or name a pull secret (spec.kubernetes.imagePullSecrets, the chart's imagePullSecrets and polecat.imagePullSecrets)",
                install::IMAGE
            ),
        }
    }
}

impl Pods {
    fn collect(&mut self, list: &Value) {
        for pod in list["items"].as_array().into_iter().flatten() {
            let lists = ["initContainerStatuses", "containerStatuses"];
            let all = lists.iter().filter_map(|list| pod["status"][list].as_array());
            for status in all.flatten() {
                self.crash |= status["ready"] == false && status["restartCount"].as_i64() > Some(0);
                missing(pod, status, &mut self.missing);
            }
        }
    }
}

/// Adds the image of a container that waits for it.
fn missing(pod: &Value, status: &Value, missing: &mut BTreeMap<String, Missing>) {
    let waiting = &status["state"]["waiting"];
    let text = |field: &str| waiting[field].as_str().unwrap_or_default();
    if !NO_IMAGE.contains(&text("reason")) {
        return;
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
        let operators = ["system".to_owned()];
        check(&cluster, &operators, &BTreeSet::new(), &mut findings).await;
        assert_eq!(findings.levels(), ["problem"; 3]);
        let words = findings.words();
        assert!(words[0].contains("polecat-c: InvalidImageName"), "{words:?}");
        let shared = "polecat-a and 1 more: ImagePullBackOff for \"agent:1\": no such host";
        assert_eq!(words[1], shared);
        assert!(words[2].contains("operator: ErrImageNeverPull"), "{words:?}");
        let mut rest = Findings::default();
        let told = BTreeSet::from(["operator:1".to_owned()]);
        check(&cluster, &operators, &told, &mut rest).await;
        assert_eq!(
            rest.words(),
            words[..2],
            "what was told with the operator is told once"
        );
    }

    #[tokio::test]
    async fn pods_that_may_not_be_seen_are_no_pods_without_images() {
        let cluster = answering(|_| refusal(403, "Forbidden", ""));
        let mut findings = Findings::default();
        check(&cluster, &[], &BTreeSet::new(), &mut findings).await;
        assert_eq!(findings.levels(), ["unknown"]);
    }
}
