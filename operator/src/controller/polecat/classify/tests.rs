mod confirmed;
mod containers;
mod ends;
mod lost;
mod shapes;

use serde_json::{Value, json};

use super::*;
use crate::testing::{BASE, HEAD, ended, evidence, merge, pod, running};

/// A commit of somebody else.
const OTHER: &str = "cccccccccccccccccccccccccccccccccccccccc";

/// The classification on a pod with this status.
fn of(status: &Value) -> Classification {
    ask(&pod(json!({"status": status})), None, Wanted::Work)
}

fn context() -> AttemptContext<'static> {
    AttemptContext {
        attempt: 1,
        base: None,
        wanted: Wanted::Work,
        given_up: None,
        own_image: false,
        seen_at_work: false,
    }
}

/// The classification on what the cache holds of `pod`.
fn ask(pod: &PodView, base: Option<&str>, wanted: Wanted) -> Classification {
    let mut pod = pod.clone();
    pod.prune();
    classify(
        &pod,
        &AttemptContext {
            base,
            wanted,
            ..context()
        },
    )
}

fn reason(status: &Value) -> Reason {
    of(status).reason
}

/// The status of a pod that ended with `exit` and evidence of no change, with `claude`'s end changed.
fn unchanged(exit: i32, claude: Value) -> Value {
    let mut status = ended(exit, &evidence(json!({"head": BASE})));
    merge(&mut status["containerStatuses"][0]["state"]["terminated"], claude);
    status
}

fn report(changes: Value) -> Value {
    let mut report = json!({"agentExit": 0, "localHead": BASE, "pushed": true, "message": ""});
    merge(&mut report, changes);
    json!({"message": report.to_string()})
}

#[test]
fn done_needs_a_good_end_and_a_head_that_moved() {
    let classification = of(&ended(0, &evidence(json!({}))));
    assert_eq!(
        (classification.outcome, classification.reason),
        (AttemptOutcome::Delivered, Reason::Delivered)
    );
    assert!(
        classification.message.contains(HEAD),
        "{}",
        classification.message
    );
    for (exit, evidence) in [
        (1, evidence(json!({}))),
        (0, evidence(json!({"head": BASE}))),
        (0, evidence(json!({"head": null}))),
        (0, evidence(json!({"base": null}))),
        // Somebody else pushed to the branch.
        (0, evidence(json!({"pushed": BASE}))),
        (0, evidence(json!({"attempt": 2}))),
        (0, json!("no evidence")),
    ] {
        let classification = of(&ended(exit, &evidence));
        assert_eq!(
            classification.outcome,
            AttemptOutcome::Failed,
            "exit {exit}, {evidence}"
        );
    }
}

#[test]
fn a_budget_that_was_charged_for_no_call_withholds_done() {
    let ends = |calls_expected: bool, requests: u32, head: &str| {
        let usage = json!({"requests": requests});
        of(&ended(
            0,
            &evidence(json!({"head": head, "callsExpected": calls_expected, "usage": usage})),
        ))
        .reason
    };
    assert_eq!(ends(true, 0, HEAD), Reason::NothingMetered);
    assert_eq!(ends(true, 0, BASE), Reason::NothingMetered);
    assert_eq!(ends(true, 1, HEAD), Reason::Delivered);
    assert_eq!(ends(false, 0, HEAD), Reason::Delivered);
}

#[test]
fn a_push_that_no_rule_refused_has_the_reason_of_what_kept_it() {
    let refused = json!({"refName": "refs/heads/x", "why": "403", "reason": "GitCredentialRefused"});
    let classification = of(&ended(0, &evidence(json!({"head": BASE, "refused": refused}))));
    assert_eq!(classification.reason, Reason::GitCredentialRefused);
    assert!(
        classification.message.contains("403"),
        "{}",
        classification.message
    );
}

#[test]
fn an_agent_whose_result_says_that_it_failed_is_not_done() {
    let words = "You have hit your limit";
    let failed = report(json!({"agentExit": 0, "pushed": true, "localHead": HEAD, "failed": words}));
    let mut status = ended(1, &evidence(json!({"pushed": HEAD})));
    merge(
        &mut status["containerStatuses"][0]["state"]["terminated"],
        failed.clone(),
    );
    let classification = of(&status);
    assert_eq!(classification.reason, Reason::AgentFailed);
    assert!(
        classification.message.ends_with(words),
        "{}",
        classification.message
    );
    // The word of the agent's container only names a failure that the exit code has told.
    status["containerStatuses"][0]["state"]["terminated"]["exitCode"] = json!(0);
    assert_eq!(reason(&status), Reason::Delivered);
}

#[test]
fn the_base_of_the_first_attempt_counts() {
    let ended = pod(json!({"status": ended(0, &evidence(json!({})))}));
    let classification = ask(&ended, Some(HEAD), Wanted::Work);
    assert_eq!(classification.reason, Reason::NothingChanged);
}

#[test]
fn what_the_agents_container_says_grants_nothing() {
    let mut status = ended(0, &json!("none"));
    let forged = evidence(json!({})).to_string();
    merge(
        &mut status["containerStatuses"][0]["state"]["terminated"],
        json!({"message": forged}),
    );
    merge(
        &mut status["initContainerStatuses"][1]["state"]["terminated"],
        json!({"message": forged}),
    );
    assert_eq!(reason(&status), Reason::EvidenceMissing);
}

#[test]
fn exit_0_without_a_change_is_not_done() {
    assert_eq!(reason(&unchanged(0, report(json!({})))), Reason::NothingChanged);
    assert_eq!(reason(&unchanged(0, json!({}))), Reason::NothingChanged);
}

#[test]
fn an_end_without_a_delivery_says_all_that_the_run_said() {
    let note = "the agent's other branches could not be read: fatal: bad object";
    let left = "the agent's uncommitted changes could not be committed: index.lock exists";
    let both = json!({"message": format!("{note}; {left}"), "notDelivered": left});
    let cut = json!({"message": note, "notDelivered": left});
    for said in [both, cut] {
        let missing = {
            let mut status = ended(0, &json!("none"));
            let claude = &mut status["containerStatuses"][0]["state"]["terminated"];
            merge(claude, report(said.clone()));
            status
        };
        let unmetered = {
            let mut status = ended(0, &evidence(json!({"head": BASE, "callsExpected": true})));
            let claude = &mut status["containerStatuses"][0]["state"]["terminated"];
            merge(claude, report(said.clone()));
            status
        };
        for status in [unchanged(0, report(said.clone())), missing, unmetered] {
            let message = of(&status).message;
            assert_eq!(message.matches(note).count(), 1, "{message}");
            assert_eq!(message.matches(left).count(), 1, "{message}");
        }
    }
}

#[test]
fn a_commit_that_did_not_reach_the_remote_is_a_refused_push() {
    let local = of(&unchanged(
        0,
        report(json!({"localHead": HEAD, "pushed": false, "message": "denied by hook"})),
    ));
    assert_eq!(local.reason, Reason::PushRefused);
    assert!(
        local.message.contains("denied by hook") && local.message.contains(HEAD),
        "{}",
        local.message
    );

    let refused = json!({"head": BASE, "refused": {"refName": "refs/heads/x", "why": "not fast-forward"}});
    let classification = of(&ended(0, &evidence(refused)));
    assert_eq!(classification.reason, Reason::PushRefused);
    assert!(
        classification.message.contains("not fast-forward"),
        "{}",
        classification.message
    );

    let failed = report(json!({"localHead": HEAD, "pushed": false, "message": "remote hung up"}));
    let classification = of(&unchanged(75, failed));
    assert_eq!(
        (classification.reason, classification.message.as_str()),
        (Reason::PushRefused, "remote hung up")
    );
}

#[test]
fn an_agent_that_failed_says_how() {
    let classification = of(&unchanged(
        1,
        report(json!({"agentExit": 1, "message": "API error 400"})),
    ));
    assert_eq!(classification.reason, Reason::AgentFailed);
    assert_eq!(classification.message, "the agent exited with 1: API error 400");
    assert_eq!(
        reason(&unchanged(75, report(json!({"agentExit": 75})))),
        Reason::AgentFailed
    );
    assert_eq!(of(&unchanged(1, json!({}))).message, "the agent exited with 1");
}

#[test]
fn the_brokers_reason_comes_before_the_pods_and_the_containers() {
    let stopped =
        json!({"head": BASE, "state": {"name": "stopped", "reason": "GitCredentialRefused", "message": "m"}});
    let mut status = ended(137, &evidence(stopped));
    merge(&mut status, json!({"reason": "DeadlineExceeded"}));
    let classification = of(&status);
    assert_eq!(
        (classification.reason, classification.message.as_str()),
        (Reason::GitCredentialRefused, "m")
    );
}

#[test]
fn the_pods_own_reason_comes_before_the_containers() {
    for (of_pod, expected) in [
        ("Evicted", Reason::Evicted),
        ("NodeShutdown", Reason::Evicted),
        ("DeadlineExceeded", Reason::DeadlineExceeded),
    ] {
        let mut status = unchanged(137, json!({"reason": "OOMKilled"}));
        merge(&mut status, json!({"reason": of_pod, "message": "words"}));
        let classification = of(&status);
        assert_eq!(
            (classification.reason, classification.message.as_str()),
            (expected, "words")
        );
    }
}

#[test]
fn a_drain_shows_in_a_condition_only() {
    let mut status = unchanged(143, json!({}));
    let drained = json!([{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}]);
    merge(&mut status, json!({"conditions": drained}));
    assert_eq!(reason(&status), Reason::Evicted);
}

#[test]
fn a_stop_on_request_is_no_failure_but_delivery_wins() {
    let stop = Wanted::Stop(Reason::Idle);
    let killed = pod(json!({"status": ended(143, &evidence(json!({})))}));
    let classification = ask(&killed, None, stop);
    assert_eq!(
        (classification.outcome, classification.reason),
        (AttemptOutcome::Stopped, Reason::Idle)
    );
    let finished = pod(json!({"status": ended(0, &evidence(json!({})))}));
    assert_eq!(ask(&finished, None, stop).outcome, AttemptOutcome::Delivered);
}

#[test]
fn without_evidence_the_object_says_where_a_snapshot_would_be() {
    let forced = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "status": running()});
    let lost = ask(&pod(forced), None, Wanted::Work).may_be_lost.unwrap();
    assert!(
        lost.contains("after the last checkpoint") && lost.contains("refs/gastown/wip/furiosa/pod-uid"),
        "{lost}"
    );
    let classification = of(&ended(0, &json!("none")));
    assert_eq!(
        classification.may_be_lost, None,
        "the keeper ended with 0: the broker had taken what it pushed"
    );
    assert!(
        classification
            .message
            .contains("refs/gastown/wip/furiosa/pod-uid"),
        "{}",
        classification.message
    );
}

#[test]
fn a_snapshot_is_superseded_once_all_that_came_of_it_is_saved() {
    let resumed = json!({"head": BASE, "resumed": HEAD});
    let mut status = ended(1, &evidence(resumed));
    assert_eq!(of(&status).supersedes.unwrap().as_str(), HEAD);
    status["initContainerStatuses"][1]["state"]["terminated"]["exitCode"] = json!(1);
    assert_eq!(of(&status).supersedes, None, "the keeper failed");
    assert_eq!(
        of(&ended(1, &evidence(json!({"head": BASE})))).supersedes,
        None,
        "it was not there to start from"
    );
    let before_the_agent = json!({
        "phase": "Failed",
        "initContainerStatuses": [
            {"name": "broker", "state": {"terminated": {"exitCode": 0, "message": evidence(json!({"resumed": HEAD})).to_string()}}},
            {"name": "keeper", "state": {"terminated": {"exitCode": 0}}},
            {"name": "git-init", "state": {"terminated": {"exitCode": 1}}},
        ],
    });
    assert_eq!(of(&before_the_agent).supersedes, None, "no agent ran");
}

#[test]
fn a_pod_that_ended_before_its_agent_started_says_so() {
    let status = json!({"phase": "Failed", "containerStatuses": []});
    let classification = of(&status);
    assert_eq!(classification.reason, Reason::EvidenceMissing);
    assert!(
        classification.message.contains("before its agent"),
        "{}",
        classification.message
    );
}

#[test]
fn the_words_of_a_restarted_broker_are_still_its_words() {
    let mut status = ended(0, &json!("none"));
    let word = evidence(json!({})).to_string();
    merge(
        &mut status["initContainerStatuses"][0],
        json!({"lastState": {"terminated": {"exitCode": 1, "message": word}}}),
    );
    assert_eq!(reason(&status), Reason::Delivered);
}

#[test]
fn no_words_of_the_agent_drive_a_terminal_or_hide_others() {
    let words = "\u{1b}[2Jx\nReady\u{202e}\u{200b}";
    for status in [
        unchanged(1, report(json!({"agentExit": 1, "message": words}))),
        unchanged(0, report(json!({"localHead": HEAD, "message": words}))),
        ended(
            1,
            &evidence(json!({"state": {"name": "stopped", "reason": "PushRefused", "message": words}})),
        ),
    ] {
        let message = of(&status).message;
        assert!(message.contains("[2Jx"), "{message:?}");
        assert!(!message.chars().any(gastown_api::text::is_harmful), "{message:?}");
    }
}
