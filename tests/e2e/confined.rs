//! The agent holds no keys and can push nothing but its branch; its pod is let in anywhere.

use gastown_api::polecat::PolecatPhase;
use gastown_tests::harness::operator::INJECTED_UID;
use gastown_tests::harness::{Admission, World, polecat, with_world, with_world_of};
use k8s_openapi::api::core::v1::{Container, Pod};
use serde_json::{Value, json};

fn all_containers(pod: &Pod) -> Vec<Container> {
    let spec = pod.spec.clone().unwrap();
    spec.init_containers
        .unwrap_or_default()
        .into_iter()
        .chain(spec.containers)
        .collect()
}

/// Every place of a pod where one of the three fields that OpenShift decides could stand.
fn identity_fields(pod: &Pod) -> Vec<Value> {
    let spec = serde_json::to_value(pod.spec.clone().unwrap()).unwrap();
    let of_pod = spec["securityContext"].clone();
    let of_containers = all_containers(pod)
        .into_iter()
        .map(|container| serde_json::to_value(container.security_context).unwrap());
    let all = std::iter::once(of_pod).chain(of_containers);
    all.flat_map(|context| ["runAsUser", "runAsGroup", "fsGroup"].map(|field| context[field].clone()))
        .filter(|value| !value.is_null())
        .collect()
}

#[tokio::test]
async fn a_pod_fixes_no_user_group_or_volume_group() {
    with_world("identity", async |world: &World| {
        // Nothing has to run for this: without a testbed the pod waits for its secrets.
        world.sling(polecat("hope", "unused")).await;
        world
            .polecat_until("hope", "it has a pod", |polecat| {
                polecat
                    .status
                    .as_ref()
                    .is_some_and(|status| status.pod_name.is_some())
            })
            .await;
        let pod = world.pod_of("hope").await.unwrap();
        assert_eq!(identity_fields(&pod), Vec::<Value>::new());
        let spec = pod.spec.clone().unwrap();
        assert_eq!(spec.automount_service_account_token, Some(false));
        for container in all_containers(&pod) {
            let context = container.security_context.unwrap();
            assert_eq!(
                context.read_only_root_filesystem,
                Some(true),
                "{}",
                container.name
            );
        }
    })
    .await;
}

#[tokio::test]
async fn a_polecat_works_under_the_uid_that_openshift_would_give() {
    with_world_of("any-uid", Admission::InjectedUid, async |world: &World| {
        let remote = world.testbed().await;
        world.credentials().await;
        world.sling(polecat("dementus", "who-am-i")).await;
        let polecat = world.ends("dementus", PolecatPhase::Done).await;
        let head = polecat.status.unwrap().head.unwrap();
        let files = remote.files(&head).await;
        let id = String::from_utf8_lossy(&files["id.txt"].bytes).into_owned();
        assert_eq!(id, format!("{INJECTED_UID} 0\n"), "UID and GID of the agent");
        // What stands there was injected: once, at the pod, and by no container of ours.
        if let Some(pod) = world.pod_of("dementus").await {
            assert_eq!(identity_fields(&pod), [json!(INJECTED_UID), json!(INJECTED_UID)]);
        }
    })
    .await;
}

/// Runs in the agent, with everything the agent may do, and writes a report that it commits.
#[tokio::test]
async fn the_agent_finds_no_credential_and_pushes_only_its_branch() {
    with_world("hunt", async |world: &World| {
        // Whatever is pushed to the upstream leaves a trace there, also what the upstream itself would refuse.
        let hook = "#!/usr/bin/bash\nwhile read -r old new ref; do\n  env -u GIT_QUARANTINE_PATH git update-ref \"refs/seen/${ref#refs/}\" refs/heads/main\ndone\n";
        let remote = world.testbed_with_hook(Some(hook)).await;
        world.credentials().await;
        let main = remote.sha("refs/heads/main").await;
        world.sling(polecat("praetorian", "hunt")).await;
        let polecat = world.ends("praetorian", PolecatPhase::Done).await;
        let status = polecat.status.unwrap();
        let files = remote.files(status.head.as_ref().unwrap()).await;
        let text = |name: &str| {
            let entry = files.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", files.keys()));
            String::from_utf8_lossy(&entry.bytes).into_owned()
        };
        for secret in world.keys.secrets() {
            for (name, entry) in &files {
                let found = String::from_utf8_lossy(&entry.bytes).contains(&secret);
                assert!(!found, "a secret is in {name}");
            }
        }
        // The hunt works: it finds what was laid out for it, and only that.
        assert_eq!(text("hunt/found.txt").trim(), "/tmp/decoy");
        assert!(text("hunt/environment.txt").contains("ANTHROPIC_BASE_URL"), "the environment was read");
        assert!(text("hunt/processes.txt").contains("claude"), "processes were read");
        assert!(!text("hunt/processes.txt").contains("polecat broker"), "the broker's are not to be seen");
        assert!(text("hunt/ports.txt").contains(":8417"), "ports were asked: {}", text("hunt/ports.txt"));
        // Each push but the last is answered with a refusal, and the upstream saw none of them.
        let pushes = text("hunt/pushes.txt");
        for attempt in ["branch", "main", "tag", "force", "delete", "two"] {
            assert!(pushes.contains(&format!("{attempt}: refused")), "{attempt}: {pushes}");
        }
        let branch = format!("refs/heads/{}", status.branch.unwrap());
        let refs = remote.refs().await;
        let (seen, others): (Vec<_>, Vec<_>) = refs.keys().partition(|name| name.starts_with("refs/seen/"));
        let others: Vec<_> = others.into_iter().filter(|name| !name.starts_with("refs/gastown/")).collect();
        assert_eq!(others, ["refs/heads/main", &branch]);
        assert_eq!(refs["refs/heads/main"], main);
        let allowed = format!("refs/seen/{}", branch.trim_start_matches("refs/"));
        let strange: Vec<_> = seen
            .into_iter()
            .filter(|name| **name != allowed && !name.starts_with("refs/seen/gastown/wip/praetorian/"))
            .collect();
        assert!(strange.is_empty(), "the upstream was asked for {strange:?}");
    })
    .await;
}
