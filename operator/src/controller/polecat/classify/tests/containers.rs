//! Containers that were killed for memory, and clones that failed.

use super::*;

#[test]
fn out_of_memory_is_seen_with_exit_0_too() {
    for exit in [137, 0] {
        assert_eq!(
            reason(&unchanged(exit, json!({"reason": "OOMKilled"}))),
            Reason::OutOfMemory,
            "exit {exit}"
        );
    }
    let mut status = ended(0, &evidence(json!({})));
    merge(
        &mut status["containerStatuses"][0]["state"]["terminated"],
        json!({"reason": "OOMKilled"}),
    );
    assert_eq!(
        reason(&status),
        Reason::Delivered,
        "the work was delivered although a child was killed"
    );
    let mut status = ended(1, &json!("none"));
    merge(
        &mut status["initContainerStatuses"][0]["state"]["terminated"],
        json!({"reason": "OOMKilled"}),
    );
    let classification = of(&status);
    assert_eq!(
        (classification.reason, classification.message.as_str()),
        (
            Reason::SidecarOutOfMemory,
            "a process that container broker had started was killed"
        )
    );
}

#[test]
fn a_clone_that_failed_is_believed() {
    let status = |message: &str| {
        json!({
            "phase": "Failed",
            "initContainerStatuses": [
                {"name": "broker", "state": {"terminated": {"exitCode": 0}}},
                {"name": "git-init", "state": {"terminated": {"exitCode": 1, "message": message}}},
            ],
            "containerStatuses": [{"name": "claude", "state": {"waiting": {"reason": "PodInitializing"}}}],
        })
    };
    let classification = of(&status(r#"{"reason":"BeadTextMissing","message":"bead mp-1"}"#));
    assert_eq!(
        (classification.reason, classification.message.as_str()),
        (Reason::BeadTextMissing, "bead mp-1")
    );
    assert_eq!(classification.may_be_lost, None, "no agent ran");
    let classification = of(&status("fatal: no space"));
    assert_eq!(classification.reason, Reason::CloneFailed);
    assert!(
        classification.message.contains("fatal: no space"),
        "{}",
        classification.message
    );

    let deleted = |message| {
        let object =
            json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "status": status(message)});
        ask(&pod(object), None, Wanted::Work).reason
    };
    assert_eq!(deleted("interrupted"), Reason::PodDeleted, "it was told to stop");
    assert_eq!(
        deleted(r#"{"reason":"BeadTextMissing","message":"bead mp-1"}"#),
        Reason::BeadTextMissing
    );
}
