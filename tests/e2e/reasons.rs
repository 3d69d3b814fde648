//! Every reason that no other test here is about, and that the message says what to do about it.

use gastown_api::condition::{FIELDS_IGNORED, PARKED, READY, RIG_FOUND};
use gastown_api::polecat::{Polecat, PolecatPhase};
use gastown_api::rig::Rig;
use gastown_tests::harness::{PATIENCE, World, condition, polecat, reason, stand_in, with_world};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};

fn with(name: &str, change: impl FnOnce(&mut Value)) -> Value {
    let mut object = polecat(name, "unused");
    change(&mut object["spec"]);
    object
}

#[tokio::test]
async fn a_manifest_that_cannot_be_carried_out_is_stuck_and_says_what_to_change() {
    with_world("manifests", async |world: &World| {
        for (name, wanted, words, change) in [
            (
                "no-repository",
                "SpecIncomplete",
                "spec.kubernetes.gitRepository",
                (|spec| {
                    drop(
                        spec["kubernetes"]
                            .as_object_mut()
                            .unwrap()
                            .remove("gitRepository"),
                    );
                }) as fn(&mut Value),
            ),
            ("provider", "ProviderUnsupportedByAgent", "openai", |spec| {
                spec["agentConfig"]["provider"] = json!("openai");
            }),
            ("endpoint", "EndpointNotAllowed", "modelEndpoints", |spec| {
                spec["agentConfig"]["modelProvider"]["endpoint"] = json!("http://elsewhere:8080");
            }),
            ("model", "ModelNotAllowed", "gpt-5", |spec| {
                spec["agentConfig"]["model"] = json!("gpt-5");
            }),
            ("price", "PriceMissing", "spec.agentConfig.model", |spec| {
                spec["budget"] = json!({"usd": 1.0});
                spec["agentConfig"].as_object_mut().unwrap().remove("model");
            }),
        ] {
            world.sling(with(name, change)).await;
            let (_, message) = world.is_stuck(name, wanted).await;
            assert!(message.contains(words), "{name}: {message}");
            assert!(world.pods_of(name).await.is_empty(), "{name}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_pod_of_that_name_that_is_somebody_elses_is_left_alone() {
    with_world("taken", async |world: &World| {
        let image = std::env::var("GASTOWN_STAND_IN_IMAGE").unwrap();
        let pod = world
            .create::<Pod>(json!({"metadata": {"name": "polecat-taken"}, "spec": {
                "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
                "terminationGracePeriodSeconds": 0,
                "containers": [{"name": "x", "image": image, "command": ["sleep", "600"], "securityContext": {
                    "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}],
            }}))
            .await;
        world.sling(polecat("taken", "unused")).await;
        let (_, message) = world.is_stuck("taken", "PodNameTaken").await;
        assert!(message.contains("polecat-taken"), "{message}");
        let left = world.pod_of("taken").await.unwrap();
        assert_eq!(left.metadata.uid, pod.metadata.uid);
        assert!(left.metadata.deletion_timestamp.is_none());
    })
    .await;
}

#[tokio::test]
async fn a_git_host_that_does_not_answer_is_stuck_after_some_tries() {
    with_world("unreachable", async |world: &World| {
        world.testbed().await;
        world.credentials().await;
        world
            .sling(with("unreachable", |spec| {
                spec["kubernetes"]["gitRepository"] = json!("ssh://git@testbed:2/srv/git/calculator.git");
            }))
            .await;
        let known = format!(
            "[testbed]:2 {}",
            world.keys.known_hosts.trim_start_matches("testbed ")
        );
        let keys = [
            ("ssh-privatekey", world.keys.ssh.as_str()),
            ("known_hosts", &known),
        ];
        world.secret("git-ssh-key", &keys).await;
        let (_, attempt) = world.attempt_ends("unreachable", 1).await;
        assert_eq!(
            attempt.reason.as_deref(),
            Some("GitHostUnreachable"),
            "{attempt:?}"
        );
        assert!(attempt.message.unwrap().contains("testbed"));
    })
    .await;
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_stuck() {
    with_world("untrusted", async |world: &World| {
        world.testbed().await;
        world.credentials().await;
        let token = [
            ("username", "git"),
            ("password", world.keys.token.as_str()),
            ("hosts", "testbed"),
        ];
        world.secret("git-token", &token).await;
        world
            .sling(with("untrusted", |spec| {
                spec["kubernetes"]["gitRepository"] = json!("https://testbed/git/calculator.git");
                spec["kubernetes"]["gitSecretRef"]["name"] = json!("git-token");
            }))
            .await;
        let (_, attempt) = world.attempt_ends("untrusted", 1).await;
        assert_eq!(
            attempt.reason.as_deref(),
            Some("CertificateUntrusted"),
            "{attempt:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn settings_that_are_none_are_stuck_and_named() {
    with_world("settings", async |world: &World| {
        world.testbed().await;
        world.credentials().await;
        let key = world.keys.model.as_str();
        world
            .secret(
                "claude-creds",
                &[("ANTHROPIC_API_KEY", key), ("settings.json", "[]")],
            )
            .await;
        world.sling(polecat("settings", "unused")).await;
        let (_, attempt) = world.attempt_ends("settings", 1).await;
        assert_eq!(attempt.reason.as_deref(), Some("SettingsInvalid"), "{attempt:?}");
        assert!(attempt.message.unwrap().contains("settings.json"));
    })
    .await;
}

#[tokio::test]
async fn an_image_without_polecat_is_no_agent() {
    with_world("no-agent", async |world: &World| {
        world.testbed().await;
        world.credentials().await;
        let image = std::env::var("GASTOWN_TESTBED_IMAGE").unwrap();
        world
            .sling(with("no-agent", |spec| {
                spec["kubernetes"]["image"] = json!(image);
            }))
            .await;
        let (_, message) = world.is_stuck("no-agent", "ImageIsNotAnAgent").await;
        assert!(
            message.contains("spec.kubernetes.image") && message.contains("polecat-agent"),
            "{message}"
        );
    })
    .await;
}

#[tokio::test]
async fn an_environment_from_a_config_map_that_does_not_exist_is_stuck_and_named() {
    with_world("no-map", async |world: &World| {
        world.testbed().await;
        world.credentials().await;
        world
            .sling(with("no-map", |spec| {
                let reference = json!({"configMapKeyRef": {"name": "absent-map", "key": "x"}});
                spec["agentConfig"]["env"] = json!([{"name": "X", "valueFrom": reference}]);
            }))
            .await;
        let (_, message) = world.is_stuck("no-map", "ContainerConfigInvalid").await;
        assert!(message.contains("absent-map"), "{message}");
    })
    .await;
}

#[tokio::test]
async fn a_key_that_is_none_parks_and_a_deleted_pod_is_followed_by_another_and_all_is_told() {
    with_world("odd-key", async |world: &World| {
        world.testbed().await;
        world.credentials().await;
        let keys = &world.keys;
        let odd = [
            ("ssh-privatekey", keys.ssh_public.as_str()),
            ("known_hosts", &keys.known_hosts),
        ];
        world.secret("git-ssh-key", &odd).await;
        world.sling(polecat("odd-key", "fix-bug")).await;
        let parked = |polecat: &Polecat| {
            condition(polecat, PARKED).is_some_and(|(holds, why, _)| holds && why == "SecretInvalid")
        };
        let seen = world.polecat_until("odd-key", "it is parked", parked).await;
        let (_, _, message) = condition(&seen, PARKED).unwrap();
        assert!(
            message.contains("ssh-privatekey") && message.contains("git-ssh-key"),
            "{message}"
        );
        let pods = world.api::<Pod>();
        pods.delete("polecat-odd-key", &DeleteParams::default())
            .await
            .unwrap();
        world.attempt_ends("odd-key", 1).await;
        world.credentials().await;
        let done =
            |polecat: &Polecat| polecat.status.as_ref().and_then(|s| s.phase) == Some(PolecatPhase::Done);
        let polecat = world
            .polecat_until("odd-key", "its second attempt is Done", done)
            .await;
        assert_eq!(polecat.status.unwrap().attempts.len(), 2);
        for wanted in ["SecretInvalid", "PodDeleted", "Retrying", "Delivered"] {
            world.told("odd-key", |reason, _| reason == wanted).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_life_goes_by_its_steps_and_a_provider_without_capacity_is_waited_for() {
    with_world("steps", async |world: &World| {
        world.testbed().await;
        world.credentials().await;
        let ask = r#"python3 - <<'PYTHON'
import json, os, urllib.request
body = {"model": "claude-sonnet-4-5", "max_tokens": 10, "tools": [{"name": "x", "input_schema": {}}],
        "messages": [{"role": "user", "content": "[[script:overloaded]]"}]}
request = urllib.request.Request(os.environ["ANTHROPIC_BASE_URL"] + "/v1/messages", json.dumps(body).encode(), {"content-type": "application/json"})
print(urllib.request.urlopen(request).read().decode(), flush=True)
PYTHON
exec sleep 600"#;
        let mut object = stand_in("stepper", ask);
        object["spec"]["agentConfig"]["configMapRef"] = json!({"name": "a-field-without-effect"});
        world.sling(object).await;
        let at = |wanted: &'static str| move |polecat: &Polecat| reason(polecat) == wanted;
        let first = world.polecat_until("stepper", "its pod starts", at("PodStarting")).await;
        let (found, why, _) = condition(&first, RIG_FOUND).unwrap();
        assert_eq!((found, why.as_str()), (false, "RigNotFound"));
        let (ignored, why, message) = condition(&first, FIELDS_IGNORED).unwrap();
        assert!(ignored && why == "FieldsIgnored" && message.contains("spec.agentConfig.configMapRef"), "{message}");
        let parked = |polecat: &Polecat| condition(polecat, PARKED).is_some_and(|(holds, why, _)| holds && why == "Overloaded");
        world.polecat_until("stepper", "it is parked", parked).await;
        world.polecat_until("stepper", "its agent runs", at("AgentRunning")).await;
        world.log_holds("stepper", "claude", "Here I am again.").await;
        world.patch::<Polecat>("stepper", json!({"spec": {"desiredState": "Idle"}})).await;
        world.polecat_until("stepper", "it is being stopped", at("Stopping")).await;
        world.polecat_until("stepper", "it is idle", at("Idle")).await;
        world.patch::<Polecat>("stepper", json!({"spec": {"desiredState": "Terminated"}})).await;
        world.polecat_until("stepper", "it is terminated", at("Terminated")).await;
    })
    .await;
}

#[tokio::test]
async fn a_rig_is_ready_and_found_by_its_polecats() {
    with_world("found", async |world: &World| {
        let rigs = Api::<Rig>::all(world.client.clone());
        let rig: Rig = serde_json::from_value(json!({
            "apiVersion": "gastown.gastown.io/v1alpha1", "kind": "Rig", "metadata": {"name": world.namespace},
            "spec": {"gitURL": "git@testbed:/srv/git/calculator.git", "beadsPrefix": "calc"},
        }))
        .unwrap();
        rigs.create(&PostParams::default(), &rig).await.unwrap();
        world
            .sling(with("finder", |spec| spec["rig"] = json!(world.namespace)))
            .await;
        let found = |polecat: &Polecat| {
            condition(polecat, RIG_FOUND).is_some_and(|(holds, why, _)| holds && why == "RigFound")
        };
        world.polecat_until("finder", "its rig is found", found).await;
        let ready = |rig: &Rig| {
            let status = rig.status.as_ref();
            status.is_some_and(|status| {
                status
                    .conditions
                    .iter()
                    .any(|c| c.type_ == READY && c.status == "True" && c.reason == "RigReady")
            })
        };
        gastown_tests::harness::within(PATIENCE, "the rig is ready", async || {
            let rig = rigs
                .get(&world.namespace)
                .await
                .map_err(|error| error.to_string())?;
            if ready(&rig) {
                Ok(())
            } else {
                Err(format!("{:?}", rig.status))
            }
        })
        .await;
        rigs.delete(&world.namespace, &DeleteParams::default())
            .await
            .unwrap();
    })
    .await;
}
