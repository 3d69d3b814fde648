//! Whether the remote holds the work at the end.

use super::*;

#[test]
fn work_that_was_not_delivered_is_named_beside_what_was() {
    let left = "uncommitted changes (core.4711) were not delivered: GH001";
    let mut status = ended(0, &evidence(json!({})));
    merge(
        &mut status["containerStatuses"][0]["state"]["terminated"],
        report(json!({"localHead": HEAD, "notDelivered": left})),
    );
    let classification = of(&status);
    assert_eq!(classification.reason, Reason::Delivered);
    assert_eq!(
        classification.message,
        format!("{HEAD} is on the remote branch; {left}")
    );
    let classification = of(&unchanged(0, report(json!({"notDelivered": left}))));
    assert_eq!(classification.reason, Reason::NothingChanged);
    assert!(
        classification.message.ends_with(left),
        "{}",
        classification.message
    );
}

#[test]
fn work_that_the_remote_no_longer_holds_at_the_end_is_not_done() {
    let pushed = json!({"pushed": HEAD, "dropped": true});
    for (changes, words) in [
        (json!({"head": null}), "the branch is gone"),
        (json!({"head": BASE}), "does not hold it"),
        (json!({"head": OTHER}), "does not hold it"),
    ] {
        let mut evidence = evidence(pushed.clone());
        merge(&mut evidence, changes);
        let mut status = ended(0, &evidence);
        merge(
            &mut status["containerStatuses"][0]["state"]["terminated"],
            report(json!({"localHead": HEAD})),
        );
        let classification = of(&status);
        assert_eq!(classification.reason, Reason::DeliveryUndone, "{evidence}");
        assert!(
            classification.message.contains(HEAD) && classification.message.contains(words),
            "{}",
            classification.message
        );
    }
    let moved_on = of(&ended(0, &evidence(json!({"pushed": HEAD, "head": OTHER}))));
    assert_eq!(moved_on.reason, Reason::Delivered);
    assert_eq!(
        moved_on.message,
        format!("{HEAD} is on the remote branch, which another hand has moved on to {OTHER}")
    );
}

#[test]
fn what_could_not_be_read_at_the_end_is_not_done() {
    let failed = json!({"name": "failed", "reason": "GitHostUnreachable", "message": "no route"});
    let classification = of(&ended(0, &evidence(json!({"pushed": HEAD, "finalRead": failed}))));
    assert_eq!(classification.reason, Reason::GitHostUnreachable);
    assert!(
        classification.message.contains("no route") && classification.message.contains(HEAD),
        "{}",
        classification.message
    );
    let mut pending = evidence(json!({"pushed": HEAD}));
    pending["finalRead"] = json!({"name": "pending"});
    assert_eq!(reason(&ended(0, &pending)), Reason::EvidenceMissing);
    // A broker of an older version does not read at the end.
    assert_eq!(
        reason(&ended(0, &evidence(json!({"finalRead": null})))),
        Reason::Delivered
    );
    // Where nothing was pushed, there is nothing to read.
    let mut nothing = evidence(json!({"head": BASE, "pushed": BASE}));
    nothing["finalRead"] = failed;
    assert_eq!(reason(&ended(0, &nothing)), Reason::NothingChanged);
}

#[test]
fn work_that_was_pushed_by_an_agent_that_ended_well_and_not_seen_again_is_kept_for_the_repeat() {
    let failed = json!({"name": "failed", "reason": "GitHostUnreachable", "message": "no route"});
    let unread = |exit: i32, changes: Value| {
        let mut evidence = evidence(json!({"pushed": HEAD, "finalRead": failed}));
        merge(&mut evidence, changes);
        of(&ended(exit, &evidence)).unconfirmed
    };
    let pushed = Some(HEAD.parse().unwrap());
    assert_eq!(unread(0, json!({})), pushed);
    let pending = json!({"finalRead": {"name": "pending", "reason": null, "message": null}});
    assert_eq!(unread(0, pending), pushed, "a broker that was killed");
    for (exit, changes) in [
        (1, json!({})),
        (0, json!({"dropped": true})),
        (0, json!({"pushed": BASE})),
        (0, json!({"pushed": null})),
        (
            0,
            json!({"finalRead": {"name": "read", "at": "2026-01-01T00:00:00Z", "reason": null, "message": null}}),
        ),
        (0, json!({"callsExpected": true, "usage": {"requests": 0}})),
    ] {
        assert_eq!(unread(exit, changes.clone()), None, "{exit} {changes}");
    }
    let mut status = ended(0, &evidence(json!({"pushed": HEAD, "finalRead": failed})));
    let more = json!({"agentExit": 0, "localHead": OTHER, "pushed": false, "message": ""});
    status["containerStatuses"][0]["state"]["terminated"]["message"] = json!(more.to_string());
    assert_eq!(of(&status).unconfirmed, None, "a commit of it did not get there");
}

#[test]
fn words_of_a_newer_pod_cost_no_done() {
    let refused = json!({"refName": "refs/heads/x", "why": "no", "reason": "SaidOnlyByANewerBroker"});
    let newer =
        json!({"state": {"name": "landing", "queue": 3}, "refused": refused, "lands": {"as": "squash"}});
    let classification = of(&ended(0, &evidence(newer)));
    assert_eq!(classification.reason, Reason::Delivered, "{classification:?}");
    assert_eq!(classification.evidence.unwrap().cost_micros, Some(4500));
}

#[test]
fn a_reason_of_a_newer_pod_is_told_in_its_words() {
    let stopped = json!({"state": {"name": "stopped", "reason": "SaidOnlyByANewerBroker", "message": "the quota of signatures is used up"}});
    let classification = of(&ended(1, &evidence(stopped)));
    assert_eq!(classification.reason, Reason::EvidenceMissing);
    assert!(
        classification.message.contains("quota of signatures"),
        "{}",
        classification.message
    );
    let init = json!({"reason": "SaidOnlyByANewerInit", "message": "no such sigil"}).to_string();
    let mut status = ended(1, &evidence(json!({"head": BASE})));
    merge(
        &mut status["initContainerStatuses"][2]["state"]["terminated"],
        json!({"exitCode": 1, "message": init}),
    );
    assert!(of(&status).message.contains("no such sigil"));
}

#[test]
fn a_reading_at_the_end_that_is_not_understood_is_asked_for_again() {
    let classification = of(&ended(
        0,
        &evidence(json!({"finalRead": {"name": "attested", "at": null}})),
    ));
    assert_eq!(classification.outcome, AttemptOutcome::Failed);
    assert!(
        classification.message.contains("newer broker"),
        "{}",
        classification.message
    );
    assert_eq!(classification.unconfirmed.unwrap().as_str(), HEAD);
}
