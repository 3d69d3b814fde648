//! What may be lost, and how it is said.

use gastown_api::evidence::SnapshotReport;

use super::*;

#[test]
fn what_may_be_lost_is_said_with_the_age_of_the_last_snapshot() {
    let wip = json!({"head": BASE, "wip": {"name": "refs/w", "sha": HEAD, "at": "2026-01-01T00:00:00Z"}});
    let mut status = ended(137, &evidence(wip));
    assert_eq!(of(&status).may_be_lost, None, "the keeper ended with 0");
    status["initContainerStatuses"][1]["state"]["terminated"]["exitCode"] = json!(137);
    let lost = of(&status).may_be_lost.unwrap();
    assert_eq!(
        lost,
        "what changed after the snapshot of 2026-01-01T00:00:00Z may be lost"
    );
    status["containerStatuses"][0]["state"]["terminated"]["finishedAt"] = json!("2026-01-01T00:04:30Z");
    let lost = of(&status).may_be_lost.unwrap();
    assert!(
        lost.contains("2026-01-01T00:00:00Z, 270 s before the end, may be lost"),
        "{lost}"
    );
    status["containerStatuses"][0]["state"]["terminated"]["finishedAt"] = json!("2025-12-31T23:59:59Z");
    assert!(of(&status).may_be_lost.unwrap().contains(", 0 s before"));
    let mut never = ended(137, &evidence(json!({"head": BASE})));
    never["initContainerStatuses"][1]["state"]["terminated"]["exitCode"] = json!(1);
    let lost = of(&never).may_be_lost.unwrap();
    assert!(lost.contains("no snapshot reached the remote"), "{lost}");
}

#[test]
fn an_agent_whose_container_the_kubelet_does_not_find_any_more_did_run() {
    let mut status = ended(137, &evidence(json!({"head": BASE})));
    status["initContainerStatuses"][1]["state"]["terminated"]["exitCode"] = json!(137);
    let made_up = json!({"terminated": {"exitCode": 137, "reason": "ContainerStatusUnknown"}});
    let claude = &mut status["containerStatuses"][0];
    claude["state"] = json!({"waiting": {"reason": "ContainerCreating"}});
    assert_eq!(of(&status).may_be_lost, None, "it waits for its start");
    status["containerStatuses"][0]["lastState"] = made_up;
    assert!(of(&status).may_be_lost.is_some());
}

#[test]
fn what_a_keeper_left_out_is_said_in_its_words() {
    let wip = json!({"head": BASE, "wip": {"name": "refs/w", "sha": HEAD, "at": "2026-01-01T00:00:00Z"}});
    let mut status = ended(137, &evidence(wip));
    status["initContainerStatuses"][1]["state"]["terminated"]["exitCode"] = json!(3);
    let lost = of(&status).may_be_lost.unwrap();
    assert!(lost.starts_with("something is not saved"), "{lost}");
    let report = SnapshotReport {
        left_out: 7,
        named: vec!["\"core.4711\": its 200000000 bytes are more than 104857600".to_owned()],
        notes: vec!["the work tree \"x\" could not be read".to_owned()],
    };
    let words = json!(report.to_json());
    status["initContainerStatuses"][1]["state"]["terminated"]["message"] = words;
    assert_eq!(
        of(&status).may_be_lost.unwrap(),
        "the work tree \"x\" could not be read; 7 paths are not saved: \"core.4711\": its 200000000 bytes are more than 104857600"
    );
    for killed in [137, 1] {
        status["initContainerStatuses"][1]["state"]["terminated"]["exitCode"] = json!(killed);
        let lost = of(&status).may_be_lost.unwrap();
        let both =
            lost.contains("7 paths are not saved: \"core.4711\"") && lost.contains("after the snapshot of");
        assert!(both, "{killed}: {lost}");
    }
    status["initContainerStatuses"][1]["state"]["terminated"]["message"] = json!("");
    assert!(of(&status).may_be_lost.unwrap().starts_with("what changed after"));
}

#[test]
fn what_was_delivered_may_still_have_left_something_behind() {
    let mut status = ended(0, &evidence(json!({})));
    assert_eq!(of(&status).may_be_lost, None);
    status["initContainerStatuses"][1]["state"]["terminated"]["exitCode"] = json!(1);
    let classification = of(&status);
    assert_eq!(classification.outcome, AttemptOutcome::Delivered);
    assert!(classification.may_be_lost.is_some(), "the keeper failed");
    status["initContainerStatuses"].as_array_mut().unwrap().remove(1);
    assert_eq!(of(&status).may_be_lost, None);
}

#[test]
fn a_snapshot_that_is_gone_from_the_remote_is_missed_whatever_the_keeper_saw() {
    let wip = json!({"name": "refs/w", "sha": HEAD, "at": "2026-01-01T00:00:00Z"});
    for exit in [0, 1] {
        let lost = of(&ended(exit, &evidence(json!({"wip": wip, "wipDropped": true}))));
        let lost = lost.may_be_lost.unwrap();
        assert!(lost.contains("refs/w was deleted or moved"), "{lost}");
    }
}
