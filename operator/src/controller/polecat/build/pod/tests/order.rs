//! What the pod is told, and that nobody can change it.

use super::*;

/// The order of a pod.
pub fn parse(text: &str) -> WorkOrder {
    let order: WorkOrder<Role> = serde_json::from_str(text).unwrap();
    order.map(|Role::Polecat(own)| *own)
}

#[test]
fn the_order_is_readable_by_the_pods_own_type() {
    for pod in pods() {
        let text = &pod.metadata.annotations.as_ref().unwrap()["gastown.io/work-order"];
        let order = parse(text);
        assert_eq!((order.owner.as_str(), order.attempt), ("furiosa", 1));
        assert!(!order.role.git.remote.secret.is_empty() && order.role.model.secret.is_some());
    }
}

#[test]
fn the_digest_of_the_work_order_stands_where_nobody_can_change_it() {
    for pod in pods() {
        let order = &pod.metadata.annotations.as_ref().unwrap()[labels::WORK_ORDER];
        let digest = sha256(order.as_bytes()).hex();
        for container in containers(&pod) {
            // Of two of one name the last counts.
            let mut all = container.env.iter().flatten().rev();
            let found = all.find(|env| env.name == pod::ORDER_DIGEST_ENV).unwrap();
            assert_eq!(found.value.as_ref(), Some(&digest), "{}", container.name);
        }
    }
}

#[test]
fn every_container_reads_the_storage_that_the_pod_was_admitted_with() {
    for pod in pods() {
        let volumes = json_of(&pod)["volumes"].clone();
        let items = volumes[0]["downwardAPI"]["items"].as_array().unwrap().clone();
        for container in containers(&pod) {
            for bound in ["limit", "request"] {
                let path = format!("storage/{}.{bound}", container.name);
                let item = items.iter().find(|item| item["path"] == path).unwrap();
                let field = &item["resourceFieldRef"];
                assert_eq!(field["containerName"], container.name, "{path}");
                assert_eq!(field["resource"], format!("{bound}s.ephemeral-storage"), "{path}");
                assert_eq!(
                    format!("/etc/gastown/{path}"),
                    format!("{}/{}.{bound}", pod::STORAGE_DIR, container.name)
                );
            }
        }
    }
}

#[test]
fn a_pod_with_a_budget_is_told_its_first_quarter_and_one_without_nothing() {
    let told: Vec<_> = pods()
        .iter()
        .map(|p| {
            p.metadata
                .annotations
                .as_ref()?
                .get("gastown.io/control")
                .cloned()
        })
        .collect();
    let first = Some(r#"{"granted":{"tokens":2}}"#.to_owned());
    assert_eq!(told, [None, first.clone(), None, None, first, None]);
}
